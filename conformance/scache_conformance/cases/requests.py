"""Cases: the four requests, asked for properly, and each of their replies to the letter."""

from scache_conformance.suite.lab import Lab, require, require_found, require_miss
from scache_conformance.suite.registry import add, case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import DONE, Attribute, Attributes
from scache_conformance.wire.unmet import Unmet

MISS_ENDP: Attributes = ((b"status", b"2"), (b"property", b""))
MISS_DEST: Attributes = ((b"status", b"2"), (b"property", b""), (b"property", b""))
STATUS_0: Attributes = ((b"status", b"0"),)
STATUS_1: Attributes = ((b"status", b"1"),)

LONG_BYTES = 10_000
"""Far above what Postfix sends (1 000), with three of them far below any sane limit of a list."""


@case("requests/save-endp", "CONN-12", "CONN-13", "FD-2", "FD-3")
def save_endp(lab: Lab) -> None:
    """save_endp: an invitation, then, with the descriptor there, status 0 alone."""
    peer, line = lab.peer(), lab.line()
    peer.request(b"save_endp", (b"ttl", b"%d" % lab.ttl_s), (b"label", lab.label("e")), (b"property", b"p"))
    require("the invitation", peer.receive("dummy="), ((b"dummy", b""),))
    peer.send_bytes(b"\0", [line.far.fileno()])
    require("the reply", peer.receive("status=0"), STATUS_0)


@case("requests/find-endp-hit", "CONN-10", "CONN-13", "FD-6")
def find_endp_hit(lab: Lab) -> None:
    """find_endp that finds: status 0 and the endpoint properties, then the descriptor."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"endpoint properties\n")
    peer.request(b"find_endp", (b"label", endpoint))
    require("the reply", peer.receive("status=0"), ((b"status", b"0"), (b"property", b"endpoint properties\n")))
    require("that the descriptor is the parked one", line.is_other_end_of(peer.take()), True)


@case("requests/find-endp-miss", "CONN-9", "CONN-13")
def find_endp_miss(lab: Lab) -> None:
    """find_endp that finds nothing: status 2 and one empty property."""
    peer = lab.peer()
    peer.request(b"find_endp", (b"label", lab.label("nothing")))
    require("the reply", peer.receive("status=2"), MISS_ENDP)


@case("requests/save-dest", "CONN-8", "CONN-12", "CONN-13")
def save_dest(lab: Lab) -> None:
    """save_dest: status 0 alone."""
    peer = lab.peer()
    ttl, label = (b"ttl", b"%d" % lab.ttl_s), (b"label", lab.label("d"))
    peer.request(b"save_dest", ttl, label, (b"property", b"p"), (b"label", lab.label("e")))
    require("the reply", peer.receive("status=0"), STATUS_0)


@case("requests/find-dest-hit", "CONN-10", "CONN-12", "CONN-13", "FD-6")
def find_dest_hit(lab: Lab) -> None:
    """find_dest that finds: status 0, the destination's properties, the endpoint's, then the descriptor."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    line = lab.park(peer, endpoint, b"of the endpoint")
    lab.bind(peer, destination, endpoint, b"of the destination")
    peer.request(b"find_dest", (b"label", destination))
    expected = ((b"status", b"0"), (b"property", b"of the destination"), (b"property", b"of the endpoint"))
    require("the reply", peer.receive("status=0"), expected)
    require("that the descriptor is the parked one", line.is_other_end_of(peer.take()), True)


@case("requests/find-dest-miss", "CONN-9", "CONN-13")
def find_dest_miss(lab: Lab) -> None:
    """find_dest that finds nothing: status 2 and two empty properties."""
    peer = lab.peer()
    peer.request(b"find_dest", (b"label", lab.label("nothing")))
    require("the reply", peer.receive("status=2"), MISS_DEST)


def _unknown(slug: str, title: str, name: bytes, *more: Attribute) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        peer.request(name, *more)
        require("the reply", peer.receive("status=1"), STATUS_1)
        peer.request(b"find_endp", (b"label", lab.label("nothing")))
        require("the reply to the next request", peer.receive("status=2"), MISS_ENDP)

    add(f"requests/unknown-{slug}", title, ("CONN-6", "CONN-13"), Level.MUST, function)


_LABEL = (b"label", b"x")
_unknown("name", "An unknown request is answered with status 1 alone.", b"remove_endp")
_unknown("with-attributes", "So is one that brings attributes along.", b"list", _LABEL, (b"property", b"p"))
_unknown("empty", "So is one whose name is empty.", b"", _LABEL)
_unknown("capitals", "Request names are told apart to the byte: FIND_ENDP is unknown.", b"FIND_ENDP", _LABEL)
_unknown("prefix", "Request names are told apart to the byte: find_end is unknown.", b"find_end", _LABEL)
_unknown("longer", "Request names are told apart to the byte: find_endps is unknown.", b"find_endps", _LABEL)
_unknown("blank", "Request names are told apart to the byte: find_endp with a blank is unknown.", b"find_endp ", _LABEL)


