"""Cases: the numbers of descriptors in the server: 0 is one, and a number that was closed soon means another file."""

import os
from collections.abc import Callable
from functools import partial

from scache_conformance.servers.target import ServerDied, Target
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, add, case
from scache_conformance.wire import lists
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DUMMY_LIST, FAILED
from scache_conformance.wire.unmet import Unmet

SESSIONS = 6
"""Arbitrary: more than the low numbers that are free in a server without its standard streams."""

Way = Callable[[Lab, Target, Client], Callable[[], None]]
"""Makes a server close a descriptor; returns a function that finishes the client's conversation."""

_case = partial(case, schedule=Schedule.OWN_SERVERS)


@_case("fd/number-0", "FD-3", "FD-6")
def number_0(lab: Lab) -> None:
    """A server that is started without standard input, so that 0 is a free number, parks and hands over."""
    try:
        with lab.target.without_standard_input() as server:
            peer = lab.peer(target=server)
            lines = [peer.park("e", b"%d" % number) for number in range(SESSIONS)]
            other = lab.peer("B", target=server)
            for number, line in enumerate(lines):
                other.finds_endp("e", b"%d" % number, line)
            line = other.park("e", b"p")
            server.ask_to_exit()
            line.insist_on_hangup("the connection", peer.deadline_s)
    except ServerDied as died:
        raise Unmet("a server that serves without a standard input", str(died)) from died


def _handed_over(lab: Lab, server: Target, peer: Client) -> Callable[[], None]:
    line = peer.parks_and_holds("a")
    peer.send_bytes(DUMMY_LIST)
    os.close(peer.give_up(peer.receive_descriptor()))
    line.hung_up(lab.patience_s)
    return lambda: peer.send_bytes(DUMMY_LIST)


def _refused(lab: Lab, server: Target, peer: Client) -> Callable[[], None]:
    line = lab.line()
    peer.begin_save("a")
    peer.sends_descriptors([line.far.fileno()] * 2, FAILED)
    return lambda: None


def _rode_along(lab: Lab, server: Target, peer: Client) -> Callable[[], None]:
    line = lab.line()
    peer.send_bytes(lists.find_endp(lab.label("nothing")), [line.far.fileno()])
    peer.receives(FAILED, b"")
    return lambda: None


def _expired(lab: Lab, server: Target, peer: Client) -> Callable[[], None]:
    line = peer.park("a", b"p", 1)
    lab.let_pass(server, 1)
    line.insist_on_hangup("the connection", peer.deadline_s)
    return lambda: None


def _expired_while_held(lab: Lab, server: Target, peer: Client) -> Callable[[], None]:
    line = peer.park("a", b"p", 1)
    peer.holds_endp("a")
    if server.has_clock:
        server.set_clock_forward(1)
    else:
        lab.sleep(1.1)
    peer.send_bytes(lists.encode((b"other", b"")))  # instead of ready: it would be put back
    line.insist_on_hangup("the connection", peer.deadline_s)
    return lambda: None


def _closes_only_its_own(slug: str, when: str, clause: str, way: Way, *others: str) -> None:
    def function(lab: Lab) -> None:
        with lab.server(ttl_limit_s=60) as server:
            saver = lab.peer("S", target=server)
            lines = [saver.park("e", b"%d" % number, 60) for number in range(SESSIONS)]
            with lab.peer(target=server) as peer:
                finish = way(lab, server, peer)
                for _ in range(SESSIONS):  # these take the numbers that have become free
                    lines.append(saver.park("e", b"%d" % len(lines), 60))
                finish()
                peer.hang_up()
                server.poke()
                server.come_to_rest()
            _require_all(saver, lines)

    title = f"When {when}, the server closes it once: a later descriptor of the same number stays open."
    add(f"fd/closed-once-{slug}", title, (clause, "FD-13", *others), function, schedule=Schedule.OWN_SERVERS)


def _require_all(peer: Client, lines: list[Line]) -> None:
    for line in lines:
        if line.hung_up(0):
            raise Unmet("every parked connection to be open", "one is closed")
    for number, line in enumerate(lines):
        peer.finds_endp("e", b"%d" % number, line)


_closes_only_its_own("hand-over", "a descriptor is handed over", "FD-8", _handed_over, "CONN-2")
_closes_only_its_own("refusal", "a descriptor is refused", "FD-4", _refused)
_closes_only_its_own("riding-along", "a descriptor comes with a request", "FD-1", _rode_along)
_closes_only_its_own("expiry", "a descriptor expires", "TTL-3", _expired)
_closes_only_its_own("expiry-while-held", "a descriptor expires while it is held", "ENDP-6", _expired_while_held)
