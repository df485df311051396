"""Cases: sessions under endpoints: order, identity of labels, at most once."""

import threading

from scache_conformance.suite.lab import Lab, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.wire.lists import DONE
from scache_conformance.wire.unmet import Unmet


@case("endp/found-session-is-gone", "ENDP-4")
def found_session_is_gone(lab: Lab) -> None:
    """A session that was found is not found again, by whoever asks."""
    peer, other, endpoint = lab.peer(), lab.peer("B"), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    require_found("the first find", peer.find_endp(endpoint), b"p", line=line)
    require_miss("the second find", peer.find_endp(endpoint))
    require_miss("another client's find", other.find_endp(endpoint))


@case("endp/found-by-destination-is-gone", "ENDP-4", "DEST-5")
def found_by_destination_is_gone(lab: Lab) -> None:
    """A session that find_dest found is not found by find_endp, nor the other way round."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.bind(peer, destination, endpoint)
    lab.park(peer, endpoint, b"1")
    require_found("find_dest", peer.find_dest(destination), b"", b"1")
    require_miss("find_endp after it", peer.find_endp(endpoint))
    lab.park(peer, endpoint, b"2")
    require_found("find_endp", peer.find_endp(endpoint), b"2")
    require_miss("find_dest after it", peer.find_dest(destination))


@case("endp/any-client-finds", "ENDP-3", "CONN-11")
def any_client_finds(lab: Lab) -> None:
    """What one client parked another finds, also when the first has gone."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    peer.hang_up()
    require_found("another client's find", lab.peer("B").find_endp(endpoint), b"p", line=line)


@case("endp/oldest-first", "ENDP-3", "ENDP-2")
def oldest_first(lab: Lab) -> None:
    """The sessions of an endpoint are handed out in the order in which they were parked."""
    peer, endpoint = lab.peer(), lab.label("e")
    lines = [lab.park(peer, endpoint, b"%d" % number) for number in range(20)]
    for number, line in enumerate(lines):
        require_found(f"find {number}", peer.find_endp(endpoint), b"%d" % number, line=line)
    require_miss("one find more", peer.find_endp(endpoint))


@case("endp/oldest-first-with-finds-between", "ENDP-3", "ENDP-2")
def oldest_first_with_finds_between(lab: Lab) -> None:
    """Order holds when saves and finds alternate: three are parked for two that are found."""
    peer, endpoint = lab.peer(), lab.label("e")
    parked = [(number, lab.park(peer, endpoint, b"%d" % number)) for number in range(2)]
    for number in range(2, 20):
        parked.append((number, lab.park(peer, endpoint, b"%d" % number)))
        if number % 3:
            oldest, line = parked.pop(0)
            require_found("find", peer.find_endp(endpoint), b"%d" % oldest, line=line)
    for oldest, line in parked:
        require_found("find at the end", peer.find_endp(endpoint), b"%d" % oldest, line=line)


@case("endp/equal-sessions", "ENDP-2")
def equal_sessions(lab: Lab) -> None:
    """Sessions of equal label and properties do not replace each other."""
    peer, endpoint = lab.peer(), lab.label("e")
    lines = [lab.park(peer, endpoint, b"the same") for _ in range(3)]
    for line in lines:
        require_found("find", peer.find_endp(endpoint), b"the same", line=line)
    require_miss("one find more", peer.find_endp(endpoint))


@case("endp/same-connection-twice", "ENDP-2", "ENDP-4")
def same_connection_twice(lab: Lab) -> None:
    """One connection that is parked twice is two sessions; each is found once."""
    peer, line, endpoint = lab.peer(), lab.line(), lab.label("e")
    for properties in (b"1", b"2"):
        require("status", peer.save_endp(lab.ttl_s, endpoint, properties, line.far.fileno()), DONE)
    line.let_go()
    for properties in (b"1", b"2"):
        require_found("find", peer.find_endp(endpoint), properties, line=line)
    require_miss("the third find", peer.find_endp(endpoint))


@case("endp/labels-to-the-byte", "ENDP-3")
def labels_to_the_byte(lab: Lab) -> None:
    """Endpoints whose labels differ in one byte, in case or in length are different endpoints."""
    peer, base = lab.peer(), lab.label("Endpoint")
    labels = [base, base[:-1], base + b"\n", base.swapcase(), base[:-1] + b"\x0b", base + b"\xff", b" " + base]
    for number, label in enumerate(labels):
        lab.park(peer, label, b"%d" % number)
    for number, label in reversed(list(enumerate(labels))):
        require_found(f"find of label {number}", peer.find_endp(label), b"%d" % number)
        require_miss(f"second find of label {number}", peer.find_endp(label))


