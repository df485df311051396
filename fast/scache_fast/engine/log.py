"""The log of the engine, and how bytes of a peer are shown in it. The process decides where lines go (logger.py)."""

from typing import Final, Protocol

_SHOWN_BYTES_MAX: Final = 120
"""How much of a peer's bytes a line shows. Arbitrary; real labels stay below 60."""


class Log(Protocol):
    """Takes lines of the log. No method may raise: a failing log must not end the server."""

    @property
    def verbose(self) -> bool:
        """Say whether each request is worth a line; the server asks once, when it starts."""

    def detail(self, text: str) -> None:
        """Take a line that only a verbose log shows."""

    def info(self, text: str) -> None:
        """Take a line about normal operation."""

    def warning(self, text: str) -> None:
        """Take a line about something that somebody may want to look into."""


class Silence:
    """A log that keeps nothing."""

    verbose = False

    def detail(self, text: str) -> None: ...
    def info(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...


def printable(data: bytes) -> str:
    """Return bytes of a peer as text in quotes: one line, no control characters, not too long."""
    shown = repr(data[:_SHOWN_BYTES_MAX])[1:]
    return shown if len(data) <= _SHOWN_BYTES_MAX else f"{shown}... ({len(data)} bytes)"
