"""Slips in goroutines.go."""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("goroutines.go", "go")
slip = SERVER.slip
