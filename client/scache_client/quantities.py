"""Numbers that a caller gives: timeouts, pauses, times to live and limits.

A value of a wrong type is a TypeError, and one out of range a ValueError. The message names the argument and its value.
"""

from typing import Final

TIMEOUT_S: Final = 5.0
"""How long a request may take, unless told otherwise. Postfix: connection_cache_protocol_timeout, 5 s."""

TIMEOUT_S_MAX: Final = 2_147_483
"""The longest poll(2) can wait: it counts milliseconds in an int."""


def timeout(timeout_s: float) -> float:
    """Return the timeout; ValueError unless it is above zero and at most `TIMEOUT_S_MAX`."""
    _require_number("timeout_s", timeout_s)
    if not 0 < timeout_s <= TIMEOUT_S_MAX:  # nan fails every comparison
        raise ValueError(f"timeout_s is {timeout_s}; it must be above 0 and at most {TIMEOUT_S_MAX} seconds")
    return timeout_s


def pause(pause_s: float) -> float:
    """Return the pause; ValueError unless it is from zero (no pause) to `TIMEOUT_S_MAX`."""
    _require_number("pause_s", pause_s)
    if not 0 <= pause_s <= TIMEOUT_S_MAX:
        raise ValueError(f"pause_s is {pause_s}; it must be from 0 to {TIMEOUT_S_MAX} seconds")
    return pause_s


def whole(name: str, number: int) -> int:
    """Return a whole number; TypeError for every other type, also for a bool."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} is {number!r}; it must be a whole number: round it")
    return number


def _require_number(name: str, number: float) -> None:
    # Decimal and Fraction pass comparisons, and fail later, where a deadline is computed.
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} is {number!r}; it must be an int or a float, in seconds")
