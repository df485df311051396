"""Cases: lists that are no requests, and requests of which something is missing or wrong."""

from collections.abc import Callable

from scache_conformance.suite.lab import Lab, require, require_miss
from scache_conformance.suite.registry import add, case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import DONE, FAILED, MALFORMED, Attribute, Attributes, encode
from scache_conformance.wire.peer import Peer

PROPERTY_COUNT = {b"save_endp": 0, b"find_endp": 1, b"save_dest": 0, b"find_dest": 2}


def require_next_is_served(lab: Lab, peer: Peer) -> None:
    """Raise Unmet unless the next request on this connection gets the next reply."""
    require("status of the next request", peer.begin_find_endp(lab.label("nothing")).status, FAILED)


# Lists that are no requests.


def _swallowed(slug: str, title: str, clause: str, *lists: Attributes) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        for attributes in lists:
            peer.send(*attributes)
            peer.wait_until_taken()
        # Not find_endp: some of the lists name one, and its reply would pass for that of the next.
        require("status of the next request", peer.begin_find_dest(lab.label("nothing")).status, FAILED)

    add(f"malformed/{slug}", title, (clause,), Level.MUST, function)


_FIND: Attribute = (b"request", b"find_endp")
_LABEL: Attribute = (b"label", b"x")
_swallowed("empty-list", "An empty list is skipped without a reply.", "CONN-4", ())
_swallowed("empty-lists", "So are several.", "CONN-4", (), (), ())
_swallowed("no-request", "A list without `request` is swallowed without a reply.", "CONN-5", (_LABEL,))
_swallowed("request-second", "So is one whose second attribute it is.", "CONN-5", (_LABEL, _FIND, _LABEL))
_swallowed("dummy-out-of-place", "So is `dummy` where nobody waits for it.", "CONN-5", ((b"dummy", b""),))
_swallowed("greeting-echoed", "So is the greeting.", "CONN-5", ((b"protocol", b"connection_cache_protocol"),))
_swallowed("request-in-capitals", "So is REQUEST.", "CONN-5", ((b"REQUEST", b"find_endp"), _LABEL))
_swallowed("requests", "So is `requests`.", "CONN-5", ((b"requests", b"find_endp"), _LABEL))
_swallowed(
    "reques",
    "So is `reques`, and what begins with `r`.",
    "CONN-5",
    ((b"reques", b"find_endp"), _LABEL),
    ((b"r", b"find_endp"), _LABEL),
)
_swallowed("several-swallowed", "Several are swallowed.", "CONN-5", (_LABEL,), (_LABEL,), ((b"status", b"0"),))


# Requests of which something is missing.


def _malformed(slug: str, title: str, name: bytes, *attributes: Attribute, clause: str = "CONN-7") -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        peer.request(name, *attributes)
        reply = peer.receive_reply(PROPERTY_COUNT[name])
        require("the status", reply.status, MALFORMED)
        require("the properties", reply.properties, (b"",) * PROPERTY_COUNT[name])
        require_next_is_served(lab, peer)

    clauses = ("CONN-7", "CONN-13") if clause == "CONN-7" else (clause, "CONN-7")
    add(f"malformed/{slug}", title, clauses, Level.MUST, function)


_TTL: Attribute = (b"ttl", b"2")
_PROPERTY: Attribute = (b"property", b"p")
_malformed("find-endp-bare", "find_endp without a label: status 1, one empty property.", b"find_endp")
_malformed("find-dest-bare", "find_dest without a label: status 1, two empty properties.", b"find_dest")
_malformed("save-endp-bare", "save_endp without anything: status 1, no invitation.", b"save_endp")
_malformed("save-dest-bare", "save_dest without anything: status 1.", b"save_dest")
_malformed("save-endp-without-ttl", "save_endp without ttl.", b"save_endp", _LABEL, _PROPERTY)
_malformed("save-endp-without-label", "save_endp without label.", b"save_endp", _TTL, _PROPERTY)
_malformed("save-endp-without-property", "save_endp without property.", b"save_endp", _TTL, _LABEL)
_malformed("save-dest-without-ttl", "save_dest without ttl.", b"save_dest", _LABEL, _PROPERTY, _LABEL)
_malformed(
    "save-dest-without-destination", "save_dest with one label, the last.", b"save_dest", _TTL, _PROPERTY, _LABEL
)
_malformed("save-dest-without-property", "save_dest without property.", b"save_dest", _TTL, _LABEL, _LABEL)
_malformed("save-dest-without-endpoint", "save_dest with one label, the first.", b"save_dest", _TTL, _LABEL, _PROPERTY)
_malformed(
    "other-name", "An attribute of another name ends the match.", b"find_endp", (b"Label", b"x"), clause="WIRE-6"
)
_malformed(
    "extra-before", "What is wanted after an attribute that is not counts for nothing.", b"find_endp",
    (b"extra", b""), _LABEL, clause="WIRE-6",
)  # fmt: skip
_malformed("out-of-order", "Order counts: label, then ttl.", b"save_endp", _LABEL, _TTL, _PROPERTY, clause="WIRE-6")
_malformed(
    "out-of-order-at-the-end", "Order counts: in save_dest the endpoint's label comes last.", b"save_dest",
    _TTL, _LABEL, _LABEL, _PROPERTY, clause="WIRE-6",
)  # fmt: skip
_malformed(
    "ttl-twice", "One ttl too many ends the match.", b"save_endp", _TTL, _TTL, _LABEL, _PROPERTY, clause="WIRE-6"
)


