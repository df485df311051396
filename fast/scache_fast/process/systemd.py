"""What systemd, and supervisors that speak like it, pass and want to be told.

Sources: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3); s6's notification-fd.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Final

from scache_fast.engine import wire
from scache_fast.engine.server import Server
from scache_fast.process import inherited
from scache_fast.process.errors import StartError
from scache_fast.process.logger import Logger
from scache_fast.process.main_process import STORE_NAME, Notices
from scache_fast.process.serving import Supervisor

if TYPE_CHECKING:
    from scache_fast.process.descriptor_store import DescriptorStore

_FIRST_FD: Final = 3
"""SD_LISTEN_FDS_START."""

ADMIN_NAME: Final = "admin"

_VARIABLES: Final = (
    "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE",
)  # fmt: skip

_STATUS_EVERY_NS: Final = 5_000_000_000
"""How often the status line is renewed when it has changed. Arbitrary; people read it."""


def passed_sockets(environment: Mapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets that were passed to this process; raises StartError if one is no such thing."""
    found: list[socket.socket] = []
    for fd, name in _passed(environment):
        if name == STORE_NAME:
            continue
        try:
            found.append(inherited.listening_socket(fd, name))
        except StartError:
            for sock in found:
                sock.close()
            raise
    return found


def passed_carriers(environment: Mapping[str, str]) -> list[int]:
    """Return what came from the descriptor store; raises StartError."""
    found = [fd for fd, name in _passed(environment) if name == STORE_NAME]
    for fd in found:
        inherited.keep_from_children(fd, STORE_NAME)
    return found


def _passed(environment: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return the descriptors that were passed to this process, with their names; raises StartError."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not re.fullmatch(r"[0-9]{1,9}", count):
        raise StartError(f"LISTEN_FDS={count!r} is not a number; systemd sets it, do not set it by hand")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += ["unnamed"] * (int(count) - len(names))
    return [(_FIRST_FD + index, names[index] or "unnamed") for index in range(int(count))]


def passed_admin(environment: Mapping[str, str], passed: list[socket.socket]) -> socket.socket | None:
    """Take the socket that systemd calls `admin` (FileDescriptorName=) out of the passed ones; None: there is none."""
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    for sock in passed:
        if names[sock.fileno() - _FIRST_FD : sock.fileno() - _FIRST_FD + 1] == [ADMIN_NAME]:
            passed.remove(sock)
            return sock
    return None


def is_service(environment: Mapping[str, str]) -> bool:
    """Say whether this process is the main process of a service."""
    return "NOTIFY_SOCKET" in environment or environment.get("SYSTEMD_EXEC_PID") == str(os.getpid())


def forget(environment: MutableMapping[str, str]) -> None:
    """Take out of the environment what was meant for this process alone, as sd_listen_fds(3) does on request."""
    for name in _VARIABLES:
        environment.pop(name, None)


class Notifier:
    """Tells a supervisor about readiness, status, watchdog and the end.

    Everything is looked up and connected when it is made, because later the process may be in a chroot. A supervisor
    that does not listen is none of the server's business: what cannot be sent is dropped.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        ready_fd: int | None,
        log: Logger,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._ready_fd = ready_fd
        self._log = log
        self._clock = clock
        self._server: Server | None = None
        sock = _connect(environment.get("NOTIFY_SOCKET", ""), log)
        self.notices = Notices(sock, _watchdog_ns(environment) if sock is not None else None)
        self._patted_ns = self._said_ns = clock()
        self._said = ""

    def supervisor(self) -> Supervisor:
        """Return what the loop is to call."""
        supervisor = Supervisor(ready=self._ready, after_turn=self._after_turn, stopping=self._stopping)
        if self.notices.is_connected:
            supervisor.turn_s_max = min(_STATUS_EVERY_NS / 1e9, self.notices.turn_s_max)
        return supervisor

    def descriptor_store(
        self, environment: Mapping[str, str], carriers: list[int], *, is_takeover: bool
    ) -> "DescriptorStore | None":
        """Return the descriptor store of the service; None if this process belongs to no service, and cannot come to.

        Only systemd knows whether the unit has a store; it says so from version 254 on (FDSTORE).
        """
        if not (self.notices.is_connected or carriers or is_takeover):
            return None
        from scache_fast.process.descriptor_store import DescriptorStore  # Most processes have none.

        capacity = environment.get("FDSTORE", "")
        is_told = re.fullmatch(r"[0-9]{1,9}", capacity) is not None
        # NOTIFY_SOCKET alone may be that of a supervisor who never reads what comes with a descriptor.
        is_main_process = self.notices.is_connected and (
            is_told or environment.get("SYSTEMD_EXEC_PID") == str(os.getpid())
        )
        return DescriptorStore(
            self.notices, carriers, int(capacity) if is_told else None, self._log, is_main_process=is_main_process
        )

    def _ready(self, server: Server) -> None:
        self._server = server
        if not self.notices.is_adopted:  # The service was ready before this process began.
            self._said = self._status()
            self.notices.send(f"READY=1\n{self._said}")
        if self._ready_fd is not None:
            try:
                os.write(self._ready_fd, b"\n")
            except OSError as error:
                # EPIPE, EIO, ENOSPC: whoever wanted to know does not any more.
                self._log.warning(f"cannot tell descriptor {self._ready_fd} about readiness: {error.strerror}")
            wire.close(self._ready_fd, self._log)

    def _after_turn(self, server: Server) -> None:
        if not self.notices.is_connected:
            return
        now_ns = self._clock()
        watchdog_ns = self.notices.watchdog_ns
        if watchdog_ns is not None and now_ns - self._patted_ns >= watchdog_ns // 4:
            self._patted_ns = now_ns
            self.notices.send("WATCHDOG=1")
        if now_ns - self._said_ns >= _STATUS_EVERY_NS:
            self._said_ns = now_ns
            status = self._status()
            if status != self._said:
                self._said = status
                self.notices.send(status)

    def _stopping(self) -> None:
        self.notices.send("STOPPING=1")

    def _status(self) -> str:
        assert self._server is not None
        sizes = self._server.table.sizes
        return (
            f"STATUS={self._server.clients} clients; {sizes.sessions} connections of {sizes.endpoints} endpoints; "
            f"{sizes.bindings} bindings of {sizes.destinations} destinations"
        )


def _connect(address: str, log: Logger) -> socket.socket | None:
    if not address:
        return None
    sock: socket.socket | None = None
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        if sock is not None:
            sock.close()
        # Python has a text and no number for a path that is too long.
        log.warning(f"cannot notify NOTIFY_SOCKET={address!r}: {error.strerror or error}")
        return None
    return sock


def _watchdog_ns(environment: Mapping[str, str]) -> int | None:
    usec = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not re.fullmatch(r"[0-9]{1,18}", usec):
        return None
    return int(usec) * 1000 or None
