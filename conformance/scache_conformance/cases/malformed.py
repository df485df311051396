"""Cases: lists that are no requests, and requests of which something is missing or wrong."""

from collections.abc import Callable

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import add, case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import DONE, MALFORMED, Attribute, Attributes

PROPERTY_COUNT = {b"save_endp": 0, b"find_endp": 1, b"save_dest": 0, b"find_dest": 2}

# Lists that are no requests.


def _skipped(slug: str, title: str, clause: str, *lists: Attributes) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        for attributes in lists:
            peer.send(*attributes)
            peer.wait_until_taken()
        peer.misses_dest()  # not find_endp: some of the lists name one, and its reply would pass for that of the next

    add(f"malformed/{slug}", f"{title} without a reply.", (clause,), function)


_FIND: Attribute = (b"request", b"find_endp")
_LABEL: Attribute = (b"label", b"x")
_skipped("empty-list", "An empty list is discarded", "CONN-4", ())
_skipped("empty-lists", "Several empty lists are discarded", "CONN-4", (), (), ())
for _slug, _title, *_lists in (
    ("no-request", "A list without `request`", (_LABEL,)),
    ("request-second", "A list whose second attribute is `request`", (_LABEL, _FIND, _LABEL)),
    ("dummy-out-of-place", "A list `dummy` where a request is awaited", ((b"dummy", b""),)),
    ("greeting-echoed", "The greeting, sent by a client,", ((b"protocol", b"connection_cache_protocol"),)),
    ("request-in-capitals", "A list that begins with `REQUEST`", ((b"REQUEST", b"find_endp"), _LABEL)),
    ("requests", "A list that begins with `requests`", ((b"requests", b"find_endp"), _LABEL)),
    (
        "reques", "A list that begins with `reques`, or with `r`,",
        ((b"reques", b"find_endp"), _LABEL), ((b"r", b"find_endp"), _LABEL),
    ),
    ("several-swallowed", "Each of several lists without `request`", (_LABEL,), (_LABEL,), ((b"status", b"0"),)),
):  # fmt: skip
    _skipped(_slug, f"{_title} is discarded", "CONN-5", *_lists)


# Requests of which something is missing.


def _malformed(slug: str, title: str, name: bytes, *attributes: Attribute, clause: str = "CONN-7") -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        peer.request(name, *attributes)
        peer.receives(MALFORMED, *[b""] * PROPERTY_COUNT[name])
        peer.misses_endp()

    clauses = ("CONN-7", "CONN-13") if clause == "CONN-7" else (clause, "CONN-7")
    add(f"malformed/{slug}", title, clauses, function)


_TTL: Attribute = (b"ttl", b"2")
_PROPERTY: Attribute = (b"property", b"p")
_malformed("find-endp-bare", "A find_endp without attributes: status 1 and one empty property.", b"find_endp")
_malformed("find-dest-bare", "A find_dest without attributes: status 1 and two empty properties.", b"find_dest")
_malformed("save-endp-bare", "A save_endp without attributes: status 1 and no invitation.", b"save_endp")
_malformed("save-dest-bare", "A save_dest without attributes: status 1.", b"save_dest")
_malformed("save-endp-without-ttl", "A save_endp without ttl: status 1.", b"save_endp", _LABEL, _PROPERTY)
_malformed("save-endp-without-label", "A save_endp without label: status 1.", b"save_endp", _TTL, _PROPERTY)
_malformed("save-endp-without-property", "A save_endp without property: status 1.", b"save_endp", _TTL, _LABEL)
_malformed("save-dest-without-ttl", "A save_dest without ttl: status 1.", b"save_dest", _LABEL, _PROPERTY, _LABEL)
_malformed(
    "save-dest-without-destination",
    "A save_dest without the destination's label: status 1.",
    b"save_dest",
    _TTL,
    _PROPERTY,
    _LABEL,
)
_malformed("save-dest-without-property", "A save_dest without property: status 1.", b"save_dest", _TTL, _LABEL, _LABEL)
_malformed(
    "save-dest-without-endpoint",
    "A save_dest without the endpoint's label: status 1.",
    b"save_dest",
    _TTL,
    _LABEL,
    _PROPERTY,
)
for _slug, _title, _name, *_attributes in (
    ("other-name", "A find_endp with `Label` in place of `label`: status 1.", b"find_endp", (b"Label", b"x")),
    (
        "extra-before", "A find_endp whose label comes after an unwanted attribute: status 1.", b"find_endp",
        (b"extra", b""), _LABEL,
    ),
    ("out-of-order", "A save_endp whose label comes before its ttl: status 1.", b"save_endp", _LABEL, _TTL, _PROPERTY),
    (
        "out-of-order-at-the-end", "A save_dest whose property comes after both labels: status 1.", b"save_dest",
        _TTL, _LABEL, _LABEL, _PROPERTY,
    ),
    ("ttl-twice", "A save_endp with two ttls: status 1.", b"save_endp", _TTL, _TTL, _LABEL, _PROPERTY),
):  # fmt: skip
    _malformed(_slug, _title, _name, *_attributes, clause="WIRE-6")


_WELL_FORMED: dict[bytes, Attributes] = {
    b"save_endp": (_TTL, _LABEL, _PROPERTY),
    b"find_endp": (_LABEL,),
    b"save_dest": (_TTL, _LABEL, _PROPERTY, _LABEL),
    b"find_dest": (_LABEL,),
}


