"""Cases: how long bindings live, and what renews them."""

from functools import partial

from scache_conformance.cases.ttl.sessions import FOREVER_S
from scache_conformance.suite.lab import Lab, Lifetime
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import MALFORMED

_waiting = partial(case, schedule=Schedule.WAITING)


@_waiting("ttl/binding-lives", "TTL-2")
def binding_lives(lab: Lab) -> None:
    """A find_dest uses a binding shortly before its expiry."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.bind("d", "e", b"q", ttl_s)
    life.reach_last_moment()
    peer.park("e", b"p")
    with life.in_time():
        peer.finds_dest("d", b"q", b"p")


@_waiting("ttl/binding-lives-to-the-end", "TTL-2", level=Level.SHOULD)
def binding_lives_to_the_end(lab: Lab) -> None:
    """A binding lives its whole ttl, whatever fraction of a second the clock showed when it was saved."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    lives: list[Lifetime] = []
    for life in lab.spread_over_a_second(ttl_s):
        peer.bind(f"d{len(lives)}", "e", b"q", ttl_s)
        lives.append(life)
    for number, life in enumerate(lives):
        life.reach_last_moment(exact=True)
        peer.park("e", b"p")
        with life.in_time(exact=True):
            peer.finds_dest(f"d{number}", b"q", b"p")


@_waiting("ttl/later-binding-ends-first", "TTL-4", "DEST-4")
def later_binding_ends_first(lab: Lab) -> None:
    """When the second of a destination's bindings expires, the first is used and the second is not."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as short, lab.lifetime(2) as long:
        peer.bind("d", "e1", b"first", 2)
        peer.bind("d", "e2", b"second", 1)
    short.reach_end()
    peer.park("e2", b"2")
    peer.park("e1", b"1")
    with long.in_time(exact=True):
        peer.finds_dest("d", b"first", b"1")
    peer.misses_dest("d")


@_waiting("ttl/binding-ends", "TTL-2", "TTL-4", "DEST-1")
def binding_ends(lab: Lab) -> None:
    """A find_dest does not use a binding after its expiry; the session of its endpoint stays."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.bind("d", "e", b"q", ttl_s)
    life.reach_end()
    line = peer.park("e", b"p")
    peer.misses_dest("d")
    peer.finds_endp("e", b"p", line)


