"""Cases: bindings: which session a destination leads to."""

from scache_conformance.cases.endp import near
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import add, case
from scache_conformance.suite.requirements import require_found

LONG_BYTES = 7_000
"""Above the usual sizes of a buffer; a list of this size is far below any sane limit."""


@case("dest/binding-without-session", "DEST-1", "DEST-4")
def binding_without_session(lab: Lab) -> None:
    """A binding may exist before any session: find_dest misses before the session is parked, and hits after."""
    peer = lab.peer()
    peer.bind("d", "e", b"q")
    peer.misses_dest("d")
    line = peer.park("e", b"p")
    peer.finds_dest("d", b"q", b"p", line=line)


@case("dest/session-without-binding", "DEST-1")
def session_without_binding(lab: Lab) -> None:
    """A session may exist before any binding, and a find_dest does not find it until it is bound."""
    peer = lab.peer()
    line = peer.park("e", b"p")
    peer.misses_dest("d")
    peer.bind("d", "e", b"q")
    peer.finds_dest("d", b"q", b"p", line=line)


@case("dest/binding-is-not-consumed", "DEST-5", "DEST-1")
def binding_is_not_consumed(lab: Lab) -> None:
    """A binding serves one find_dest after the other, also after a time without any session."""
    peer = lab.peer()
    peer.bind("d", "e", b"q")
    for turn in range(3):
        lines = [peer.park("e", b"%d.%d" % (turn, number)) for number in range(2)]
        for number, line in enumerate(lines):
            peer.finds_dest("d", b"q", b"%d.%d" % (turn, number), line=line)
        peer.misses_dest("d")


@case("dest/oldest-session-first", "DEST-4", "ENDP-3")
def oldest_session_first(lab: Lab) -> None:
    """A find_dest hands out the oldest session of the endpoint that it leads to."""
    peer = lab.peer()
    peer.bind("d", "e", b"q")
    lines = [peer.park("e", b"%d" % number) for number in range(4)]
    for number, line in enumerate(lines):
        peer.finds_dest("d", b"q", b"%d" % number, line=line)


@case("dest/first-binding-first", "DEST-4", "DEST-3")
def first_binding_first(lab: Lab) -> None:
    """Bindings are tried in the order in which they were saved, whatever the order of the sessions."""
    peer = lab.peer()
    for number in range(4):
        peer.bind("d", f"e{number}", b"q%d" % number)
    for number in reversed(range(4)):
        peer.park(f"e{number}", b"p%d" % number)
    for number in range(4):
        peer.finds_dest("d", b"q%d" % number, b"p%d" % number)
    peer.misses_dest("d")


@case("dest/skips-empty-endpoints", "DEST-4")
def skips_empty_endpoints(lab: Lab) -> None:
    """A binding whose endpoint has no session is skipped, and is tried again at the next find_dest."""
    peer = lab.peer()
    peer.bind("d", "e1", b"q1")
    peer.bind("d", "e2", b"q2")
    peer.park("e2", b"p2")
    peer.finds_dest("d", b"q2", b"p2")
    peer.park("e2", b"p2 again")
    peer.park("e1", b"p1")
    peer.finds_dest("d", b"q1", b"p1")
    peer.finds_dest("d", b"q2", b"p2 again")


@case("dest/exhausts-one-endpoint-first", "DEST-4")
def exhausts_one_endpoint_first(lab: Lab) -> None:
    """All sessions of the first binding's endpoint are handed out before any of the second's."""
    peer = lab.peer()
    peer.bind("d", "e1", b"q1")
    peer.bind("d", "e2", b"q2")
    for number in range(3):
        peer.park("e2", b"second %d" % number)
        peer.park("e1", b"first %d" % number)
    for number in range(3):
        peer.finds_dest("d", b"q1", b"first %d" % number)
    for number in range(3):
        peer.finds_dest("d", b"q2", b"second %d" % number)


@case("dest/same-endpoint-other-properties", "DEST-3")
def same_endpoint_other_properties(lab: Lab) -> None:
    """A second binding to one endpoint with other properties comes after the first, and is never used."""
    peer = lab.peer()
    peer.bind("d", "e", b"first")
    peer.bind("d", "e", b"second")
    for number in range(2):
        peer.park("e", b"%d" % number)
        peer.finds_dest("d", b"first", b"%d" % number)


