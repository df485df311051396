"""The slips of every stranger, by name."""

from typing import Final

from tests.wrong.strangers import goroutines, polling, slots, threaded, workers

STRANGERS: Final = (threaded.SERVER, polling.SERVER, workers.SERVER, goroutines.SERVER, slots.SERVER)
SLIPS: Final = {name: slip for stranger in STRANGERS for name, slip in stranger.slips.items()}
