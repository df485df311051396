"""Cases: a client that does not take its replies: the server stops reading from it, and gives it up in time."""

import fcntl
import select
import socket
import struct
import termios

from scache_conformance.servers.target import Target
from scache_conformance.suite.lab import Inconclusive, Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.wire import lists
from scache_conformance.wire.lists import FAILED, GREETING
from scache_conformance.wire.unmet import Silence, Unmet

FLOOD_BYTES_MAX = 16_000_000
"""Arbitrary: far more than the sockets of one connection keep."""

FINDS_MAX = 2_000
"""Arbitrary: far more than a socket has room for replies to, each of which is sent alone."""

LONG_BYTES = 2_000_000
"""Properties that make a reply many times as long as a socket holds. Arbitrary."""

PIECE_BYTES = 32_768
"""As much of it is taken at once. Arbitrary."""

AT_A_TIME = 50
"""So many requests are sent together: their replies are far fewer bytes than a server may keep. Arbitrary."""

_GREETING_BYTES = len(lists.encode(*GREETING))
_REPLY_BYTES = len(lists.encode((b"status", b"%d" % FAILED), (b"property", b""), (b"property", b"")))


@case("limits/output", "LIMIT-6", "CONN-2")
def output(lab: Lab) -> None:
    """A server stops reading from a client that does not read its replies, and goes on when the client does."""
    peer, request = lab.peer(), _one_find(lab)
    taken = peer.send_as_much_as_is_taken(request * 500, FLOOD_BYTES_MAX, lab.target.come_to_rest)
    if taken >= FLOOD_BYTES_MAX:
        raise Unmet("the server to stop reading while its replies are not taken", f"it read {taken} bytes")
    whole, rest = divmod(taken, len(request))
    for _ in range(whole):
        peer.receives_status(2, FAILED)
    if rest:
        peer.send_bytes(request[rest:])
        peer.receives_status(2, FAILED)
    peer.misses_endp()


@case("limits/untaken-and-half-closed", "CONN-11")
def untaken_and_half_closed(lab: Lab) -> None:
    """A client that shuts down sending while a reply waits for room in its socket gets all replies, then the end."""
    peer, find = lab.peer(), _one_find(lab)
    finds = 0
    while peer.unread_bytes() == finds * _REPLY_BYTES and finds < FINDS_MAX:
        peer.send_bytes(find)
        finds += 1
        lab.target.come_to_rest()
    peer.shut_down_sending()
    lab.target.come_to_rest()
    for _ in range(finds):
        peer.receives_status(2, FAILED)
    peer.insist_on_hangup()


@case("limits/untaken-output", "LIMIT-7", schedule=Schedule.OWN_SERVERS)
def untaken_output(lab: Lab) -> None:
    """A client that does not read its replies for ipc_timeout_s is disconnected."""
    with lab.server(ipc_timeout_s=1) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket_path))  # not a Peer: what it reads is taken, and this is to read nothing
        taken = _flood(lab, server, client)
        lab.let_pass(server, 1)
        lab.transcript.note("A", "watches for the connection's end, reading nothing")
        if _hangs_up(client, server.declared.deadline_s):
            return
        replies = taken // len(_one_find(lab))
        if taken < FLOOD_BYTES_MAX and _unread_bytes(client) >= _GREETING_BYTES + replies * _REPLY_BYTES:
            raise Inconclusive("the flood: every reply has found room, this machine is busy")
        raise Silence("the connection closed by the server", f"it is open {server.declared.deadline_s} s later")


@case("limits/untaken-replies", "LIMIT-7", schedule=Schedule.OWN_SERVERS)
def untaken_replies(lab: Lab) -> None:
    """A client whose requests are all served, and that does not read the replies, is disconnected in time."""
    with lab.server(ipc_timeout_s=1) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket_path))  # not a Peer: what it reads is taken, and this is to read nothing
        client.settimeout(server.declared.deadline_s)
        lab.transcript.note("A", f"connected; sends {AT_A_TIME} find_dest after the other until replies find no room")
        for sent in range(AT_A_TIME, FLOOD_BYTES_MAX, AT_A_TIME):
            client.sendall(_one_find(lab) * AT_A_TIME)
            server.come_to_rest()
            if _unread_bytes(client) < _GREETING_BYTES + sent * _REPLY_BYTES:
                break
        lab.let_pass(server, 1)
        lab.transcript.note("A", "watches for the connection's end, reading nothing")
        if not _hangs_up(client, server.declared.deadline_s):
            raise Silence("the connection closed by the server", f"it is open {server.declared.deadline_s} s later")


@case("limits/trickling-output", "LIMIT-7", schedule=Schedule.OWN_SERVERS)
def trickling_output(lab: Lab) -> None:
    """A client that takes a reply in small pieces for ipc_timeout_s is disconnected: no piece begins the time anew."""
    with (
        lab.server(ipc_timeout_s=2, ttl_limit_s=60, attribute_list_bytes_max=LONG_BYTES + 1000) as server,
        lab.peer("S", target=server) as saver,
        socket.socket(socket.AF_UNIX) as client,
    ):
        saver.park("e", b"x" * LONG_BYTES, 60)
        client.connect(str(server.socket_path))  # not a Peer, which reads a reply as a whole
        client.settimeout(saver.deadline_s)
        lab.transcript.note("A", f"connected; sends find_endp, whose reply has {LONG_BYTES} bytes of properties")
        client.sendall(lists.find_endp(lab.label("e")))
        _receive(client, _GREETING_BYTES + 1)  # the reply has begun
        if server.has_clock:
            lab.let_pass(server, 1)
            lab.transcript.note("A", f"takes {_take_until_more_comes(client, server)} bytes, and more come")
            lab.let_pass(server, 1)
        else:
            lab.transcript.note("A", f"takes {PIECE_BYTES} bytes ten times a second")
            for _ in range(LONG_BYTES // PIECE_BYTES):
                if _hangs_up(client, 0.1):
                    return
                _receive(client, PIECE_BYTES)
        lab.transcript.note("A", "watches for the connection's end, reading nothing")
        if not _hangs_up(client, saver.deadline_s):
            raise Silence("the connection closed by the server", f"it is open {saver.deadline_s} s later")


def _take_until_more_comes(client: socket.socket, server: Target) -> int:
    """Take what a client's socket holds until the server has written more of the reply; return how many bytes."""
    taken = 0
    while True:
        server.come_to_rest()
        before = _unread_bytes(client)
        _receive(client, min(PIECE_BYTES, max(before, 1)))
        taken += PIECE_BYTES
        server.come_to_rest()
        if _unread_bytes(client) > before - PIECE_BYTES:
            return taken


def _receive(client: socket.socket, byte_count: int) -> None:
    while byte_count:
        try:
            piece = client.recv(byte_count)
        except TimeoutError as error:
            raise Silence("more of the reply", f"nothing within {client.gettimeout()} s") from error
        if not piece:
            raise Unmet("more of the reply", "the server closed the connection")
        byte_count -= len(piece)


def _hangs_up(client: socket.socket, within_s: float) -> bool:
    """Tell whether the connection ends in time; nothing is read."""
    hangup = select.poll()
    hangup.register(client, 0)
    return bool(hangup.poll(within_s * 1000))


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
