"""Cases: how long one step of a client may take, whichever it is, and that a dance of steps in time may take longer."""

import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scache_conformance.cases.limits import let_pass
from scache_conformance.servers.target import Target
from scache_conformance.suite.lab import Inconclusive, Lab, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED, GREETING, encode
from scache_conformance.wire.peer import Peer
from scache_conformance.wire.unmet import Silence, Unmet

SHOULD = Level.SHOULD

_GREETING_BYTES = len(encode(*GREETING))
_REPLY_BYTES = len(encode((b"status", b"%d" % FAILED), (b"property", b""), (b"property", b"")))

FLOOD_BYTES_MAX = 16_000_000
"""Arbitrary: far more than the sockets of one connection keep."""


@case("limits/unfinished-list", "LIMIT-7", level=SHOULD, apart=True)
def unfinished_list(lab: Lab) -> None:
    """A client that leaves a list unfinished for ipc_timeout_s is disconnected."""
    with lab.server(ipc_timeout_s=1) as server:
        peer = lab.peer(target=server)
        peer.send_bytes(b"request\0find")
        if not peer.wait_until_taken(peer.deadline_s):  # the step begins when the server has read it
            raise Inconclusive("the server has not read the list, this machine is busy")
        let_pass(lab, server, 1)
        peer.insist_on_hangup()


@case("limits/unfinished-save", "LIMIT-7", level=SHOULD, apart=True)
def unfinished_save(lab: Lab) -> None:
    """So is one that does not send its descriptor."""
    with lab.server(ipc_timeout_s=1) as server:
        peer = lab.peer(target=server)
        peer.begin_save_endp(lab.ttl_s, lab.label("e"), b"")
        let_pass(lab, server, 1)
        peer.insist_on_hangup()


@case("limits/unfinished-find", "LIMIT-7", "FD-10", level=SHOULD, apart=True)
def unfinished_find(lab: Lab) -> None:
    """So is one that does not say ready; its session is put back, or closed if it has ended."""
    with lab.server(ipc_timeout_s=1, ttl_limit_s=5) as server:
        finder = lab.peer("find", target=server)
        lab.park(finder, lab.label("e"), b"p", 5)
        require("status", finder.begin_find_endp(lab.label("e")).status, DONE)
        let_pass(lab, server, 1)
        finder.insist_on_hangup()
        require_found("find_endp", lab.peer("B", target=server).find_endp(lab.label("e")), b"p")


@case("limits/unfinished-find-too-late", "LIMIT-7", "ENDP-6", level=SHOULD, apart=True)
def unfinished_find_too_late(lab: Lab) -> None:
    """If its session ended meanwhile, that is closed."""
    ttl_s = lab.short_ttl_s()
    with lab.server(ipc_timeout_s=ttl_s + 1) as server:
        finder = lab.peer("find", target=server)
        line = lab.park(finder, lab.label("e"), b"p", ttl_s)
        require("status", finder.begin_find_endp(lab.label("e")).status, DONE)
        let_pass(lab, server, ttl_s + 1)
        finder.insist_on_hangup()
        line.insist_on_hangup("the connection", finder.deadline_s)
        require_miss("find_endp", lab.peer("B", target=server).find_endp(lab.label("e")))


@case("limits/unfinished-handover", "LIMIT-7", "FD-11", level=SHOULD, apart=True)
def unfinished_handover(lab: Lab) -> None:
    """So is one that does not say received; it keeps its session."""
    with lab.server(ipc_timeout_s=1) as server:
        finder = lab.peer("find", target=server)
        line = lab.park(finder, lab.label("e"), b"p")
        require("status", finder.begin_find_endp(lab.label("e")).status, DONE)
        finder.send_bytes(DUMMY_LIST)
        fd = finder.receive_descriptor()
        let_pass(lab, server, 1)
        finder.insist_on_hangup()
        require("that the descriptor is the parked one", line.is_other_end_of(fd), True)
        require_miss("find_endp", lab.peer("B", target=server).find_endp(lab.label("e")))


@case("limits/trickling-list", "LIMIT-7", level=SHOULD, apart=True)
def trickling_list(lab: Lab) -> None:
    """A list counts from its first byte: one whose bytes come one by one is not in time for that."""
    with lab.server(ipc_timeout_s=2) as server:
        peer = lab.peer(target=server)
        if not server.has_clock:
            _trickle_until_hangup(lab, peer, 2 + peer.deadline_s)
            return
        for byte in (b"r", b"e"):
            peer.send_bytes(byte)
            peer.wait_until_taken(peer.deadline_s)
            let_pass(lab, server, 1)
        peer.insist_on_hangup()


