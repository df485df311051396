"""Cases: what the server closes, what it must not cut for others, and that it runs out of nothing."""

import os
import time

from scache_conformance.servers.target import Target
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab, Skipped
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.requirements import require
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DUMMY_LIST, FAILED
from scache_conformance.wire.unmet import Unmet

DESCRIPTORS_PER_BYTE = 253
"""Linux passes no more with one message: SCM_MAX_FD."""

SESSIONS = 1_100
"""More than the 1 024 descriptors that select(2) knows."""

LONG_TTL_S = 60
"""Arbitrary: long enough to park them all on a slow machine."""


@case("fd/closed-after-hand-over", "FD-8")
def closed_after_hand_over(lab: Lab) -> None:
    """When the client closes a connection that it found, the connection is closed: the server kept no copy."""
    peer = lab.peer()
    line = peer.park("e", b"p")
    peer.finds_endp("e", b"p")
    peer.close()
    line.insist_on_hangup("the connection", peer.deadline_s)


@case("fd/closed-before-received", "FD-8", level=Level.SHOULD)
def closed_before_received(lab: Lab) -> None:
    """The server has closed its copy of a handed-over descriptor before the client sends "received"."""
    peer = lab.peer()
    line = peer.parks_and_holds()
    peer.send_bytes(DUMMY_LIST)
    os.close(peer.give_up(peer.receive_descriptor()))
    line.insist_on_hangup("the connection", peer.deadline_s)


@case("fd/no-descriptor", "FD-4")
def no_descriptor(lab: Lab) -> None:
    """A byte without a descriptor: status 2, nothing is parked, and the next save works."""
    peer = lab.peer()
    for data in (b"\0", b"x", DUMMY_LIST):  # of more than a byte the rest is another list, and swallowed
        peer.begin_save("e")
        peer.sends_descriptors([], FAILED, data)
        peer.misses_endp("e")
    line = peer.park("e", b"p")
    peer.finds_endp("e", b"p", line)


def _refuse_two(lab: Lab, peer: Client) -> list[Line]:
    lines = [lab.line() for _ in range(2)]
    peer.begin_save("e")
    peer.sends_descriptors([line.far.fileno() for line in lines], FAILED)
    return lines


@case("fd/two-descriptors-refused", "FD-4")
def two_descriptors_refused(lab: Lab) -> None:
    """A byte with two descriptors: status 2, and neither is parked."""
    peer = lab.peer()
    _refuse_two(lab, peer)
    peer.misses_endp("e")


@case("fd/two-descriptors-closed", "FD-4")
def two_descriptors_closed(lab: Lab) -> None:
    """A byte with two descriptors: the server closes both."""
    peer = lab.peer()
    for line in _refuse_two(lab, peer):
        line.let_go()
        line.insist_on_hangup("each of the two", peer.deadline_s)


@case("fd/refusal-cuts-nobody", "FD-4")
def refusal_cuts_nobody(lab: Lab) -> None:
    """When the server refuses a byte with two connections, other copies of them still carry bytes both ways."""
    lines = _refuse_two(lab, lab.peer())
    lab.target.poke()
    for line in lines:
        _require_carries("each of the two", line)


