"""Cases: every limit, on both of its sides. A server must be told them, or tell them: see --limit and --exec."""

from scache_conformance.servers.target import Target
from scache_conformance.suite.lab import LATENESS_S, Lab, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED, encode
from scache_conformance.wire.peer import Peer
from scache_conformance.wire.unmet import Unmet

SHOULD = Level.SHOULD


def let_pass(lab: Lab, server: Target, seconds: int) -> None:
    """Let time pass on a server that only this case uses."""
    if server.has_clock:
        lab.transcript.note("", f"the clock is advanced by {seconds} s")
        server.advance(seconds)
    else:
        lab.sleep(seconds + LATENESS_S)


def _find_of(byte_count: int) -> bytes:
    """Return a find_endp of exactly so many bytes."""
    rest = len(encode((b"request", b"find_endp"), (b"label", b"")))
    return encode((b"request", b"find_endp"), (b"label", b"x" * (byte_count - rest)))


@case("limits/longest-list", "LIMIT-1", level=SHOULD)
def longest_list(lab: Lab) -> None:
    """A list of exactly attribute_list_bytes_max bytes is served."""
    peer, data = lab.peer(), _find_of(lab.target.limit("attribute_list_bytes_max"))
    peer.send_bytes(data)
    require("status", peer.receive_reply(1).status, FAILED)
    peer.send_bytes(data[:10])
    peer.wait_until_taken()
    peer.send_bytes(data[10:])
    require("status", peer.receive_reply(1).status, FAILED)


@case("limits/longest-list-and-more", "LIMIT-1", "CONN-3", level=SHOULD, apart=True)
def longest_list_and_more(lab: Lab) -> None:
    """What follows a list in the same write does not count against its length."""
    with lab.server(attribute_list_bytes_max=200) as server, lab.peer(target=server) as peer:
        peer.send_bytes(_find_of(200) + _find_of(200) + _find_of(100))
        for _ in range(3):
            require("status", peer.receive_reply(1).status, FAILED)


@case("limits/too-long-list", "LIMIT-1", level=SHOULD)
def too_long_list(lab: Lab) -> None:
    """A list of one byte more closes its client without a reply; others are served."""
    peer, data = lab.peer(), _find_of(lab.target.limit("attribute_list_bytes_max") + 1)
    peer.send_bytes(data)
    peer.insist_on_hangup()
    require_miss("another client's find", lab.peer("B").find_endp(lab.label("nothing")))


@case("limits/endless-list", "LIMIT-1", level=SHOULD)
def endless_list(lab: Lab) -> None:
    """A list without an end closes its client, and need not be sent whole for that."""
    peer = lab.peer()
    peer.send_as_much_as_is_taken(b"x" * 65_536, bytes_max=lab.target.limit("attribute_list_bytes_max") + 65_536)
    peer.insist_on_hangup()


@case("limits/long-ready", "LIMIT-1", "FD-6", level=SHOULD, apart=True)
def long_ready(lab: Lab) -> None:
    """The list that says ready may be as long as any, and not longer: then its session is put back."""
    with lab.server(attribute_list_bytes_max=200) as server, lab.peer(target=server) as peer:
        line = lab.park(peer, lab.label("e"), b"p")
        other = lab.peer("B", target=server)
        require("status", other.begin_find_endp(lab.label("e")).status, DONE)
        other.send_bytes(_dummy_of(201))
        other.insist_on_hangup()
        require("status", peer.begin_find_endp(lab.label("e")).status, DONE)
        peer.send_bytes(_dummy_of(200))
        require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)


@case("limits/long-received", "LIMIT-1", "FD-9", level=SHOULD, apart=True)
def long_received(lab: Lab) -> None:
    """So may the list that says received."""
    with lab.server(attribute_list_bytes_max=200) as server, lab.peer(target=server) as peer:
        for byte_count in (200, 201):
            lab.park(peer, lab.label("e"), b"p")
            require("status", peer.begin_find_endp(lab.label("e")).status, DONE)
            peer.send_bytes(DUMMY_LIST)
            peer.receive_descriptor()
            peer.send_bytes(_dummy_of(byte_count))
            peer.wait_until_taken()  # so that nothing that follows is read with it
        peer.insist_on_hangup()


def _dummy_of(byte_count: int) -> bytes:
    """Return a list of exactly so many bytes that says ready or received."""
    return encode((b"dummy", b"x" * (byte_count - len(DUMMY_LIST))))


