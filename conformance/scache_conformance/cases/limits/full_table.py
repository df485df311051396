"""Cases: a server without a free descriptor: clients that wait at its socket are let in later, at no cost meanwhile."""

import time
from typing import Final

from scache_conformance.servers.target import Target
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.wire.lists import FAILED
from scache_conformance.wire.unmet import Unmet

WAITING: Final = 3
"""So many clients wait to be let in. Arbitrary."""

LOOKS_MIN: Final = 60
"""How often a server is looked at, 10 ms apart. Arbitrary: it may look at a clock ten times a second meanwhile."""

SPUN_S: Final = 0.1
"""So much CPU time of a thread that does not block shows that it spins. Arbitrary: a look at a clock takes 0.1 ms."""

BLOCKED_ENOUGH: Final = 3
"""A thread that blocks so often while it is looked at does not spin. Arbitrary: one that spins never blocks."""

UNDECIDED_S_MAX: Final = 20
"""How long a thread may wait for a CPU without showing which of the two it does. Arbitrary, for busy machines."""


def insist_on_waiting(lab: Lab, server: Target) -> None:
    """Raise Unmet if a thread of the server runs all the time, though nothing happens. Raises Unavailable.

    That a thread is ready to run says nothing: on a busy machine it waits for a CPU most of the time.
    """
    server.come_to_rest()
    before = server.work()
    looks = 0
    until_s = time.monotonic() + UNDECIDED_S_MAX
    undecided = set(before)
    while looks < LOOKS_MIN or (undecided and time.monotonic() < until_s):
        lab.sleep(0.01)
        looks += 1
        after = server.work()
        for thread in undecided & set(after):
            used_s = after[thread].cpu_s - before[thread].cpu_s
            blocked = after[thread].blocked - before[thread].blocked
            if used_s >= SPUN_S and blocked < BLOCKED_ENOUGH:
                raise Unmet("a server that waits", f"a thread ran for {used_s:.2f} s and blocked {blocked} times")
        if looks >= LOOKS_MIN:
            undecided = {
                thread
                for thread in undecided & set(after)
                if not after[thread].is_blocked and after[thread].blocked - before[thread].blocked < BLOCKED_ENOUGH
            }


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


@case("limits/saves-after-a-full-table", "LIMIT-8", schedule=Schedule.OWN_SERVERS)
def saves_after_a_full_table(lab: Lab) -> None:
    """A server that had no descriptor left for a save parks sessions again when there is room."""
    with lab.server() as server, lab.peer(target=server) as peer:
        line = lab.line()
        with server.descriptors_exhausted():
            peer.begin_save("e")
            peer.sends_descriptors([line.far.fileno()], FAILED)
        parked = peer.park("e", b"p")
        peer.finds_endp("e", b"p", parked)
