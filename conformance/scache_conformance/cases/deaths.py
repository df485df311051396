"""Cases: clients that go away at each step of the dance: what they leave behind, and what they must not take along."""

import os
import subprocess
import sys
from collections.abc import Callable

from scache_conformance.cases.backlog import late_server
from scache_conformance.suite.lab import Lab, require, require_found, require_miss
from scache_conformance.suite.registry import add, case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import processes
from scache_conformance.wire.line import Line, identity
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED
from scache_conformance.wire.peer import Peer


def _require_served(lab: Lab) -> None:
    with lab.peer("B") as other:
        require("status of another client's find", other.begin_find_endp(lab.label("nothing")).status, FAILED)


def _require_found_or_closed(lab: Lab, endpoint: bytes, line: Line) -> None:
    """Raise Unmet if the descriptor is neither in the cache nor closed: the server has lost it."""
    with lab.peer("B") as other:
        found = other.find_endp(endpoint)
        if found is not None:
            require("that what is found is the parked one", line.is_other_end_of(found.fd), True)
            return
    line.insist_on_hangup("the session, as it is not in the cache,", lab.target.declared.deadline_s)


# Before anything was found or saved.


def _dies(slug: str, title: str, die: Callable[[Lab, Peer], None]) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        die(lab, peer)
        peer.hang_up()
        _require_served(lab)

    add(f"deaths/{slug}", title, ("CONN-11",), Level.MUST, function)


def _at_rest(lab: Lab, peer: Peer) -> None:
    pass


def _mid_name(lab: Lab, peer: Peer) -> None:
    peer.send_bytes(b"requ")


def _mid_list(lab: Lab, peer: Peer) -> None:
    peer.send_bytes(b"request\0find_endp\0label\0x")


def _reply_unread(lab: Lab, peer: Peer) -> None:
    peer.request(b"find_endp")


def _ungreeted(lab: Lab, peer: Peer) -> None:
    lab.peer("C", greeted=False).hang_up()


def _half_closed(lab: Lab, peer: Peer) -> None:
    peer.send_bytes(b"request\0save")
    peer.shut_down_sending()


_dies("at-rest", "A client goes away at rest.", _at_rest)
_dies("mid-name", "A client goes away in the middle of a name.", _mid_name)
_dies("mid-list", "A client goes away in the middle of a list.", _mid_list)
_dies("reply-unread", "A client goes away with its reply unread.", _reply_unread)
_dies("before-the-greeting", "A client goes away at once.", _ungreeted)
_dies("half-closed", "A client closes its sending half in the middle of a list.", _half_closed)


# While saving.


@case("deaths/descriptor-awaited", "CONN-11", "FD-3")
def descriptor_awaited(lab: Lab) -> None:
    """A client goes away instead of sending its descriptor: nothing is parked, and the next that comes is not its."""
    peer, other, endpoint, elsewhere = lab.peer(), lab.peer("B"), lab.label("e"), lab.label("e2")
    peer.begin_save_endp(lab.ttl_s, endpoint, b"p")
    peer.hang_up()
    require_miss("find_endp", other.find_endp(endpoint))
    line = lab.park(other, elsewhere, b"p2")
    require_found("find_endp of what was saved then", other.find_endp(elsewhere), b"p2", line=line)
    require_miss("find_endp once more", other.find_endp(endpoint))


@case("deaths/status-unread", "CONN-11", "FD-3")
def status_unread(lab: Lab) -> None:
    """A client goes away as soon as its descriptor is sent: the session is parked all the same."""
    peer, line, endpoint = lab.peer(), lab.line(), lab.label("e")
    peer.begin_save_endp(lab.ttl_s, endpoint, b"p")
    with late_server(lab):  # so that it is gone when its descriptor is read
        peer.send_bytes(b"\0", [line.far.fileno()])
        line.let_go()
        peer.hang_up()
    require_found("find_endp", lab.peer("B").find_endp(endpoint), b"p", line=line)


@case("deaths/what-it-saved-stays", "CONN-11")
def what_it_saved_stays(lab: Lab) -> None:
    """Sessions and bindings of a client stay when it goes away in the middle of a request."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.bind(peer, destination, endpoint, b"q")
    line = lab.park(peer, endpoint, b"p")
    peer.send_bytes(b"request\0save_endp\0")
    peer.hang_up()
    require_found("find_dest", lab.peer("B").find_dest(destination), b"q", b"p", line=line)


@case("deaths/descriptor-in-flight-closed", "CONN-11", "FD-1")
def descriptor_in_flight_closed(lab: Lab) -> None:
    """A descriptor that rides on an unfinished list is closed when its client goes away."""
    peer, line = lab.peer(), lab.line()
    peer.send_bytes(b"request\0find", [line.far.fileno()])
    line.let_go()
    peer.hang_up()
    line.insist_on_hangup("the descriptor", peer.deadline_s)


# While finding.


def _held(lab: Lab, endpoint: bytes, *, say_ready: bool) -> Line:
    peer = lab.peer()
    line = lab.park(peer, endpoint, b"1")
    lab.park(peer, endpoint, b"2")
    require("properties", peer.begin_find_endp(endpoint).properties, (b"1",))
    if say_ready:
        peer.send_bytes(DUMMY_LIST)
        peer.wait_until_taken()
    peer.hang_up()
    return line


@case("deaths/before-ready", "CONN-11", "FD-10")
def before_ready(lab: Lab) -> None:
    """A client goes away before it says ready: its session is in the cache again, or closed; others are served."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"1")
    require("status", peer.begin_find_endp(endpoint).status, DONE)
    peer.hang_up()
    _require_served(lab)
    _require_found_or_closed(lab, endpoint, line)