def _same_but_for(*differing: str) -> None:
    parts = ("destination", "endpoint", "properties")

    def function(lab: Lab) -> None:
        peer = lab.peer()
        first = dict.fromkeys(parts, "1")
        second = {**first, **dict.fromkeys(differing, "2")}
        bindings = {"first": first, "second": second}
        for each in bindings.values():
            peer.bind(f"d{each['destination']}", f"e{each['endpoint']}", each["properties"].encode())
        for name, each in bindings.items():
            if name == "second" and "endpoint" not in differing and "destination" not in differing:
                continue  # the first is tried before it, and finds what it would
            line = peer.park(f"e{each['endpoint']}", name.encode())
            properties = each["properties"].encode()
            peer.finds_dest(f"d{each['destination']}", properties, name.encode(), line=line)

    what = " and ".join(differing)
    add(
        f"dest/other-{'-'.join(differing)}", f"Bindings that differ only in {what} are separate bindings.",
        ("DEST-2", "DEST-3"), function,
    )  # fmt: skip


for _differing in (
    ("destination",), ("endpoint",), ("properties",), ("destination", "endpoint"), ("destination", "properties"),
    ("endpoint", "properties"), ("destination", "endpoint", "properties"),
):  # fmt: skip
    _same_but_for(*_differing)


@case("dest/renewal-keeps-place", "DEST-2")
def renewal_keeps_place(lab: Lab) -> None:
    """A binding that is renewed keeps its place in the order."""
    peer = lab.peer()
    for endpoint, properties in (("e1", b"q1"), ("e2", b"q2"), ("e1", b"q1")):
        peer.bind("d", endpoint, properties)
    peer.park("e2", b"p2")
    peer.park("e1", b"p1")
    peer.finds_dest("d", b"q1", b"p1")
    peer.finds_dest("d", b"q2", b"p2")


@case("dest/other-properties-go-last", "DEST-3")
def other_properties_go_last(lab: Lab) -> None:
    """A save_dest with other properties makes a new binding, which goes last; the first keeps its properties."""
    peer = lab.peer()
    for endpoint, properties in (("e1", b"old"), ("e2", b"q2"), ("e1", b"new")):
        peer.bind("d", endpoint, properties)
    peer.park("e1", b"p1")
    peer.park("e2", b"p2")
    peer.finds_dest("d", b"old", b"p1")
    peer.finds_dest("d", b"q2", b"p2")


@case("dest/destinations-to-the-byte", "DEST-4")
def destinations_to_the_byte(lab: Lab) -> None:
    """Labels that differ in one byte, in case or in length name different destinations."""
    peer, labels = lab.peer(), near(lab.label("Destination"))
    for number, label in enumerate(labels):
        peer.bind_under(label, lab.label(f"e{number}"), b"q%d" % number)
    for number, label in reversed(list(enumerate(labels))):
        peer.park(f"e{number}", b"p%d" % number)
        require_found(f"find of label {number}", peer.find_dest(label), b"q%d" % number, b"p%d" % number)


@case("dest/bindings-run-together", "DEST-3")
def bindings_run_together(lab: Lab) -> None:
    """Bindings are different even if destination, endpoint and properties, joined, are equal bytes."""
    peer = lab.peer()
    for number, between in enumerate((b"", b"\n", b" ", b",", b":", b"/", b"|", b"=", b"\t", b"\x1f", b"\xff")):
        mark = b"%d" % number
        one, other = lab.label(f"e{number}"), lab.label(f"e{number}") + between + b"x"
        for destination, first, second in (
            (f"endpoint first {number}", (other, mark), (one, b"x" + between + mark)),
            (f"properties first {number}", (b"x" + between + one, mark), (one, mark + between + b"x")),
        ):
            for endpoint, properties in (first, second):
                peer.bind_under(lab.label(destination), endpoint, properties)
            for endpoint, properties in (second, first):
                peer.park_under(endpoint, b"p")
                peer.finds_dest(destination, properties, b"p")
        destination = f"destination first {number}"
        longer = lab.label(destination) + between + b"x"
        peer.bind_under(lab.label(destination), b"x" + between + one, mark)
        peer.bind_under(longer, one, mark)
        peer.park_under(one, b"p1")
        require_found("find_dest of the longer one", peer.find_dest(longer), mark, b"p1")
        peer.park_under(b"x" + between + one, b"p2")
        peer.finds_dest(destination, mark, b"p2")


