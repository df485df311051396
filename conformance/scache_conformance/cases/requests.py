"""Cases: the four requests, well formed, and each of their replies to the last byte."""

from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import add, case
from scache_conformance.suite.requirements import require, require_found, require_miss
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.lists import Attribute, Attributes
from scache_conformance.wire.unmet import Unmet

LONG_BYTES = 5_000
"""Far above what Postfix sends (1 000). A list with three values of this size is far below any sane limit."""


def _require_reply(peer: Client, status: bytes, *properties: bytes) -> None:
    """Raise Unmet unless the next list is exactly this one."""
    expected: Attributes = ((b"status", status), *((b"property", each) for each in properties))
    require("the reply", peer.receive(f"status={status.decode()}"), expected)


@case("requests/save-endp", "CONN-12", "CONN-13", "FD-2", "FD-3")
def save_endp(lab: Lab) -> None:
    """A save_endp is answered with the invitation, and after the descriptor with status 0 alone."""
    peer, line = lab.peer(), lab.line()
    peer.begin_save()
    peer.send_bytes(b"\0", [line.far.fileno()])
    _require_reply(peer, b"0")


@case("requests/find-endp-hit", "CONN-10", "CONN-13", "FD-6")
def find_endp_hit(lab: Lab) -> None:
    """A find_endp that hits is answered with status 0 and the endpoint properties, then with the descriptor."""
    peer = lab.peer()
    line = peer.park("e", b"endpoint properties\n")
    peer.send_bytes(lists.find_endp(lab.label("e")))
    _require_reply(peer, b"0", b"endpoint properties\n")
    peer.takes_end_of(line)


@case("requests/find-endp-miss", "CONN-9", "CONN-13")
def find_endp_miss(lab: Lab) -> None:
    """A find_endp that misses is answered with status 2 and one empty property."""
    peer = lab.peer()
    peer.send_bytes(lists.find_endp(lab.label("nothing")))
    _require_reply(peer, b"2", b"")


@case("requests/save-dest", "CONN-8", "CONN-12", "CONN-13")
def save_dest(lab: Lab) -> None:
    """A save_dest is answered with status 0 alone."""
    peer = lab.peer()
    peer.send_bytes(lists.save_dest(lab.ttl_s, lab.label("d"), b"p", lab.label("e")))
    _require_reply(peer, b"0")


@case("requests/find-dest-hit", "CONN-10", "CONN-12", "CONN-13", "FD-6")
def find_dest_hit(lab: Lab) -> None:
    """A find_dest that hits: status 0, destination properties, endpoint properties, then the descriptor."""
    peer = lab.peer()
    line = peer.park("e", b"of the endpoint")
    peer.bind("d", "e", b"of the destination")
    peer.send_bytes(lists.find_dest(lab.label("d")))
    _require_reply(peer, b"0", b"of the destination", b"of the endpoint")
    peer.takes_end_of(line)


@case("requests/find-dest-miss", "CONN-9", "CONN-13")
def find_dest_miss(lab: Lab) -> None:
    """A find_dest that misses is answered with status 2 and two empty properties."""
    peer = lab.peer()
    peer.send_bytes(lists.find_dest(lab.label("nothing")))
    _require_reply(peer, b"2", b"", b"")


def _unknown(slug: str, title: str, name: bytes, *more: Attribute) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        peer.request(name, *more)
        _require_reply(peer, b"1")
        peer.send_bytes(lists.find_endp(lab.label("nothing")))
        _require_reply(peer, b"2", b"")

    add(f"requests/unknown-{slug}", title, ("CONN-6", "CONN-13"), function)


_LABEL = (b"label", b"x")
_unknown("name", "A request of an unknown name is answered with status 1 alone.", b"remove_endp")
_unknown(
    "with-attributes", "A request of an unknown name and with attributes is answered with status 1 alone.",
    b"list", _LABEL, (b"property", b"p"),
)  # fmt: skip
_unknown("empty", "A request whose name is empty is answered with status 1 alone.", b"", _LABEL)
for _slug, _name in {
    "capitals": b"FIND_ENDP",
    "prefix": b"find_end",
    "longer": b"find_endps",
    "blank": b"find_endp ",
}.items():
    _unknown(_slug, f'Request names are compared byte by byte: "{_name.decode()}" is an unknown name.', _name, _LABEL)


