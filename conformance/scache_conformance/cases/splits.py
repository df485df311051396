"""Cases: the same lists, cut into other writes. Each piece is sent when the server has read the one before."""

from collections.abc import Callable

from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import add, case
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED


def _send_pieces(peer: Client, *pieces: bytes) -> None:
    """Send each piece in a write of its own, when the one before has been read."""
    for number, piece in enumerate(pieces):
        if number:
            peer.wait_until_taken()
        peer.send_bytes(piece)


def send_byte_by_byte(peer: Client, data: bytes) -> None:
    """Send each byte in a write of its own, when the one before has been read."""
    _send_pieces(peer, *(data[at : at + 1] for at in range(len(data))))


def _in_two(request: str, list_: Callable[[bytes], bytes], property_count: int) -> None:
    def function(lab: Lab) -> None:
        peer, data = lab.peer(), list_(lab.label("nothing"))
        for cut in range(1, len(data)):
            _send_pieces(peer, data[:cut], data[cut:])
            peer.receives_status(property_count, FAILED)

    add(
        f"splits/{request.replace('_', '-')}",
        f"A {request} may come in two pieces, cut at any byte.",
        ("WIRE-4",),
        function,
    )


_in_two("find_endp", lists.find_endp, 1)
_in_two("find_dest", lists.find_dest, 2)


@case("splits/save-dest", "WIRE-4")
def save_dest(lab: Lab) -> None:
    """save_dest cut in two at every byte; each saves what it says."""
    peer = lab.peer()

    def data(number: int) -> bytes:
        return lists.save_dest(lab.ttl_s, lab.label("d"), b"%04d" % number, lab.label("e"))

    for cut in range(1, len(data(0))):
        _send_pieces(peer, data(cut)[:cut], data(cut)[cut:])
        peer.receives_status(0, DONE)
    line = peer.park("e", b"p")
    peer.finds_dest("d", b"0001", b"p", line=line)


@case("splits/save-endp", "WIRE-4")
def save_endp(lab: Lab) -> None:
    """save_endp cut in two at every byte; each parks what it says."""
    peer, data = lab.peer(), lists.save_endp(lab.ttl_s, lab.label("e"), b"p")
    for cut in range(1, len(data)):
        line = lab.line()
        _send_pieces(peer, data[:cut], data[cut:])
        peer.insist_on_invitation()
        peer.sends_descriptors([line.far.fileno()])
        peer.finds_endp("e", b"p", line)
        line.close()


@case("splits/ready-and-received", "WIRE-4", "FD-6", "FD-9")
def ready_and_received(lab: Lab) -> None:
    """The lists "ready" and "received" may each come in two pieces, cut at any byte."""
    peer = lab.peer()
    for cut in range(1, len(DUMMY_LIST)):
        line = peer.parks_and_holds()
        _send_pieces(peer, DUMMY_LIST[:cut], DUMMY_LIST[cut:])
        peer.receives_end_of(line)
        _send_pieces(peer, DUMMY_LIST[:cut], DUMMY_LIST[cut:])


@case("splits/byte-by-byte", "WIRE-4")
def byte_by_byte(lab: Lab) -> None:
    """A whole conversation may come with each byte in a write of its own."""
    peer, line, destination, endpoint = lab.peer(), lab.line(), lab.label("d"), lab.label("e")
    send_byte_by_byte(peer, lists.save_endp(lab.ttl_s, endpoint, b"p"))
    peer.insist_on_invitation()
    peer.sends_descriptors([line.far.fileno()])
    send_byte_by_byte(peer, lists.save_dest(lab.ttl_s, destination, b"q", endpoint))
    peer.receives_status(0, DONE)
    send_byte_by_byte(peer, lists.find_dest(destination))
    peer.receives(DONE, b"q", b"p")
    send_byte_by_byte(peer, DUMMY_LIST)
    peer.receives_end_of(line)
    send_byte_by_byte(peer, DUMMY_LIST)
    send_byte_by_byte(peer, lists.find_endp(endpoint))
    peer.receives_status(1, FAILED)


@case("splits/unfinished-list", "WIRE-5")
def unfinished_list(lab: Lab) -> None:
    """A save_dest that lacks its last byte when its client goes away saves nothing."""
    watcher, peer = lab.peer("B"), lab.peer()
    watcher.park("e")
    peer.send_bytes(lists.save_dest(lab.ttl_s, lab.label("d"), b"", lab.label("e"))[:-1])
    peer.wait_until_taken()
    peer.hang_up()
    watcher.misses_dest("d")


@case("splits/two-clients-in-turns", "WIRE-4", "CONN-2")
def two_clients_in_turns(lab: Lab) -> None:
    """The requests of two clients whose bytes come in turns do not mix."""
    peers = [lab.peer(name) for name in "AB"]
    parked = [peer.park(peer.name, b"of " + peer.name.encode()) for peer in peers]
    requests = [lists.find_endp(lab.label(peer.name)) for peer in peers]
    for at in range(len(requests[0])):
        for peer, request in zip(peers, requests, strict=True):
            peer.send_bytes(request[at : at + 1])
            peer.wait_until_taken()
    for peer, line in zip(peers, parked, strict=True):
        peer.receives(DONE, b"of " + peer.name.encode())
        peer.takes_end_of(line)
