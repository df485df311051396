"""Cases: a client that does not take its replies: the server stops reading from it, and gives it up in time."""

import fcntl
import select
import socket
import struct
import termios

from scache_conformance.servers.target import Target
from scache_conformance.suite.lab import Inconclusive, Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.lists import FAILED, GREETING
from scache_conformance.wire.unmet import Silence, Unmet

FLOOD_BYTES_MAX = 16_000_000
"""Arbitrary: far more than the sockets of one connection keep."""

_GREETING_BYTES = len(lists.encode(*GREETING))
_REPLY_BYTES = len(lists.encode((b"status", b"%d" % FAILED), (b"property", b""), (b"property", b"")))


@case("limits/output", "LIMIT-6", "CONN-2", level=Level.SHOULD)
def output(lab: Lab) -> None:
    """A server stops reading from a client that does not take its replies, and goes on when it does."""
    peer, request = lab.peer(), _one_find(lab)
    taken = peer.send_as_much_as_is_taken(request * 500, bytes_max=FLOOD_BYTES_MAX)
    if taken >= FLOOD_BYTES_MAX:
        raise Unmet("the server to stop reading while its replies are not taken", f"it read {taken} bytes")
    whole, rest = divmod(taken, len(request))
    for _ in range(whole):
        peer.receives_status(2, FAILED)
    if rest:
        peer.send_bytes(request[rest:])
        peer.receives_status(2, FAILED)
    peer.misses_endp()


@case("limits/untaken-output", "LIMIT-7", level=Level.SHOULD, schedule=Schedule.OWN_SERVERS)
def untaken_output(lab: Lab) -> None:
    """A client that does not take its replies for ipc_timeout_s is disconnected."""
    with lab.server(ipc_timeout_s=1) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket_path))  # not a Peer: what it reads is taken, and this is to read nothing
        taken = _flood(lab, server, client)
        lab.let_pass(server, 1)
        hangup = select.poll()
        hangup.register(client, 0)
        lab.transcript.note("A", "watches for the connection's end, reading nothing")
        if hangup.poll(server.declared.deadline_s * 1000):
            return
        replies = taken // len(_one_find(lab))
        if taken < FLOOD_BYTES_MAX and _unread_bytes(client) >= _GREETING_BYTES + replies * _REPLY_BYTES:
            raise Inconclusive("the flood: every reply has found room, this machine is busy")
        raise Silence("the connection closed by the server", f"it is open {server.declared.deadline_s} s later")


def _flood(lab: Lab, server: Target, client: socket.socket) -> int:
    """Send requests until no more of them are taken, though the server rests: replies wait. Return how many bytes."""
    requests = _one_find(lab) * 500
    lab.transcript.note("A", "connected; sends one find_dest after the other, reading nothing")
    client.settimeout(0.5)
    taken, before = 0, -1
    while before < taken < FLOOD_BYTES_MAX:
        before = taken
        try:
            while taken < FLOOD_BYTES_MAX:
                taken += client.send(requests[taken % len(requests) :])
        except (TimeoutError, BrokenPipeError, ConnectionResetError) as end:
            lab.transcript.note("A", f"the server takes no more: {end}")
        server.come_to_rest()
    lab.transcript.note("A", f"{taken} bytes were taken")
    return taken


def _one_find(lab: Lab) -> bytes:
    return lists.find_dest(lab.label("nothing"))


def _unread_bytes(client: socket.socket) -> int:
    byte_count: int = struct.unpack("i", fcntl.ioctl(client, termios.FIONREAD, bytes(4)))[0]
    return byte_count
