"""The start of a process that takes over from another one, and what it gets beyond the server: socket files.

Nothing on disk is touched here. A file becomes this process's, to be removed at its end, at the instant at which the
process is in charge.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from scache_fast.engine.server import Server
from scache_fast.process.errors import StartError
from scache_fast.process.holdings import Holdings
from scache_fast.process.listening import SocketFile, absolute
from scache_fast.process.logger import Logger
from scache_fast.settings.accounts import Account
from scache_fast.takeover.predecessor import LAST_S, PATIENCE_S, Place
from scache_fast.takeover.successor import Inheritance, Successor, TakeoverError


class Succession:
    """Takes over from the server behind an admin socket; raises StartError if there is none.

    `listen` and `admin` are the paths that the settings name: they have to be among those that are taken over.
    `user` is who this process is going to be. `starter` is what `main_process.detach` has returned, None if systemd has
    not started this process.
    """

    def __init__(
        self,
        path: str,
        listen: Sequence[str],
        admin: str | None,
        user: Account | None,
        starter: int | None,
        log: Logger,
    ) -> None:
        self._starter = starter
        self._log = log
        self._listen = [absolute(each) for each in listen]
        self._admin = None if admin is None else absolute(admin)
        try:
            users = {0, os.geteuid() if user is None else user.uid}
            self._successor = Successor(path, users, starter is not None, log)
        except TakeoverError as error:
            raise StartError(f"cannot take over: {error}") from None
        self._inherited: Inheritance | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """Return what the old process counted."""
        assert self._inherited is not None
        return self._inherited.counts

    def receive(self, server: Server, descriptors: int, holdings: Holdings) -> socket.socket:
        """Have everything copied into an empty server; return the admin socket. Raises StartError."""
        try:
            inherited = self._inherited = self._successor.receive(server, descriptors)
            paths = [os.fsdecode(place.path) for place in inherited.places]
            admin = os.fsdecode(inherited.admin.path)
            missing = [path for path in self._listen if path not in paths]
            if missing or self._admin not in (None, admin):
                self._successor.give_up(
                    f"the settings of the new process name {(*missing, self._admin)}, and the old one listens on "
                    f"{paths} and, for operators, {admin!r}: a takeover changes no path"
                )
        except TakeoverError as error:
            raise StartError(f"cannot take over: {error}") from None
        if inherited.notices is not None:
            holdings.notices.adopt(inherited.notices, inherited.watchdog_ns or None)
            holdings.turn_s_max = holdings.notices.turn_s_max
        return inherited.admin.sock

    def take(self, holdings: Holdings, now_ns: Callable[[], int]) -> str:
        """Take charge; return the paths that are listened on. Raises StartError."""
        inherited = self._inherited
        assert inherited is not None

        def end() -> None:
            holdings.inheriting_until_s = 0.0
            if self._starter is not None:
                try:
                    os.write(self._starter, b"\n")
                except OSError:
                    pass  # EPIPE: it was killed.
                os.close(self._starter)
                self._starter = None

        holdings.inheriting_until_s = time.monotonic() + LAST_S + PATIENCE_S
        try:
            self._successor.take(now_ns, end)
        except TakeoverError as error:
            raise StartError(f"cannot take over: {error}") from None
        for place, files in [
            *((place, holdings.files) for place in inherited.places),
            (inherited.admin, holdings.admin_files),
        ]:
            if place.file is not None:
                files.append(SocketFile(os.fsdecode(place.path), place.sock, place.file))
        self._see_who_owns(inherited.admin)
        return ", ".join(os.fsdecode(place.path) for place in inherited.places)

    def _see_who_owns(self, admin: Place) -> None:
        """Warn if the user of this process cannot connect to the admin socket: the file is that of the old process."""
        if admin.file is None or os.geteuid() == 0:
            return
        owner = os.fstat(admin.file).st_uid
        if owner != os.geteuid():
            self._log.warning(
                f"{os.fsdecode(admin.path)!r}: the admin socket still belongs to uid {owner}, who may not use it any "
                "more: only root can connect until its owner is changed (chown)"
            )