def _trickle_until_hangup(lab: Lab, peer: Peer, within_s: float) -> None:
    """Send a byte again and again, sooner than any that came before is too old, until the server hangs up."""
    lab.transcript.note(peer.name, "sends one byte of a name after the other")
    began_s = time.monotonic()
    while time.monotonic() - began_s < within_s:
        try:
            peer.send_bytes(b"r")
        except Unmet:
            return
        time.sleep(0.1)
    raise Silence("the connection closed by the server", f"it is open {within_s} s after the list's first byte")


@case("limits/untaken-output", "LIMIT-7", level=SHOULD, apart=True)
def untaken_output(lab: Lab) -> None:
    """A client that does not take its replies for ipc_timeout_s is disconnected."""
    with lab.server(ipc_timeout_s=1) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket_path))  # not a Peer: what it reads is taken, and this is to read nothing
        taken = _flood(lab, server, client)
        let_pass(lab, server, 1)
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
    return lists.request(b"find_dest", (b"label", lab.label("nothing")))


def _unread_bytes(client: socket.socket) -> int:
    byte_count: int = struct.unpack("i", fcntl.ioctl(client, termios.FIONREAD, bytes(4)))[0]
    return byte_count


@case("limits/at-rest", "LIMIT-7", level=SHOULD, apart=True)
def at_rest(lab: Lab) -> None:
    """A client at rest between two requests stays."""
    with lab.server(ipc_timeout_s=1) as server, lab.peer(target=server) as peer:
        for _ in range(2):
            require_miss("find_endp", peer.find_endp(lab.label("nothing")))
            _pass_more_than_half_of_two_seconds(lab, server)
        require_miss("find_endp", peer.find_endp(lab.label("nothing")))


def _pass_more_than_half_of_two_seconds(lab: Lab, server: Target) -> None:
    if server.has_clock:
        server.set_clock_forward(1)
    lab.sleep(1.2)  # on a virtual clock too: Postfix measures this one with poll(2)


class _Steps:
    """Steps of a client that are to be in time, each from the one before it to its own end."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self.longest_s = 0.0

    def take(self, peer: Peer, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send what ends the step and may begin the next."""
        begins_s = time.monotonic()
        try:
            peer.send_bytes(data, fds)
        finally:
            self.longest_s = max(self.longest_s, time.monotonic() - self._began_s)
            self._began_s = begins_s


@contextmanager
def _in_time(server: Target, ipc_timeout_s: int) -> Iterator[_Steps]:
    """Raise Inconclusive where the body does not see what it insists on and a step took too long for that."""
    steps = _Steps()
    try:
        yield steps
    except Unmet:
        if not server.has_clock and steps.longest_s >= ipc_timeout_s:
            raise Inconclusive("a step was not in time, this machine is busy") from None
        raise


@case("limits/each-step-anew", "LIMIT-7", level=SHOULD, apart=True)
def each_step_anew(lab: Lab) -> None:
    """Each step has its own ipc_timeout_s: a dance whose steps are in time may take longer as a whole."""
    with (
        lab.server(ipc_timeout_s=2, ttl_limit_s=20) as server,
        lab.peer(target=server) as peer,
        _in_time(server, 2) as steps,
    ):
        line, endpoint = lab.line(), lab.label("e")
        steps.take(peer, lists.request(b"save_endp", (b"ttl", b"20"), (b"label", endpoint), (b"property", b"p")))
        peer.insist_on_invitation()
        _pass_more_than_half_of_two_seconds(lab, server)
        steps.take(peer, b"\0", [line.far.fileno()])
        require("status of save_endp", peer.receive_reply(0).status, DONE)
        steps.take(peer, lists.request(b"find_endp", (b"label", endpoint)))
        require("status of find_endp", peer.receive_reply(1).status, DONE)
        _pass_more_than_half_of_two_seconds(lab, server)
        steps.take(peer, DUMMY_LIST)
        require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)
        _pass_more_than_half_of_two_seconds(lab, server)
        steps.take(peer, DUMMY_LIST)
        require_miss("find_endp", peer.find_endp(lab.label("nothing")))


@case("limits/each-list-anew", "LIMIT-7", "CONN-3", level=SHOULD, apart=True)
def each_list_anew(lab: Lab) -> None:
    """A list that begins in the write that ended another has its own ipc_timeout_s."""
    first, second = (lists.request(b"find_endp", (b"label", lab.label(each))) for each in ("first", "second"))
    with lab.server(ipc_timeout_s=2) as server, lab.peer(target=server) as peer, _in_time(server, 2) as steps:
        steps.take(peer, first[:10])
        for data in (first[10:] + second[:10], second[10:]):
            peer.wait_until_taken(peer.deadline_s)
            _pass_more_than_half_of_two_seconds(lab, server)
            steps.take(peer, data)
        for which in ("first", "second"):
            require(f"status of the {which}", peer.receive_reply(1).status, FAILED)
