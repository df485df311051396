"""Cases: several lists in one write, and lists sent before the reply to the one before."""

from scache_conformance.servers.target import Target
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.many_dances import DANCES, dances, park_many, receive_dance, unhurried
from scache_conformance.suite.registry import case
from scache_conformance.suite.requirements import require
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED, MALFORMED

MISSES = 600
"""Twice the small replies that Linux by default puts into a socket."""

MISSED = lists.encode((b"status", b"2"), (b"property", b""))

LONG_BYTES = 30_000
"""With two properties of this size a reply is more than Linux puts into a socket as one piece: some are split there."""


@case("pipelining/received-with-next-request", "FD-9", "WIRE-4")
def received_with_next_request(lab: Lab) -> None:
    """A client may send "received" and its next request in one write, as smtp(8) does."""
    peer = lab.peer()
    line = peer.parks_and_holds()
    peer.says_ready_for(line)
    peer.send_bytes(DUMMY_LIST + lists.save_dest(lab.ttl_s, lab.label("d"), b"q", lab.label("e")))
    peer.receives_status(0, DONE)
    again = peer.park("e", b"p2")
    peer.finds_dest("d", b"q", b"p2", line=again)


@case("pipelining/received-with-half-a-request", "FD-9", "WIRE-4")
def received_with_half_a_request(lab: Lab) -> None:
    """The list "received" may come with a part of the next request, cut at any byte; the rest follows later."""
    peer, data = lab.peer(), DUMMY_LIST + lists.find_endp(lab.label("nothing"))
    for cut in range(1, len(data)):
        line = peer.parks_and_holds()
        peer.says_ready_for(line)
        peer.send_bytes(data[:cut])
        peer.wait_until_taken()
        peer.send_bytes(data[cut:])
        peer.receives_status(1, FAILED)


@case("pipelining/swallowed-then-request", "CONN-5", "WIRE-4")
def swallowed_then_request(lab: Lab) -> None:
    """A list that gets no reply does not take with it the request that comes in the same write."""
    peer = lab.peer()
    peer.send_bytes(b"\0" + lists.encode((b"label", b"x")) + b"\0\0" + lists.find_endp(lab.label("nothing")))
    peer.receives_status(1, FAILED)


@case("pipelining/two-requests", "CONN-3", level=Level.SHOULD)
def two_requests(lab: Lab) -> None:
    """Two requests in one write get two replies, in the order of the requests."""
    peer, nothing = lab.peer(deadline_s=lab.patience_s), lab.label("nothing")
    peer.send_bytes(lists.find_endp(nothing) + lists.find_dest(nothing))
    peer.receives_status(1, FAILED)
    peer.receives_status(2, FAILED)


@case("pipelining/hundred-requests", "CONN-3", level=Level.SHOULD)
def hundred_requests(lab: Lab) -> None:
    """A hundred save_dest and finds in one write are carried out in order."""
    peer, endpoint = lab.peer(deadline_s=lab.patience_s), lab.label("e")
    labels = [lab.label(f"d{number}") for number in range(50)]
    pairs = (lists.save_dest(lab.ttl_s, label, b"", endpoint) + lists.find_dest(label) for label in labels)
    peer.send_bytes(b"".join(pairs))
    for _ in labels:
        peer.receives_status(0, DONE)
        peer.receives_status(2, FAILED)


@case("pipelining/malformed-between", "CONN-3", level=Level.SHOULD)
def malformed_between(lab: Lab) -> None:
    """A malformed request between two others in one write gets its own reply, in its place."""
    peer, find = lab.peer(deadline_s=lab.patience_s), lists.find_endp(lab.label("nothing"))
    peer.send_bytes(find + lists.request(b"find_endp") + find)
    for status in (FAILED, MALFORMED, FAILED):
        peer.receives_status(1, status)


@case("pipelining/request-and-a-half", "CONN-3", "WIRE-4", level=Level.SHOULD)
def request_and_a_half(lab: Lab) -> None:
    """A request and a part of the next may come in one write; the rest follows after the first reply."""
    peer, nothing = lab.peer(deadline_s=lab.patience_s), lab.label("nothing")
    second = lists.find_dest(nothing)
    for cut in (1, 9, len(second) - 1):
        peer.send_bytes(lists.find_endp(nothing) + second[:cut])
        peer.receives_status(1, FAILED)
        peer.send_bytes(second[cut:])
        peer.receives_status(2, FAILED)


