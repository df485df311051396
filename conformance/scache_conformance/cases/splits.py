"""Cases: the same lists, cut into other writes. Each piece is sent when the server has read the one before."""

from scache_conformance.suite.lab import Lab, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED
from scache_conformance.wire.peer import Peer


def send_in_two(peer: Peer, data: bytes, cut: int) -> None:
    """Send the bytes in two writes, the second when the first has been read."""
    peer.send_bytes(data[:cut])
    peer.wait_until_taken()
    peer.send_bytes(data[cut:])


def send_byte_by_byte(peer: Peer, data: bytes) -> None:
    """Send each byte in a write of its own, when the one before has been read."""
    for at in range(len(data)):
        peer.send_bytes(data[at : at + 1])
        peer.wait_until_taken()


@case("splits/find-endp", "WIRE-4")
def find_endp(lab: Lab) -> None:
    """find_endp cut in two at every byte."""
    peer, data = lab.peer(), lists.request(b"find_endp", (b"label", lab.label("nothing")))
    for cut in range(1, len(data)):
        send_in_two(peer, data, cut)
        require(f"status, cut after {cut} bytes", peer.receive_reply(1).status, FAILED)


@case("splits/find-dest", "WIRE-4")
def find_dest(lab: Lab) -> None:
    """find_dest cut in two at every byte."""
    peer, data = lab.peer(), lists.request(b"find_dest", (b"label", lab.label("nothing")))
    for cut in range(1, len(data)):
        send_in_two(peer, data, cut)
        require(f"status, cut after {cut} bytes", peer.receive_reply(2).status, FAILED)


@case("splits/save-dest", "WIRE-4")
def save_dest(lab: Lab) -> None:
    """save_dest cut in two at every byte; each saves what it says."""
    peer = lab.peer()
    data = _save_dest(lab, 0)
    for cut in range(1, len(data)):
        send_in_two(peer, _save_dest(lab, cut), cut)
        require(f"status, cut after {cut} bytes", peer.receive_reply(0).status, DONE)
    line = lab.park(peer, lab.label("e"), b"p")
    require_found("find_dest", peer.find_dest(lab.label("d")), b"0001", b"p", line=line)


def _save_dest(lab: Lab, number: int) -> bytes:
    ttl, property_ = (b"ttl", b"%d" % lab.ttl_s), (b"property", b"%04d" % number)
    return lists.request(b"save_dest", ttl, (b"label", lab.label("d")), property_, (b"label", lab.label("e")))


@case("splits/save-endp", "WIRE-4")
def save_endp(lab: Lab) -> None:
    """save_endp cut in two at every byte; each parks what it says."""
    peer, endpoint = lab.peer(), lab.label("e")
    data = lists.request(b"save_endp", (b"ttl", b"%d" % lab.ttl_s), (b"label", endpoint), (b"property", b"p"))
    for cut in range(1, len(data)):
        line = lab.line()
        send_in_two(peer, data, cut)
        peer.insist_on_invitation()
        peer.send_bytes(b"\0", [line.far.fileno()])
        require(f"status, cut after {cut} bytes", peer.receive_reply(0).status, DONE)
        require_found("find_endp", peer.find_endp(endpoint), b"p", line=line)
        line.close()


@case("splits/ready-and-received", "WIRE-4", "FD-6", "FD-9")
def ready_and_received(lab: Lab) -> None:
    """The client's "ready" and "received" cut in two at every byte."""
    peer, endpoint = lab.peer(), lab.label("e")
    for cut in range(1, len(DUMMY_LIST)):
        line = lab.park(peer, endpoint, b"p")
        require("status of find_endp", peer.begin_find_endp(endpoint).status, DONE)
        send_in_two(peer, DUMMY_LIST, cut)
        require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)
        send_in_two(peer, DUMMY_LIST, cut)


@case("splits/byte-by-byte", "WIRE-4")
def byte_by_byte(lab: Lab) -> None:
    """A whole conversation with each byte in a write of its own."""
    peer, line, destination, endpoint = lab.peer(), lab.line(), lab.label("d"), lab.label("e")
    ttl, dest, endp = (b"ttl", b"%d" % lab.ttl_s), (b"label", destination), (b"label", endpoint)
    send_byte_by_byte(peer, lists.request(b"save_endp", ttl, endp, (b"property", b"p")))
    peer.insist_on_invitation()
    peer.send_bytes(b"\0", [line.far.fileno()])
    require("status of save_endp", peer.receive_reply(0).status, DONE)
    send_byte_by_byte(peer, lists.request(b"save_dest", ttl, dest, (b"property", b"q"), endp))
    require("status of save_dest", peer.receive_reply(0).status, DONE)
    send_byte_by_byte(peer, lists.request(b"find_dest", dest))
    require("properties of find_dest", peer.receive_reply(2).properties, (b"q", b"p"))
    send_byte_by_byte(peer, DUMMY_LIST)
    require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)
    send_byte_by_byte(peer, DUMMY_LIST)
    send_byte_by_byte(peer, lists.request(b"find_endp", endp))
    require("status of find_endp", peer.receive_reply(1).status, FAILED)


@case("splits/unfinished-list", "WIRE-5")
def unfinished_list(lab: Lab) -> None:
    """A save_dest that lacks its last byte when its client goes away saves nothing."""
    watcher, destination, endpoint = lab.peer("B"), lab.label("d"), lab.label("e")
    lab.park(watcher, endpoint)
    peer = lab.peer()
    ttl, dest = (b"ttl", b"%d" % lab.ttl_s), (b"label", destination)
    peer.send_bytes(lists.request(b"save_dest", ttl, dest, (b"property", b""), (b"label", endpoint))[:-1])
    peer.wait_until_taken()
    peer.hang_up()
    require_miss("find_dest", watcher.find_dest(destination))
