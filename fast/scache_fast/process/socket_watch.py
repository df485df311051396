"""A watch over socket files, which a cleaner of temporary folders may remove while the server runs.

The kernel does not report that. Without a check the server would run on without new clients, and a second server would
be started beside it. All socket files are checked now and then. A file that this process made is made anew at its path,
if the process may still do that. It may not in a chroot, where a descriptor of the folder would be a way out, nor where
its user has no right to write in the folder. In these cases, and for a socket that was passed or that is for operators,
one line is logged.

The checks and the new file are made in a thread, because a path may lead into a file system that does not answer. The
loop waits for that thread for `_PATIENCE_S` at most. Until it has ended there are no further checks.
"""

import os
import socket
import threading
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

_PATIENCE_S: Final = 0.02
"""How long the loop waits for a check. Arbitrary: a check takes less than a millisecond where nothing hangs."""

_LOOK_NS: Final = LOOK_S * 1_000_000_000


class _Look:
    """One check of all files, and what came of it."""

    __slots__ = ("error", "lost", "made", "others", "own", "thread", "warnings")

    def __init__(self, own: list[SocketFile], others: list[SocketFile]) -> None:
        self.own = own
        self.others = others
        self.thread: threading.Thread | None = None
        self.lost: list[SocketFile] = []
        self.made: list[tuple[SocketFile, SocketFile | StartError]] = []
        """Own files that were lost, each with the new one, or with the reason why there is none."""
        self.warnings: list[str] = []
        self.error: OSError | None = None


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
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._look: _Look | None = None
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
        if self._look is not None:
            self._take_note(server)
        now_ns = self._clock()
        if self._look is not None or now_ns < self._due_ns:
            return
        self._due_ns = now_ns + _LOOK_NS
        for file in self._replaced:  # Whoever had still connected there has been accepted since the last time.
            server.remove_listener(file.sock)
            file.close()
        self._replaced.clear()
        operators = [] if self._operators is None else [self._operators]
        self._look = look = _Look(list(self._files), [*self._passed, *self._admin_files, *operators])
        thread = threading.Thread(target=self._check, args=(look,), name="socket files", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # RLIMIT_NPROC
            self._check(look)
        else:
            look.thread = thread
            thread.join(self._patience_s)
        self._take_note(server)

    def _check(self, look: _Look) -> None:
        """Find what is lost, and make anew what can be; in a thread, which may hang."""
        try:
            look.lost = [file for file in (*look.own, *look.others) if file.is_lost(is_in_chroot=self._is_in_chroot)]
            for old in [] if self._is_in_chroot else look.own:
                if old in look.lost:
                    look.made.append((old, self._make_anew(old, look.warnings)))
        except OSError as error:
            look.error = error

    def _make_anew(self, old: SocketFile, warnings: list[str]) -> SocketFile | StartError:
        log = Logger(lambda priority, line: warnings.append(line.removeprefix("warning: ")))
        try:
            return listen(old.path, self._settings.mode, self._settings.owner, log, patience_s=0)
        except StartError as error:
            if old.path in self._lost:
                warnings.clear()  # A line about each of many tries would say nothing new.
            return error

    def _take_note(self, server: Server) -> None:
        """Bring into force what a check has found, if it has ended; raises OSError if it could not be made."""
        look = self._look
        if look is None or (look.thread is not None and look.thread.is_alive()):
            return
        self._look = None
        for text in look.warnings:
            self._log.warning(text)
        for old, made in look.made:
            self._replace(old, made, server)
        for file in look.lost:
            if file in self._passed:
                self._say(file.path, "the process that passed the socket has to make it again")
            elif file in self._admin_files or file is self._operators:
                self._say(file.path, "a restart of the server, or of its socket unit, makes it anew", "operators")
            elif self._is_in_chroot and file in self._files:
                self._say(file.path, "it is out of reach in a chroot: restart the server")
        if look.error is not None:
            raise look.error

    def _replace(self, old: SocketFile, new: SocketFile | StartError, server: Server) -> None:
        if isinstance(new, StartError):
            self._say(old.path, f"{new}; this is tried again every {LOOK_S} s")
            return
        if old not in self._files:  # Another process has taken over meanwhile.
            new.remove(self._log)
            new.close()
            return
        try:
            server.add_listener(new.sock)
        except OSError as error:
            new.remove(self._log)
            new.close()
            self._say(old.path, f"cannot wait for clients: {error.strerror}; this is tried again every {LOOK_S} s")
            return
        self._files[self._files.index(old)] = new
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
