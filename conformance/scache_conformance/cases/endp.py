"""Cases: sessions under endpoints: order, identity of labels, at most once."""

import threading
from contextlib import nullcontext

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.many_dances import unhurried
from scache_conformance.suite.registry import case
from scache_conformance.suite.requirements import require, require_found, require_miss
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.line import identity, readable
from scache_conformance.wire.lists import DONE, DUMMY_LIST
from scache_conformance.wire.unmet import Unmet

FINDERS = 8
"""So many ask for one session at once. Arbitrary."""

ROUNDS = 240
"""How often they do: what goes wrong may have to be done within some nanoseconds. Arbitrary."""

ENDPOINTS = 150
"""More than a table of a server begins with, so that the table has grown and some labels collide in it. Arbitrary."""

SAVERS, SAVER_ROUNDS = 8, 40
"""So many clients park at the same instant, and so often. Arbitrary."""


@case("endp/found-session-is-gone", "ENDP-4")
def found_session_is_gone(lab: Lab) -> None:
    """A session that was found is not found again, by any client."""
    peer = lab.peer()
    line = peer.park("e", b"p")
    peer.finds_endp("e", b"p", line)
    peer.misses_endp("e")
    lab.peer("B").misses_endp("e")


@case("endp/found-by-destination-is-gone", "ENDP-4", "DEST-5")
def found_by_destination_is_gone(lab: Lab) -> None:
    """A session that find_dest found is not found by find_endp, and the other way round."""
    peer = lab.peer()
    peer.bind("d", "e")
    peer.park("e", b"1")
    peer.finds_dest("d", b"", b"1")
    peer.misses_endp("e")
    peer.park("e", b"2")
    peer.finds_endp("e", b"2")
    peer.misses_dest("d")


@case("endp/any-client-finds", "ENDP-3", "CONN-11")
def any_client_finds(lab: Lab) -> None:
    """A session is found by another client than the one that parked it, even after that client has left."""
    peer = lab.peer()
    line = peer.park("e", b"p")
    peer.hang_up()
    lab.peer("B").finds_endp("e", b"p", line)


@case("endp/oldest-first", "ENDP-3", "ENDP-2")
def oldest_first(lab: Lab) -> None:
    """The sessions of an endpoint are handed out in the order in which they were parked."""
    peer = lab.peer()
    lines = [peer.park("e", b"%d" % number) for number in range(20)]
    for number, line in enumerate(lines):
        peer.finds_endp("e", b"%d" % number, line)
    peer.misses_endp("e")


@case("endp/oldest-first-with-finds-between", "ENDP-3", "ENDP-2")
def oldest_first_with_finds_between(lab: Lab) -> None:
    """The order of parking holds when saves and finds alternate, three saves to two finds."""
    peer = lab.peer()
    parked = [(b"%d" % number, peer.park("e", b"%d" % number)) for number in range(2)]
    for number in range(2, 20):
        parked.append((b"%d" % number, peer.park("e", b"%d" % number)))
        if number % 3:
            peer.finds_endp("e", *parked.pop(0))
    for oldest in parked:
        peer.finds_endp("e", *oldest)


@case("endp/oldest-is-not-the-first-to-end", "ENDP-3")
def oldest_is_not_the_first_to_end(lab: Lab) -> None:
    """Sessions of an endpoint are handed out in the order of parking, even if a later one expires sooner."""
    peer = lab.peer()
    ttls_s = [each for each in (3, 1, 2, 1, 3) if each <= lab.ttl_s]
    lines = [peer.park("e", b"%d" % number, ttl_s) for number, ttl_s in enumerate(ttls_s)]
    for number, line in enumerate(lines):
        peer.finds_endp("e", b"%d" % number, line)
    peer.misses_endp("e")


@case("endp/equal-sessions", "ENDP-2")
def equal_sessions(lab: Lab) -> None:
    """Sessions with equal labels and equal properties do not replace each other."""
    peer = lab.peer()
    for line in [peer.park("e", b"the same") for _ in range(3)]:
        peer.finds_endp("e", b"the same", line)
    peer.misses_endp("e")


@case("endp/same-connection-twice", "ENDP-2", "ENDP-4")
def same_connection_twice(lab: Lab) -> None:
    """One connection that is parked twice makes two sessions, and each is found once."""
    peer, line = lab.peer(), lab.line()
    for properties in (b"1", b"2"):
        peer.saves(line.far.fileno(), lab.label("e"), properties)
    line.let_go()
    for properties in (b"1", b"2"):
        peer.finds_endp("e", properties, line)
    peer.misses_endp("e")


def near(base: bytes) -> list[bytes]:
    """Return a label and others that differ from it in one byte, in case or in length."""
    return [base, base[:-1], base + b"\n", base.swapcase(), base[:-1] + b"\x0b", base + b"\xff", b" " + base]


