"""Cases: bindings: which session a destination leads to."""

from scache_conformance.suite.lab import Lab, require_found, require_miss
from scache_conformance.suite.registry import case

LONG_BYTES = 20_000
"""Above the usual sizes of a buffer; a list of this size is far below any sane limit."""


@case("dest/binding-without-session", "DEST-1", "DEST-4")
def binding_without_session(lab: Lab) -> None:
    """A binding may be there before any session: find_dest misses, then hits."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.bind(peer, destination, endpoint, b"q")
    require_miss("find_dest without a session", peer.find_dest(destination))
    line = lab.park(peer, endpoint, b"p")
    require_found("find_dest with one", peer.find_dest(destination), b"q", b"p", line=line)


@case("dest/session-without-binding", "DEST-1")
def session_without_binding(lab: Lab) -> None:
    """A session may be there before any binding, and outlive none."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    require_miss("find_dest without a binding", peer.find_dest(destination))
    lab.bind(peer, destination, endpoint, b"q")
    require_found("find_dest with one", peer.find_dest(destination), b"q", b"p", line=line)


@case("dest/binding-is-not-consumed", "DEST-5", "DEST-1")
def binding_is_not_consumed(lab: Lab) -> None:
    """A binding serves one find after the other, also across times without a session."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.bind(peer, destination, endpoint, b"q")
    for turn in range(3):
        lines = [lab.park(peer, endpoint, b"%d.%d" % (turn, number)) for number in range(2)]
        for number, line in enumerate(lines):
            require_found("find_dest", peer.find_dest(destination), b"q", b"%d.%d" % (turn, number), line=line)
        require_miss("find_dest with no session left", peer.find_dest(destination))


@case("dest/oldest-session-first", "DEST-4", "ENDP-3")
def oldest_session_first(lab: Lab) -> None:
    """find_dest hands out the oldest session of the endpoint it leads to."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.bind(peer, destination, endpoint, b"q")
    lines = [lab.park(peer, endpoint, b"%d" % number) for number in range(4)]
    for number, line in enumerate(lines):
        require_found("find_dest", peer.find_dest(destination), b"q", b"%d" % number, line=line)


@case("dest/first-binding-first", "DEST-4", "DEST-3")
def first_binding_first(lab: Lab) -> None:
    """Bindings are tried in the order in which they were saved, not in that of the sessions."""
    peer, destination = lab.peer(), lab.label("d")
    endpoints = [lab.label(f"e{number}") for number in range(4)]
    for number, endpoint in enumerate(endpoints):
        lab.bind(peer, destination, endpoint, b"q%d" % number)
    for number, endpoint in reversed(list(enumerate(endpoints))):
        lab.park(peer, endpoint, b"p%d" % number)
    for number in range(4):
        require_found("find_dest", peer.find_dest(destination), b"q%d" % number, b"p%d" % number)
    require_miss("one find more", peer.find_dest(destination))


@case("dest/skips-empty-endpoints", "DEST-4")
def skips_empty_endpoints(lab: Lab) -> None:
    """A binding whose endpoint has no session is passed over, and tried again next time."""
    peer, destination, first, second = lab.peer(), lab.label("d"), lab.label("e1"), lab.label("e2")
    lab.bind(peer, destination, first, b"q1")
    lab.bind(peer, destination, second, b"q2")
    lab.park(peer, second, b"p2")
    require_found("find_dest past the empty one", peer.find_dest(destination), b"q2", b"p2")
    lab.park(peer, second, b"p2 again")
    lab.park(peer, first, b"p1")
    require_found("find_dest with both", peer.find_dest(destination), b"q1", b"p1")
    require_found("find_dest with the second", peer.find_dest(destination), b"q2", b"p2 again")


@case("dest/exhausts-one-endpoint-first", "DEST-4")
def exhausts_one_endpoint_first(lab: Lab) -> None:
    """The first binding's endpoint is emptied before the second's is touched."""
    peer, destination, first, second = lab.peer(), lab.label("d"), lab.label("e1"), lab.label("e2")
    lab.bind(peer, destination, first, b"q1")
    lab.bind(peer, destination, second, b"q2")
    for number in range(3):
        lab.park(peer, second, b"second %d" % number)
        lab.park(peer, first, b"first %d" % number)
    for number in range(3):
        require_found("find_dest", peer.find_dest(destination), b"q1", b"first %d" % number)
    for number in range(3):
        require_found("find_dest", peer.find_dest(destination), b"q2", b"second %d" % number)


