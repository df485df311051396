"""Cases: connections that the server and somebody else have open at once, and more of them than select(2) can name."""

from scache_conformance.cases.fd import require_closed
from scache_conformance.suite.lab import Lab, Skipped, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DONE, FAILED
from scache_conformance.wire.unmet import Unmet

SESSIONS = 1_100
"""More than the 1 024 descriptors that select(2) knows."""

LONG_TTL_S = 60
"""Arbitrary: long enough to park them all on a slow machine."""


@case("fd/expiry-cuts-nobody", "TTL-3", "FD-13", waits=True)
def expiry_cuts_nobody(lab: Lab) -> None:
    """When a parked connection expires the server closes its copy: another copy still carries bytes both ways."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    line = lab.line()
    with lab.lifetime(ttl_s) as life:
        require("status", peer.save_endp(ttl_s, endpoint, b"p", line.far.fileno()), DONE)
        other = lab.park(peer, endpoint, b"p", ttl_s)
    life.reach_end()
    require_closed(lab, "the session parked after it", other)
    require_miss("find_endp", peer.find_endp(endpoint))
    require_carries("the connection of which the case kept a copy", line)


@case("fd/refusal-cuts-nobody", "FD-4")
def refusal_cuts_nobody(lab: Lab) -> None:
    """So it is when the server refuses connections, two with one byte."""
    peer, lines = lab.peer(), [lab.line() for _ in range(2)]
    peer.begin_save_endp(lab.ttl_s, lab.label("e"), b"p")
    peer.send_bytes(b"\0", [line.far.fileno() for line in lines])
    require("status", peer.receive_reply(0).status, FAILED)
    lab.target.poke()
    for line in lines:
        require_carries("each of the two", line)


def require_carries(what: str, line: Line) -> None:
    """Raise Unmet unless our own copy of the far end still carries bytes in both directions."""
    try:
        line.far.send(b"there")
        line.near.send(b"back")
        carried = line.near.recv(100), line.far.recv(100)
    except OSError as error:
        raise Unmet(f"{what} to carry bytes", str(error)) from error
    require(f"what {what} carries", carried, (b"there", b"back"))


@case("fd/more-than-select-knows", "ENDP-2", "FD-3", "FD-6", apart=True)
def more_than_select_knows(lab: Lab) -> None:
    """With 1 100 sessions parked, new clients are greeted and served, unless the server refused to park so many."""
    with lab.server(ttl_limit_s=LONG_TTL_S) as server:
        peer, line, endpoint = lab.peer(target=server), lab.line(), lab.label("e")
        for number in range(SESSIONS):
            if peer.save_endp(LONG_TTL_S, endpoint, b"%d" % number, line.far.fileno()) == FAILED:
                raise Skipped(f"the server parks {number} sessions and no more: raise its limits and RLIMIT_NOFILE")
        other = lab.peer("B", target=server)
        for number in range(3):
            require_found("find_endp", other.find_endp(endpoint), b"%d" % number, line=line)
        require("status", other.save_endp(LONG_TTL_S, endpoint, b"more", line.far.fileno()), DONE)
