"""Cases: a server without a free descriptor: clients that wait at its socket are let in later, at no cost meanwhile."""

from typing import Final

from scache_conformance.servers.target import Target
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.wire.unmet import Unmet

WAITING: Final = 3
"""So many clients wait to be let in. Arbitrary."""

LOOKS: Final = 60
"""How often a server is looked at, 10 ms apart. Arbitrary: it may look at a clock ten times a second meanwhile."""

BUSY_LOOKS_MAX: Final = 20
"""At so many looks the server may be running. Arbitrary: a server that spins is running at every look."""


def insist_on_waiting(lab: Lab, server: Target) -> None:
    """Raise Unmet if the server runs most of the time, though nothing happens. Raises Unavailable."""
    server.come_to_rest()
    busy = 0
    for _ in range(LOOKS):
        lab.sleep(0.01)
        busy += server.is_running()
    if busy > BUSY_LOOKS_MAX:
        raise Unmet("a server that waits", f"it is running at {busy} of {LOOKS} looks")


def _wait_to_be_let_in(lab: Lab, server: Target) -> list[Client]:
    return [lab.peer(f"W{number}", target=server, greeted=False) for number in range(WAITING)]


def _insist_on_serving(peer: Client) -> None:
    try:
        peer.insist_on_greeting()
    except Unmet as unmet:
        if "closed" not in unmet.actual:  # a server may turn clients away for which it has no descriptor
            raise
    else:
        peer.misses_endp()


@case("limits/no-descriptor-for-clients", "LIMIT-8", schedule=Schedule.OWN_SERVERS)
def no_descriptor_for_clients(lab: Lab) -> None:
    """A server without a descriptor for waiting clients lets them in when there is room again."""
    with lab.server() as server, lab.peer(target=server) as peer:
        line = peer.park("e", b"p")
        with server.descriptors_exhausted():
            waiting = _wait_to_be_let_in(lab, server)
            peer.finds_endp("e", b"p", line)
            lab.sleep(0.2)  # to try to let them in, and fail
        if server.has_clock:  # a server may try again after a while
            server.set_clock_forward(1)
        for each in waiting:
            _insist_on_serving(each)
        lab.peer("B", target=server).misses_endp()


@case("limits/full-table-at-no-cost", "LIMIT-8", schedule=Schedule.OWN_SERVERS)
def full_table_at_no_cost(lab: Lab) -> None:
    """A server without a descriptor for waiting clients does not try to let them in all the time."""
    with lab.server() as server, server.descriptors_exhausted():
        _wait_to_be_let_in(lab, server)
        insist_on_waiting(lab, server)
