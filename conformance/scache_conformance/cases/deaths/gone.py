"""Cases: clients that go away at each step of the conversation: what they leave, and what must stay.

Some mistakes show only when the server is late. These cases stop its process for a moment, where the process is known.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from scache_conformance.cases.ttl.put_backs import require_one_found_and_both_ended
from scache_conformance.servers.target import Target
from scache_conformance.suite import places
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab, Skipped
from scache_conformance.suite.many_dances import DANCES, dances, park_many, receive_dance, unhurried
from scache_conformance.suite.registry import Schedule, add, case
from scache_conformance.suite.requirements import require, require_found, require_other_end
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists, processes
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DUMMY_LIST, FAILED, GREETING, MALFORMED
from scache_conformance.wire.unmet import Unmet

AT_ONCE_S = 0.1
"""How long to wait for bytes that a stopped server may have sent before it was stopped."""


def _require_served(lab: Lab) -> None:
    with lab.peer("B") as other:
        other.misses_endp()


# Before anything was found or saved.


def _dies(slug: str, title: str, stop: Callable[[Client], None]) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        stop(peer)
        peer.hang_up()
        _require_served(lab)

    add(f"deaths/{slug}", title, ("CONN-11",), function)


_dies("at-rest", "A client may go away at rest; others are served.", places.at_rest)
_dies("mid-name", "A client may go away in the middle of a name; others are served.", places.mid_name)
_dies("mid-list", "A client may go away in the middle of a list; others are served.", places.mid_value)
_dies("reply-unread", "A client may go away with its reply unread; others are served.", places.reply_unread)


@case("deaths/before-the-greeting", "CONN-11")
def before_the_greeting(lab: Lab) -> None:
    """A client may go away as soon as it has connected; others are served."""
    lab.peer("C", greeted=False).hang_up()
    _require_served(lab)


@case("deaths/half-closed", "CONN-11")
def half_closed(lab: Lab) -> None:
    """A client may shut down sending in the middle of a list; others are served."""
    peer = lab.peer()
    peer.send_bytes(b"request\0save")
    peer.shut_down_sending()
    peer.hang_up()
    _require_served(lab)


# Gone when they are read.


@case("deaths/request-sent", "CONN-11", "CONN-8")
def request_sent(lab: Lab) -> None:
    """A whole request of a client that is gone before the server reads it is served."""
    other = lab.peer("B")
    for turn in lab.tries_beside_a_late_server:
        peer, destination, endpoint = lab.peer(), lab.label(f"d{turn}"), f"e{turn}"
        line = other.park(endpoint, b"p")
        with lab.late_server():
            peer.send_bytes(lists.save_dest(lab.ttl_s, destination, b"q", lab.label(endpoint)))
            peer.hang_up()
        # In which order it serves several clients is left to the server.
        deadline_s = time.monotonic() + peer.deadline_s
        while (found := other.find_dest(destination)) is None and time.monotonic() < deadline_s:
            lab.sleep(0.02)
        require_found("find_dest", found, b"q", b"p", line=line)


@case("deaths/requests-sent", "CONN-11", "CONN-3", level=Level.SHOULD)
def requests_sent(lab: Lab) -> None:
    """Each of several requests in one write is served, though their client is gone before the server reads them."""
    other = lab.peer("B")
    for turn in lab.tries_beside_a_late_server:
        peer, destinations = lab.peer(), [lab.label(f"d{turn}.{number}") for number in range(3)]
        line = other.park(f"e{turn}", b"p")
        bindings = [lists.save_dest(lab.ttl_s, each, b"q", lab.label(f"e{turn}")) for each in destinations]
        with lab.late_server():
            peer.send_bytes(b"".join(bindings))
            peer.hang_up()
        # The last one that is served says that the others were.
        deadline_s = time.monotonic() + peer.deadline_s
        while (found := other.find_dest(destinations[-1])) is None and time.monotonic() < deadline_s:
            lab.sleep(0.02)
        require_found("find_dest of the last", found, b"q", b"p", line=line)
        for destination in destinations[:-1]:
            line = other.park(f"e{turn}", b"p")
            require_found("find_dest of one before it", other.find_dest(destination), b"q", b"p", line=line)


@case("deaths/half-closed-after-a-request", "CONN-11", "CONN-9")
def half_closed_after_a_request(lab: Lab) -> None:
    """A client that shuts down sending after a request gets its reply, then the end."""
    for _ in lab.tries_beside_a_late_server:
        peer = lab.peer()
        with lab.late_server():
            peer.send_bytes(lists.find_endp(lab.label("nothing")))
            peer.shut_down_sending()
        peer.receives_status(1, FAILED)
        peer.insist_on_hangup()


# While saving.


@case("deaths/descriptor-awaited", "CONN-11", "FD-3")
def descriptor_awaited(lab: Lab) -> None:
    """A client that goes away before it sends its descriptor parks nothing, and the next save is its own."""
    peer, other = lab.peer(), lab.peer("B")
    peer.begin_save("e")
    peer.hang_up()
    other.misses_endp("e")
    line = other.park("e2", b"p2")
    other.finds_endp("e2", b"p2", line)
    other.misses_endp("e")


@case("deaths/status-unread", "CONN-11", "FD-3")
def status_unread(lab: Lab) -> None:
    """A client goes away as soon as it has sent its descriptor: the session is parked."""
    peer, line = lab.peer(), lab.line()
    peer.begin_save("e")
    with lab.late_server():  # so that it is gone when its descriptor is read
        peer.send_bytes(b"\0", [line.far.fileno()])
        line.let_go()
        peer.hang_up()
    lab.peer("B").finds_endp("e", b"p", line)


@case("deaths/what-it-saved-stays", "CONN-11")
def what_it_saved_stays(lab: Lab) -> None:
    """Sessions and bindings of a client that goes away in the middle of a request stay."""
    peer = lab.peer()
    peer.bind("d", "e", b"q")
    line = peer.park("e", b"p")
    peer.send_bytes(b"request\0save_endp\0")
    peer.hang_up()
    lab.peer("B").finds_dest("d", b"q", b"p", line=line)


@case("deaths/descriptor-in-flight-closed", "CONN-11", "FD-1")
def descriptor_in_flight_closed(lab: Lab) -> None:
    """A descriptor on the bytes of an unfinished list is closed when its client goes away."""
    peer, line = lab.peer(), lab.line()
    peer.send_bytes(b"request\0find", [line.far.fileno()])
    line.let_go()
    peer.hang_up()
    line.insist_on_hangup("the descriptor", peer.deadline_s)


# While finding.


@case("deaths/before-ready", "CONN-11", "FD-10")
def before_ready(lab: Lab) -> None:
    """A client goes away before "ready": its session is put back or closed, and others are served."""
    peer = lab.peer()
    line = peer.parks_and_holds()
    peer.hang_up()
    _require_served(lab)
    with lab.peer("B") as other:
        if (found := other.find_endp(lab.label("e"))) is not None:
            require_other_end(line, found.fd)
            return
    line.insist_on_hangup("the session, as it is not in the cache,", peer.deadline_s)


def _died_holding(lab: Lab, *, say_ready: bool = False) -> Line:
    """Have a client park two sessions, find the first and go away; return the first."""
    peer = lab.peer()
    line = peer.park("e", b"1")
    peer.park("e", b"2")
    peer.holds_endp("e", b"1")
    if say_ready:
        peer.send_bytes(DUMMY_LIST)
        peer.wait_until_taken()
    peer.hang_up()
    return line


@case("deaths/put-back", "FD-10", "ENDP-5")
def put_back(lab: Lab) -> None:
    """A session whose client went away before "ready" is the first of its endpoint again."""
    line = _died_holding(lab)
    other = lab.peer("B")
    other.finds_endp("e", b"1", line)
    other.finds_endp("e", b"2")


@case("deaths/put-back-in-order", "FD-10", "ENDP-5")
def put_back_in_order(lab: Lab) -> None:
    """A session whose client went away comes before a session that was parked while it was held."""
    saver, finder = lab.peer("S"), lab.peer("F")
    first = saver.park("e", b"1")
    finder.holds_endp("e", b"1")
    saver.park("e", b"2")
    finder.hang_up()
    lab.target.poke()
    saver.finds_endp("e", b"1", first)
    saver.finds_endp("e", b"2")


@case("deaths/put-back-too-late", "FD-10", "ENDP-6", schedule=Schedule.UNDISTURBED)
def put_back_too_late(lab: Lab) -> None:
    """A session that became due while it was held is closed, not put back, when its client goes away."""
    finder, ttl_s = lab.peer("F"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = finder.park("e", b"p", ttl_s)
    with life.in_time():
        finder.holds_endp("e")
    lab.set_clock_forward(ttl_s)
    life.reach_end()
    require("that it is open while it is held", line.hung_up(0), False)
    finder.hang_up()
    line.insist_on_hangup("the connection", finder.deadline_s)
    lab.peer("B").misses_endp("e")


@case("deaths/put-back-keeps-its-end", "ENDP-5", schedule=Schedule.UNDISTURBED)
def put_back_keeps_its_end(lab: Lab) -> None:
    """A session that was put back expires when it would have expired anyway."""
    finders, ttl_s = (lab.peer("F"), lab.peer("G")), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lines = [finder.park("e", b"p", ttl_s) for finder in finders]
    for finder in finders:
        with life.in_time():
            finder.holds_endp("e")
    life.reach_last_moment()
    for finder in finders:
        finder.hang_up()
    lab.target.poke()
    require_one_found_and_both_ended(life, lab.peer("B"), lines)


@case("deaths/put-back-ends-by-itself", "ENDP-5", "TTL-6", schedule=Schedule.UNDISTURBED)
def put_back_ends_by_itself(lab: Lab) -> None:
    """A session that was put back is closed at its expiry without any request."""
    finder, ttl_s = lab.peer("F"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = finder.park("e", b"p", ttl_s)
    with life.in_time():
        finder.holds_endp("e")
    finder.hang_up()
    life.reach_end()
    line.insist_on_hangup("the connection", finder.deadline_s)


@case("deaths/after-ready", "CONN-11", "FD-10", "FD-11")
def after_ready(lab: Lab) -> None:
    """A client goes away after "ready": its session is lost with it or put back, and other sessions stay."""
    _died_holding(lab, say_ready=True)
    _require_served(lab)
    other, left = lab.peer("B"), []
    while (found := other.find_endp(lab.label("e"))) is not None:
        left.append(found.properties[0])
    require("whether the other session is there", left in ([b"2"], [b"1", b"2"]), True)


@case("deaths/before-received", "FD-11", "FD-8")
def before_received(lab: Lab) -> None:
    """A client goes away with its descriptor before "received": nothing of the session is left."""
    peer = lab.peer()
    line = peer.parks_and_holds()
    peer.says_ready_for(line)
    peer.close()
    lab.peer("B").misses_endp("e")
    line.insist_on_hangup("the connection, which its finder was the last to have,", peer.deadline_s)


@case("deaths/dances-unread", "FD-10", "ENDP-5")
def dances_unread(lab: Lab) -> None:
    """When a client with a full socket goes away, the sessions that the socket did not take are put back in order."""
    with unhurried(lab) as (server, ttl_s):
        life, _ = park_many(lab, server, ttl_s, "e")
        peer = _impatient_peer(lab, server)
        peer.send_bytes(dances(lab.label("e")))
        peer.wait_until_taken()
        with server.stopped():  # so that it sends no more while what it has sent is counted
            probe, taken = lab.peer("probe", target=server, greeted=False), 0
            with suppress(Unmet):
                while True:
                    receive_dance(peer, life, taken)
                    taken += 1
            peer.hang_up()
            try:
                probe.insist_on_silence(0)
            except Unmet as greeted:
                raise Skipped("needs the process that serves: the one that was started or told is another") from greeted
            probe.hang_up()
        if taken == DANCES:
            raise Skipped(f"the server's socket takes {DANCES} dances: lower net.core.wmem_default")
        server.poke()
        other = lab.peer("B", target=server)
        with life.in_time(exact=True):
            for number in range(taken, DANCES):
                other.finds_endp("e", b"%03d" % number)
        other.misses_endp("e")


REQUESTS = 500
"""So many requests are more than a server reads at a time, and fewer than fill a socket. Arbitrary."""


@case("deaths/many-requests-sent", "CONN-11", "CONN-3")
def many_requests_sent(lab: Lab) -> None:
    """A client sends many save_dest in one write, reads no reply and goes away: each of its bindings is saved."""
    peer = lab.peer()
    saves = [
        lists.save_dest(lab.ttl_s, lab.label("d"), b"%03d" % number, lab.label(f"e{number}"))
        for number in range(REQUESTS)
    ]
    with lab.late_server():
        peer.send_bytes(b"".join(saves))
        peer.hang_up()
    lab.target.come_to_rest()
    other = lab.peer("B", deadline_s=3 * lab.target.declared.deadline_s)  # it may have to wait for all of them
    last = f"e{REQUESTS - 1}"
    line = other.park(last, b"p")
    other.finds_dest("d", b"%03d" % (REQUESTS - 1), b"p", line=line)


@case("deaths/received-and-a-request", "CONN-11", "FD-14", schedule=Schedule.OWN_SERVERS)
def received_and_a_request(lab: Lab) -> None:
    """A client reads its descriptor, sends a save_dest and goes away before a late server looks: it is served."""
    with lab.server() as server:
        peer = lab.peer(target=server)
        line = peer.parks_and_holds("e", b"p")
        peer.send_bytes(DUMMY_LIST)
        require("whether the descriptor comes", peer.has_something_to_read(), True)
        server.come_to_rest()
        with server.stopped():
            peer.receives_end_of(line)
            peer.send_bytes(DUMMY_LIST + lists.save_dest(lab.ttl_s, lab.label("d"), b"q", lab.label("e")))
            peer.hang_up()
        server.come_to_rest()  # a server with threads may serve somebody else meanwhile
        other = lab.peer("B", target=server)
        parked = other.park("e", b"p")
        other.finds_dest("d", b"q", b"p", line=parked)


@case("deaths/next-client-begins-anew", "CONN-1", "CONN-2", "WIRE-5", schedule=Schedule.OWN_SERVERS)
def next_client_begins_anew(lab: Lab) -> None:
    """A client gets nothing of what another left unfinished: a list, an invitation, a session held, replies."""
    with lab.server() as server, lab.peer("A", target=server) as first:
        first.park("long", b"x" * 2000)
        for leave in (_leaves_half_a_list, _leaves_an_invitation, _leaves_a_session, _leaves_replies):
            peer = lab.peer(target=server)
            leave(lab, peer)
            peer.hang_up()
            server.poke()
            other = lab.peer("B", target=server)
            other.request(b"other")
            require("status of an unknown request", other.receive_reply(0).status, MALFORMED)
            other.misses_endp()
            other.hang_up()
            server.poke()


def _leaves_half_a_list(lab: Lab, peer: Client) -> None:
    peer.send_bytes(lists.find_endp(lab.label("e"))[:-3])


def _leaves_an_invitation(lab: Lab, peer: Client) -> None:
    peer.begin_save("e")


def _leaves_a_session(lab: Lab, peer: Client) -> None:
    peer.holds_endp("long", b"x" * 2000)


def _leaves_replies(lab: Lab, peer: Client) -> None:
    peer.send_bytes((lists.find_endp(lab.label("long")) + lists.find_endp(lab.label("long"))) * 200)
    peer.wait_until_taken()


def _impatient_peer(lab: Lab, server: Target) -> Client:
    """Connect as a client that waits only a moment for each reply after the greeting."""
    peer = lab.peer(target=server, greeted=False, deadline_s=AT_ONCE_S)
    deadline_s = time.monotonic() + lab.target.declared.deadline_s
    while True:
        try:
            require("the greeting", peer.receive("the greeting"), GREETING)
        except Unmet:
            if time.monotonic() >= deadline_s:
                raise
        else:
            return peer


_VICTIM = """
import pathlib, signal, sys
from scache_conformance.wire.peer import Peer
path, deadline_s, ttl_s, endpoint, fd = sys.argv[1:]
peer = Peer(pathlib.Path(path), deadline_s=float(deadline_s))
assert peer.save_endp(int(ttl_s), bytes.fromhex(endpoint), b"p", int(fd)) == 0
peer.send_bytes(b"request\\0find_endp\\0la")
print("saved", flush=True)
signal.pause()
"""


@case("deaths/killed", "CONN-11")
def killed(lab: Lab) -> None:
    """A client process that is killed in the middle of a request leaves what it saved and nothing else."""
    line, declared = lab.line(), lab.target.declared
    arguments = lab.target.socket_path, declared.deadline_s, lab.ttl_s, lab.label("e").hex(), line.far.fileno()
    with processes.STARTING:
        victim = subprocess.Popen(
            [sys.executable, "-c", _VICTIM, *map(str, arguments)],
            stdout=subprocess.PIPE,
            pass_fds=[line.far.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    with victim:
        assert victim.stdout is not None, "it is a pipe"
        said = victim.stdout.readline()
        victim.kill()
    require("what the client says", said, b"saved\n")
    line.let_go()
    with lab.peer("B") as other:
        other.finds_endp("e", b"p", line)
    line.insist_on_hangup("the connection, with its finder,", declared.deadline_s)