def _misspelt(slug: str, wrong: str, misspell: Callable[[bytes], bytes]) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        for request, attributes in _WELL_FORMED.items():
            for at, (name, value) in enumerate(attributes):
                peer.request(request, *attributes[:at], (misspell(name), value), *attributes[at + 1 :])
                peer.receives_status(PROPERTY_COUNT[request], MALFORMED)
        peer.misses_endp()

    title = f"Attribute names are compared byte by byte: `{wrong}` is not `label`, and so for each name."
    add(f"malformed/names-{slug}", title, ("WIRE-6", "CONN-7"), function)


_misspelt("one-longer", "labels", lambda name: name + b"s")
_misspelt("one-shorter", "labe", lambda name: name[:-1])
_misspelt("first-letter", "l", lambda name: name[:1])
_misspelt("last-letter", "labex", lambda name: name[:-1] + b"x")


# What a ttl looks like.

ACCEPTED = {
    "plain": b"5",
    "blank-before": b" 5",
    "plus": b"+5",
    "blank-and-plus": b"  +5",
    "leading-zero": b"010",
    "not-octal": b"09",
    "many-zeros": b"0" * 40 + b"5",
    "white-space": b"\t\n\v\f\r 5",
}
REFUSED = {
    "letters": b"abc",
    "trailing-letter": b"5x",
    "trailing-blank": b"5 ",
    "trailing-newline": b"5\n",
    "empty": b"",
    "blank": b" ",
    "hexadecimal": b"0x10",
    "fraction": b"5.0",
    "exponent": b"1e3",
    "underscore": b"1_0",
    "two-signs": b"++5",
    "blank-after-sign": b"+ 5",
    "sign-alone": b"+",
    "other-digits": "\u0665".encode(),
    "no-break-space": "\u00a05".encode(),
}
OUT_OF_RANGE = {
    "zero": b"0",
    "zeros": b"000",
    "minus-one": b"-1",
    "above-the-largest": b"2147483648",
    "32-bits": b"4294967295",
    "32-bits-and-one": b"4294967296",
    "twenty-digits": b"99999999999999999999",
}
OVERFLOWING = {
    "wraps-to-1": b"4294967297",
    "wraps-to-5-from-below": b"-4294967291",
    "wraps-in-64-bits": b"18446744073709551617",
    "four-hundred-digits": b"1" * 400,
}


def _ttl(values: dict[str, bytes], clause: str, level: Level = Level.MUST, *, is_one: bool = False) -> None:
    def register(slug: str, value: bytes) -> None:
        def function(lab: Lab) -> None:
            peer, label = lab.peer(), (b"label", lab.label("d"))
            peer.request(b"save_dest", (b"ttl", value), label, _PROPERTY, label)
            peer.receives_status(0, DONE if is_one else MALFORMED)
            peer.request(b"save_endp", (b"ttl", value), label, _PROPERTY)
            if not is_one:
                peer.receives_status(0, MALFORMED)
                peer.misses_endp()
                return
            peer.insist_on_invitation()
            peer.sends_descriptors([lab.line().far.fileno()])

        shown = f"The value {repr(value)[1:]}" if len(value) < 40 else f"A value of {len(value)} digits"
        title = f"{shown} is {'a ttl' if is_one else 'not a ttl'}."
        add(f"malformed/ttl-{slug}", title, (clause,), function, level=level)

    for slug, value in values.items():
        register(slug, value)


_ttl(ACCEPTED, "WIRE-8", is_one=True)
_ttl(REFUSED, "WIRE-8")
_ttl({"largest": b"2147483647", "smallest": b"1"}, "WIRE-9", is_one=True)
_ttl(OUT_OF_RANGE, "WIRE-9")
_ttl(OVERFLOWING, "WIRE-10", Level.SHOULD)


# Having no effect.


@case("malformed/save-dest-saves-nothing", "CONN-7")
def save_dest_saves_nothing(lab: Lab) -> None:
    """A malformed save_dest binds nothing."""
    peer = lab.peer()
    peer.park("e")
    labels = (b"label", lab.label("d")), _PROPERTY, (b"label", lab.label("e"))
    peer.request(b"save_dest", (b"ttl", b"0"), *labels)
    peer.receives_status(0, MALFORMED)
    peer.misses_dest("d")


@case("malformed/save-endp-awaits-nothing", "CONN-7")
def save_endp_awaits_nothing(lab: Lab) -> None:
    """After a malformed save_endp a descriptor that comes is closed, and nothing is parked."""
    peer, line = lab.peer(), lab.line()
    peer.request(b"save_endp", (b"ttl", b"0"), (b"label", lab.label("e")), _PROPERTY)
    peer.receives_status(0, MALFORMED)
    peer.send_bytes(b"\0", [line.far.fileno()])  # a lone NUL: an empty list, which is skipped
    line.let_go()
    peer.wait_until_taken()
    line.insist_on_hangup("the descriptor", peer.deadline_s)
    peer.misses_endp("e")


@case("malformed/many", "CONN-5", "CONN-7")
def many(lab: Lab) -> None:
    """After a hundred malformed requests a client's next request is served."""
    peer = lab.peer()
    for _ in range(50):
        peer.request(b"find_dest", _TTL)
        peer.receives_status(2, MALFORMED)
        peer.request(b"save_dest", (b"ttl", b"-2"), _LABEL, _PROPERTY, _LABEL)
        peer.receives_status(0, MALFORMED)
    peer.misses_endp()
