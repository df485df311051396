"""scached, the production server: an implementation of its own, sharing only the vocabulary with the specification."""

from typing import Final

__version__: Final = "0.1.0"
