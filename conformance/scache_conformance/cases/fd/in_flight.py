"""Cases: descriptors in flight (sent and not read yet), and control data that is no descriptor."""

import os
import socket
import struct
from pathlib import Path

from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, add, case
from scache_conformance.suite.requirements import require
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED
from scache_conformance.wire.unmet import Unmet

CLIENTS = 24
"""How many clients find at once. Arbitrary: more than twice `IN_FLIGHT_MAX`."""

FLOOD_BYTES_MAX = 16_000_000
"""Arbitrary: far more than the sockets of one connection keep."""

IN_FLIGHT_MAX = 8
"""How many descriptors the server's user may have in flight. Arbitrary."""

_MAY_HAVE_ANY_IN_FLIGHT = 1 << 21 | 1 << 24
"""CAP_SYS_ADMIN and CAP_SYS_RESOURCE: the kernel does not limit a process that has one of them."""


@case("fd/one-in-flight", "FD-14", "CONN-3")
def one_in_flight(lab: Lab) -> None:
    """While a client has not read its descriptor, nothing more that it sends is served; after that it is."""
    peer, other = lab.peer(), lab.peer("B", deadline_s=lab.patience_s)
    first, second = peer.park("e", b"1"), peer.park("e", b"2")
    find = lists.find_endp(lab.label("e"))
    peer.send_bytes((find + DUMMY_LIST * 2) * 2)
    other.misses_endp()  # two turns of the server's loop
    other.misses_endp()
    lab.target.come_to_rest()
    sent = len(lists.encode((b"status", b"0"), (b"property", b"1"))) + 1
    require("how many bytes have come before the first descriptor is read", peer.unread_bytes() <= sent, True)
    other.finds_endp("e", b"2", second)
    peer.receives(DONE, b"1", byte_by_byte=True)
    peer.receives_end_of(first)
    peer.receives(FAILED, b"")


@case("fd/in-flight-is-not-read", "FD-14")
def in_flight_is_not_read(lab: Lab) -> None:
    """While a client has not read its descriptor, the server soon stops reading from it; then it goes on."""
    peer = lab.peer()
    line = peer.parks_and_holds()
    request = lists.find_endp(lab.label("nothing"))
    peer.send_bytes(DUMMY_LIST)
    require("whether the descriptor comes", peer.has_something_to_read(), True)
    peer.send_bytes(DUMMY_LIST)
    taken = peer.send_as_much_as_is_taken(request * 500, FLOOD_BYTES_MAX, lab.target.come_to_rest)
    if taken >= FLOOD_BYTES_MAX:
        raise Unmet("the server to stop reading while a descriptor is in flight", f"it read {taken} bytes")
    peer.receives_end_of(line)
    whole, rest = divmod(taken, len(request))
    if rest:
        peer.send_bytes(request[rest:])
    for _ in range(whole + bool(rest)):
        peer.receives_status(1, FAILED)


@case("fd/too-many-in-flight", "FD-10", schedule=Schedule.OWN_SERVERS)
def too_many_in_flight(lab: Lab) -> None:
    """When the kernel takes no more descriptors, sessions are put back and their clients disconnected."""
    with lab.server() as server:
        _insist_on_a_limit(server)
        saver = lab.peer("S", target=server)
        for number in range(CLIENTS):
            saver.park("e", b"%d" % number)
        finders = [lab.peer(f"F{number}", target=server) for number in range(CLIENTS)]
        taken = 0
        with server.descriptors_limited(IN_FLIGHT_MAX):
            for finder in finders:
                finder.holds_endp("e", b"%d" % taken)
                finder.send_bytes(DUMMY_LIST)
                require("whether the finder gets its descriptor, or its end", finder.has_something_to_read(), True)
                taken += not finder.has_ended()
        if taken == CLIENTS:
            raise Unmet("finders disconnected, whose descriptor could not be sent", "each got one")
        for number in range(taken, CLIENTS):
            saver.finds_endp("e", b"%d" % number)
        saver.misses_endp("e")


def _insist_on_a_limit(server: Target) -> None:
    try:
        status = Path(f"/proc/{server.pid}/status").read_text()
    except OSError as error:
        raise Unavailable(f"needs to look into the server's process: {error}") from error
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    if effective & _MAY_HAVE_ANY_IN_FLIGHT:
        raise Unavailable("needs a server without CAP_SYS_ADMIN and CAP_SYS_RESOURCE: this one is not limited")


# Control data of other kinds.


def _credentials() -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("3i", os.getpid(), os.getuid(), os.getgid())


def _rights(*fds: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds)


@case("fd/with-credentials", "FD-1", "FD-3")
def with_credentials(lab: Lab) -> None:
    """Credentials beside a descriptor or on plain bytes (SCM_CREDENTIALS) change nothing."""
    peer, line = lab.peer(), lab.line()
    peer.send_bytes(lists.save_endp(lab.ttl_s, lab.label("e"), b"p"), control=[_credentials()])
    peer.insist_on_invitation()
    peer.send_bytes(b"\0", [line.far.fileno()], [_credentials()])
    peer.receives(DONE)
    peer.finds_endp("e", b"p", line)


def _refused(slug: str, title: str, in_messages: tuple[int, ...]) -> None:
    def function(lab: Lab) -> None:
        peer, lines = lab.peer(), [lab.line() for _ in range(sum(in_messages))]
        fds = [line.far.fileno() for line in lines]
        peer.begin_save("e")
        peer.send_bytes(b"\0", control=[_rights(*[fds.pop() for _ in range(count)]) for count in in_messages])
        peer.receives(FAILED)
        for line in lines:
            line.let_go()
            line.insist_on_hangup("each descriptor", peer.deadline_s)
        peer.misses_endp("e")

    add(f"fd/{slug}", title, ("FD-4",), function)


_refused(
    "in-two-messages",
    "Two descriptors on one byte, each in a control message of its own, are refused and closed.",
    (1, 1),
)
_refused("in-an-empty-message", "A byte with a control message that holds no descriptor: status 2.", (0,))
