"""Cases: how long sessions live, and that their connections are closed at the end."""

import time
from functools import partial

from scache_conformance.suite.lab import Inconclusive, Lab, Lifetime, Skipped
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.requirements import require
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DONE
from scache_conformance.wire.unmet import Silence, Unmet

FOREVER_S = 2_147_483_647
"""The largest ttl there is."""

MANY = 400
"""More than a server removes in one turn that removes what is due in shares. Arbitrary."""

CLOSED_WITHIN_S = 0.5
"""In real time, how late a connection may be closed after its end. Arbitrary: longer than a turn of any server."""

_waiting = partial(case, schedule=Schedule.WAITING)
# Other cases' requests would wake a server that does not wake by itself.
_undisturbed = partial(case, schedule=Schedule.UNDISTURBED)


@_waiting("ttl/session-lives", "TTL-2")
def session_lives(lab: Lab) -> None:
    """A session is found shortly before its expiry."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.park("e", b"p", ttl_s)
    life.reach_last_moment()
    with life.in_time():
        peer.finds_endp("e", b"p")


@_waiting("ttl/session-ends", "TTL-2", "TTL-3")
def session_ends(lab: Lab) -> None:
    """A session is not found after its expiry."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.park("e", b"p", ttl_s)
    life.reach_end()
    peer.misses_endp("e")


@_waiting("ttl/session-of-one-second", "TTL-2")
def session_of_one_second(lab: Lab) -> None:
    """A session with a ttl of one second expires after it, though the ttl limit is longer."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as life:
        line = peer.park("e", b"p", 1)
    life.reach_end()
    peer.misses_endp("e")
    line.insist_on_hangup("its connection", peer.deadline_s)


@_waiting("ttl/session-lives-to-the-end", "TTL-2", level=Level.SHOULD)
def session_lives_to_the_end(lab: Lab) -> None:
    """A session lives its whole ttl, whatever fraction of a second the clock showed when it was parked."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    lives: list[Lifetime] = []
    for life in lab.spread_over_a_second(ttl_s):
        peer.park(f"e{len(lives)}", b"p", ttl_s)
        lives.append(life)
    for number, life in enumerate(lives):
        life.reach_last_moment(exact=True)
        with life.in_time(exact=True):
            peer.finds_endp(f"e{number}", b"p")


@_undisturbed("ttl/session-closed-at-its-end", "TTL-3", "TTL-6")
def session_closed_at_its_end(lab: Lab) -> None:
    """A session that expires is closed without any request, and no byte is written to its connection."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = peer.park("e", b"p", ttl_s)
    life.reach_last_moment()
    with life.in_time():
        _require_open(line)
    life.reach_end()
    _require_closed_in_silence(line, peer.deadline_s)


def session_among_requests(lab: Lab) -> None:
    """Have requests come all the time until a session is due, in real time: for `timers`."""
    peer, other, ttl_s = lab.peer(), lab.peer("B"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = peer.park("e", b"p", ttl_s)
    end_s = life.after_s + ttl_s + CLOSED_WITHIN_S
    while time.monotonic() < end_s:
        other.misses_endp("nothing")
        lab.sleep(0.02)
    line.insist_on_hangup("the connection", peer.deadline_s)
    peer.misses_endp("e")


@_undisturbed("ttl/each-closed-at-its-end", "TTL-3", "TTL-6")
def each_closed_at_its_end(lab: Lab) -> None:
    """Each of two sessions that expire one after the other is closed at its own expiry, without any request."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as short:
        first = peer.park("e", b"first", 1)
    with lab.lifetime(2) as long:
        second = peer.park("e", b"second", 2)
    for life, line in ((short, first), (long, second)):
        life.reach_end()
        _require_closed_in_silence(line, peer.deadline_s)


