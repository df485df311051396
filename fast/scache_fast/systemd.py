"""What systemd, and supervisors that speak like it, pass and want to be told.

Decides how inherited sockets are found and what is notified when. Refuses to know what is served.

Sources: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3); s6's notification-fd.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

from scache_fast.listening import ListenError
from scache_fast.log import Logger
from scache_fast.process import Surroundings
from scache_fast.server import Server

_FIRST_FD: Final = 3
"""SD_LISTEN_FDS_START."""

_STATUS_EVERY_NS: Final = 5_000_000_000
"""How often the status line is renewed while requests are served. Arbitrary; people read it."""


def passed_sockets(environment: Mapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets that were passed to this process; raises ListenError if one is no such thing."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()):
        raise ListenError(f"LISTEN_FDS={count!r} is not a number; systemd sets it, do not set it by hand")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(int(count)):
        fd = _FIRST_FD + index
        name = names[index] if index < len(names) and names[index] else "unnamed"
        os.set_inheritable(fd, False)
        try:
            sock = socket.socket(fileno=fd)
        except OSError as error:
            raise ListenError(f"descriptor {fd} ({name}) was passed and is no socket: {error.strerror}") from None
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM or not listens:
            raise ListenError(
                f"descriptor {fd} ({name}) was passed and is not a listening UNIX stream socket: use ListenStream= "
                "with a path, and Accept=no"
            )
        found.append(sock)
    return found


class Notifier:
    """Tells a supervisor about readiness, status, watchdog and the end.

    Everything is looked up and connected when it is made, because later the process may be in a chroot. A supervisor
    that does not listen is none of the server's business: what cannot be sent is dropped.
    """

    def __init__(self, environment: Mapping[str, str], ready_fd: int | None, log: Logger) -> None:
        self._ready_fd = ready_fd
        self._log = log
        self._server: Server | None = None
        self._socket = _connect(environment.get("NOTIFY_SOCKET", ""), log)
        self._watchdog_ns = _watchdog_ns(environment) if self._socket is not None else None
        self._patted_ns = self._said_ns = time.monotonic_ns()

    def surroundings(self) -> Surroundings:
        """Return what the loop is to call."""
        surroundings = Surroundings(ready=self._ready, stopping=self._stopping)
        if self._socket is not None:
            surroundings.after_turn = self._after_turn
        if self._watchdog_ns is not None:
            # Half the time is what sd_watchdog_enabled(3) recommends: one late turn is not a dead server.
            surroundings.turn_s_max = self._watchdog_ns / 2 / 1e9
        return surroundings

    def _ready(self, server: Server) -> None:
        self._server = server
        self._send(f"READY=1\n{self._status()}")
        if self._ready_fd is not None:
            try:
                os.write(self._ready_fd, b"\n")
                os.close(self._ready_fd)
            except OSError as error:
                self._log.warning(f"cannot tell descriptor {self._ready_fd} about readiness: {error.strerror}")

    def _after_turn(self, served: int) -> None:
        now_ns = time.monotonic_ns()
        if self._watchdog_ns is not None and now_ns - self._patted_ns >= self._watchdog_ns // 4:
            self._patted_ns = now_ns
            self._send("WATCHDOG=1")
        if now_ns - self._said_ns >= _STATUS_EVERY_NS:
            self._said_ns = now_ns
            self._send(self._status())

    def _stopping(self) -> None:
        self._send("STOPPING=1")

    def _status(self) -> str:
        assert self._server is not None
        sizes = self._server.table.sizes
        return (
            f"STATUS={self._server.clients} clients; {sizes.sessions} connections of {sizes.endpoints} endpoints; "
            f"{sizes.bindings} bindings of {sizes.destinations} destinations"
        )

    def _send(self, text: str) -> None:
        if self._socket is not None:
            try:
                self._socket.send(text.encode())
            except OSError:
                # EAGAIN, ECONNREFUSED: the supervisor is busy or gone.
                pass


def _connect(address: str, log: Logger) -> socket.socket | None:
    if not address:
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        sock.close()
        log.warning(f"cannot notify NOTIFY_SOCKET={address!r}: {error.strerror}")
        return None
    return sock


def _watchdog_ns(environment: Mapping[str, str]) -> int | None:
    usec = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not (usec.isascii() and usec.isdigit()):
        return None
    return int(usec) * 1000 or None