@case("dest/same-endpoint-other-properties", "DEST-3")
def same_endpoint_other_properties(lab: Lab) -> None:
    """A second binding to the same endpoint with other properties comes after the first: it never gets its turn."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.bind(peer, destination, endpoint, b"first")
    lab.bind(peer, destination, endpoint, b"second")
    for number in range(2):
        lab.park(peer, endpoint, b"%d" % number)
        require_found("find_dest", peer.find_dest(destination), b"first", b"%d" % number)


@case("dest/renewal-keeps-place", "DEST-2")
def renewal_keeps_place(lab: Lab) -> None:
    """Saving a binding again leaves its place in the order."""
    peer, destination, first, second = lab.peer(), lab.label("d"), lab.label("e1"), lab.label("e2")
    lab.bind(peer, destination, first, b"q1")
    lab.bind(peer, destination, second, b"q2")
    lab.bind(peer, destination, first, b"q1")
    lab.park(peer, second, b"p2")
    lab.park(peer, first, b"p1")
    require_found("find_dest", peer.find_dest(destination), b"q1", b"p1")
    require_found("find_dest", peer.find_dest(destination), b"q2", b"p2")


@case("dest/other-properties-go-last", "DEST-3")
def other_properties_go_last(lab: Lab) -> None:
    """Saving a binding with other properties is no renewal: it goes last and the first keeps its properties."""
    peer, destination, first, second = lab.peer(), lab.label("d"), lab.label("e1"), lab.label("e2")
    lab.bind(peer, destination, first, b"old")
    lab.bind(peer, destination, second, b"q2")
    lab.bind(peer, destination, first, b"new")
    lab.park(peer, first, b"p1")
    lab.park(peer, second, b"p2")
    require_found("find_dest", peer.find_dest(destination), b"old", b"p1")
    require_found("find_dest", peer.find_dest(destination), b"q2", b"p2")


@case("dest/destinations-to-the-byte", "DEST-4")
def destinations_to_the_byte(lab: Lab) -> None:
    """Destinations whose labels differ in one byte, in case or in length are different destinations."""
    peer, base = lab.peer(), lab.label("Destination")
    labels = [base, base[:-1], base + b"\n", base.swapcase(), base[:-1] + b"\x0b", base + b"\xff", b" " + base]
    for number, label in enumerate(labels):
        lab.bind(peer, label, lab.label(f"e{number}"), b"q%d" % number)
    for number, label in reversed(list(enumerate(labels))):
        lab.park(peer, lab.label(f"e{number}"), b"p%d" % number)
        require_found(f"find of label {number}", peer.find_dest(label), b"q%d" % number, b"p%d" % number)


@case("dest/bindings-run-together", "DEST-3")
def bindings_run_together(lab: Lab) -> None:
    """Bindings whose destination, endpoint and properties are the same, written one after the other, are several."""
    peer = lab.peer()
    for number, between in enumerate((b"", b"\n", b" ", b",", b":", b"/", b"|", b"=", b"\t", b"\x1f", b"\xff")):
        mark = b"%d" % number
        one, other = lab.label(f"e{number}"), lab.label(f"e{number}") + between + b"x"
        for destination, first, second in (
            (lab.label(f"endpoint first {number}"), (other, mark), (one, b"x" + between + mark)),
            (lab.label(f"properties first {number}"), (b"x" + between + one, mark), (one, mark + between + b"x")),
        ):
            for endpoint, properties in (first, second):
                lab.bind(peer, destination, endpoint, properties)
            for endpoint, properties in (second, first):
                lab.park(peer, endpoint, b"p")
                require_found("find_dest", peer.find_dest(destination), properties, b"p")
        destination = lab.label(f"destination first {number}")
        lab.bind(peer, destination, b"x" + between + one, mark)
        lab.bind(peer, destination + between + b"x", one, mark)
        lab.park(peer, one, b"p1")
        require_found("find_dest", peer.find_dest(destination + between + b"x"), mark, b"p1")
        lab.park(peer, b"x" + between + one, b"p2")
        require_found("find_dest", peer.find_dest(destination), mark, b"p2")


@case("dest/long-labels-to-the-byte", "DEST-4", "DEST-3", "WIRE-3")
def long_labels_to_the_byte(lab: Lab) -> None:
    """Destinations, and endpoints of one destination, whose labels of 20 000 bytes differ in the last are different."""
    peer, long = lab.peer(), b"x" * LONG_BYTES
    for number in range(2):
        last = b"%d" % number
        lab.bind(peer, lab.label("d") + long + last, lab.label(f"e{number}"), b"q%b" % last)
        lab.bind(peer, lab.label("several"), lab.label("e") + long + last, b"q%b" % last)
        lab.park(peer, lab.label(f"e{number}"), b"p%b" % last)
    for number in (1, 0):
        last = b"%d" % number
        found = peer.find_dest(lab.label("d") + long + last)
        require_found("find_dest of the long destination", found, b"q%b" % last, b"p%b" % last)
        lab.park(peer, lab.label("e") + long + last, b"p%b" % last)
        found = peer.find_dest(lab.label("several"))
        require_found("find_dest by the long endpoint", found, b"q%b" % last, b"p%b" % last)


@case("dest/shared-endpoint", "DEST-4", "DEST-5", "ENDP-4")
def shared_endpoint(lab: Lab) -> None:
    """Two destinations may lead to one endpoint: they share its sessions, each with its own properties."""
    peer, first, second, endpoint = lab.peer(), lab.label("d1"), lab.label("d2"), lab.label("e")
    lab.bind(peer, first, endpoint, b"q1")
    lab.bind(peer, second, endpoint, b"q2")
    for number in range(3):
        lab.park(peer, endpoint, b"%d" % number)
    require_found("find_dest of the first", peer.find_dest(first), b"q1", b"0")
    require_found("find_dest of the second", peer.find_dest(second), b"q2", b"1")
    require_found("find_endp", peer.find_endp(endpoint), b"2")
    require_miss("find_dest of the first", peer.find_dest(first))
    require_miss("find_dest of the second", peer.find_dest(second))


@case("dest/many-to-many", "DEST-4", "DEST-3", "ENDP-3")
def many_to_many(lab: Lab) -> None:
    """Three destinations, each bound to three endpoints in another order: each takes from its own first."""
    peer = lab.peer()
    destinations, endpoints = [lab.label(f"d{n}") for n in range(3)], [lab.label(f"e{n}") for n in range(3)]
    for turn, destination in enumerate(destinations):
        for step in range(3):
            number = (turn + step) % 3
            lab.bind(peer, destination, endpoints[number], b"q%d%d" % (turn, number))
    for turn in range(3):
        for number, endpoint in enumerate(endpoints):
            lab.park(peer, endpoint, b"p%d.%d" % (number, turn))
    for turn, destination in enumerate(destinations):
        for age in range(3):
            properties = b"q%d%d" % (turn, turn), b"p%d.%d" % (turn, age)
            require_found(f"find_dest of d{turn}", peer.find_dest(destination), *properties)
    for destination in destinations:
        require_miss("find_dest with all gone", peer.find_dest(destination))


@case("dest/combined-lookups-until-exhaustion", "DEST-4", "DEST-5", "ENDP-3", "ENDP-4")
def combined_lookups_until_exhaustion(lab: Lab) -> None:
    """find_dest and find_endp in turn take every session once, oldest first, and then nothing."""
    peer, destination = lab.peer(), lab.label("d")
    endpoints = [lab.label(f"e{number}") for number in range(2)]
    for number, endpoint in enumerate(endpoints):
        lab.bind(peer, destination, endpoint, b"q%d" % number)
        for age in range(4):
            lab.park(peer, endpoint, b"%d.%d" % (number, age))
    expected = [(b"q0", b"0.0"), (b"0.1",), (b"q0", b"0.2"), (b"0.3",), (b"q1", b"1.0")]
    for properties in expected:
        found = peer.find_dest(destination) if len(properties) == 2 else peer.find_endp(endpoints[0])
        require_found("the next in turn", found, *properties)
    require_miss("find_endp of the empty one", peer.find_endp(endpoints[0]))
    for age in (1, 2, 3):
        require_found("find_dest", peer.find_dest(destination), b"q1", b"1.%d" % age)
    require_miss("find_dest", peer.find_dest(destination))
    require_miss("find_endp", peer.find_endp(endpoints[1]))


@case("dest/many", "DEST-3", "DEST-4")
def many(lab: Lab) -> None:
    """A hundred bindings of one destination are tried in their order."""
    peer, destination = lab.peer(), lab.label("d")
    for number in range(100):
        lab.bind(peer, destination, lab.label(f"e{number}"), b"%d" % number)
    for number in (99, 50, 0):
        lab.park(peer, lab.label(f"e{number}"), b"p")
    for number in (0, 50, 99):
        require_found("find_dest", peer.find_dest(destination), b"%d" % number, b"p")