@case("endp/long-labels-to-the-byte", "ENDP-3", "WIRE-3")
def long_labels_to_the_byte(lab: Lab) -> None:
    """Endpoints whose labels of 20 000 bytes differ in one byte, the first, the middle or the last, are different."""
    peer, half = lab.peer(), lab.label("e") + b"x" * 10_000
    labels = [half + half, b"y" + half[1:] + half, half + b"y" + half[1:], half + half[:-1] + b"y"]
    for number, label in enumerate(labels):
        lab.park(peer, label, b"%d" % number)
    for number, label in reversed(list(enumerate(labels))):
        require_found(f"find of label {number}", peer.find_endp(label), b"%d" % number)
        require_miss(f"second find of label {number}", peer.find_endp(label))


@case("endp/endpoints-apart", "ENDP-3")
def endpoints_apart(lab: Lab) -> None:
    """Each of many endpoints hands out its own sessions, in its own order, whatever comes between."""
    peer = lab.peer()
    endpoints = [lab.label(f"e{number}") for number in range(8)]
    lines = {(each, turn): lab.park(peer, endpoint, b"%d.%d" % (each, turn))
             for turn in range(4) for each, endpoint in enumerate(endpoints)}  # fmt: skip
    for each, endpoint in reversed(list(enumerate(endpoints))):
        for turn in range(4):
            require_found("find", peer.find_endp(endpoint), b"%d.%d" % (each, turn), line=lines[each, turn])
        require_miss("one find more", peer.find_endp(endpoint))


@case("endp/two-name-spaces", "ENDP-1")
def two_name_spaces(lab: Lab) -> None:
    """A destination and an endpoint of equal label have nothing to do with each other."""
    peer, label, elsewhere = lab.peer(), lab.label("both"), lab.label("elsewhere")
    lab.park(peer, label, b"under the label")
    require_miss("find_dest of a label that is an endpoint's alone", peer.find_dest(label))
    lab.bind(peer, label, elsewhere, b"q")
    require_miss("find_dest of a destination that leads elsewhere", peer.find_dest(label))
    line = lab.park(peer, elsewhere, b"elsewhere")
    require_found("find_dest, which goes where it is bound to", peer.find_dest(label), b"q", b"elsewhere", line=line)
    require_found("find_endp of the endpoint", peer.find_endp(label), b"under the label")


@case("endp/many", "ENDP-2", "ENDP-3")
def many(lab: Lab) -> None:
    """Two hundred sessions are parked under one endpoint at once, and all come back."""
    peer, endpoint = lab.peer(), lab.label("e")
    lines = [lab.park(peer, endpoint, b"%d" % number) for number in range(200)]
    for number, line in enumerate(lines):
        require_found("find", peer.find_endp(endpoint), b"%d" % number, line=line)


@case("endp/concurrent-finders", "ENDP-4", "CONN-10")
def concurrent_finders(lab: Lab) -> None:
    """When four clients find at the same time, each session goes to exactly one of them."""
    peer, endpoint, session_count = lab.peer(), lab.label("e"), 80
    for number in range(session_count):
        lab.park(peer, endpoint, b"%d" % number)
    finders = [lab.peer(name) for name in "BCDE"]
    found: list[bytes] = []
    failures: list[Unmet] = []

    def find_until_exhausted(number: int) -> None:
        try:
            while (session := finders[number].find_endp(endpoint)) is not None:
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
    require("what was found, sorted", sorted(found), sorted(b"%d" % number for number in range(session_count)))


@case("endp/held-is-nobody-elses", "CONN-10", "ENDP-4")
def held_is_nobody_elses(lab: Lab) -> None:
    """Of two sessions, the second find gets the second, though the first was not handed over yet when it came."""
    peer, other, endpoint = lab.peer(), lab.peer("B"), lab.label("e")
    first, second = lab.park(peer, endpoint, b"1"), lab.park(peer, endpoint, b"2")
    require("properties of the first find", peer.begin_find_endp(endpoint).properties, (b"1",))
    other.request(b"find_endp", (b"label", endpoint))  # a server that waits for the first client answers this later
    require("that the first gets the first", first.is_other_end_of(peer.take()), True)
    require("properties of the second find", other.receive_reply(1).properties, (b"2",))
    require("that the second gets the second", second.is_other_end_of(other.take()), True)


@case("endp/dead-connection", "ENDP-3")
def dead_connection(lab: Lab) -> None:
    """A connection whose far side hung up while it was parked still delivers what was sent before: it is a session."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    line.near.close()
    lab.target.poke()
    require_found("find", peer.find_endp(endpoint), b"p")
