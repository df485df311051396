"""Cases: a server's own life: what it begins with, when it exits and what becomes of its clients then."""

import time
from functools import partial

from scache_conformance.servers.target import Target
from scache_conformance.suite.lab import Inconclusive, Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.requirements import require
from scache_conformance.wire.unmet import Silence

IDLE_S = 1

_case = partial(case, schedule=Schedule.OWN_SERVERS)


@_case("life/begins-empty", "LIFE-1")
def begins_empty(lab: Lab) -> None:
    """Sessions and bindings of before a restart are gone after it."""
    with lab.server() as server:
        with lab.peer(target=server) as peer:
            peer.bind("d", "e")
            line = peer.park("e")
        server.revive()
        line.insist_on_hangup("the connection", server.declared.deadline_s)
        with lab.peer(target=server) as peer:
            peer.misses_endp("e")
            peer.park("e")
            peer.misses_dest("d")


@_case("life/exit-closes-everything", "LIFE-4")
def exit_closes_everything(lab: Lab) -> None:
    """At exit every client is disconnected and every parked connection closed; the exit status is 0."""
    with lab.server() as server, lab.peer(target=server) as peer, lab.peer("B", target=server) as resting:
        line = peer.park("e")
        server.ask_to_exit()
        peer.insist_on_hangup()
        resting.insist_on_hangup()
        line.insist_on_hangup("the connection", server.declared.deadline_s)
        require("the exit status", server.wait_for_exit(0), 0)


@_case("life/idle-exit", "LIFE-2")
def idle_exit(lab: Lab) -> None:
    """A server without a client exits with status 0 when max_idle_s is over."""
    with lab.server(max_idle_s=IDLE_S) as server:
        with lab.peer(target=server) as peer:
            peer.misses_endp()
        _require_exit(lab, server)


@_case("life/idle-exit-with-bindings", "LIFE-2", "LIFE-3")
def idle_exit_with_bindings(lab: Lab) -> None:
    """A server without a client exits when max_idle_s is over, though it has bindings."""
    with lab.server(max_idle_s=IDLE_S, ttl_limit_s=60) as server:
        with lab.peer(target=server) as peer:
            peer.bind("d", "e", b"", 60)
        _require_exit(lab, server)


@_case("life/idle-since-the-last-left", "LIFE-2")
def idle_since_the_last_left(lab: Lab) -> None:
    """The time without a client begins when the last client leaves, not when the server started."""
    with lab.server(max_idle_s=2) as server:
        with lab.peer(target=server) as peer:
            server.leave_alone()
            lab.let_pass(server, 3)
            peer.misses_endp()
            left_s = time.monotonic()
        status = server.wait_for_exit(0.5)
        if status is not None and not server.has_clock and time.monotonic() - left_s >= 2:
            raise Inconclusive("the server: looked too late, this machine is busy")
        require("the exit status, sooner than max_idle_s after the last client left", status, None)


@_case("life/idle-is-without-clients", "LIFE-2")
def idle_is_without_clients(lab: Lab) -> None:
    """A server does not exit for being idle while a client is connected, even one at rest."""
    with lab.server(max_idle_s=IDLE_S) as server, lab.peer(target=server) as peer:
        if server.has_clock:
            server.advance(3 * IDLE_S)
        else:
            lab.sleep(IDLE_S + 0.5)
        require("that it has not exited", server.wait_for_exit(0), None)
        peer.misses_endp()


@_case("life/no-idle-exit-with-sessions", "LIFE-3")
def no_idle_exit_with_sessions(lab: Lab) -> None:
    """A server without a client does not exit for being idle while a session is parked."""
    with lab.server(max_idle_s=IDLE_S, ttl_limit_s=4) as server:
        with lab.peer(target=server) as peer:
            line = peer.park("e", ttl_s=4)
        _forget(lab, server)
        with lab.waiting():
            status = server.wait_for_exit(IDLE_S + 1.0)
        require("the exit status, in the time that max_idle_s would allow", status, None)
        require("that the connection is open", line.hung_up(0), False)


@_case("life/idle-exit-after-a-session", "LIFE-2", "LIFE-3")
def idle_exit_after_a_session(lab: Lab) -> None:
    """A server without a client exits with status 0 when its last session has expired and max_idle_s is over."""
    with lab.server(max_idle_s=IDLE_S) as server:
        with lab.peer(target=server) as peer:
            line = peer.park("e", ttl_s=1)
        _require_exit(lab, server)
        line.insist_on_hangup("the connection", server.declared.deadline_s)


def _forget(lab: Lab, server: Target) -> None:
    """Leave the server without a client; on a virtual clock, let max_idle_s pass."""
    server.leave_alone()
    if server.has_clock:
        if server.pid is None:
            lab.sleep(0.1)  # to notice it, before the time jumps
        lab.transcript.note("", f"the clock is advanced by {IDLE_S} s, nobody connects")
        server.set_clock_forward(IDLE_S)


def _require_exit(lab: Lab, server: Target) -> None:
    _forget(lab, server)
    with lab.waiting():
        status = server.wait_for_exit(IDLE_S + server.declared.deadline_s)
    if status is None:
        raise Silence(f"the server to exit {IDLE_S} s after its last client left", "it runs")
    require("the exit status", status, 0)
