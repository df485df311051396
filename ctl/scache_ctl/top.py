"""`scachectl top`: a picture of the server, drawn again and again. What is on it is in frame.py.

On a terminal it takes the alternate screen, and gives it back however it ends: by q, ^C, SIGTERM, SIGHUP or an error.
Elsewhere, and with TERM=dumb, it prints one picture after another without a control sequence.
"""

import argparse
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from types import FrameType, TracebackType
from typing import Final, Self

from scache_ctl.exits import DONE
from scache_ctl.frame import Seen, frame
from scache_fast.admin.client import AdminClient, AdminError, AdminUnavailableError

_BEGIN: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The alternate screen, no cursor, and no wrapping of lines."""
_END: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _TO_END_OF_LINE, _TO_END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

_LIST_SHARE: Final = 10
"""A list that took a second is asked for every ten, however short the interval is."""


def run(options: argparse.Namespace) -> int:
    """Draw until told to end, or so many times."""
    interval_s: float = options.interval
    before, now = Seen(), Seen()
    watch = _Watch(options.admin, options.timeout)
    drawn = 0
    with _Screen() as screen:
        while True:
            before, now = now, watch.look()
            screen.draw(now, before)
            drawn += 1
            while (key := screen.wait(now.at_s + interval_s if drawn != options.count else 0.0)) == "resize":
                screen.draw(now, before)
            if key == "q" or drawn == options.count:
                return DONE


class _Watch:
    """Asks the server, and tries a new connection each time that there is none."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._seen = Seen()
        self._list_after_s = 0.0

    def look(self) -> Seen:
        """Return what the server tells now."""
        try:
            with AdminClient(self._path, self._timeout_s) as admin:
                stats = admin.ask("stats")
                seen = Seen(time.monotonic(), admin.ask("version"), stats, self._seen.parked)
                seen.clients = list(admin.rows("clients"))
                if seen.at_s >= self._list_after_s:
                    seen.parked = list(admin.rows("list"))
                    took_s = time.monotonic() - seen.at_s
                    self._list_after_s = seen.at_s + _LIST_SHARE * took_s
        except (AdminError, AdminUnavailableError) as error:
            seen = Seen(time.monotonic(), trouble=str(error))
        self._seen = seen
        return seen


class _Screen:
    """The terminal, if there is one, as long as it is ours."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._attributes: list[int | list[bytes | int]] | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        signal.signal(signal.SIGWINCH, self._resized)
        if self._is_terminal:
            if sys.stdin.isatty():
                self._attributes = termios.tcgetattr(0)
                tty.setcbreak(0)
            self._write(_BEGIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH):
            signal.signal(number, signal.SIG_DFL)
        if self._is_terminal:
            self._write(_END)
        if self._attributes is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._attributes)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def draw(self, now: Seen, before: Seen) -> None:
        """Draw what was seen, as large as the terminal is at this moment."""
        # Of a terminal without a size the kernel says 0, and shutil takes the default.
        columns, lines = shutil.get_terminal_size() if self._is_terminal else (80, 24)
        picture = frame(now, before, columns, lines)
        if self._is_terminal:
            # In the last column the cursor stands on the last character, which an erasure would take along.
            text = "\r\n".join(line + _TO_END_OF_LINE * (len(line) < columns) for line in picture)
            below = f"\r\n{_TO_END_OF_SCREEN}" if len(picture) < lines else ""
            self._write(f"{_HOME}{text}{below}")
        else:
            self._write("\n".join(picture) + "\n\n")

    def wait(self, until_s: float) -> str:
        """Wait until an instant of the monotonic clock, a key or a new size; return `resize`, a key, or nothing."""
        readers = [self._wake_read, *([0] if self._attributes is not None else [])]
        ready, _, _ = select.select(readers, [], [], max(0.0, until_s - time.monotonic()))
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
            return "resize"
        if 0 in ready:
            return os.read(0, 1).decode("ascii", "replace") or "q"
        return ""

    def _resized(self, number: int, where: FrameType | None) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # It is known already.

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _leave(number: int, where: FrameType | None) -> None:
    raise SystemExit(128 + number)