@case("fd/expiry-cuts-nobody", "TTL-3", "FD-13", schedule=Schedule.WAITING)
def expiry_cuts_nobody(lab: Lab) -> None:
    """When a parked connection expires, another copy of it still carries bytes both ways."""
    peer, line, ttl_s = lab.peer(), lab.line(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.saves(line.far.fileno(), lab.label("e"), b"p", ttl_s)
        other = peer.park("e", b"p", ttl_s)
    life.reach_end()
    other.insist_on_hangup("the session parked after it", peer.deadline_s)
    peer.misses_endp("e")
    _require_carries("the connection of which the case kept a copy", line)


def _require_carries(what: str, line: Line) -> None:
    """Raise Unmet unless our own copy of the far end still carries bytes in both directions."""
    try:
        line.far.send(b"there")
        line.near.send(b"back")
        carried = line.near.recv(100), line.far.recv(100)
    except OSError as error:
        raise Unmet(f"{what} to carry bytes", str(error)) from error
    require(f"what {what} carries", carried, (b"there", b"back"))


@case("fd/as-many-as-the-kernel-passes", "FD-4")
def as_many_as_the_kernel_passes(lab: Lab) -> None:
    """A byte with 253 descriptors: status 2, all are closed, and the next save works."""
    peer, line = lab.peer(), lab.line()
    peer.begin_save("e")
    peer.sends_descriptors([line.far.fileno()] * DESCRIPTORS_PER_BYTE, FAILED)
    line.let_go()
    line.insist_on_hangup("the connection", peer.deadline_s)
    parked = peer.park("e", b"p")
    peer.finds_endp("e", b"p", parked)


@case("fd/table-full", "FD-5", "LIMIT-8", schedule=Schedule.OWN_SERVERS)
def table_full(lab: Lab) -> None:
    """A server that has no descriptor left refuses a save_endp with status 2, and goes on."""
    with lab.server() as server, lab.peer(target=server) as peer:
        peer.park("e", b"parked before")
        line = lab.line()
        peer.begin_save("e")
        with server.descriptors_exhausted():
            peer.sends_descriptors([line.far.fileno()], FAILED)
        line.let_go()
        line.insist_on_hangup("the connection", peer.deadline_s)
        peer.finds_endp("e", b"parked before")


@case("fd/room-for-one-of-two", "FD-5", level=Level.SHOULD, schedule=Schedule.OWN_SERVERS)
def room_for_one_of_two(lab: Lab) -> None:
    """A server with room for one of two descriptors on a byte refuses the save, and closes that one."""
    with lab.server() as server, lab.peer(target=server) as peer:
        line = lab.line()
        peer.begin_save("e")
        with server.descriptors_exhausted(left=1):
            peer.sends_descriptors([line.far.fileno()] * 2, FAILED)
        line.let_go()
        line.insist_on_hangup("the connection", peer.deadline_s)
        peer.misses_endp("e")


@case("fd/more-than-select-knows", "ENDP-2", "FD-3", "FD-6", schedule=Schedule.OWN_SERVERS)
def more_than_select_knows(lab: Lab) -> None:
    """With 1 100 sessions parked, new clients are greeted and served, unless the server refused to park so many."""
    with lab.server(ttl_limit_s=LONG_TTL_S) as server:
        peer, line, endpoint = lab.peer(target=server), lab.line(), lab.label("e")
        for number in range(SESSIONS):
            if peer.save_endp(LONG_TTL_S, endpoint, b"%d" % number, line.far.fileno()) == FAILED:
                raise Skipped(f"the server parks {number} sessions and no more: raise its limits and RLIMIT_NOFILE")
        other = lab.peer("B", target=server)
        for number in range(3):
            other.finds_endp("e", b"%d" % number, line)
        other.saves(line.far.fileno(), endpoint, b"more", LONG_TTL_S)


@case("fd/none-left-behind", "FD-4", "FD-8", "CONN-11", schedule=Schedule.OWN_SERVERS)
def none_left_behind(lab: Lab) -> None:
    """After fifty saves, finds, refusals and hangups the server has as many open descriptors as before."""
    with lab.quiet_server() as server:
        server.descriptor_count()
        _save_and_find(lab, server)  # once before: a server may open something at its first request
        before = fewest_descriptors(lab, server, enough=0)
        for _ in range(50):
            _save_and_find(lab, server)
        require("how many descriptors the server has open", fewest_descriptors(lab, server, enough=before), before)


def _save_and_find(lab: Lab, server: Target) -> None:
    with lab.peer(target=server) as peer:
        peer.park("e", b"p").close()
        peer.finds_endp("e", b"p")
        peer.begin_save("e")
        peer.sends_descriptors([], FAILED)


def fewest_descriptors(lab: Lab, server: Target, enough: int) -> int:
    """Count descriptors when the server has had time to notice all hangups: the lowest of several counts."""
    fewest, deadline_s = server.descriptor_count(), time.monotonic() + (server.declared.deadline_s if enough else 0.5)
    with lab.waiting():
        while fewest > enough and time.monotonic() < deadline_s:
            time.sleep(0.01)
            fewest = min(fewest, server.descriptor_count())
    lab.transcript.note("", f"the server has {fewest} descriptors open")
    return fewest
