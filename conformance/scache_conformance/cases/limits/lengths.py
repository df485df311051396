"""Cases: how long a list may be, and of how many attributes."""

from functools import partial

from scache_conformance.cases.splits import send_byte_by_byte
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DUMMY_LIST, FAILED, Attribute

SILENCE_S = 0.05
"""How long nothing must come where nothing is due. Arbitrary: servers that say too much say it at once."""

_with_own_servers = partial(case, schedule=Schedule.OWN_SERVERS)


def _find_of(byte_count: int) -> bytes:
    """Return a find_endp of exactly so many bytes."""
    return lists.find_endp(b"x" * (byte_count - len(lists.find_endp(b""))))


def _dummy_of(byte_count: int) -> bytes:
    """Return a list of exactly so many bytes that says ready or received."""
    return lists.encode((b"dummy", b"x" * (byte_count - len(DUMMY_LIST))))


@case("limits/longest-list", "LIMIT-1")
def longest_list(lab: Lab) -> None:
    """A list of exactly attribute_list_bytes_max bytes is served."""
    peer, data = lab.peer(), _find_of(lab.target.limit("attribute_list_bytes_max"))
    peer.send_bytes(data)
    peer.receives_status(1, FAILED)
    peer.send_bytes(data[:10])
    peer.wait_until_taken()
    peer.send_bytes(data[10:])
    peer.receives_status(1, FAILED)


@_with_own_servers("limits/longest-list-and-more", "LIMIT-1", "CONN-3")
def longest_list_and_more(lab: Lab) -> None:
    """Bytes after a list in the same write do not count for attribute_list_bytes_max."""
    with lab.server(attribute_list_bytes_max=200) as server, lab.peer(target=server) as peer:
        peer.send_bytes(_find_of(200) + _find_of(200) + _find_of(100))
        for _ in range(3):
            peer.receives_status(1, FAILED)


@case("limits/too-long-list", "LIMIT-1")
def too_long_list(lab: Lab) -> None:
    """One byte more than attribute_list_bytes_max: the client is disconnected without a reply, others served."""
    peer, data = lab.peer(), _find_of(lab.target.limit("attribute_list_bytes_max") + 1)
    peer.send_bytes(data)
    peer.insist_on_hangup()
    lab.peer("B").misses_endp()


@case("limits/endless-list", "LIMIT-1")
def endless_list(lab: Lab) -> None:
    """A list that is too long disconnects its client before the client has sent its end."""
    peer = lab.peer()
    peer.send_as_much_as_is_taken(b"x" * 65_536, bytes_max=lab.target.limit("attribute_list_bytes_max") + 65_536)
    peer.insist_on_hangup()


@_with_own_servers("limits/long-ready", "LIMIT-1", "FD-6")
def long_ready(lab: Lab) -> None:
    """The list "ready" may be as long as any list; one that is too long puts the session back."""
    with lab.server(attribute_list_bytes_max=200) as server, lab.peer(target=server) as peer:
        line, other = peer.park("e", b"p"), lab.peer("B", target=server)
        other.holds_endp("e")
        other.send_bytes(_dummy_of(201))
        other.insist_on_hangup()
        peer.holds_endp("e")
        peer.send_bytes(_dummy_of(200))
        peer.receives_end_of(line)


@_with_own_servers("limits/long-received", "LIMIT-1", "FD-9")
def long_received(lab: Lab) -> None:
    """The list "received" may be as long as any list, and not longer."""
    with lab.server(attribute_list_bytes_max=200) as server, lab.peer(target=server) as peer:
        for byte_count in (200, 201):
            line = peer.parks_and_holds()
            peer.says_ready_for(line)
            peer.send_bytes(_dummy_of(byte_count))
            peer.wait_until_taken()  # so that nothing that follows is read with it
        peer.insist_on_hangup()


# Attributes.

ATTRIBUTES_MAX = 4


def _of_attributes(count: int, *first: Attribute) -> bytes:
    """Return a list of so many attributes that begins with these."""
    return lists.encode(*first, *[(b"more", b"")] * (count - len(first)))


_READY: Attribute = (b"dummy", b"")


@_with_own_servers("limits/most-attributes", "LIMIT-9")
def most_attributes(lab: Lab) -> None:
    """A list of exactly attributes_max attributes is served, whole and byte by byte, and as "ready" and "received"."""
    with lab.server(attributes_max=ATTRIBUTES_MAX) as server, lab.peer(target=server) as peer:
        data = _of_attributes(ATTRIBUTES_MAX, (b"request", b"find_endp"), (b"label", b"x"))
        peer.send_bytes(data * 2)
        for _ in range(2):
            peer.receives(FAILED, b"")
        send_byte_by_byte(peer, data)
        peer.receives(FAILED, b"")
        line = peer.parks_and_holds()
        peer.send_bytes(_of_attributes(ATTRIBUTES_MAX, _READY))
        peer.receives_end_of(line)
        peer.send_bytes(_of_attributes(ATTRIBUTES_MAX, _READY))
        peer.misses_endp("e")


@_with_own_servers("limits/too-many-attributes", "LIMIT-9")
def too_many_attributes(lab: Lab) -> None:
    """One attribute more than attributes_max: the client is disconnected without a reply, others are served."""
    with lab.server(attributes_max=ATTRIBUTES_MAX) as server:
        for first in ((b"request", b"find_endp"), (b"label", b"x")):
            peer = lab.peer(target=server)
            peer.send_bytes(_of_attributes(ATTRIBUTES_MAX + 1, first))
            peer.insist_on_hangup()
        lab.peer("B", target=server).misses_endp()


@_with_own_servers("limits/too-many-attributes-begin", "LIMIT-9")
def too_many_attributes_begin(lab: Lab) -> None:
    """A client is disconnected at the first byte of an attribute too many, when its list comes byte by byte."""
    with lab.server(attributes_max=ATTRIBUTES_MAX) as server, lab.peer(target=server) as peer:
        send_byte_by_byte(peer, _of_attributes(ATTRIBUTES_MAX, _READY)[:-1])
        peer.insist_on_silence(SILENCE_S)
        peer.send_bytes(b"x")
        peer.insist_on_hangup()


@_with_own_servers("limits/too-many-attributes-of-ready", "LIMIT-9", "FD-7")
def too_many_attributes_of_ready(lab: Lab) -> None:
    """A list of too many attributes in place of "ready" disconnects the client; its session is put back."""
    with lab.server(attributes_max=ATTRIBUTES_MAX) as server, lab.peer(target=server) as peer:
        line = peer.parks_and_holds()
        peer.send_bytes(_of_attributes(ATTRIBUTES_MAX + 1, _READY))
        peer.insist_on_hangup()
        lab.peer("B", target=server).finds_endp("e", b"p", line)


@_with_own_servers("limits/too-many-attributes-of-received", "LIMIT-9", "FD-9")
def too_many_attributes_of_received(lab: Lab) -> None:
    """A list of too many attributes in place of "received" disconnects the client, which keeps its session."""
    with lab.server(attributes_max=ATTRIBUTES_MAX) as server, lab.peer(target=server) as peer:
        line = peer.parks_and_holds()
        peer.says_ready_for(line)
        peer.send_bytes(_of_attributes(ATTRIBUTES_MAX + 1, _READY))
        peer.insist_on_hangup()
        lab.peer("B", target=server).misses_endp("e")