@_undisturbed("ttl/sooner-saved-later", "TTL-3", "TTL-6")
def sooner_saved_later(lab: Lab) -> None:
    """A session that is saved later and expires sooner is closed at its expiry; the earlier one at its own."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(2) as long:
        first = peer.park("e", b"first", 2)
    with lab.lifetime(1) as short:
        second = peer.park("e", b"second", 1)
    short.reach_end()
    if not lab.target.has_clock:  # not a second later, when the other ends
        require("whether the one that ends sooner is closed", second.hung_up(CLOSED_WITHIN_S), True)
    _require_closed_in_silence(second, peer.deadline_s)
    with long.in_time():
        _require_open(first)
    long.reach_end()
    _require_closed_in_silence(first, peer.deadline_s)


@_waiting("ttl/middle-one-ends-first", "TTL-2", "TTL-3", "ENDP-3")
def middle_one_ends_first(lab: Lab) -> None:
    """When the second of three sessions of an endpoint expires, the first and the third stay, in order."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as short:
        second = None
        with lab.lifetime(2) as long:
            first = peer.park("e", b"first", 2)
            second = peer.park("e", b"second", 1)
            third = peer.park("e", b"third", 2)
    short.reach_end()
    lab.target.poke()
    second.insist_on_hangup("the second connection", peer.deadline_s)
    with long.in_time(exact=True):
        peer.finds_endp("e", b"first", first)
        peer.finds_endp("e", b"third", third)
        peer.misses_endp("e")


def _require_open(line: Line) -> None:
    if line.hung_up(0):
        raise Unmet("the connection to be open before the session's end", "it is closed")


def _require_closed_in_silence(line: Line, deadline_s: float) -> None:
    line.near.settimeout(deadline_s)
    try:
        data = line.near.recv(100)
    except TimeoutError:
        raise Silence("the connection closed by the server", f"it is open {deadline_s} s later") from None
    require("what was written to the connection before it was closed", data, b"")


@_waiting("ttl/session-outlives-binding", "TTL-4", "DEST-1")
def session_outlives_binding(lab: Lab) -> None:
    """When a binding expires, sessions of its endpoint stay."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as binding_life:
        peer.bind("d", "e", b"q", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as session_life:
        line = peer.park("e", b"p", 2)
    binding_life.reach_end()
    peer.misses_dest("d")
    with session_life.in_time():
        _require_open(line)
        peer.finds_endp("e", b"p")


@_waiting("ttl/session-cap", "TTL-1")
def session_cap(lab: Lab) -> None:
    """A session whose ttl is far above the ttl limit expires at the limit, and not before."""
    peer, limit_s = lab.peer(), lab.capped_ttl_s()
    with lab.lifetime(limit_s) as life:
        peer.park("e", b"1", FOREVER_S)
        peer.park("e", b"2", limit_s + 1)
        line = peer.park("e", b"3", FOREVER_S)
    life.reach_last_moment()
    with life.in_time():
        peer.finds_endp("e", b"1")
    life.reach_end()
    peer.misses_endp("e")
    line.insist_on_hangup("the connection", peer.deadline_s)


@_waiting("ttl/shorter-behind-longer", "TTL-2", "ENDP-2")
def shorter_behind_longer(lab: Lab) -> None:
    """Sessions of one endpoint expire each at its own time, and the others keep their order."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as short:
        shorts = [peer.park("e", b"short", 1) for _ in range(2)]
    lab.pass_half_a_second()
    with lab.lifetime(2) as long:
        peer.park("e", b"1", 2)
        peer.park("e", b"2", 2)
    short.reach_end()
    with long.in_time():
        peer.finds_endp("e", b"1")
        peer.finds_endp("e", b"2")
    for line in shorts:
        line.insist_on_hangup("a short one", peer.deadline_s)
    peer.misses_endp("e")


@_waiting("ttl/short-in-the-middle", "TTL-2", "ENDP-3")
def short_in_the_middle(lab: Lab) -> None:
    """A session that expires between two others changes nothing about those two."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(2) as long:
        peer.park("e", b"1", 2)
        with lab.lifetime(1) as short:
            peer.park("e", b"short", 1)
        peer.park("e", b"2", 2)
    short.reach_end()
    with long.in_time():
        peer.finds_endp("e", b"1")
        peer.finds_endp("e", b"2")


@_waiting("ttl/found-is-not-closed", "TTL-3", "FD-8")
def found_is_not_closed(lab: Lab) -> None:
    """A session that was found before its expiry is not closed at its expiry."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = peer.park("e", b"p", ttl_s)
    found = peer.finds_endp("e", b"p", line)
    life.reach_end()
    require("that the connection is open still", line.hung_up(0.05), False)
    require("that it still works", line.is_other_end_of(found.fd), True)


@case("ttl/expiry-before-requests", "TTL-5")
def expiry_before_requests(lab: Lab) -> None:
    """A session or binding that is due is not found, even if the server did nothing since it became due."""
    if not lab.target.has_clock:
        raise Skipped("needs a virtual clock: in real time a server is woken by the end itself, before any request")
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    line = peer.park("e", b"p", ttl_s)
    lab.set_clock_forward(ttl_s)
    peer.misses_endp("e")
    line.insist_on_hangup("the connection", peer.deadline_s)