@case("limits/sessions", "LIMIT-2", level=SHOULD, apart=True)
def sessions(lab: Lab) -> None:
    """One session more than sessions_max is refused with status 2 and closed; when one is found there is room again."""
    with lab.server(sessions_max=3) as server, lab.peer(target=server) as peer:
        for number in range(3):
            lab.park(peer, lab.label(f"e{number}"))
        _require_refused(lab, peer, lab.label("e3"))
        require_found("find_endp", peer.find_endp(lab.label("e1")), b"")
        lab.park(peer, lab.label("e3"))
        _require_refused(lab, peer, lab.label("e4"))


@case("limits/sessions-per-endpoint", "LIMIT-3", level=SHOULD, apart=True)
def sessions_per_endpoint(lab: Lab) -> None:
    """One session more than sessions_per_endpoint_max is refused likewise; other endpoints have room."""
    with lab.server(sessions_per_endpoint_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            lab.park(peer, lab.label("e"), b"%d" % number)
        _require_refused(lab, peer, lab.label("e"))
        lab.park(peer, lab.label("other"))
        require_found("find_endp", peer.find_endp(lab.label("e")), b"0")
        lab.park(peer, lab.label("e"), b"2")
        _require_refused(lab, peer, lab.label("e"))


def _require_refused(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    line = lab.line()
    status = peer.save_endp(lab.ttl_s, endpoint, b"one too many", line.far.fileno())
    line.let_go()
    require("status of one save_endp too many", status, FAILED)
    line.insist_on_hangup("its descriptor", peer.deadline_s)


@case("limits/ended-sessions-leave-room", "LIMIT-2", "LIMIT-3", level=SHOULD, apart=True)
def ended_sessions_leave_room(lab: Lab) -> None:
    """Sessions that have ended count no more, in the cache and at their endpoint."""
    with lab.server(sessions_max=4, sessions_per_endpoint_max=2) as server, lab.peer(target=server) as peer:
        for number in range(4):
            lab.park(peer, lab.label(f"e{number % 2}"), b"", 1)
        let_pass(lab, server, 1)
        for number in range(4):
            lab.park(peer, lab.label(f"e{number % 2}"))


@case("limits/put-back-over-sessions", "LIMIT-2", "ENDP-5", level=SHOULD, apart=True)
def put_back_over_sessions(lab: Lab) -> None:
    """A session is put back though there are sessions_max without it; then there is no room for one more."""
    with lab.server(sessions_max=2) as server:
        _put_back_over_a_limit(lab, server, ("e", "e", "e2"))


@case("limits/put-back-over-sessions-per-endpoint", "LIMIT-3", "ENDP-5", level=SHOULD, apart=True)
def put_back_over_sessions_per_endpoint(lab: Lab) -> None:
    """A session is put back though its endpoint has sessions_per_endpoint_max; then there is no room for one more."""
    with lab.server(sessions_per_endpoint_max=2) as server:
        _put_back_over_a_limit(lab, server, ("e", "e", "e"))


def _put_back_over_a_limit(lab: Lab, server: Target, endpoints: tuple[str, str, str]) -> None:
    """Fill a server that has room for two while the first of them is held, and have that put back."""
    first, second, third = (lab.label(each) for each in endpoints)
    saver, finder = lab.peer("S", target=server), lab.peer("F", target=server)
    lines = [lab.park(saver, first, b"1"), lab.park(saver, second, b"2")]
    require("properties", finder.begin_find_endp(first).properties, (b"1",))
    lines.append(lab.park(saver, third, b"3"))
    finder.send((b"label", b"not ready"))
    require_miss("the finder's next find", finder.find_endp(lab.label("nothing")))
    _require_refused(lab, saver, third)
    for number, (endpoint, line) in enumerate(zip((first, second, third), lines, strict=True), 1):
        require_found(f"find_endp {number}", saver.find_endp(endpoint), b"%d" % number, line=line)


@case("limits/bindings", "LIMIT-4", level=SHOULD, apart=True)
def bindings(lab: Lab) -> None:
    """One binding more than bindings_max is refused with status 2; a renewal is not."""
    with lab.server(bindings_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            lab.bind(peer, lab.label("d"), lab.label(f"e{number}"))
        status = peer.save_dest(lab.ttl_s, lab.label("d2"), b"", lab.label("e"))
        require("status of one save_dest too many", status, FAILED)
        lab.bind(peer, lab.label("d"), lab.label("e0"))
        lab.park(peer, lab.label("e"))
        require_miss("find_dest of the refused one", peer.find_dest(lab.label("d2")))


@case("limits/ended-bindings-leave-room", "LIMIT-4", level=SHOULD, apart=True)
def ended_bindings_leave_room(lab: Lab) -> None:
    """Bindings that have ended count no more."""
    with lab.server(bindings_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            lab.bind(peer, lab.label("d"), lab.label(f"e{number}"), b"", 1)
        let_pass(lab, server, 1)
        for number in range(2):
            lab.bind(peer, lab.label("d2"), lab.label(f"e{number}"))


@case("limits/clients", "LIMIT-5", level=SHOULD, apart=True)
def clients(lab: Lab) -> None:
    """One client more than clients_max is disconnected without a greeting; when one leaves there is room again."""
    with lab.server(clients_max=3) as server:
        first, second, _ = (_connect_when_there_is_room(lab, server, name) for name in ("1", "2", "3"))
        lab.peer("4", target=server, greeted=False).insist_on_hangup()
        require_miss("find_endp", first.find_endp(lab.label("nothing")))
        second.hang_up()
        fifth = _connect_when_there_is_room(lab, server, "5")
        require_miss("find_endp", fifth.find_endp(lab.label("nothing")))


@case("limits/dead-clients-leave-room", "LIMIT-5", level=SHOULD, apart=True)
def dead_clients_leave_room(lab: Lab) -> None:
    """A client that goes away counts no more, whatever it was in the middle of."""
    with lab.server(clients_max=4) as server:
        for peer in _clients_in_mid_dance(lab, server):
            peer.hang_up()
        _require_room_for_four(lab, server)


@case("limits/slow-clients-leave-room", "LIMIT-5", "LIMIT-7", level=SHOULD, apart=True)
def slow_clients_leave_room(lab: Lab) -> None:
    """Nor does one that was disconnected for taking too long."""
    with lab.server(clients_max=4, ipc_timeout_s=2) as server:
        peers = _clients_in_mid_dance(lab, server)
        let_pass(lab, server, 2)
        for peer in peers:
            peer.insist_on_hangup()
        _require_room_for_four(lab, server)


def _clients_in_mid_dance(lab: Lab, server: Target) -> tuple[Peer, ...]:
    """Connect four clients: one leaves a list unfinished, others have their descriptor, ready or received awaited."""
    lister, saver, finder, receiver = (_connect_when_there_is_room(lab, server, name) for name in "LSFR")
    for peer in (finder, receiver):
        lab.park(peer, lab.label(peer.name))
        require("status", peer.begin_find_endp(lab.label(peer.name)).status, DONE)
    receiver.send_bytes(DUMMY_LIST)
    receiver.receive_descriptor()
    saver.begin_save_endp(lab.ttl_s, lab.label("e"), b"")
    lister.send_bytes(b"request\0find")
    lister.wait_until_taken(lister.deadline_s)
    return lister, saver, finder, receiver


def _require_room_for_four(lab: Lab, server: Target) -> None:
    for peer in [_connect_when_there_is_room(lab, server, name) for name in "1234"]:
        require_miss("find_endp", peer.find_endp(lab.label("nothing")))


def _connect_when_there_is_room(lab: Lab, server: Target, name: str) -> Peer:
    """Connect, several times if need be: a server need not notice at once that somebody has left."""
    for _ in range(50):
        try:
            return lab.peer(name, target=server)
        except Unmet:
            lab.sleep(0.02)
    return lab.peer(name, target=server)


@case("limits/output", "LIMIT-6", "CONN-2", level=SHOULD)
def output(lab: Lab) -> None:
    """A server stops reading from a client that does not take its replies, and goes on when it does."""
    peer, request = lab.peer(), encode((b"request", b"find_dest"), (b"label", lab.label("nothing")))
    taken = peer.send_as_much_as_is_taken(request * 500, bytes_max=16_000_000)
    if taken >= 16_000_000:
        raise Unmet("the server to stop reading while its replies are not taken", "it read 16 000 000 bytes")
    whole, rest = divmod(taken, len(request))
    for number in range(whole):
        require(f"status of reply {number}", peer.receive_reply(2).status, FAILED)
    if rest:
        peer.send_bytes(request[rest:])
        require("status of the last reply", peer.receive_reply(2).status, FAILED)
    require_miss("find_endp", peer.find_endp(lab.label("nothing")))
