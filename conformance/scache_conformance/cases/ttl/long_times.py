"""Cases: lifetimes of weeks, a pause that is much longer than any of them, and much work meanwhile."""

from scache_conformance.suite.lab import Lab, Skipped
from scache_conformance.suite.many_dances import unhurried
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.wire import lists
from scache_conformance.wire.lists import FAILED

THIRTY_DAYS_S = 30 * 86_400
"""More milliseconds than 31 bits hold."""

PAUSE_S = 1_000
"""Longer than any wheel of seconds has places for what expires. Arbitrary."""

GARBAGE_REQUESTS, GARBAGE_BYTES = 1_000, 15_000
"""What they leave behind makes a runtime collect its garbage several times. Arbitrary."""


@case("ttl/thirty-days", "TTL-1", "TTL-2", schedule=Schedule.OWN_SERVERS)
def thirty_days(lab: Lab) -> None:
    """With a ttl limit of thirty days, a session and a binding that live so long are found."""
    with lab.server(ttl_limit_s=THIRTY_DAYS_S) as server, lab.peer(target=server) as peer:
        line = peer.park("e", b"p", THIRTY_DAYS_S)
        peer.bind("d", "e", b"q", THIRTY_DAYS_S)
        server.poke()
        peer.finds_dest("d", b"q", b"p", line=line)


@case("ttl/after-a-long-pause", "TTL-5", "TTL-6", schedule=Schedule.OWN_SERVERS)
def after_a_long_pause(lab: Lab) -> None:
    """After a pause of a thousand seconds, nothing is found that became due in it, and all of that is closed."""
    if not lab.target.has_clock:
        raise Skipped(f"needs a virtual clock: in real time it takes {PAUSE_S} s")
    for pause_s in range(PAUSE_S, PAUSE_S + 4):  # from some pauses, a wheel comes to rest in the right place by chance
        with lab.server() as server, lab.peer(target=server) as peer:
            lines = [peer.park(f"e{number}", b"p", 1 + number % lab.ttl_s) for number in range(4)]
            peer.bind("d", "e0", b"q")
            server.set_clock_forward(pause_s)
            for number in range(4):
                peer.misses_endp(f"e{number}")
            peer.misses_dest("d")
            for line in lines:
                line.insist_on_hangup("each connection", peer.deadline_s)


@case("ttl/much-work-meanwhile", "TTL-2", "FD-13")
def much_work_meanwhile(lab: Lab) -> None:
    """A parked connection stays open while a thousand long requests are served."""
    with unhurried(lab) as (server, ttl_s):
        peer, long = lab.peer(target=server), lab.label("x" * GARBAGE_BYTES)
        with lab.lifetime(ttl_s) as life:
            line = peer.park("e", b"p", ttl_s)
        for _ in range(GARBAGE_REQUESTS if ttl_s > lab.ttl_s else GARBAGE_REQUESTS // 10):
            peer.send_bytes(lists.find_endp(long))
            peer.receives_status(1, FAILED)
        with life.in_time(exact=True):
            peer.finds_endp("e", b"p", line)
