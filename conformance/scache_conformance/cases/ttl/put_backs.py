"""Cases: the lifetime of a session that comes back into its queue, because its finder did not say "ready".

Each wants to be undisturbed: it lets time pass in the middle of a dance, and a server that serves one dance at a time
would hold up the cases beside it.
"""

from functools import partial

from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab, Lifetime
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.requirements import require
from scache_conformance.wire.line import Line, identity

_case = partial(case, schedule=Schedule.UNDISTURBED)


def _decline(peer: Client) -> None:
    """Send a list where ready is awaited; the reply to the next request says that it has been served."""
    peer.send((b"label", b"not ready"))
    peer.misses_endp()


@_case("ttl/put-back-in-time", "ENDP-5", "FD-7")
def put_back_in_time(lab: Lab) -> None:
    """A session that is put back shortly before its expiry is found, and is closed at its expiry."""
    first, second, ttl_s = lab.peer(), lab.peer("B"), lab.short_ttl_s()
    first.bind("d", "e")
    with lab.lifetime(ttl_s) as life:
        lines = [first.park("e", b"p", ttl_s) for _ in range(2)]
    with life.in_time():
        first.holds_dest("d", b"", b"p")
        second.holds_endp("e")
    life.reach_last_moment()
    _decline(first)
    _decline(second)
    require_one_found_and_both_ended(life, first, lines)


def require_one_found_and_both_ended(life: Lifetime, peer: Client, lines: list[Line]) -> None:
    """Raise Unmet unless one of two sessions that were put back is found before their end, and neither after it."""
    with life.in_time():
        found = peer.finds_endp("e", b"p")
    left = [line for line in lines if line.identity != identity(found.fd)]
    life.reach_end()
    peer.misses_endp("e")
    require("how many of the two are left", len(left), 1)
    left[0].insist_on_hangup("the other one", peer.deadline_s)


@_case("ttl/put-back-too-late", "ENDP-6", "FD-7")
def put_back_too_late(lab: Lab) -> None:
    """A session that became due while it was held is closed when its client sends another list than "ready"."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = peer.park("e", b"p", ttl_s)
    with life.in_time():
        peer.holds_endp("e")
    lab.set_clock_forward(ttl_s)
    life.reach_end()
    _decline(peer)
    peer.misses_endp("e")
    line.insist_on_hangup("the connection", peer.deadline_s)


@_case("ttl/put-back-before-shorter", "ENDP-5", "TTL-2", "CONN-2")
def put_back_before_shorter(lab: Lab) -> None:
    """A session that was put back before a session of a shorter ttl outlives that one."""
    finder, saver = lab.peer("F"), lab.peer("S")
    lab.short_ttl_s()
    with lab.lifetime(2) as long:
        saver.park("e", b"long", 2)
        with long.in_time():
            finder.holds_endp("e", b"long")
        with lab.lifetime(1) as short:
            line = saver.park("e", b"short", 1)
        _decline(finder)
    short.reach_end()
    line.insist_on_hangup("the shorter one", saver.deadline_s)
    with long.in_time(exact=True):
        saver.finds_endp("e", b"long")
    saver.misses_endp("e")