@case("requests/extra-attributes", "WIRE-7")
def extra_attributes(lab: Lab) -> None:
    """In each of the four requests, attributes after the last wanted one are ignored."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    extra = lists.encode((b"label", b"extra"), (b"ttl", b"0"), (b"foo", b"bar"))
    peer.send_bytes(lists.save_endp(lab.ttl_s, endpoint, b"p")[:-1] + extra)
    peer.insist_on_invitation()
    peer.sends_descriptors([lab.line().far.fileno()])
    peer.send_bytes(lists.save_dest(lab.ttl_s, destination, b"q", endpoint)[:-1] + extra)
    _require_reply(peer, b"0")
    peer.send_bytes(lists.find_dest(destination)[:-1] + extra)
    _require_reply(peer, b"0", b"q", b"p")
    peer.take()
    peer.send_bytes(lists.find_endp(endpoint)[:-1] + extra)
    _require_reply(peer, b"2", b"")


@case("requests/every-byte", "WIRE-3")
def every_byte(lab: Lab) -> None:
    """Labels and properties may hold every byte but NUL, and come back unchanged."""
    peer, every = lab.peer(), bytes(range(1, 256))
    destination, endpoint = lab.label("d") + every, lab.label("e") + every
    line = peer.park_under(endpoint, every[::-1])
    peer.bind_under(destination, endpoint, every)
    require_found("find_dest", peer.find_dest(destination), every, every[::-1], line=line)


@case("requests/blanks-kept", "WIRE-3")
def blanks_kept(lab: Lab) -> None:
    """Blanks and newlines at the start or the end of a label or of properties are kept."""
    peer = lab.peer()
    for number, space in enumerate((b" ", b"\n", b"\t", b"\r\n", b"\x0b\x0c ")):
        bare = lab.label(f"{number}").strip()
        line = peer.park_under(space + bare + space, space + b"p" + space)
        peer.bind_under(space + bare, space + bare + space, space)
        for other in (bare, bare + space):
            require_miss("find_endp of the label without a blank", peer.find_endp(other))
            require_miss("find_dest of the label without a blank", peer.find_dest(other))
        require_found("find_dest", peer.find_dest(space + bare), space, space + b"p" + space, line=line)


@case("requests/names-as-values", "WIRE-3")
def names_as_values(lab: Lab) -> None:
    """Labels and properties that are names of the protocol are served like any others."""
    peer = lab.peer()
    for word in ("request", "dummy", "status", "label", "find_endp", "0"):
        line = peer.park(word, word.encode())
        peer.bind(word, word, word.encode())
        peer.finds_dest(word, word.encode(), word.encode(), line=line)


@case("requests/empty-properties", "WIRE-2")
def empty_properties(lab: Lab) -> None:
    """Properties may be empty."""
    peer = lab.peer()
    line = peer.park("e", b"")
    peer.bind("d", "e", b"")
    peer.finds_dest("d", b"", b"", line=line)


@case("requests/empty-labels", "WIRE-2", "ENDP-2")
def empty_labels(lab: Lab) -> None:
    """Labels may be empty: the endpoint with the empty label keeps two sessions, and a destination leads to it."""
    peer = lab.peer()
    while (left := peer.find_endp(b"")) is not None:
        lab.transcript.note("", f"found one that somebody else had parked, {left.properties!r}")
    lines = [peer.park_under(b"", properties) for properties in (b"1", b"2")]
    peer.bind_under(b"", b"", lab.label("q"))
    for line in lines:
        found = peer.find_dest(b"")
        require("that the session under the empty label is found", found and line.is_other_end_of(found.fd), True)
    require_miss("find_endp of the empty label", peer.find_endp(b""))


@case("requests/long-labels", "WIRE-3")
def long_labels(lab: Lab) -> None:
    """Labels and properties of thousands of bytes come back unchanged."""
    peer, long = lab.peer(), "x" * LONG_BYTES
    line = peer.park(long, b"p" * LONG_BYTES)
    peer.bind("d", long, b"q" * LONG_BYTES)
    require_miss("find_endp of all but the last byte", peer.find_endp(lab.label(long)[:-1]))
    peer.misses_endp(long[:-1])
    peer.finds_dest("d", b"q" * LONG_BYTES, b"p" * LONG_BYTES, line=line)


@case("requests/long-properties", "WIRE-3")
def long_properties(lab: Lab) -> None:
    """Properties of 10 000 bytes come back unchanged."""
    peer, long = lab.peer(), b"x" * 2 * LONG_BYTES
    line = peer.park("e", long + b"p")
    peer.bind("d", "e", long + b"q")
    peer.finds_dest("d", long + b"q", long + b"p", line=line)


@case("requests/list-of-300000-bytes", "LIMIT-1", level=Level.INFO)
def list_of_300000_bytes(lab: Lab) -> str:
    """What the server does with a list of 300 000 bytes."""
    peer = lab.peer()
    try:
        peer.send_bytes(lists.find_endp(b"x" * 300_000))
        return f"it is answered with status {peer.receive_reply(1).status}"
    except Unmet as unmet:
        return f"no reply, but {unmet.actual}"


@case("requests/one-after-the-other", "CONN-8", "CONN-9", "CONN-10")
def one_after_the_other(lab: Lab) -> None:
    """One client makes a hundred requests of all kinds, one after the other, over one connection."""
    peer = lab.peer()
    peer.bind("d", "e", b"q")
    for number in range(25):
        line = peer.park("e", b"%d" % number)
        peer.finds_dest("d", b"q", b"%d" % number, line=line)
        peer.misses_endp("e")
