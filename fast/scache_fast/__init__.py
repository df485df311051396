"""scached, the production server: an implementation of its own, sharing only the vocabulary with the specification."""

from typing import Final

__version__: Final = "0.2.0"

DATE: Final = "2026-11-28"
"""When this version was made, as manual pages say it."""
