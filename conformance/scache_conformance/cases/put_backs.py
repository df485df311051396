"""Cases: the lifetime of a session that comes back into its queue, because its finder did not say "ready".

Each wants to be undisturbed: it lets time pass in the middle of a dance, and a server that serves one dance at a time
would hold up the cases beside it.
"""

from scache_conformance.suite.lab import Lab, require, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.line import identity
from scache_conformance.wire.peer import Peer


@case("ttl/put-back-in-time", "ENDP-5", "FD-7", level=Level.SHOULD, undisturbed=True)
def put_back_in_time(lab: Lab) -> None:
    """A session that a list other than ready has put back shortly before its end is found, and is gone at its end."""
    peers, endpoint, ttl_s = (lab.peer(), lab.peer("B")), lab.label("e"), lab.short_ttl_s()
    destination = lab.label("d")
    lab.bind(peers[0], destination, endpoint)
    with lab.lifetime(ttl_s) as life:
        lines = [lab.park(peers[0], endpoint, b"p", ttl_s) for _ in peers]
    life.require_held(peers[0].begin_find_dest(destination))
    life.require_held(peers[1].begin_find_endp(endpoint))
    life.reach_last_moment()
    for peer in peers:
        _decline(lab, peer)
    found = peers[0].find_endp(endpoint)
    life.require_alive("find_endp before its end", found, b"p")
    left = [line for line in lines if found is None or line.identity != identity(found.fd)]
    life.reach_end()
    require_miss("find_endp after its end", peers[0].find_endp(endpoint))
    require("how many of the two are left", len(left), 1)
    for line in left:
        line.insist_on_hangup("the other one", peers[0].deadline_s)


@case("ttl/put-back-too-late", "ENDP-6", "FD-7", level=Level.SHOULD, undisturbed=True)
def put_back_too_late(lab: Lab) -> None:
    """A session whose end came while it was held is closed when a list other than ready would put it back."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = lab.park(peer, endpoint, b"p", ttl_s)
    life.require_held(peer.begin_find_endp(endpoint))
    lab.set_clock_forward(ttl_s)
    life.reach_end()
    _decline(lab, peer)
    require_miss("find_endp", peer.find_endp(endpoint))
    line.insist_on_hangup("the connection", peer.deadline_s)


def _decline(lab: Lab, peer: Peer) -> None:
    """Send a list where ready is awaited; the reply to the next request says that it has been served."""
    peer.send((b"label", b"not ready"))
    require_miss("the next find", peer.find_endp(lab.label("nothing")))


@case("ttl/put-back-before-shorter", "ENDP-5", "TTL-2", "CONN-2", level=Level.SHOULD, undisturbed=True)
def put_back_before_shorter(lab: Lab) -> None:
    """A session that was put back before another of a shorter ttl outlives that."""
    finder, saver, endpoint = lab.peer("F"), lab.peer("S"), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(2) as long:
        lab.park(saver, endpoint, b"long", 2)
        long.require_held(finder.begin_find_endp(endpoint))
        with lab.lifetime(1) as short:
            line = lab.park(saver, endpoint, b"short", 1)
        _decline(lab, finder)
    short.reach_end()
    line.insist_on_hangup("the shorter one", saver.deadline_s)
    long.require_alive("find_endp", saver.find_endp(endpoint), b"long", exact=True)
    require_miss("find_endp of the shorter one", saver.find_endp(endpoint))