@case("endp/labels-to-the-byte", "ENDP-3")
def labels_to_the_byte(lab: Lab) -> None:
    """Labels that differ in one byte, in case or in length name different endpoints."""
    _require_different(lab, near(lab.label("Endpoint")))


@case("endp/long-labels-to-the-byte", "ENDP-3", "WIRE-3")
def long_labels_to_the_byte(lab: Lab) -> None:
    """Labels of 10 000 bytes that differ in their first, middle or last byte name different endpoints."""
    half = lab.label("e") + b"x" * 5_000
    others = b"y" + half[1:] + half, half + b"y" + half[1:], half + half[:-1] + b"y"
    _require_different(lab, [half + half, *others])


def _require_different(lab: Lab, labels: list[bytes]) -> None:
    peer = lab.peer()
    for number, label in enumerate(labels):
        peer.park_under(label, b"%d" % number)
    for number, label in reversed(list(enumerate(labels))):
        require_found(f"find of label {number}", peer.find_endp(label), b"%d" % number)
        require_miss(f"second find of label {number}", peer.find_endp(label))


@case("endp/endpoints-apart", "ENDP-3")
def endpoints_apart(lab: Lab) -> None:
    """Each of many endpoints hands out its own sessions in its own order, while others are used in between."""
    peer, endpoints = lab.peer(), [f"e{number}" for number in range(8)]
    lines = {(each, turn): peer.park(each, b"%d" % turn) for turn in range(4) for each in endpoints}
    for each in reversed(endpoints):
        for turn in range(4):
            peer.finds_endp(each, b"%d" % turn, lines[each, turn])
        peer.misses_endp(each)


@case("endp/two-name-spaces", "ENDP-1")
def two_name_spaces(lab: Lab) -> None:
    """A destination and an endpoint with equal labels have nothing to do with each other."""
    peer = lab.peer()
    peer.park("both", b"under the label")
    peer.misses_dest("both")
    peer.bind("both", "elsewhere", b"q")
    peer.misses_dest("both")
    line = peer.park("elsewhere", b"elsewhere")
    peer.finds_dest("both", b"q", b"elsewhere", line=line)
    peer.finds_endp("both", b"under the label")
    peer.park("elsewhere", b"elsewhere again")
    peer.misses_endp("both")


@case("endp/many", "ENDP-2", "ENDP-3")
def many(lab: Lab) -> None:
    """Two hundred sessions can be parked under one endpoint at once, and all come back."""
    peer = lab.peer()
    lines = [peer.park("e", b"%d" % number) for number in range(200)]
    for number, line in enumerate(lines):
        peer.finds_endp("e", b"%d" % number, line)


