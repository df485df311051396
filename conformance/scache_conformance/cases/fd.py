"""Cases: how descriptors pass: what is handed over, what is closed, and what must not come through."""

import os
import socket
import tempfile
import time

from scache_conformance.servers.target import Target
from scache_conformance.suite.lab import Lab, require, require_found, require_miss
from scache_conformance.suite.registry import add, case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.line import Line, identity
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED, encode
from scache_conformance.wire.peer import Peer

SILENCE_S = 0.05


def require_closed(lab: Lab, what: str, line: Line) -> None:
    """Raise Unmet unless the server closes its copy, which shows as the end of stream at our end of the line."""
    lab.transcript.note("", f"watching for the end of {what}")
    line.insist_on_hangup(what, lab.target.declared.deadline_s)


# What is handed over.


@case("fd/tcp-socket", "FD-13", "FD-3", "FD-6")
def tcp_socket(lab: Lab) -> None:
    """A TCP connection comes back as the same connection, and works in both directions."""
    listener = lab.closing.enter_context(socket.create_server(("127.0.0.1", 0)))
    near = lab.closing.enter_context(socket.create_connection(listener.getsockname()))
    far, _ = listener.accept()
    peer, endpoint = lab.peer(), lab.label("e")
    with far:
        whole = identity(far.fileno())
        require("status", peer.save_endp(lab.ttl_s, endpoint, b"p", far.fileno()), DONE)
    found = require_found("find_endp", peer.find_endp(endpoint), b"p")
    require("the identity of the socket", identity(found.fd), whole)
    near.sendall(b"there")
    require("what comes out", os.read(found.fd, 100), b"there")
    os.write(found.fd, b"back")
    require("what comes back", near.recv(100), b"back")


@case("fd/data-in-flight", "FD-13", "FD-3", "FD-6")
def data_in_flight(lab: Lab) -> None:
    """Bytes that wait in a parked connection are there for its finder, and the server adds none."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.line()
    line.near.send(b"before, ")
    require("status", peer.save_endp(lab.ttl_s, endpoint, b"p", line.far.fileno()), DONE)
    line.let_go()
    line.near.send(b"while parked, ")
    found = require_found("find_endp", peer.find_endp(endpoint), b"p")
    line.near.send(b"after")
    require("what comes out", os.read(found.fd, 100), b"before, while parked, after")
    require("that nothing was written to our end", line.is_other_end_of(found.fd), True)


@case("fd/pipe", "FD-13", "FD-3", "FD-6")
def pipe(lab: Lab) -> None:
    """The reading end of a pipe comes back as that."""
    reader, writer = os.pipe()
    lab.closing.callback(os.close, writer)
    peer, endpoint = lab.peer(), lab.label("e")
    try:
        whole = identity(reader)
        require("status", peer.save_endp(lab.ttl_s, endpoint, b"p", reader), DONE)
    finally:
        os.close(reader)
    os.write(writer, b"through")
    found = require_found("find_endp", peer.find_endp(endpoint), b"p")
    require("the identity of the pipe", identity(found.fd), whole)
    require("what comes out", os.read(found.fd, 100), b"through")


@case("fd/file-offset-and-flags", "FD-13", "FD-3", "FD-6")
def file_offset_and_flags(lab: Lab) -> None:
    """A file comes back with its offset and its flags: it is the same open file, not the file opened again."""
    peer, endpoint = lab.peer(), lab.label("e")
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        os.lseek(file.fileno(), 3, os.SEEK_SET)
        os.set_blocking(file.fileno(), False)
        whole = identity(file.fileno())
        require("status", peer.save_endp(lab.ttl_s, endpoint, b"p", file.fileno()), DONE)
        os.lseek(file.fileno(), 2, os.SEEK_CUR)
        found = require_found("find_endp", peer.find_endp(endpoint), b"p")
        require("the identity of the file", identity(found.fd), whole)
        require("the offset", os.lseek(found.fd, 0, os.SEEK_CUR), 5)
        require("whether it blocks", os.get_blocking(found.fd), False)
        require("what is read", os.read(found.fd, 100), b"56789")


@case("fd/flags-untouched", "FD-13", "FD-3", "FD-6")
def flags_untouched(lab: Lab) -> None:
    """Parking does not change whether a connection blocks: that belongs to the connection, not to a descriptor."""
    peer = lab.peer()
    for blocking in (True, False):
        line, endpoint = lab.line(), lab.label("e")
        line.far.setblocking(blocking)
        require("status", peer.save_endp(lab.ttl_s, endpoint, b"p", line.far.fileno()), DONE)
        require("whether it blocks while parked", os.get_blocking(line.far.fileno()), blocking)
        found = require_found("find_endp", peer.find_endp(endpoint), b"p", line=line)
        require("whether it blocks when found", os.get_blocking(found.fd), blocking)


@case("fd/listening-socket", "FD-3", "FD-6", level=Level.INFO)
def listening_socket(lab: Lab) -> str:
    """Whether a listening socket may be parked."""
    peer, endpoint = lab.peer(), lab.label("e")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if peer.save_endp(lab.ttl_s, endpoint, b"p", listener.fileno()) != DONE:
            return "no"
    require_found("find_endp", peer.find_endp(endpoint), b"p")
    return "yes"


@case("fd/handed-on-twice", "FD-6", "FD-8", "ENDP-2")
def handed_on_twice(lab: Lab) -> None:
    """A connection that was found may be parked and found again, ten times over."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"0")
    for turn in range(10):
        found = require_found("find_endp", peer.find_endp(endpoint), b"%d" % turn, line=line)
        require("status", peer.save_endp(lab.ttl_s, endpoint, b"%d" % (turn + 1), found.fd), DONE)


