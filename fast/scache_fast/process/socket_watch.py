"""A watch over socket files, which a cleaner of temporary folders may remove while the server runs.

The kernel does not report that. Without a check the server would run on without new clients, and a second server would
be started beside it. All socket files are checked now and then. A file that this process made is made anew at its path,
if the process may still do that. It may not in a chroot, where a descriptor of the folder would be a way out, nor where
its user has no right to write in the folder. In these cases, and for a socket that was passed or that is for operators,
one line is logged.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scache_fast.engine.server import Server
from scache_fast.process.errors import StartError
from scache_fast.process.listening import SocketFile, listen
from scache_fast.process.logger import Logger
from scache_fast.settings.table import Settings

LOOK_S: Final = 10
"""How often the files are checked. Arbitrary: it costs three system calls a file."""

_LOOK_NS: Final = LOOK_S * 1_000_000_000


class SocketWatch:
    """The socket files of this process: those in `files`, which are replaced there, and those of passed sockets.

    `operators` is a socket for operators that was passed. `files` and `admin_files` may change at any time: what is in
    them belongs to this process.
    """

    def __init__(
        self,
        files: list[SocketFile],
        passed: Iterable[socket.socket],
        settings: Settings,
        log: Logger,
        *,
        is_in_chroot: bool,
        operators: socket.socket | None = None,
        admin_files: Sequence[SocketFile] = (),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._files = files
        self._passed = [file for file in map(_file_of, passed) if file is not None]
        self._operators = None if operators is None else _file_of(operators)
        self._admin_files = admin_files
        self._settings = settings
        self._is_in_chroot = is_in_chroot
        self._log = log
        self._clock = clock
        self._due_ns = clock() + _LOOK_NS
        self._lost: set[str] = set()
        self._replaced: list[SocketFile] = []

    def after_turn(self, server: Server) -> None:
        """Check the files if that is due; the loop calls it after each turn."""
        now_ns = self._clock()
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + _LOOK_NS
        for file in self._replaced:  # Whoever had still connected there has been accepted since the last time.
            server.remove_listener(file.sock)
            file.close()
        self._replaced.clear()
        for index, file in enumerate(self._files):
            if file.is_lost(is_in_chroot=self._is_in_chroot):
                self._replace(index, server)
        for file in self._passed:
            if file.is_lost(is_in_chroot=self._is_in_chroot):
                self._say(file.path, "the process that passed the socket has to make it again")
        for file in (*self._admin_files, *([] if self._operators is None else [self._operators])):
            if file.is_lost(is_in_chroot=self._is_in_chroot):
                self._say(file.path, "a restart of the server, or of its socket unit, makes it anew", "operators")

    def _replace(self, index: int, server: Server) -> None:
        old = self._files[index]
        if self._is_in_chroot:
            self._say(old.path, "it is out of reach in a chroot: restart the server")
            return
        # A line about each of many tries would say nothing new.
        log = Logger(lambda priority, line: None) if old.path in self._lost else self._log
        try:
            new = listen(old.path, self._settings.mode, self._settings.owner, log, patience_s=0)
        except StartError as error:
            self._say(old.path, f"{error}; this is tried again every {LOOK_S} s")
            return
        try:
            server.add_listener(new.sock)
        except OSError as error:
            new.remove(log)
            new.close()
            self._say(old.path, f"cannot wait for clients: {error.strerror}; this is tried again every {LOOK_S} s")
            return
        self._files[index] = new
        self._replaced.append(old)
        self._lost.discard(old.path)
        self._log.warning(f"somebody removed the socket {old.path!r}: it is bound anew")

    def _say(self, path: str, what: str, who: str = "clients") -> None:
        if path not in self._lost:
            self._lost.add(path)
            self._log.warning(f"somebody removed the socket {path!r}, {who} cannot connect any more: {what}")


def _file_of(sock: socket.socket) -> SocketFile | None:
    """Return the file of a passed socket; None if it has none, or none that can be seen from here."""
    path: object = sock.getsockname()
    if not isinstance(path, str) or not path:
        return None  # A name outside of the file system.
    try:
        file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    return SocketFile(path, sock, file)