@_waiting("ttl/binding-outlives-session", "TTL-3", "DEST-1")
def binding_outlives_session(lab: Lab) -> None:
    """When a session expires, the bindings to its endpoint stay."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as session_life:
        peer.park("e", b"p", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as binding_life:
        peer.bind("d", "e", b"q", 2)
    session_life.reach_end()
    peer.misses_endp("e")
    peer.park("e", b"p2")
    with binding_life.in_time():
        peer.finds_dest("d", b"q", b"p2")


@_waiting("ttl/binding-cap", "TTL-1")
def binding_cap(lab: Lab) -> None:
    """A binding whose ttl is far above the ttl limit expires at the limit, and not before."""
    peer, limit_s = lab.peer(), lab.capped_ttl_s()
    with lab.lifetime(limit_s) as life:
        peer.bind("d", "e", b"1", FOREVER_S)
        peer.bind("d", "e", b"2", limit_s + 1)
    life.reach_last_moment()
    peer.park("e", b"p")
    with life.in_time():
        peer.finds_dest("d", b"1", b"p")
    life.reach_end()
    peer.park("e", b"p")
    peer.misses_dest("d")


@_waiting("ttl/renewal-extends", "DEST-2")
def renewal_extends(lab: Lab) -> None:
    """A binding that is renewed lives for the new ttl, counted from the renewal."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as first:
        peer.bind("d", "e", b"q", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as second:
        peer.bind("d", "e", b"q", 2)
    first.reach_end()
    peer.park("e", b"p")
    with second.in_time():
        peer.finds_dest("d", b"q", b"p")
    second.reach_end()
    peer.park("e", b"p")
    peer.misses_dest("d")


@_waiting("ttl/renewal-shortens", "DEST-2")
def renewal_shortens(lab: Lab) -> None:
    """A binding that is renewed with a shorter ttl expires sooner."""
    peer = lab.peer()
    lab.short_ttl_s()
    peer.bind("d", "e", b"q")
    with lab.lifetime(1) as life:
        peer.bind("d", "e", b"q", 1)
    life.reach_end()
    peer.park("e", b"p")
    peer.misses_dest("d")


@_waiting("ttl/other-binding-does-not-renew", "DEST-3")
def other_binding_does_not_renew(lab: Lab) -> None:
    """A binding with other properties does not renew the first: the first expires at its own time."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as first:
        peer.bind("d", "e", b"first", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as second:
        peer.bind("d", "e", b"second", 2)
    first.reach_end()
    peer.park("e", b"p")
    with second.in_time():
        peer.finds_dest("d", b"second", b"p")


@_waiting("ttl/order-after-a-bindings-end", "DEST-3", "DEST-4")
def order_after_a_bindings_end(lab: Lab) -> None:
    """When the first of four bindings has expired, the other three are tried in the order in which they were saved."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as first:
        peer.bind("d", "e1", b"1", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as others:
        for number in (2, 3, 4):
            peer.bind("d", f"e{number}", b"%d" % number, 2)
    first.reach_end()
    for number in (4, 3, 2):
        peer.park(f"e{number}", b"p")
    with others.in_time():
        for number in (2, 3, 4):
            peer.finds_dest("d", b"%d" % number, b"p")


@_waiting("ttl/properties-that-begin-alike", "DEST-3")
def properties_that_begin_alike(lab: Lab) -> None:
    """A binding does not renew another whose properties are only the beginning of its own, or begin with its own."""
    peer = lab.peer()
    lab.short_ttl_s()
    with lab.lifetime(1) as first:
        peer.bind("d1", "e", b"long", 1)
        peer.bind("d2", "e", b"lon", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as second:
        peer.bind("d1", "e", b"lon", 2)
        peer.bind("d2", "e", b"long", 2)
    first.reach_end()
    peer.park("e", b"1")
    peer.park("e", b"2")
    with second.in_time():
        peer.finds_dest("d1", b"lon", b"1")
        peer.finds_dest("d2", b"long", b"2")


@_waiting("ttl/finding-does-not-renew", "DEST-5")
def finding_does_not_renew(lab: Lab) -> None:
    """A binding that is used by many finds expires at its own time."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.bind("d", "e", b"q", ttl_s)
    life.reach_last_moment()
    peer.park("e", b"1")
    with life.in_time():
        peer.finds_dest("d", b"q", b"1")
    life.reach_end()
    peer.park("e", b"2")
    peer.misses_dest("d")


@_waiting("ttl/label-lives-again", "TTL-3", "TTL-4")
def label_lives_again(lab: Lab) -> None:
    """Labels are used again and again over time: what has expired leaves nothing behind for later ones."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    for turn in range(2):
        with lab.lifetime(ttl_s) as life:
            peer.bind("d", "e", b"q%d" % turn, ttl_s)
            peer.bind("d", "other", b"other", 1)
            peer.park("e", b"p%d" % turn, ttl_s)
            peer.park("e", b"p%d again" % turn, ttl_s)
        peer.finds_dest("d", b"q%d" % turn, b"p%d" % turn)
        life.reach_end()
        peer.misses_dest("d")
        peer.misses_endp("e")


@_waiting("ttl/malformed-does-not-renew", "CONN-7", "DEST-2")
def malformed_does_not_renew(lab: Lab) -> None:
    """A malformed save_dest does not renew a binding."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        peer.bind("d", "e", b"q", ttl_s)
    life.reach_last_moment()
    labels = (b"label", lab.label("d")), (b"property", b"q"), (b"label", lab.label("e"))
    peer.request(b"save_dest", (b"ttl", b"5x"), *labels)
    peer.receives_status(0, MALFORMED)
    life.reach_end()
    peer.park("e", b"p")
    peer.misses_dest("d")
