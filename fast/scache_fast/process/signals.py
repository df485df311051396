"""Signals as events of the loop.

Python runs a signal's handler and then takes up the interrupted wait again (PEP 475), so a handler alone would not wake
the loop. For that reason the interpreter also writes a byte to a socket for each signal, from inside its C handler. The
loop watches the other end of that socket.
"""

import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final

from scache_fast.engine.log import Log
from scache_fast.engine.server import Server

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
_USED: Final = (*_HANDLED, signal.SIGUSR2)
"""USR2 interrupts what hangs in the kernel (stalls.py). The closing threads unblock it for themselves."""

_SENT_BY_FILES: Final = (signal.SIGIO, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
"""What the kernel sends when something can be read or written, to whichever process a file names as its owner (F_SETOWN
with O_ASYNC, F_SETSIG). Whoever has a parked file, or the other end of a client's connection, may name this process if
it runs as the user of this process. The default of these signals is to end a process."""


class Signals:
    """While entered: TERM and INT stop a server, USR1 makes it print statistics, HUP reads the settings again.

    Those that files send are ignored.
    """

    __slots__ = ("_hang_up", "_log", "_noted", "_reader", "_server", "_writer")

    def __init__(self, server: Server, log: Log, hang_up: Callable[[], None]) -> None:
        self._server = server
        self._log = log
        self._hang_up = hang_up
        self._noted: set[int] = set()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __enter__(self) -> "Signals":
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGUSR1, self._note)
        signal.signal(signal.SIGHUP, self._note)
        for number in _SENT_BY_FILES:
            signal.signal(number, signal.SIG_IGN)
        self._server.watch(self._reader.fileno(), self._woken)
        # Threads of some runtimes start a program with signals blocked, and a program inherits that.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _USED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # From here on the process is ending: another TERM must not cut that short.
        for number in _HANDLED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._server.unwatch(self._reader.fileno())
        self._reader.close()
        self._writer.close()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._server.stop()

    def _note(self, number: int, frame: FrameType | None) -> None:
        # A handler may run in the middle of anything, a line being written included. It only leaves a note.
        self._noted.add(number)

    def _woken(self) -> None:
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass  # the byte was taken in the turn before
        if signal.SIGUSR1 in self._noted:
            self._noted.discard(signal.SIGUSR1)
            if not self._server.print_statistics():
                self._log.info("SIGUSR1: there are no statistics, nothing was asked since the interval began")
        if signal.SIGHUP in self._noted:
            self._noted.discard(signal.SIGHUP)
            self._hang_up()
