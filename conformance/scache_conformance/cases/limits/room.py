"""Cases: how many sessions, bindings and clients there may be, and when there is room again."""

from functools import partial

from scache_conformance.servers.target import Target
from scache_conformance.suite import places
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.requirements import require
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import FAILED
from scache_conformance.wire.unmet import Unmet

_case = partial(case, level=Level.SHOULD, schedule=Schedule.OWN_SERVERS)


@_case("limits/sessions", "LIMIT-2")
def sessions(lab: Lab) -> None:
    """One session more than sessions_max is refused with status 2 and closed; when one is found there is room again."""
    with lab.server(sessions_max=3) as server, lab.peer(target=server) as peer:
        for number in range(3):
            peer.park(f"e{number}")
        _require_refused(lab, peer, "e3")
        peer.finds_endp("e1")
        peer.park("e3")
        _require_refused(lab, peer, "e4")


@_case("limits/sessions-per-endpoint", "LIMIT-3")
def sessions_per_endpoint(lab: Lab) -> None:
    """One session more than sessions_per_endpoint_max is refused and closed; other endpoints have room."""
    with lab.server(sessions_per_endpoint_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            peer.park("e", b"%d" % number)
        _require_refused(lab, peer, "e")
        peer.park("other")
        peer.finds_endp("e", b"0")
        peer.park("e", b"2")
        _require_refused(lab, peer, "e")


def _require_refused(lab: Lab, peer: Client, endpoint: str) -> None:
    line = lab.line()
    peer.begin_save(endpoint, b"one too many")
    peer.sends_descriptors([line.far.fileno()], FAILED)
    line.let_go()
    line.insist_on_hangup("its descriptor", peer.deadline_s)


@_case("limits/ended-sessions-leave-room", "LIMIT-2", "LIMIT-3")
def ended_sessions_leave_room(lab: Lab) -> None:
    """Sessions that have ended count no more, in the cache and at their endpoint."""
    with lab.server(sessions_max=4, sessions_per_endpoint_max=2) as server, lab.peer(target=server) as peer:
        for ttl_s in (1, None):
            for number in range(4):
                peer.park(f"e{number % 2}", b"", ttl_s)
            if ttl_s is not None:
                lab.let_pass(server, ttl_s)


@_case("limits/put-back-over-sessions", "LIMIT-2", "ENDP-5")
def put_back_over_sessions(lab: Lab) -> None:
    """A session is put back though there are sessions_max without it; then there is no room for one more."""
    with lab.server(sessions_max=2) as server:
        _put_back_over_a_limit(lab, server, ("e", "e", "e2"))


@_case("limits/put-back-over-sessions-per-endpoint", "LIMIT-3", "ENDP-5")
def put_back_over_sessions_per_endpoint(lab: Lab) -> None:
    """A session is put back though its endpoint has sessions_per_endpoint_max; then there is no room for one more."""
    with lab.server(sessions_per_endpoint_max=2) as server:
        _put_back_over_a_limit(lab, server, ("e", "e", "e"))


def _put_back_over_a_limit(lab: Lab, server: Target, endpoints: tuple[str, str, str]) -> None:
    """Fill a server that has room for two while the first of them is held, and have that put back."""
    first, second, third = endpoints
    saver, finder = lab.peer("S", target=server), lab.peer("F", target=server)
    lines = [saver.park(first, b"1"), saver.park(second, b"2")]
    finder.holds_endp(first, b"1")
    lines.append(saver.park(third, b"3"))
    finder.send((b"label", b"not ready"))
    finder.misses_endp()
    _require_refused(lab, saver, third)
    for number, (endpoint, line) in enumerate(zip(endpoints, lines, strict=True), 1):
        saver.finds_endp(endpoint, b"%d" % number, line)


@_case("limits/bindings", "LIMIT-4")
def bindings(lab: Lab) -> None:
    """One binding more than bindings_max is refused with status 2; a renewal is not."""
    with lab.server(bindings_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            peer.bind("d", f"e{number}")
        status = peer.save_dest(lab.ttl_s, lab.label("d2"), b"", lab.label("e"))
        require("status of one save_dest too many", status, FAILED)
        peer.bind("d", "e0")
        peer.park("e")
        peer.misses_dest("d2")


@_case("limits/ended-bindings-leave-room", "LIMIT-4")
def ended_bindings_leave_room(lab: Lab) -> None:
    """Bindings that have ended count no more."""
    with lab.server(bindings_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            peer.bind("d", f"e{number}", b"", 1)
        lab.let_pass(server, 1)
        for number in range(2):
            peer.bind("d2", f"e{number}")


@_case("limits/clients", "LIMIT-5")
def clients(lab: Lab) -> None:
    """One client more than clients_max is disconnected without a greeting; when one leaves there is room again."""
    with lab.server(clients_max=3) as server:
        first, second, _ = (_connect_when_there_is_room(lab, server, name) for name in "123")
        lab.peer("4", target=server, greeted=False).insist_on_hangup()
        first.misses_endp()
        second.hang_up()
        _connect_when_there_is_room(lab, server, "5").misses_endp()


@_case("limits/dead-clients-leave-room", "LIMIT-5")
def dead_clients_leave_room(lab: Lab) -> None:
    """A client that goes away counts no more, whatever it was in the middle of."""
    with lab.server(clients_max=4) as server:
        for peer in _clients_in_mid_dance(lab, server):
            peer.hang_up()
        _require_room_for_four(lab, server)


@_case("limits/slow-clients-leave-room", "LIMIT-5", "LIMIT-7")
def slow_clients_leave_room(lab: Lab) -> None:
    """A client that was disconnected for taking too long counts no more, whatever it was in the middle of."""
    with lab.server(clients_max=4, ipc_timeout_s=2) as server:
        peers = _clients_in_mid_dance(lab, server)
        lab.let_pass(server, 2)
        for peer in peers:
            peer.insist_on_hangup()
        _require_room_for_four(lab, server)


def _clients_in_mid_dance(lab: Lab, server: Target) -> list[Client]:
    """Connect four clients: one leaves a list unfinished, others have their descriptor, ready or received awaited."""
    stops = places.received_awaited, places.ready_awaited, places.descriptor_awaited, places.mid_name
    peers = [_connect_when_there_is_room(lab, server, f"{number}") for number in range(4)]
    for stop, peer in zip(stops, peers, strict=True):
        stop(peer)
        peer.wait_until_taken(peer.deadline_s)
    return peers


def _require_room_for_four(lab: Lab, server: Target) -> None:
    for peer in [_connect_when_there_is_room(lab, server, name) for name in "1234"]:
        peer.misses_endp()


def _connect_when_there_is_room(lab: Lab, server: Target, name: str) -> Client:
    """Connect, several times if need be: a server need not notice at once that somebody has left."""
    for _ in range(50):
        try:
            return lab.peer(name, target=server)
        except Unmet:
            lab.sleep(0.02)
    return lab.peer(name, target=server)
