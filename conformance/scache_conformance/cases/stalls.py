"""Cases: a client that stops in the middle of something: everybody else is served as if it were not there."""

from collections.abc import Callable

from scache_conformance.suite.lab import Lab, require, require_found, require_miss
from scache_conformance.suite.registry import add
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import DONE, DUMMY_LIST, encode
from scache_conformance.wire.peer import Peer


def _nothing(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    pass


def _mid_name(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    peer.send_bytes(b"requ")


def _mid_value(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    peer.send_bytes(b"request\0find_endp\0label\0abc")


def _mid_list(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    peer.send_bytes(b"request\0find_endp\0label\0abc\0")


def _descriptor(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    peer.begin_save_endp(lab.ttl_s, endpoint, b"p")


def _ready(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    lab.park(peer, endpoint, b"p")
    require("status", peer.begin_find_endp(endpoint).status, DONE)


def _mid_ready(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    _ready(lab, peer, endpoint)
    peer.send_bytes(DUMMY_LIST[:-1])


def _received(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    _ready(lab, peer, endpoint)
    peer.send_bytes(DUMMY_LIST)
    peer.receive_descriptor()


def _not_reading(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    request = encode((b"request", b"find_dest"), (b"label", endpoint))
    peer.send_as_much_as_is_taken(request * 2_000, bytes_max=8_000_000)


def _stall(slug: str, where: str, stall: Callable[[Lab, Peer, bytes], None], level: Level = Level.SHOULD) -> None:
    def function(lab: Lab) -> None:
        patience_s = lab.target.declared.deadline_s if level is Level.MUST else lab.patience_s
        stalled, other = lab.peer("S"), lab.peer("B", deadline_s=patience_s)
        stall(lab, stalled, lab.label("of the stalled"))
        stalled.wait_until_taken()
        destination, endpoint = lab.label("d"), lab.label("e")
        line = lab.park(other, endpoint, b"p")
        lab.bind(other, destination, endpoint, b"q")
        require_found("find_dest", other.find_dest(destination), b"q", b"p", line=line)
        require_miss("a new client's find", lab.peer("C", deadline_s=patience_s).find_endp(endpoint))

    add(f"stalls/{slug}", f"A client that stalls {where} keeps nobody waiting.", ("CONN-2",), level, function)


_stall("at-rest", "at rest", _nothing, Level.MUST)
_stall("mid-name", "in the middle of a name", _mid_name)
_stall("mid-value", "in the middle of a value", _mid_value)
_stall("mid-list", "before the end of a list", _mid_list)
_stall("descriptor-awaited", "before it sends its descriptor", _descriptor)
_stall("ready-awaited", "before it says ready", _ready)
_stall("mid-ready", "in the middle of ready", _mid_ready)
_stall("received-awaited", "before it says received", _received)
_stall("not-reading", "with its replies unread", _not_reading)