@case("ttl/many-due-at-once", "TTL-5", "TTL-6")
def many_due_at_once(lab: Lab) -> None:
    """Of hundreds of sessions and bindings that expire at the same time none is found, and all are closed."""
    if not lab.target.has_clock:
        raise Skipped("needs a virtual clock: in real time they would not end at the same time")
    peer, ttl_s, endpoints = lab.peer(), lab.short_ttl_s(), [f"e{number}" for number in range(MANY // 4)]
    lines = [peer.park(each, b"p", ttl_s) for _ in range(4) for each in endpoints]
    for each in endpoints:
        peer.bind(f"d of {each}", each, b"q", ttl_s)
    lab.set_clock_forward(ttl_s)
    for each in reversed(endpoints):
        peer.misses_endp(each)
        peer.misses_dest(f"d of {each}")
    for line in lines:
        line.insist_on_hangup("each connection", peer.deadline_s)


@_undisturbed("ttl/counts-from-the-descriptor", "FD-3")
def counts_from_the_descriptor(lab: Lab) -> None:
    """The ttl of a session counts from when its descriptor came, not from the save_endp."""
    peer, line, ttl_s = lab.peer(), lab.line(), lab.short_ttl_s()
    peer.begin_save("e", b"p", ttl_s)
    lab.set_clock_forward(ttl_s)
    with lab.lifetime(ttl_s) as life:
        peer.sends_descriptors([line.far.fileno()])
    with life.in_time():
        peer.finds_endp("e", b"p")


@case("ttl/leading-zero-is-decimal", "WIRE-8", schedule=Schedule.OWN_SERVERS)
def leading_zero_is_decimal(lab: Lab) -> None:
    """A ttl of 010 means ten seconds, not eight."""
    with lab.server(ttl_limit_s=20) as server, lab.peer(target=server) as peer:
        labels = (b"label", lab.label("e")), (b"property", b"p")
        peer.request(b"save_endp", (b"ttl", b"010"), *labels)
        peer.insist_on_invitation()
        peer.sends_descriptors([lab.line().far.fileno()], DONE)
        began_s = time.monotonic()
        if server.has_clock:
            server.advance(9)
        else:
            lab.sleep(8.5)
        try:
            peer.finds_endp("e", b"p")
        except Unmet:
            if not server.has_clock and time.monotonic() - began_s >= 9:
                raise Inconclusive("find_endp: looked too late, this machine is busy") from None
            raise


ENDS = 24
"""So many different expiries have sessions that are saved in another order. Arbitrary."""


@case("ttl/many-ends-in-any-order", "TTL-2", "TTL-6", schedule=Schedule.OWN_SERVERS)
def many_ends_in_any_order(lab: Lab) -> None:
    """Of many sessions that are not saved in the order of their expiry, each is closed at its own expiry."""
    if not lab.target.has_clock:
        raise Skipped(f"needs a virtual clock: in real time it takes {ENDS} s")
    with lab.server(ttl_limit_s=ENDS) as server, lab.peer(target=server) as peer:
        lines: dict[int, list[Line]] = {ttl_s: [] for ttl_s in range(1, ENDS + 1)}
        for number in range(2 * ENDS):
            ttl_s = 1 + number * 11 % ENDS
            lines[ttl_s].append(peer.park(f"e{number}", b"", ttl_s))
        for number in range(0, 2 * ENDS, 5):
            peer.finds_endp(f"e{number}", b"", lines[1 + number * 11 % ENDS].pop(0 if number < ENDS else -1))
        for ttl_s in lines:
            for line in lines[ttl_s]:
                require(f"whether what lives for {ttl_s} s is closed after {ttl_s - 1} s", line.hung_up(0), False)
            server.advance(1)
            for line in lines[ttl_s]:
                line.insist_on_hangup(f"what lives for {ttl_s} s", peer.deadline_s)


@_waiting("ttl/lifetime-measured", "TTL-6", level=Level.INFO)
def lifetime_measured(lab: Lab) -> str:
    """How long a session lives that no client finds."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    if lab.target.has_clock:
        return "exactly its ttl: time is virtual here"
    line = peer.park("e", b"", ttl_s)
    began_s = time.monotonic()
    if not line.hung_up(ttl_s + 1):
        return f"of a ttl of {ttl_s} s: more than {ttl_s + 1} s"
    return f"of a ttl of {ttl_s} s: {time.monotonic() - began_s:.2f} s"