_WELL_FORMED: dict[bytes, Attributes] = {
    b"save_endp": (_TTL, _LABEL, _PROPERTY),
    b"find_endp": (_LABEL,),
    b"save_dest": (_TTL, _LABEL, _PROPERTY, _LABEL),
    b"find_dest": (_LABEL,),
}


def _misspelt(slug: str, title: str, misspell: Callable[[bytes], bytes]) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        for request, attributes in _WELL_FORMED.items():
            for at, (name, value) in enumerate(attributes):
                peer.request(request, *attributes[:at], (misspell(name), value), *attributes[at + 1 :])
                status = peer.receive_reply(PROPERTY_COUNT[request]).status
                require(f"status of {request.decode()} with {misspell(name).decode()}", status, MALFORMED)
        require_next_is_served(lab, peer)

    add(f"malformed/{slug}", title, ("WIRE-6", "CONN-7"), Level.MUST, function)


_misspelt("names-one-longer", "Names are told apart to the byte: labels is not label.", lambda name: name + b"s")
_misspelt("names-one-shorter", "Names are told apart to the byte: labe is not label.", lambda name: name[:-1])
_misspelt("names-first-letter", "Names are told apart to the byte: l is not label.", lambda name: name[:1])
_misspelt("names-last-letter", "Names are told apart to the byte: labex is not label.", lambda name: name[:-1] + b"x")


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


def _ttl(slug: str, title: str, value: bytes, clause: str, level: Level, *, is_one: bool) -> None:
    def function(lab: Lab) -> None:
        peer, label = lab.peer(), lab.label("d")
        ttl = (b"ttl", value)
        peer.request(b"save_dest", ttl, (b"label", label), _PROPERTY, (b"label", label))
        require("status of save_dest", peer.receive_reply(0).status, DONE if is_one else MALFORMED)
        peer.request(b"save_endp", ttl, (b"label", label), _PROPERTY)
        if not is_one:
            require("the reply to save_endp", peer.receive("status=1"), ((b"status", b"1"),))
            require_next_is_served(lab, peer)
            return
        peer.insist_on_invitation()
        peer.send_bytes(b"\0", [lab.line().far.fileno()])
        require("status of save_endp", peer.receive_reply(0).status, DONE)

    add(f"malformed/ttl-{slug}", title, (clause,), level, function)


for _slug, _value in ACCEPTED.items():
    _ttl(_slug, f"{_value!r:.40} is a ttl.", _value, "WIRE-8", Level.MUST, is_one=True)
for _slug, _value in REFUSED.items():
    _ttl(_slug, f"{_value!r} is not a ttl.", _value, "WIRE-8", Level.MUST, is_one=False)
_ttl("largest", "2147483647 is a ttl.", b"2147483647", "WIRE-9", Level.MUST, is_one=True)
_ttl("smallest", "1 is a ttl.", b"1", "WIRE-9", Level.MUST, is_one=True)
for _slug, _value in OUT_OF_RANGE.items():
    _ttl(_slug, f"{_value!r} is not a ttl.", _value, "WIRE-9", Level.MUST, is_one=False)
for _slug, _value in OVERFLOWING.items():
    _ttl(_slug, f"{_value!r:.40} is not a ttl.", _value, "WIRE-10", Level.SHOULD, is_one=False)


# Having no effect.


@case("malformed/save-dest-saves-nothing", "CONN-7")
def save_dest_saves_nothing(lab: Lab) -> None:
    """A malformed save_dest binds nothing."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.park(peer, endpoint)
    peer.request(b"save_dest", (b"ttl", b"0"), (b"label", destination), _PROPERTY, (b"label", endpoint))
    require("status of save_dest", peer.receive_reply(0).status, MALFORMED)
    require_miss("find_dest", peer.find_dest(destination))


@case("malformed/save-endp-awaits-nothing", "CONN-7")
def save_endp_awaits_nothing(lab: Lab) -> None:
    """After a malformed save_endp a descriptor is not awaited: one that comes is closed, and nothing is parked."""
    peer, line, endpoint = lab.peer(), lab.line(), lab.label("e")
    peer.request(b"save_endp", (b"ttl", b"0"), (b"label", endpoint), _PROPERTY)
    require("the reply", peer.receive("status=1"), ((b"status", b"1"),))
    peer.send_bytes(b"\0", [line.far.fileno()])  # a lone NUL: an empty list, which is skipped
    line.let_go()
    peer.wait_until_taken()
    line.insist_on_hangup("the descriptor", peer.deadline_s)
    require_miss("find_endp", peer.find_endp(endpoint))


@case("malformed/many", "CONN-5", "CONN-7")
def many(lab: Lab) -> None:
    """After a hundred malformed requests the connection is as good as new."""
    peer = lab.peer()
    for _ in range(50):
        peer.send_bytes(encode((b"request", b"find_dest"), (b"ttl", b"2")))
        require("the status", peer.receive_reply(2).status, MALFORMED)
        peer.send_bytes(encode((b"request", b"save_dest"), (b"ttl", b"-2"), _LABEL, _PROPERTY, _LABEL))
        require("the status", peer.receive_reply(0).status, MALFORMED)
    require_next_is_served(lab, peer)
