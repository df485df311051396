"""Slips in polling.c."""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("polling.c", "polling")
slip = SERVER.slip