@case("pipelining/whole-find", "CONN-3", "FD-6", level=Level.SHOULD)
def whole_find(lab: Lab) -> None:
    """A find, "ready", "received" and another find may come in one write."""
    peer, find = lab.peer(deadline_s=lab.patience_s), lists.find_endp(lab.label("e"))
    line = peer.park("e", b"p")
    peer.send_bytes(find + DUMMY_LIST + DUMMY_LIST + find)
    peer.receives(DONE, b"p", byte_by_byte=True)
    peer.receives_end_of(line)
    peer.receives_status(1, FAILED)


@case("pipelining/byte-with-the-request", "FD-12", "FD-4", level=Level.SHOULD)
def byte_with_the_request(lab: Lab) -> None:
    """A byte in the write of its save_endp is the awaited byte and carries no descriptor: status 2."""
    peer, line = lab.peer(deadline_s=lab.patience_s), lab.line()
    peer.send_bytes(lists.save_endp(lab.ttl_s, lab.label("e"), b"") + b"x", [line.far.fileno()])
    line.let_go()
    peer.insist_on_invitation()
    peer.receives_status(0, FAILED)
    line.insist_on_hangup("the descriptor", peer.deadline_s)
    peer.misses_endp("e")


@case("pipelining/request-with-the-byte", "FD-12", "FD-3", "CONN-3", level=Level.SHOULD)
def request_with_the_byte(lab: Lab) -> None:
    """A request in the write of the byte that carries a descriptor is served after that byte."""
    peer, line = lab.peer(deadline_s=lab.patience_s), lab.line()
    peer.begin_save("e")
    peer.sends_descriptors([line.far.fileno()], data=b"\0" + lists.find_endp(lab.label("e")))
    line.let_go()
    peer.receives(DONE, b"p")
    peer.takes_end_of(line)


@case("pipelining/half-closed", "CONN-3", "CONN-11", level=Level.SHOULD)
def half_closed(lab: Lab) -> None:
    """A client that shuts down sending after several requests in one write gets all replies, then the end."""
    for _ in lab.tries_beside_a_late_server:
        peer, nothing = lab.peer(), lab.label("nothing")
        with lab.late_server():
            peer.send_bytes(lists.find_endp(nothing) + lists.find_dest(nothing) * 3)
            peer.shut_down_sending()
        for property_count in (1, 2, 2, 2):
            peer.receives_status(property_count, FAILED)
        peer.insist_on_hangup()


MANY = 500
"""So many requests are more than a server reads at a time, and fewer than fill a socket. Arbitrary."""


@case("pipelining/many-requests", "CONN-3", "WIRE-4", level=Level.SHOULD)
def many_requests(lab: Lab) -> None:
    """A client that sends 500 requests in one write, and nothing more, gets 500 replies."""
    peer = lab.peer()
    peer.send_bytes(lists.find_endp(lab.label("nothing")) * MANY)
    for _ in range(MANY):
        peer.receives_status(1, FAILED)


@case("pipelining/dances-unread", "CONN-3", "CONN-2", "FD-6")
def dances_unread(lab: Lab) -> None:
    """A client sends 200 finds in one write and reads nothing: others are served, then it gets all in order."""
    with unhurried(lab) as (server, ttl_s):
        for replies_before in range(2):  # so that once it is a reply that finds the socket full, and once a descriptor
            endpoint, nothing = f"e{replies_before}", lists.find_endp(lab.label("nothing"))
            life, inodes = park_many(lab, server, ttl_s, endpoint)
            peer = lab.peer(target=server)
            peer.send_bytes(nothing * replies_before + dances(lab.label(endpoint)) + nothing)
            peer.wait_until_taken()
            with lab.peer("B", target=server) as other:
                other.misses_endp()
            for _ in range(replies_before):
                peer.receives(FAILED, b"", byte_by_byte=True)
            handed_out = [receive_dance(peer, life, number) for number in range(DANCES)]
            require("which connections came, in order", handed_out, inodes)
            peer.receives_status(1, FAILED)