@case("dest/long-labels-to-the-byte", "DEST-4", "DEST-3", "WIRE-3")
def long_labels_to_the_byte(lab: Lab) -> None:
    """Labels of 7 000 bytes that differ in the last byte name different destinations or endpoints."""
    peer, long = lab.peer(), b"x" * LONG_BYTES
    destinations, endpoints = ([lab.label(each) + long + b"%d" % n for n in range(2)] for each in "de")
    for number in range(2):
        peer.bind_under(destinations[number], lab.label(f"e{number}"), b"q%d" % number)
        peer.bind_under(lab.label("several"), endpoints[number], b"q%d" % number)
        peer.park(f"e{number}", b"p%d" % number)
    for number in (1, 0):
        properties = b"q%d" % number, b"p%d" % number
        require_found("find_dest of the long destination", peer.find_dest(destinations[number]), *properties)
        peer.park_under(endpoints[number], b"p%d" % number)
        peer.finds_dest("several", *properties)


@case("dest/shared-endpoint", "DEST-4", "DEST-5", "ENDP-4")
def shared_endpoint(lab: Lab) -> None:
    """Two destinations bound to one endpoint share its sessions, each with its own destination properties."""
    peer = lab.peer()
    peer.bind("d1", "e", b"q1")
    peer.bind("d2", "e", b"q2")
    for number in range(3):
        peer.park("e", b"%d" % number)
    peer.finds_dest("d1", b"q1", b"0")
    peer.finds_dest("d2", b"q2", b"1")
    peer.finds_endp("e", b"2")
    peer.misses_dest("d1")
    peer.misses_dest("d2")


@case("dest/many-to-many", "DEST-4", "DEST-3", "ENDP-3")
def many_to_many(lab: Lab) -> None:
    """Three destinations are bound to the same endpoints in different orders: each follows its own order."""
    peer = lab.peer()
    for turn in range(3):
        for number in (turn, (turn + 1) % 3, (turn + 2) % 3):
            peer.bind(f"d{turn}", f"e{number}", b"q%d" % (number % 2))
    for age in range(3):
        for number in range(3):
            peer.park(f"e{number}", b"p%d.%d" % (number, age))
    for turn in range(3):
        for age in range(3):
            peer.finds_dest(f"d{turn}", b"q%d" % (turn % 2), b"p%d.%d" % (turn, age))
    for turn in range(3):
        peer.misses_dest(f"d{turn}")


@case("dest/combined-lookups-until-exhaustion", "DEST-4", "DEST-5", "ENDP-3", "ENDP-4")
def combined_lookups_until_exhaustion(lab: Lab) -> None:
    """find_dest and find_endp in turn hand out every session once, oldest first, and then miss."""
    peer = lab.peer()
    for number in range(2):
        peer.bind("d", f"e{number}", b"q%d" % number)
        for age in range(4):
            peer.park(f"e{number}", b"%d.%d" % (number, age))
    for age in (0, 2):
        peer.finds_dest("d", b"q0", b"0.%d" % age)
        peer.finds_endp("e0", b"0.%d" % (age + 1))
    peer.finds_dest("d", b"q1", b"1.0")
    peer.misses_endp("e0")
    for age in (1, 2, 3):
        peer.finds_dest("d", b"q1", b"1.%d" % age)
    peer.misses_dest("d")
    peer.misses_endp("e1")


@case("dest/many", "DEST-3", "DEST-4")
def many(lab: Lab) -> None:
    """A hundred bindings of one destination are tried in their order."""
    peer = lab.peer()
    for number in range(100):
        peer.bind("d", f"e{number}", b"%d" % number)
    tried = range(0, 100, 5)  # so many that a table without an order of its own does not hit this one by chance
    for number in reversed(tried):
        peer.park(f"e{number}", b"p")
    for number in tried:
        peer.finds_dest("d", b"%d" % number, b"p")
