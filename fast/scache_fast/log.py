"""Where lines go, and how a peer's bytes look in them.

Decides that a line is one line: whatever a peer sent is escaped and cut before it gets in. Refuses to know what the
lines are about.
"""

import os
import sys
from typing import Final, Protocol

_SHOWN_BYTES_MAX: Final = 120
"""How much of a peer's bytes a line shows. Arbitrary; real labels stay below 60."""


class Log(Protocol):
    """Takes lines. Nothing it does may raise: a server does not die of its log."""

    @property
    def verbose(self) -> bool:
        """Say whether each request is worth a line; the server asks once, when it starts."""

    def detail(self, text: str) -> None:
        """Take a line that only a verbose log shows."""

    def info(self, text: str) -> None:
        """Take a line about normal operation."""

    def warning(self, text: str) -> None:
        """Take a line about something that somebody may want to look into."""


class StderrLog:
    """Writes `scached[PID]: text` lines to standard error."""

    __slots__ = ("_prefix", "pid", "verbose")

    def __init__(self, *, verbose: bool) -> None:
        self.verbose = verbose
        self.pid = os.getpid()
        self._prefix = f"scached[{self.pid}]: "

    def detail(self, text: str) -> None:
        """Write the line if the log is verbose."""
        if self.verbose:
            self.info(text)

    def info(self, text: str) -> None:
        """Write the line."""
        try:
            # One write for one line, so that lines of several processes do not mix.
            sys.stderr.write(f"{self._prefix}{text}\n")
            sys.stderr.flush()
        except OSError:
            # Standard error is gone (EPIPE, EIO, ENOSPC): there is nowhere left to say so.
            pass

    def warning(self, text: str) -> None:
        """Write the line, marked as a warning."""
        self.info(f"warning: {text}")

    def fatal(self, text: str) -> None:
        """Write the line, marked as the reason why the process ends."""
        self.info(f"fatal: {text}")


def printable(data: bytes) -> str:
    """Return bytes of a peer as text in quotes: one line, no control characters, not too long."""
    shown = repr(data[:_SHOWN_BYTES_MAX])[1:]
    return shown if len(data) <= _SHOWN_BYTES_MAX else f"{shown}... ({len(data)} bytes)"
