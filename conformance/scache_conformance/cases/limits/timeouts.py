"""Cases: how long one step of a client may take, whichever it is, and that a dance of steps in time may take longer."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from scache_conformance.cases.limits.full_table import insist_on_waiting
from scache_conformance.servers.target import Target
from scache_conformance.suite import places
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Inconclusive, Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.requirements import require_other_end
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED
from scache_conformance.wire.unmet import Silence, Unmet

THIRTY_DAYS_S = 30 * 86_400
"""More milliseconds than 31 bits hold."""

_case = partial(case, schedule=Schedule.OWN_SERVERS)


@_case("limits/unfinished-list", "LIMIT-7")
def unfinished_list(lab: Lab) -> None:
    """A client that leaves a list unfinished for ipc_timeout_s is disconnected."""
    with lab.server(ipc_timeout_s=1) as server:
        peer = lab.peer(target=server)
        places.mid_name(peer)
        if not peer.wait_until_taken(peer.deadline_s):  # the step begins when the server has read it
            raise Inconclusive("the server has not read the list, this machine is busy")
        lab.let_pass(server, 1)
        peer.insist_on_hangup()


@_case("limits/two-unfinished", "LIMIT-7")
def two_unfinished(lab: Lab) -> None:
    """Two clients that stop one after the other are each disconnected, each after its own ipc_timeout_s."""
    with lab.server(ipc_timeout_s=2) as server:
        first, second = lab.peer(target=server), lab.peer("B", target=server)
        places.mid_name(first)
        first.wait_until_taken(first.deadline_s)
        lab.let_pass(server, 1)
        places.descriptor_awaited(second)
        lab.let_pass(server, 1)
        first.insist_on_hangup()
        lab.let_pass(server, 1)
        second.insist_on_hangup()


@_case("limits/unfinished-save", "LIMIT-7")
def unfinished_save(lab: Lab) -> None:
    """A client that does not send its descriptor for ipc_timeout_s is disconnected."""
    with lab.server(ipc_timeout_s=1) as server:
        peer = lab.peer(target=server)
        places.descriptor_awaited(peer)
        lab.let_pass(server, 1)
        peer.insist_on_hangup()


@_case("limits/unfinished-find", "LIMIT-7", "FD-10")
def unfinished_find(lab: Lab) -> None:
    """A client that does not send "ready" for ipc_timeout_s is disconnected; its session is put back."""
    with lab.server(ipc_timeout_s=1, ttl_limit_s=5) as server:
        finder = lab.peer(target=server)
        finder.park("e", b"p", 5)
        finder.holds_endp("e")
        lab.let_pass(server, 1)
        finder.insist_on_hangup()
        lab.peer("B", target=server).finds_endp("e", b"p")


@_case("limits/unfinished-find-too-late", "LIMIT-7", "ENDP-6")
def unfinished_find_too_late(lab: Lab) -> None:
    """A client that does not send "ready" is disconnected; its session is closed if it became due meanwhile."""
    ttl_s = lab.short_ttl_s()
    with lab.server(ipc_timeout_s=ttl_s + 1) as server:
        finder = lab.peer(target=server)
        line = finder.park("e", b"p", ttl_s)
        finder.holds_endp("e")
        lab.let_pass(server, ttl_s + 1)
        finder.insist_on_hangup()
        line.insist_on_hangup("the connection", finder.deadline_s)
        lab.peer("B", target=server).misses_endp("e")


@_case("limits/unfinished-handover", "LIMIT-7", "FD-11")
def unfinished_handover(lab: Lab) -> None:
    """A client that does not send "received" for ipc_timeout_s is disconnected, and keeps its session."""
    with lab.server(ipc_timeout_s=1) as server:
        finder = lab.peer(target=server)
        line = finder.parks_and_holds()
        finder.send_bytes(DUMMY_LIST)
        fd = finder.receive_descriptor()
        lab.let_pass(server, 1)
        finder.insist_on_hangup()
        require_other_end(line, fd)
        lab.peer("B", target=server).misses_endp("e")


@_case("limits/trickling-list", "LIMIT-7")
def trickling_list(lab: Lab) -> None:
    """The time of a list counts from its first byte: bytes that come one by one do not extend it."""
    with lab.server(ipc_timeout_s=2) as server:
        peer = lab.peer(target=server)
        if not server.has_clock:
            _trickle_until_hangup(lab, peer, 2 + peer.deadline_s)
            return
        for byte in (b"r", b"e"):
            peer.send_bytes(byte)
            peer.wait_until_taken(peer.deadline_s)
            lab.let_pass(server, 1)
        peer.insist_on_hangup()


def _trickle_until_hangup(lab: Lab, peer: Client, within_s: float) -> None:
    """Send bytes one by one, each well within the time of a step, until the server hangs up."""
    lab.transcript.note(peer.name, "sends one byte of a name after the other")
    began_s = time.monotonic()
    while time.monotonic() - began_s < within_s:
        try:
            peer.send_bytes(b"r")
        except Unmet:
            return
        time.sleep(0.1)
    raise Silence("the connection closed by the server", f"it is open {within_s} s after the list's first byte")


@_case("limits/late-turn", "LIMIT-7", "CONN-2")
def late_turn(lab: Lab) -> None:
    """A server that was stopped for longer than ipc_timeout_s reads what has come before it disconnects."""
    with lab.server(ipc_timeout_s=1, ttl_limit_s=60) as server:
        lister, saver, finder = (lab.peer(name, target=server) for name in "LSF")
        line, parked = lab.line(), finder.park("e", b"p", 60)
        places.mid_value(lister)
        saver.begin_save("e2")
        finder.holds_endp("e")
        server.come_to_rest()
        with server.stopped():
            lister.send_bytes(b"\0\0")
            saver.send_bytes(b"\0", [line.far.fileno()])
            finder.send_bytes(DUMMY_LIST)
            if server.has_clock:
                server.move_clock(2)
                lab.sleep(0.2)  # by then a timer is due too by which a server looks at the clock again
            else:
                lab.sleep(2)
        lister.receives(FAILED, b"")
        saver.receives(DONE)
        finder.receives_end_of(parked)


@_case("limits/at-rest", "LIMIT-7")
def at_rest(lab: Lab) -> None:
    """A client at rest between two requests is not disconnected."""
    with lab.server(ipc_timeout_s=1) as server, lab.peer(target=server) as peer:
        for _ in range(2):
            peer.misses_endp()
            _pass_more_than_half_of_two_seconds(lab, server)
        peer.misses_endp()


def _pass_more_than_half_of_two_seconds(lab: Lab, server: Target) -> None:
    if server.has_clock:
        server.set_clock_forward(1)
    lab.sleep(1.2)  # on a virtual clock too: Postfix measures this one with poll(2)


class _Steps:
    """Steps of a client that must each be in time, counted from the end of the step before."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self.longest_s = 0.0

    def take(self, peer: Client, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send what ends the step and may begin the next."""
        begins_s = time.monotonic()
        try:
            peer.send_bytes(data, fds)
        finally:
            self.longest_s = max(self.longest_s, time.monotonic() - self._began_s)
            self._began_s = begins_s


@contextmanager
def _in_time(server: Target, ipc_timeout_s: int) -> Iterator[_Steps]:
    """Raise Inconclusive in place of the body's Unmet if a step of the suite itself took too long."""
    steps = _Steps()
    try:
        yield steps
    except Unmet:
        if not server.has_clock and steps.longest_s >= ipc_timeout_s:
            raise Inconclusive("a step was not in time, this machine is busy") from None
        raise


@_case("limits/each-step-anew", "LIMIT-7")
def each_step_anew(lab: Lab) -> None:
    """Each step has its own ipc_timeout_s: a conversation may take longer than that as a whole."""
    with (
        lab.server(ipc_timeout_s=2, ttl_limit_s=20) as server,
        lab.peer(target=server) as peer,
        _in_time(server, 2) as steps,
    ):
        line, endpoint = lab.line(), lab.label("e")
        steps.take(peer, lists.save_endp(20, endpoint, b"p"))
        peer.insist_on_invitation()
        _pass_more_than_half_of_two_seconds(lab, server)
        steps.take(peer, b"\0", [line.far.fileno()])
        peer.receives_status(0, DONE)
        steps.take(peer, lists.find_endp(endpoint))
        peer.receives_status(1, DONE)
        _pass_more_than_half_of_two_seconds(lab, server)
        steps.take(peer, DUMMY_LIST)
        peer.receives_end_of(line)
        _pass_more_than_half_of_two_seconds(lab, server)
        steps.take(peer, DUMMY_LIST)
        peer.misses_endp()


@_case("limits/each-list-anew", "LIMIT-7", "CONN-3")
def each_list_anew(lab: Lab) -> None:
    """A list that begins in the write that ended another list has its own ipc_timeout_s."""
    first, second = (lists.find_endp(lab.label(each)) for each in ("first", "second"))
    with lab.server(ipc_timeout_s=2) as server, lab.peer(target=server) as peer, _in_time(server, 2) as steps:
        steps.take(peer, first[:10])
        for data in (first[10:] + second[:10], second[10:]):
            peer.wait_until_taken(peer.deadline_s)
            _pass_more_than_half_of_two_seconds(lab, server)
            steps.take(peer, data)
        for _ in range(2):
            peer.receives_status(1, FAILED)


@_case("limits/thirty-days", "LIMIT-7", "STAT-7", "LIFE-2")
def periods_of_thirty_days(lab: Lab) -> None:
    """A server all of whose periods are thirty days long serves, waits for a slow client, and blocks meanwhile."""
    periods = dict.fromkeys(("ipc_timeout_s", "status_update_time_s", "max_idle_s"), THIRTY_DAYS_S)
    with lab.server(**periods) as server:
        server.poke()
        slow = lab.peer(target=server)
        places.mid_list(slow)
        slow.wait_until_taken()
        if server.pid is not None:
            insist_on_waiting(lab, server)
        slow.send_bytes(b"\0")
        slow.receives_status(1, FAILED)
