"""Lines about what the server does, each with its priority, each exactly one line, and not too many of one kind.

Where they end up is in sinks.py.
"""

import os
import re
import time
from collections.abc import Callable
from typing import Final

LINE_CHARACTERS_MAX: Final = 2000
"""Where Postfix cuts a line."""

_REPEATS_MAX: Final = 10
_REPEATS_WINDOW_NS: Final = 60_000_000_000
"""How many warnings of one kind a minute shows. Arbitrary: enough to see what goes on, too few to fill a disk."""

_QUOTED: Final = re.compile(r"['\"].*|[0-9]+", re.DOTALL)
"""What is left out when two warnings are compared: numbers, and all from the first quoted bytes of a peer on."""

_KINDS_MAX: Final = 256
"""How many kinds are remembered. There are about twenty; the bound is for what the operating system may say."""


class Priority:
    """syslog(3) priorities."""

    CRITICAL: Final = 2
    WARNING: Final = 4
    INFO: Final = 6


Sink = Callable[[int, str], None]
"""Takes a priority and a line without its newline. It may lose the line, and must not raise."""


class Logger:
    """Gives lines to a sink, with the prefixes that Postfix uses: none for info, `warning: `, `fatal: `, `panic: `."""

    def __init__(self, sink: Sink, *, verbose: bool = False, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.verbose = verbose
        self.pid = os.getpid()
        self._sink = sink
        self._clock = clock
        # How many warnings of a kind there were since the instant its window began.
        self._kinds: dict[str, tuple[int, int]] = {}
        self.suppressed = 0
        """How many warnings were left out because there were many of their kind."""

    def detail(self, text: str) -> None:
        """Pass the line on if the log is verbose."""
        if self.verbose:
            self.info(text)

    def info(self, text: str) -> None:
        """Pass the line on."""
        self._sink(Priority.INFO, _one_line(text))

    def warning(self, text: str) -> None:
        """Pass the line on, marked as a warning, unless there were many of its kind in the last minute."""
        kind = _QUOTED.sub("", text)
        now_ns = self._clock()
        since_ns, count = self._kinds.get(kind, (now_ns, 0))
        if now_ns - since_ns >= _REPEATS_WINDOW_NS:
            self._tell_suppressed(kind, count)
            since_ns, count = now_ns, 0
        if len(self._kinds) >= _KINDS_MAX:
            self.tell_suppressed()
        self._kinds[kind] = since_ns, count + 1
        if count < _REPEATS_MAX:
            self._sink(Priority.WARNING, _one_line(f"warning: {text}"))
        else:
            self.suppressed += 1

    def tell_suppressed(self) -> None:
        """Say how many warnings of each kind were left out, and begin to count anew; at the end, and now and then."""
        for kind, (_, count) in self._kinds.items():
            self._tell_suppressed(kind, count)
        self._kinds.clear()

    def _tell_suppressed(self, kind: str, count: int) -> None:
        if count > _REPEATS_MAX:
            self._sink(Priority.WARNING, _one_line(f"warning: {count - _REPEATS_MAX} more like: {kind.strip()}"))

    def fatal(self, text: str) -> None:
        """Pass the line on, marked as the reason why the process ends."""
        self._sink(Priority.CRITICAL, _one_line(f"fatal: {text}"))

    def panic(self, error: BaseException) -> None:
        """Pass on what nobody caught: a mistake in this program, with the line where it came up."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        # File and line alone: the text of the line is in a file that may be out of reach by now.
        at = f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else ""
        self._sink(Priority.CRITICAL, _one_line(f"panic: {type(error).__name__}: {error}{at}"))


def _one_line(text: str) -> str:
    """Return a line that cannot pass for two: what a file name or an operand may hold is escaped here."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return text[:LINE_CHARACTERS_MAX]