@case("fd/not-before-ready", "FD-6", "FD-1")
def not_before_ready(lab: Lab) -> None:
    """The server does not send the descriptor before the client says ready."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    require("status", peer.begin_find_endp(endpoint).status, DONE)
    peer.insist_on_silence(SILENCE_S)
    require("that the descriptor is the parked one", line.is_other_end_of(peer.take()), True)


@case("fd/nothing-after-the-descriptor", "FD-6", "FD-9")
def nothing_after_the_descriptor(lab: Lab) -> None:
    """After the byte with the descriptor comes nothing, neither before nor after the client says received."""
    peer, endpoint = lab.peer(), lab.label("e")
    lab.park(peer, endpoint, b"p")
    require("status", peer.begin_find_endp(endpoint).status, DONE)
    peer.send_bytes(DUMMY_LIST)
    peer.receive_descriptor()
    peer.insist_on_silence(SILENCE_S)
    peer.send_bytes(DUMMY_LIST)
    peer.insist_on_silence(SILENCE_S)
    require_miss("find_endp", peer.find_endp(endpoint))


# What says ready and received.

_READY = {
    "any-value": encode((b"dummy", b"any value\n")),
    "more-attributes": encode((b"dummy", b""), (b"request", b"find_endp"), (b"label", b"x")),
}
_RECEIVED = {
    "any-value": encode((b"dummy", b"any value\n")),
    "empty-list": b"\0",
    "request": encode((b"request", b"find_endp"), (b"label", b"x")),
    "other-list": encode((b"label", b"x")),
}


def _ready(slug: str, data: bytes) -> None:
    def function(lab: Lab) -> None:
        peer, endpoint = lab.peer(), lab.label("e")
        line = lab.park(peer, endpoint, b"p")
        require("status", peer.begin_find_endp(endpoint).status, DONE)
        peer.send_bytes(data)
        require("that the descriptor is the parked one", line.is_other_end_of(peer.receive_descriptor()), True)
        peer.send_bytes(DUMMY_LIST)
        require_miss("find_endp", peer.find_endp(endpoint))

    title = "A list that begins with dummy says ready, whatever else it holds."
    add(f"fd/ready-{slug}", title, ("FD-6",), Level.MUST, function)


def _received(slug: str, data: bytes) -> None:
    def function(lab: Lab) -> None:
        peer, endpoint = lab.peer(), lab.label("e")
        lab.park(peer, endpoint, b"p")
        require("status", peer.begin_find_endp(endpoint).status, DONE)
        peer.send_bytes(DUMMY_LIST)
        peer.receive_descriptor()
        peer.send_bytes(data)
        peer.wait_until_taken()
        require_miss("find_endp", peer.find_endp(endpoint))
        require_miss("find_dest", peer.find_dest(lab.label("nothing")))

    title = "The list after the descriptor says received, whatever it holds, and gets no reply."
    add(f"fd/received-{slug}", title, ("FD-9",), Level.MUST, function)


for _slug, _data in _READY.items():
    _ready(_slug, _data)
for _slug, _data in _RECEIVED.items():
    _received(_slug, _data)


def _not_ready(slug: str, data: bytes) -> None:
    def swallowed(lab: Lab) -> None:
        peer, endpoint = lab.peer(), lab.label("e")
        line = lab.park(peer, endpoint, b"p")
        require("status", peer.begin_find_endp(endpoint).status, DONE)
        peer.send_bytes(data)
        peer.wait_until_taken()
        peer.request(b"find_dest", (b"label", lab.label("nothing")))
        require("status of the next request", peer.receive_reply(2).status, FAILED)
        if lab.peer("B").find_endp(endpoint) is None:
            require_closed(lab, "the session that was neither handed over nor put back", line)

    def put_back(lab: Lab) -> None:
        peer, other, endpoint = lab.peer(), lab.peer("B"), lab.label("e")
        first, _ = lab.park(peer, endpoint, b"1"), lab.park(peer, endpoint, b"2")
        require("properties", peer.begin_find_endp(endpoint).properties, (b"1",))
        peer.send_bytes(data)
        peer.request(b"find_dest", (b"label", lab.label("nothing")))
        require("status of the next request", peer.receive_reply(2).status, FAILED)
        require_found("find_endp", other.find_endp(endpoint), b"1", line=first)
        require_found("find_endp", other.find_endp(endpoint), b"2")

    title = f"{slug.capitalize().replace('-', ' ')} where ready is awaited is swallowed, no descriptor is sent."
    add(f"fd/not-ready-{slug}", title, ("FD-7", "FD-1"), Level.MUST, swallowed)
    title = f"After {slug.replace('-', ' ')} where ready is awaited the session is first in turn again."
    add(f"fd/put-back-after-{slug}", title, ("FD-7", "ENDP-5"), Level.SHOULD, put_back)


_not_ready("another-list", encode((b"label", b"x"), (b"dummy", b"")))
_not_ready("a-request", encode((b"request", b"find_endp"), (b"label", b"x")))
_not_ready("an-empty-list", b"\0")
_not_ready("a-longer-name", encode((b"dummyx", b"")))
_not_ready("a-shorter-name", encode((b"dumm", b"")))
_not_ready("a-first-letter", encode((b"d", b"")))


# What is closed.


@case("fd/closed-after-hand-over", "FD-8")
def closed_after_hand_over(lab: Lab) -> None:
    """When the finder closes the connection it is closed: the server has kept no copy."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    require_found("find_endp", peer.find_endp(endpoint), b"p")
    peer.close()
    require_closed(lab, "the connection", line)


