"""Cases: what the server does with its copy of a connection changes nothing about other copies."""

import fcntl
import os
import socket
import struct
from collections.abc import Callable

from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, add
from scache_conformance.suite.requirements import require
from scache_conformance.wire import lists
from scache_conformance.wire.lists import FAILED

_ON = struct.pack("i", 1)
_SOCKET, _TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP

OPTIONS = {
    "SO_LINGER": (_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5)),
    "SO_KEEPALIVE": (_SOCKET, socket.SO_KEEPALIVE, _ON),
    "SO_OOBINLINE": (_SOCKET, socket.SO_OOBINLINE, _ON),
    "SO_PRIORITY": (_SOCKET, socket.SO_PRIORITY, _ON),
    "SO_RCVTIMEO": (_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 7, 0)),
    "SO_SNDTIMEO": (_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 7, 0)),
    "TCP_NODELAY": (_TCP, socket.TCP_NODELAY, _ON),
    "TCP_KEEPIDLE": (_TCP, socket.TCP_KEEPIDLE, struct.pack("i", 77)),
}
"""Options that are set before the connection is passed, or are left unset, and must not have changed afterwards."""


def _state_of(connection: socket.socket) -> dict[str, object]:
    """Return the options and flags of a connection."""
    options = {
        name: connection.getsockopt(level, option, len(value)) for name, (level, option, value) in OPTIONS.items()
    }
    flags = {"O_NONBLOCK": os.get_blocking(connection.fileno()), "F_GETOWN": fcntl.fcntl(connection, fcntl.F_GETOWN)}
    return {**options, **flags}


Use = Callable[[Lab, Client, int], None]
"""Makes a server do something with a descriptor."""


def _expire(lab: Lab, peer: Client, fd: int) -> None:
    ttl_s = lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.saves(fd, lab.label("e"), b"p", ttl_s)
        line = peer.park("e", b"p", ttl_s)
    life.reach_end()
    line.insist_on_hangup("the session parked after it", peer.deadline_s)


def _find(lab: Lab, peer: Client, fd: int) -> None:
    peer.saves(fd, lab.label("e"), b"p")
    os.close(peer.give_up(peer.finds_endp("e", b"p").fd))


def _refuse(lab: Lab, peer: Client, fd: int) -> None:
    peer.begin_save("e")
    peer.sends_descriptors([fd, fd], FAILED)


def _ride_along(lab: Lab, peer: Client, fd: int) -> None:
    peer.send_bytes(lists.find_endp(lab.label("nothing")), [fd])
    peer.receives(FAILED, b"")


def _at_a_limit(lab: Lab, peer: Client, fd: int) -> None:
    with lab.server(sessions_max=1) as server, lab.peer(target=server) as other:
        other.park("e")
        other.begin_save("e")
        other.sends_descriptors([fd], FAILED)
        server.poke()
        server.come_to_rest()


def _expire_held(lab: Lab, peer: Client, fd: int) -> None:
    ttl_s = lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.saves(fd, lab.label("e"), b"p", ttl_s)
    with life.in_time():
        peer.holds_endp("e")
    lab.set_clock_forward(ttl_s)
    life.reach_end()
    peer.hang_up()


def _untouched(slug: str, when: str, clause: str, use: Use, schedule: Schedule = Schedule.IN_TURN) -> None:
    def function(lab: Lab) -> None:
        for is_set in (True, False):
            _use_untouched(lab, use, is_set=is_set)

    title = f"When {when}, the options and flags of its other copies stay as they are."
    add(f"fd/options-after-{slug}", title, (clause, "FD-13"), function, schedule=schedule)


def _use_untouched(lab: Lab, use: Use, *, is_set: bool) -> None:
    peer = lab.peer()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as near,
    ):
        far, _ = listener.accept()
        with far:
            if is_set:
                for level, option, value in OPTIONS.values():
                    far.setsockopt(level, option, value)
            os.set_blocking(far.fileno(), not is_set)
            before = _state_of(far)
            use(lab, peer, far.fileno())
            lab.target.poke()
            lab.target.come_to_rest()
            require("the options of the copy that was kept", _state_of(far), before)
            far.send(b"there")
            near.send(b"back")
            require("what passes", (near.recv(100), _received(far)), (b"there", b"back"))


def _received(connection: socket.socket) -> bytes:
    connection.setblocking(True)
    return connection.recv(100)


_untouched("expiry", "a parked connection expires", "TTL-3", _expire, Schedule.WAITING)
_untouched("hand-over", "a connection is handed over", "FD-8", _find)
_untouched("refusal", "a connection is refused, twice on one byte", "FD-4", _refuse)
_untouched("limit", "a connection is refused at a limit", "LIMIT-2", _at_a_limit, Schedule.OWN_SERVERS)
_untouched(
    "expiry-while-held", "a connection expires while it is held", "ENDP-6", _expire_held,
    Schedule.UNDISTURBED,
)  # fmt: skip
_untouched("riding-along", "a connection comes with a request", "FD-1", _ride_along)