@case("endp/concurrent-finders", "ENDP-4", "CONN-10")
def concurrent_finders(lab: Lab) -> None:
    """When four clients find at the same time, each session goes to exactly one of them."""
    peer, sessions = lab.peer(), sorted(b"%d" % number for number in range(80))
    for properties in sessions:
        peer.park("e", properties)
    finders = [lab.peer(name) for name in "BCDE"]
    found: list[bytes] = []
    failures: list[Unmet] = []

    def find_until_exhausted(number: int) -> None:
        try:
            while (session := finders[number].find_endp(lab.label("e"))) is not None:
                found.append(session.properties[0])
        except Unmet as unmet:
            failures.append(unmet)

    threads = [threading.Thread(target=find_until_exhausted, args=[number]) for number in range(len(finders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure
    require("what was found, sorted", sorted(found), sessions)


@case("endp/one-session-many-finders", "ENDP-4", "CONN-10")
def one_session_many_finders(lab: Lab) -> None:
    """Of eight clients that find one session at once, exactly one gets it, in hundreds of rounds."""
    peer, finders = lab.peer(), [lab.peer(f"F{number}") for number in range(FINDERS)]
    for number in range(ROUNDS):
        endpoint, properties = f"e{number}", b"%d" % number
        line = peer.park(endpoint, properties)
        request = lists.find_endp(lab.label(endpoint))
        # A server that was stopped meanwhile begins with all of them at the same instant.
        with lab.late_server() if number % 2 == 0 else nullcontext():
            for finder in finders:
                finder.send_bytes(request)
        # A server that serves one dance at a time answers the others when the first has its descriptor.
        hits, waiting = 0, {finder.fileno(): finder for finder in finders}
        while waiting:
            fd, *_ = readable(waiting, peer.deadline_s) or waiting
            finder = waiting.pop(fd)
            if finder.receive_reply(1).status == DONE:
                hits += 1
                finder.takes_end_of(line)
                finder.close_received()
        require("how many of the clients find the session", hits, 1)
        line.close()


@case("endp/held-is-nobody-elses", "CONN-10", "ENDP-4")
def held_is_nobody_elses(lab: Lab) -> None:
    """While the first of two sessions is held for a client, a second client finds the second session."""
    peer, other = lab.peer(), lab.peer("B")
    first, second = peer.park("e", b"1"), peer.park("e", b"2")
    peer.holds_endp("e", b"1")
    # A server that waits for the first client answers this later.
    other.send_bytes(lists.find_endp(lab.label("e")))
    peer.takes_end_of(first)
    other.receives(DONE, b"2")
    other.takes_end_of(second)


@case("endp/saved-after-a-put-back", "ENDP-5", "ENDP-2")
def saved_after_a_put_back(lab: Lab) -> None:
    """A session that is saved after the only one was put back goes behind that one."""
    peer, other = lab.peer(), lab.peer("B")
    first = peer.parks_and_holds("e", b"1")
    peer.send((b"label", b"not ready"))
    peer.misses_endp()
    second = other.park("e", b"2")
    other.finds_endp("e", b"1", first)
    other.finds_endp("e", b"2", second)
    other.misses_endp("e")


@case("endp/dead-connection", "ENDP-3")
def dead_connection(lab: Lab) -> None:
    """A parked connection whose peer hung up is a session still, and delivers what the peer sent before."""
    peer = lab.peer()
    line = peer.park("e", b"p")
    line.near.close()
    lab.target.poke()
    peer.finds_endp("e", b"p")


@case("endp/many-endpoints", "ENDP-3", "ENDP-4", "DEST-4")
def many_endpoints(lab: Lab) -> None:
    """Each of 150 endpoints keeps its own session while the sessions of others are found and new ones are parked."""
    with unhurried(lab) as (server, ttl_s):
        peer, line = lab.peer(target=server), lab.line()
        fd = line.far.fileno()
        with lab.lifetime(ttl_s) as life:
            for number in range(ENDPOINTS):
                peer.saves(fd, lab.label(f"e{number}"), b"%d" % number, ttl_s)
                peer.bind(f"d{number}", f"e{number}", b"to %d" % number, ttl_s)
        with life.in_time(exact=True):
            for number in range(0, ENDPOINTS, 3):
                peer.finds_endp(f"e{number}", b"%d" % number, line)
            for number in range(ENDPOINTS, ENDPOINTS + ENDPOINTS // 3):
                peer.saves(fd, lab.label(f"e{number}"), b"%d" % number, ttl_s)
            for number in range(2, ENDPOINTS, 3):
                peer.finds_dest(f"d{number}", b"to %d" % number, b"%d" % number, line=line)
            left = [number for number in range(ENDPOINTS + ENDPOINTS // 3) if number >= ENDPOINTS or number % 3 == 1]
            for number in left:
                peer.finds_endp(f"e{number}", b"%d" % number, line)
        for number in range(ENDPOINTS + ENDPOINTS // 3):
            peer.misses_endp(f"e{number}")


@case("endp/parked-at-once", "ENDP-3", "FD-13", "CONN-2", "CONN-13")
def parked_at_once(lab: Lab) -> None:
    """Eight clients that park at once, and then find at once, each get their own session, in many rounds."""
    peers = [lab.peer(f"P{number}") for number in range(SAVERS)]
    for turn in range(SAVER_ROUNDS):
        lines = [lab.line() for _ in peers]
        for peer in peers:
            peer.begin_save(peer.name, b"%d of " % turn + peer.name.encode() * 9)
        with lab.late_server() if turn % 2 == 0 else nullcontext():
            for peer, line in zip(peers, lines, strict=True):
                peer.send_bytes(b"\0", [line.far.fileno()])
        for peer in peers:
            peer.receives(DONE)
        with lab.late_server() if turn % 2 == 0 else nullcontext():
            for peer in peers:
                peer.send_bytes(lists.find_endp(lab.label(peer.name)))
        for peer in peers:
            peer.receives(DONE, b"%d of " % turn + peer.name.encode() * 9)
            peer.send_bytes(DUMMY_LIST)
        for peer, line in zip(peers, lines, strict=True):
            peer.receives_end_of(line)
            peer.send_bytes(DUMMY_LIST)
            peer.close_received()
            line.close()


@case("endp/dead-when-parked", "FD-3", "ENDP-3", level=Level.SHOULD)
def dead_when_parked(lab: Lab) -> None:
    """A connection whose other end has been closed before is parked and handed out as any other."""
    peer, line, endpoint = lab.peer(), lab.line(), lab.label("e")
    line.near.close()
    peer.saves(line.far.fileno(), endpoint, b"p")
    found = require_found("find_endp", peer.find_endp(endpoint), b"p")
    require("whether it is the connection that was parked", identity(found.fd) == line.identity, True)