@case("fd/closed-before-received", "FD-8", level=Level.SHOULD)
def closed_before_received(lab: Lab) -> None:
    """The server has kept no copy even before the client says received."""
    peer, endpoint = lab.peer(), lab.label("e")
    line = lab.park(peer, endpoint, b"p")
    require("status", peer.begin_find_endp(endpoint).status, DONE)
    peer.send_bytes(DUMMY_LIST)
    os.close(peer.give_up(peer.receive_descriptor()))
    require_closed(lab, "the connection", line)


@case("fd/outlives-its-end-while-held", "CONN-10", "FD-6", undisturbed=True)
def outlives_its_end_while_held(lab: Lab) -> None:
    """A session whose ttl ends before its finder says ready is handed over all the same."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = lab.park(peer, endpoint, b"p", ttl_s)
    life.require_held(peer.begin_find_endp(endpoint))
    lab.set_clock_forward(ttl_s)  # a server that serves one dance at a time could not be poked
    life.reach_end()
    require("that the descriptor is the parked one", line.is_other_end_of(peer.take()), True)


@case("fd/any-byte-carries-it", "FD-3")
def any_byte_carries_it(lab: Lab) -> None:
    """The byte with the descriptor to park may have any value."""
    peer, endpoint = lab.peer(), lab.label("e")
    for byte in (b"x", b"\xff", b"\n", b"r", b"\0"):
        line = lab.line()
        peer.begin_save_endp(lab.ttl_s, endpoint, byte.hex().encode())
        peer.send_bytes(byte, [line.far.fileno()])
        require("status", peer.receive_reply(0).status, DONE)
        require_found("find_endp", peer.find_endp(endpoint), byte.hex().encode(), line=line)


@case("fd/no-descriptor", "FD-4")
def no_descriptor(lab: Lab) -> None:
    """A byte without a descriptor: status 2, nothing is parked, and the next save works."""
    peer, endpoint = lab.peer(), lab.label("e")
    for byte in (b"\0", b"x", DUMMY_LIST):  # of more than a byte the rest is another list, and swallowed
        peer.begin_save_endp(lab.ttl_s, endpoint, b"p")
        peer.send_bytes(byte)
        require("status", peer.receive_reply(0).status, FAILED)
        require_miss("find_endp", peer.find_endp(endpoint))
    line = lab.park(peer, endpoint, b"p")
    require_found("find_endp", peer.find_endp(endpoint), b"p", line=line)


def _send_several(lab: Lab, peer: Peer, endpoint: bytes, count: int) -> list[Line]:
    lines = [lab.line() for _ in range(count)]
    peer.begin_save_endp(lab.ttl_s, endpoint, b"p")
    peer.send_bytes(b"\0", [line.far.fileno() for line in lines])
    for line in lines:
        line.let_go()
    return lines


@case("fd/two-descriptors-refused", "FD-4")
def two_descriptors_refused(lab: Lab) -> None:
    """Two descriptors with one byte: status 2, and neither is parked."""
    peer, endpoint = lab.peer(), lab.label("e")
    _send_several(lab, peer, endpoint, 2)
    require("status", peer.receive_reply(0).status, FAILED)
    require_miss("find_endp", peer.find_endp(endpoint))


@case("fd/two-descriptors-closed", "FD-4")
def two_descriptors_closed(lab: Lab) -> None:
    """Two descriptors with one byte are both closed."""
    peer = lab.peer()
    for line in _send_several(lab, peer, lab.label("e"), 2):
        require_closed(lab, "each of the two", line)


@case("fd/as-many-as-the-kernel-passes", "FD-4")
def as_many_as_the_kernel_passes(lab: Lab) -> None:
    """253 descriptors with one byte: status 2, all are closed, and the next save works."""
    peer, line, endpoint = lab.peer(), lab.line(), lab.label("e")
    peer.begin_save_endp(lab.ttl_s, endpoint, b"p")
    peer.send_bytes(b"\0", [line.far.fileno()] * 253)
    line.let_go()
    require("status", peer.receive_reply(0).status, FAILED)
    require_closed(lab, "the connection", line)
    parked = lab.park(peer, endpoint, b"p")
    require_found("find_endp", peer.find_endp(endpoint), b"p", line=parked)


@case("fd/table-full", "FD-5", "LIMIT-8", level=Level.SHOULD, apart=True)
def table_full(lab: Lab) -> None:
    """A server that is out of descriptors refuses a save with status 2, and lives on."""
    with lab.server() as server, lab.peer(target=server) as peer:
        lab.park(peer, lab.label("e"), b"parked before", server.limit("ttl_limit_s"))
        line = lab.line()
        peer.begin_save_endp(server.limit("ttl_limit_s"), lab.label("e"), b"p")
        with server.descriptors_exhausted():
            peer.send_bytes(b"\0", [line.far.fileno()])
            line.let_go()
            require("status", peer.receive_reply(0).status, FAILED)
        require_closed(lab, "the connection", line)
        require_found("find_endp", peer.find_endp(lab.label("e")), b"parked before")


# What must not come through.

_FIND = (b"request", b"find_endp")


def _smuggled(slug: str, title: str, clause: str = "FD-1") -> None:
    def function(lab: Lab) -> None:
        peer, line, endpoint = lab.peer(), lab.line(), lab.label("e")
        parked = lab.park(peer, endpoint, b"p")
        fds = [line.far.fileno()]
        find = encode(_FIND, (b"label", endpoint))
        if slug == "with-a-request":
            peer.send_bytes(find, fds)
        elif slug == "with-the-end-of-a-request":
            peer.send_bytes(find[:-1])
            peer.send_bytes(find[-1:], fds)
        else:
            peer.send_bytes(find)
        require("properties", peer.receive_reply(1).properties, (b"p",))
        peer.send_bytes(DUMMY_LIST, fds if slug == "with-ready" else [])
        require("that the descriptor is the parked one", parked.is_other_end_of(peer.receive_descriptor()), True)
        peer.send_bytes(DUMMY_LIST, fds if slug == "with-received" else [])
        line.let_go()
        require_miss("find_endp", peer.find_endp(endpoint))
        require_closed(lab, "the descriptor that rode along", line)

    add(f"fd/smuggled-{slug}", title, (clause,), Level.MUST, function)


_smuggled("with-a-request", "A descriptor that rides on a request is closed, and the request served.")
_smuggled("with-the-end-of-a-request", "So is one that rides on a request's last byte.")
_smuggled("with-ready", "So is one that rides on ready.")
_smuggled("with-received", "So is one that rides on received.")


@case("fd/smuggled-with-save-endp", "FD-1", "FD-2")
def smuggled_with_save_endp(lab: Lab) -> None:
    """A descriptor that rides on the save_endp itself is not the one to park: that comes after the invitation."""
    peer, smuggled, line, endpoint = lab.peer(), lab.line(), lab.line(), lab.label("e")
    ttl, label = (b"ttl", b"%d" % lab.ttl_s), (b"label", endpoint)
    data = encode((b"request", b"save_endp"), ttl, label, (b"property", b"p"))
    peer.send_bytes(data, [smuggled.far.fileno()])
    smuggled.let_go()
    peer.insist_on_invitation()
    peer.send_bytes(b"\0", [line.far.fileno()])
    require("status", peer.receive_reply(0).status, DONE)
    require_closed(lab, "the descriptor that rode along", smuggled)
    require_found("find_endp", peer.find_endp(endpoint), b"p", line=line)


@case("fd/none-left-behind", "FD-4", "FD-8", "CONN-11", apart=True)
def none_left_behind(lab: Lab) -> None:
    """After fifty saves and finds, refusals and hangups the server has as many descriptors open as before."""
    with lab.quiet_server() as server:
        server.descriptor_count()
        _save_and_find(lab, server)  # once before: a server may open something at its first request
        before = _fewest_descriptors(lab, server, enough=0)
        for _ in range(50):
            _save_and_find(lab, server)
        require("how many descriptors the server has open", _fewest_descriptors(lab, server, enough=before), before)


def _save_and_find(lab: Lab, server: Target) -> None:
    with lab.peer(target=server) as peer:
        lab.park(peer, lab.label("e"), b"p").close()
        require_found("find_endp", peer.find_endp(lab.label("e")), b"p")
        peer.begin_save_endp(lab.ttl_s, lab.label("e"), b"")
        peer.send_bytes(b"\0")
        require("status", peer.receive_reply(0).status, FAILED)


def _fewest_descriptors(lab: Lab, server: Target, enough: int) -> int:
    """Count descriptors when the server has had time to notice all hangups: the lowest of several counts."""
    fewest, deadline_s = server.descriptor_count(), time.monotonic() + (server.declared.deadline_s if enough else 0.5)
    while fewest > enough and time.monotonic() < deadline_s:
        lab.sleep(0.01)
        fewest = min(fewest, server.descriptor_count())
    return fewest