@case("pipelining/descriptor-at-a-full-socket", "CONN-3", "CONN-2", "FD-6")
def descriptor_at_a_full_socket(lab: Lab) -> None:
    """Descriptors and replies for which a socket has no room come later, in order; other clients do not wait."""
    with unhurried(lab) as (server, ttl_s):
        peer, miss = lab.peer(target=server), lists.find_endp(lab.label("nothing"))
        _leave_unread(lab, server, peer, miss * MISSES)
        # A server that sends each reply on its own has so much room: then it is the reply, or the descriptor after it,
        # that finds none.
        room = peer.unread_bytes() // len(MISSED)
        for _ in range(MISSES):
            peer.receives(FAILED, b"")
        for replies_before in (room - 1, room):
            with lab.lifetime(ttl_s) as life:
                line = peer.park("e", b"p", ttl_s)
            _leave_unread(lab, server, peer, miss * replies_before + lists.find_endp(lab.label("e")) + DUMMY_LIST)
            with life.in_time(exact=True):
                for _ in range(replies_before):
                    peer.receives(FAILED, b"", byte_by_byte=True)
                peer.receives(DONE, b"p", byte_by_byte=True)
            peer.receives_end_of(line)
            peer.send_bytes(DUMMY_LIST)


def _leave_unread(lab: Lab, server: Target, peer: Client, data: bytes) -> None:
    """Send, and do not read; insist that another client is served meanwhile."""
    peer.send_bytes(data)
    peer.wait_until_taken()
    with lab.peer("B", target=server) as other:
        other.misses_endp()


@case("pipelining/long-replies-unread", "CONN-3", "CONN-2", "CONN-13", "FD-7")
def long_replies_unread(lab: Lab) -> None:
    """A client that reads none of 21 long replies delays no other client, and then gets each reply whole."""
    with unhurried(lab, attribute_list_bytes_max=2 * LONG_BYTES) as (server, ttl_s):
        long_bytes = LONG_BYTES if server is not lab.target else LONG_BYTES // 2
        peer, long = lab.peer(target=server), b"p" * long_bytes
        bindings = {f"d{part}": b"q" * (long_bytes // part) for part in (1, 2, 3)}
        with lab.lifetime(ttl_s) as life:
            for destination, properties in bindings.items():
                peer.bind(destination, "e", properties, ttl_s)
            line = peer.park("e", long, ttl_s)
        not_ready = b"\0"  # so that the session is put back, and found again
        finds = [lists.find_dest(lab.label(destination)) + not_ready for destination in bindings]
        peer.send_bytes(b"".join(finds * 7))
        peer.wait_until_taken()
        with lab.peer("B", target=server) as other:
            other.misses_endp()
        with life.in_time(exact=True):
            for properties in [*bindings.values()] * 7:
                peer.receives(DONE, properties, long)
            peer.finds_endp("e", long, line)


@case("pipelining/much-without-replies", "CONN-3", "CONN-5", level=Level.SHOULD)
def much_without_replies(lab: Lab) -> None:
    """A request behind 60 KB of lists that get no reply is served, though nothing comes after it."""
    peer = lab.peer()
    with lab.late_server():
        peer.send_bytes(lists.encode((b"label", b"x" * 1_000)) * 60 + lists.find_endp(lab.label("nothing")))
    peer.receives_status(1, FAILED)


@case("pipelining/after-an-unasked-descriptor", "CONN-3", "FD-1", level=Level.SHOULD)
def after_an_unasked_descriptor(lab: Lab) -> None:
    """Requests that come together are served, though the first of them came with a descriptor."""
    for _ in lab.tries_beside_a_late_server:
        peer, line, find = lab.peer(), lab.line(), lists.find_endp(lab.label("nothing"))
        with lab.late_server():
            peer.send_bytes(find, [line.far.fileno()])
            peer.send_bytes(find)
        for _ in range(2):
            peer.receives_status(1, FAILED)
        line.let_go()
        line.insist_on_hangup("the descriptor", peer.deadline_s)