@case("requests/extra-attributes", "WIRE-7")
def extra_attributes(lab: Lab) -> None:
    """Attributes after all that a request wants are ignored, in each of the four."""
    peer, line, destination, endpoint = lab.peer(), lab.line(), lab.label("d"), lab.label("e")
    ttl, extra = (b"ttl", b"%d" % lab.ttl_s), ((b"label", b"extra"), (b"ttl", b"0"), (b"foo", b"bar"))
    peer.request(b"save_endp", ttl, (b"label", endpoint), (b"property", b"p"), *extra)
    peer.insist_on_invitation()
    peer.send_bytes(b"\0", [line.far.fileno()])
    require("status of save_endp", peer.receive_reply(0).status, DONE)
    peer.request(b"save_dest", ttl, (b"label", destination), (b"property", b"q"), (b"label", endpoint), *extra)
    require("status of save_dest", peer.receive_reply(0).status, DONE)
    peer.request(b"find_dest", (b"label", destination), *extra)
    require("properties of find_dest", peer.receive_reply(2).properties, (b"q", b"p"))
    peer.take()
    peer.request(b"find_endp", (b"label", endpoint), *extra)
    require("the reply to find_endp", peer.receive("status=2"), MISS_ENDP)


@case("requests/every-byte", "WIRE-3")
def every_byte(lab: Lab) -> None:
    """Labels and properties hold every byte but NUL, and come back as they were."""
    peer, every = lab.peer(), bytes(range(1, 256))
    destination, endpoint = lab.label("d") + every, lab.label("e") + every
    line = lab.park(peer, endpoint, every[::-1])
    lab.bind(peer, destination, endpoint, every)
    require_found("find_dest", peer.find_dest(destination), every, every[::-1], line=line)


@case("requests/blanks-kept", "WIRE-3")
def blanks_kept(lab: Lab) -> None:
    """Blanks and newlines at either end of a label or a property belong to it."""
    peer = lab.peer()
    for number, space in enumerate((b" ", b"\n", b"\t", b"\r\n", b"\x0b\x0c ")):
        label = lab.label(f"{number}").strip()
        line = lab.park(peer, space + label + space, space + b"p" + space)
        lab.bind(peer, space + label, space + label + space, space)
        for other in (label, label + space):
            require_miss("find_endp of the label without a blank", peer.find_endp(other))
            require_miss("find_dest of the label without a blank", peer.find_dest(other))
        found = peer.find_dest(space + label)
        require_found("find_dest", found, space, space + b"p" + space, line=line)


@case("requests/names-as-values", "WIRE-3")
def names_as_values(lab: Lab) -> None:
    """Labels and properties that are words of the protocol themselves are labels and properties."""
    peer, endpoint = lab.peer(), lab.label("")
    for word in (b"request", b"dummy", b"status", b"label", b"find_endp", b"0"):
        line = lab.park(peer, endpoint + word, word)
        lab.bind(peer, endpoint + word, endpoint + word, word)
        require_found("find_dest", peer.find_dest(endpoint + word), word, word, line=line)


@case("requests/empty-properties", "WIRE-2")
def empty_properties(lab: Lab) -> None:
    """Properties may be empty."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    line = lab.park(peer, endpoint, b"")
    lab.bind(peer, destination, endpoint, b"")
    require_found("find_dest", peer.find_dest(destination), b"", b"", line=line)


@case("requests/empty-labels", "WIRE-2")
def empty_labels(lab: Lab) -> None:
    """Labels may be empty: one endpoint and one destination are named so."""
    peer = lab.peer()
    while (left := peer.find_endp(b"")) is not None:
        lab.transcript.note("", f"found one that somebody else had parked, {left.properties!r}")
    line = lab.park(peer, b"", b"p")
    lab.bind(peer, b"", b"", lab.label("q"))
    found = peer.find_dest(b"")
    require("that the session under the empty label is found", found and line.is_other_end_of(found.fd), True)
    require_miss("find_endp of the empty label", peer.find_endp(b""))


@case("requests/long-labels", "WIRE-3")
def long_labels(lab: Lab) -> None:
    """Labels and properties of thousands of bytes come back as they were."""
    peer, endpoint = lab.peer(), lab.label("e") + b"x" * LONG_BYTES
    line = lab.park(peer, endpoint, b"p" * LONG_BYTES)
    lab.bind(peer, lab.label("d"), endpoint, b"q" * LONG_BYTES)
    require_miss("find_endp of all but the last byte", peer.find_endp(endpoint[:-1]))
    found = peer.find_dest(lab.label("d"))
    require_found("find_dest", found, b"q" * LONG_BYTES, b"p" * LONG_BYTES, line=line)


@case("requests/long-properties", "WIRE-3")
def long_properties(lab: Lab) -> None:
    """Properties of 20 000 bytes come back to the last byte."""
    peer, endpoint, destination, long = lab.peer(), lab.label("e"), lab.label("d"), b"x" * 2 * LONG_BYTES
    line = lab.park(peer, endpoint, long + b"p")
    lab.bind(peer, destination, endpoint, long + b"q")
    require_found("find_dest", peer.find_dest(destination), long + b"q", long + b"p", line=line)


@case("requests/list-of-300000-bytes", "LIMIT-1", level=Level.INFO)
def list_of_300000_bytes(lab: Lab) -> str:
    """What becomes of a list of 300 000 bytes."""
    peer = lab.peer()
    try:
        peer.request(b"find_endp", (b"label", lab.label("e") + b"x" * 300_000))
        return f"it is answered with status {peer.receive_reply(1).status}"
    except Unmet as unmet:
        return f"no reply, but {unmet.actual}"


@case("requests/one-after-the-other", "CONN-8", "CONN-9", "CONN-10")
def one_after_the_other(lab: Lab) -> None:
    """One client makes a hundred requests of all kinds over one connection."""
    peer, endpoint, destination = lab.peer(), lab.label("e"), lab.label("d")
    lab.bind(peer, destination, endpoint, b"q")
    for number in range(25):
        properties = b"%d" % number
        line = lab.park(peer, endpoint, properties)
        require_found("find_dest", peer.find_dest(destination), b"q", properties, line=line)
        require_miss("find_endp", peer.find_endp(endpoint))
