"""Cases: how many clients there may be, of all users and of one, and when there is room again."""

from functools import partial

from scache_conformance.servers.target import Target
from scache_conformance.suite import places
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import STRANGER, Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.wire.unmet import Unmet

_case = partial(case, schedule=Schedule.OWN_SERVERS)


@_case("limits/clients", "LIMIT-5")
def clients(lab: Lab) -> None:
    """One client more than clients_max is disconnected without a greeting; when one leaves, one is let in."""
    with lab.server(clients_max=3) as server:
        first, second, _ = (_connect_when_there_is_room(lab, server, name) for name in "123")
        lab.peer("4", target=server, greeted=False).insist_on_hangup()
        first.misses_endp()
        second.hang_up()
        _connect_when_there_is_room(lab, server, "5").misses_endp()


@_case("limits/dead-clients-leave-room", "LIMIT-5")
def dead_clients_leave_room(lab: Lab) -> None:
    """A client that went away counts no longer, whatever it left unfinished."""
    with lab.server(clients_max=4) as server:
        for peer in _clients_in_mid_dance(lab, server):
            peer.hang_up()
        _require_room_for_four(lab, server)


@_case("limits/slow-clients-leave-room", "LIMIT-5", "LIMIT-7")
def slow_clients_leave_room(lab: Lab) -> None:
    """A client that was disconnected for taking too long counts no longer, whatever it left unfinished."""
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


@_case("limits/clients-per-user", "LIMIT-12")
def clients_per_user(lab: Lab) -> None:
    """One client of a user more than clients_per_user_max is disconnected ungreeted; other users are let in."""
    with lab.server(clients_per_user_max=2) as server:
        first, second = (lab.stranger(server, name) for name in "12")
        lab.stranger(server, "3", greeted=False).insist_on_hangup()
        lab.stranger(server, "4", STRANGER - 1).misses_endp()
        first.misses_endp()
        second.hang_up()
        _connect_when_there_is_room(lab, server, "5", STRANGER).misses_endp()


def _connect_when_there_is_room(lab: Lab, server: Target, name: str, uid: int | None = None) -> Client:
    """Connect, several times if need be: a server need not notice at once that somebody has left."""
    for _ in range(50):
        try:
            return lab.peer(name, target=server, uid=uid)
        except Unmet:
            lab.sleep(0.02)
    return lab.peer(name, target=server, uid=uid)