@case("deaths/put-back", "FD-10", "ENDP-5", level=Level.SHOULD)
def put_back(lab: Lab) -> None:
    """A session whose finder went away before it said ready is first in turn again."""
    endpoint = lab.label("e")
    line = _held(lab, endpoint, say_ready=False)
    other = lab.peer("B")
    require_found("find_endp", other.find_endp(endpoint), b"1", line=line)
    require_found("find_endp", other.find_endp(endpoint), b"2")


@case("deaths/put-back-in-order", "FD-10", "ENDP-5", level=Level.SHOULD)
def put_back_in_order(lab: Lab) -> None:
    """It is first in turn also before what was parked while it was held."""
    saver, finder, endpoint = lab.peer("S"), lab.peer("F"), lab.label("e")
    first = lab.park(saver, endpoint, b"1")
    require("properties", finder.begin_find_endp(endpoint).properties, (b"1",))
    lab.park(saver, endpoint, b"2")
    finder.hang_up()
    lab.target.poke()
    require_found("find_endp", saver.find_endp(endpoint), b"1", line=first)
    require_found("find_endp", saver.find_endp(endpoint), b"2")


@case("deaths/put-back-too-late", "FD-10", "ENDP-6", level=Level.SHOULD, undisturbed=True)
def put_back_too_late(lab: Lab) -> None:
    """A session whose ttl ended while it was held is not put back: it is closed."""
    finder, endpoint, ttl_s = lab.peer("F"), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = lab.park(finder, endpoint, b"p", ttl_s)
    life.require_held(finder.begin_find_endp(endpoint))
    lab.set_clock_forward(ttl_s)
    life.reach_end()
    require("that it is open while it is held", line.hung_up(0), False)
    finder.hang_up()
    line.insist_on_hangup("the connection", lab.target.declared.deadline_s)
    require_miss("find_endp", lab.peer("B").find_endp(endpoint))


@case("deaths/put-back-keeps-its-end", "ENDP-5", level=Level.SHOULD, undisturbed=True)
def put_back_keeps_its_end(lab: Lab) -> None:
    """A session that was put back ends when it would have ended anyway."""
    finders, endpoint, ttl_s = (lab.peer("F"), lab.peer("G")), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lines = [lab.park(finder, endpoint, b"p", ttl_s) for finder in finders]
    for finder in finders:
        life.require_held(finder.begin_find_endp(endpoint))
    life.reach_last_moment()
    for finder in finders:
        finder.hang_up()
    lab.target.poke()
    other = lab.peer("B")
    found = other.find_endp(endpoint)
    life.require_alive("find_endp before it", found, b"p")
    left = [line for line in lines if found is None or line.identity != identity(found.fd)]
    life.reach_end()
    require_miss("find_endp after it", other.find_endp(endpoint))
    require("how many of the two are left", len(left), 1)
    for line in left:
        line.insist_on_hangup("the other one", lab.target.declared.deadline_s)


@case("deaths/after-ready", "CONN-11", "FD-10", "FD-11")
def after_ready(lab: Lab) -> None:
    """A client goes away when it has said ready: its session is gone with it or in the cache again, others stay."""
    endpoint = lab.label("e")
    _held(lab, endpoint, say_ready=True)
    _require_served(lab)
    other = lab.peer("B")
    left = []
    while (found := other.find_endp(endpoint)) is not None:
        left.append(found.properties[0])
    require("whether the other session is there", left in ([b"2"], [b"1", b"2"]), True)


@case("deaths/before-received", "FD-11", "FD-8")
def before_received(lab: Lab) -> None:
    """A client goes away with its descriptor, without having said received: nothing is left of the session."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"1")
    require("status", peer.begin_find_endp(endpoint).status, DONE)
    peer.send_bytes(DUMMY_LIST)
    require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)
    peer.close()
    require_miss("find_endp", lab.peer("B").find_endp(endpoint))
    line.insist_on_hangup("the connection, which its finder was the last to have,", lab.target.declared.deadline_s)


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
    """A client process that is killed in the middle of a request leaves what it saved, and nothing else."""
    endpoint, line = lab.label("e"), lab.line()
    path, deadline_s = lab.target.socket_path, lab.target.declared.deadline_s
    arguments = [str(path), str(deadline_s), str(lab.ttl_s), endpoint.hex(), str(line.far.fileno())]
    with processes.STARTING:
        victim = subprocess.Popen(
            [sys.executable, "-c", _VICTIM, *arguments],
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
        require_found("find_endp", other.find_endp(endpoint), b"p", line=line)
    line.insist_on_hangup("the connection, with its finder,", lab.target.declared.deadline_s)
