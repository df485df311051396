"""Slips in workers.c."""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("workers.c", "workers")
slip = SERVER.slip
