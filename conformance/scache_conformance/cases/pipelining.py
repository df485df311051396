"""Cases: several lists in one write, and lists sent before the reply to the one before."""

from scache_conformance.suite.lab import Lab, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED, MALFORMED, encode


def _find_endp(label: bytes) -> bytes:
    return encode((b"request", b"find_endp"), (b"label", label))


def _find_dest(label: bytes) -> bytes:
    return encode((b"request", b"find_dest"), (b"label", label))


def _save_dest(ttl_s: int, destination: bytes, properties: bytes, endpoint: bytes) -> bytes:
    ttl, label = (b"ttl", b"%d" % ttl_s), (b"label", destination)
    return encode((b"request", b"save_dest"), ttl, label, (b"property", properties), (b"label", endpoint))


@case("pipelining/received-with-next-request", "FD-9", "WIRE-4")
def received_with_next_request(lab: Lab) -> None:
    """A client may send "received" and its next request in one write, as smtp(8) does."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    require("status of find_endp", peer.begin_find_endp(endpoint).status, DONE)
    peer.send_bytes(DUMMY_LIST)
    require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)
    peer.send_bytes(DUMMY_LIST + _save_dest(lab.ttl_s, destination, b"q", endpoint))
    require("status of save_dest", peer.receive_reply(0).status, DONE)
    again = lab.park(peer, endpoint, b"p2")
    require_found("find_dest", peer.find_dest(destination), b"q", b"p2", line=again)


@case("pipelining/received-with-half-a-request", "FD-9", "WIRE-4")
def received_with_half_a_request(lab: Lab) -> None:
    """That next request may be cut at any byte; the rest follows in another write."""
    peer, endpoint = lab.peer(), lab.label("e")
    data = DUMMY_LIST + _find_endp(lab.label("nothing"))
    for cut in range(1, len(data)):
        lab.park(peer, endpoint)
        require("status of find_endp", peer.begin_find_endp(endpoint).status, DONE)
        peer.send_bytes(DUMMY_LIST)
        peer.receive_descriptor()
        peer.send_bytes(data[:cut])
        peer.wait_until_taken()
        peer.send_bytes(data[cut:])
        require(f"status of the next find, cut after {cut} bytes", peer.receive_reply(1).status, FAILED)


@case("pipelining/swallowed-then-request", "CONN-5", "WIRE-4")
def swallowed_then_request(lab: Lab) -> None:
    """Lists that get no reply do not swallow what comes in the same write."""
    peer = lab.peer()
    peer.send_bytes(b"\0" + encode((b"label", b"x")) + b"\0\0" + _find_endp(lab.label("nothing")))
    require("status of the find", peer.receive_reply(1).status, FAILED)


@case("pipelining/two-requests", "CONN-3", level=Level.SHOULD)
def two_requests(lab: Lab) -> None:
    """Two requests in one write get two replies, in order."""
    peer, nothing = lab.peer(deadline_s=lab.patience_s), lab.label("nothing")
    peer.send_bytes(_find_endp(nothing) + _find_dest(nothing))
    require("status of the first", peer.receive_reply(1).status, FAILED)
    require("status of the second", peer.receive_reply(2).status, FAILED)


@case("pipelining/hundred-requests", "CONN-3", level=Level.SHOULD)
def hundred_requests(lab: Lab) -> None:
    """A hundred save_dest and finds in one write are carried out in order."""
    peer, endpoint = lab.peer(deadline_s=lab.patience_s), lab.label("e")
    labels = [lab.label(f"d{number}") for number in range(50)]
    peer.send_bytes(b"".join(_save_dest(lab.ttl_s, label, b"", endpoint) + _find_dest(label) for label in labels))
    for _ in labels:
        require("status of a save_dest", peer.receive_reply(0).status, DONE)
        require("status of a find_dest", peer.receive_reply(2).status, FAILED)


@case("pipelining/malformed-between", "CONN-3", level=Level.SHOULD)
def malformed_between(lab: Lab) -> None:
    """A malformed request between two others gets its own reply in its place."""
    peer, nothing = lab.peer(deadline_s=lab.patience_s), lab.label("nothing")
    peer.send_bytes(_find_endp(nothing) + encode((b"request", b"find_endp")) + _find_endp(nothing))
    statuses = tuple(peer.receive_reply(1).status for _ in range(3))
    require("the statuses", statuses, (FAILED, MALFORMED, FAILED))


@case("pipelining/request-and-a-half", "CONN-3", "WIRE-4", level=Level.SHOULD)
def request_and_a_half(lab: Lab) -> None:
    """A request and part of the next in one write; the rest follows after the first reply."""
    peer, nothing = lab.peer(deadline_s=lab.patience_s), lab.label("nothing")
    second = _find_dest(nothing)
    for cut in (1, 9, len(second) - 1):
        peer.send_bytes(_find_endp(nothing) + second[:cut])
        require("status of the first", peer.receive_reply(1).status, FAILED)
        peer.send_bytes(second[cut:])
        require(f"status of the second, cut after {cut} bytes", peer.receive_reply(2).status, FAILED)


@case("pipelining/whole-find", "CONN-3", "FD-6", level=Level.SHOULD)
def whole_find(lab: Lab) -> None:
    """A find with "ready" and "received" in one write, and another find after it."""
    peer, endpoint = lab.peer(deadline_s=lab.patience_s), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    peer.send_bytes(_find_endp(endpoint) + DUMMY_LIST + DUMMY_LIST + _find_endp(endpoint))
    require("properties of the find", peer.receive_reply(1, byte_by_byte=True).properties, (b"p",))
    require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)
    require("status of the find after it", peer.receive_reply(1).status, FAILED)


@case("pipelining/byte-with-the-request", "FD-12", "FD-4", level=Level.SHOULD)
def byte_with_the_request(lab: Lab) -> None:
    """A byte written together with save_endp is the awaited one, and carries no descriptor: status 2."""
    peer, line, endpoint = lab.peer(deadline_s=lab.patience_s), lab.line(), lab.label("e")
    ttl, label = (b"ttl", b"%d" % lab.ttl_s), (b"label", endpoint)
    peer.send_bytes(encode((b"request", b"save_endp"), ttl, label, (b"property", b"")) + b"x", [line.far.fileno()])
    line.let_go()
    peer.insist_on_invitation()
    require("status of save_endp", peer.receive_reply(0).status, FAILED)
    line.insist_on_hangup("the descriptor", peer.deadline_s)
    require_miss("find_endp", peer.find_endp(endpoint))


@case("pipelining/request-with-the-byte", "FD-12", "FD-3", "CONN-3", level=Level.SHOULD)
def request_with_the_byte(lab: Lab) -> None:
    """A request written together with the byte that carries the descriptor is served after it."""
    peer, line, endpoint = lab.peer(deadline_s=lab.patience_s), lab.line(), lab.label("e")
    peer.begin_save_endp(lab.ttl_s, endpoint, b"p")
    peer.send_bytes(b"\0" + _find_endp(endpoint), [line.far.fileno()])
    line.let_go()
    require("status of save_endp", peer.receive_reply(0).status, DONE)
    require("properties of the find after it", peer.receive_reply(1).properties, (b"p",))
    require("that the descriptor is the parked one", line.is_other_end_of(peer.take()), True)
