"""Cases: what is handed over, what says ready and received, and what does not."""

import os
import socket
import tempfile

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, add, case
from scache_conformance.suite.requirements import require
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.line import identity
from scache_conformance.wire.lists import DONE, DUMMY_LIST

SILENCE_S = 0.05
"""How long nothing must come where nothing is due. Arbitrary: servers that say too much say it at once."""


@case("fd/tcp-socket", "FD-13", "FD-3", "FD-6")
def tcp_socket(lab: Lab) -> None:
    """A TCP connection comes back as the same connection, and carries bytes both ways."""
    listener = lab.closing.enter_context(socket.create_server(("127.0.0.1", 0)))
    near = lab.closing.enter_context(socket.create_connection(listener.getsockname()))
    far, _ = listener.accept()
    peer = lab.peer()
    with far:
        whole = identity(far.fileno())
        peer.saves(far.fileno(), lab.label("e"), b"p")
    peer.park("another", b"p")
    found = peer.finds_endp("e", b"p")
    require("the identity of the socket", identity(found.fd), whole)
    near.sendall(b"there")
    require("what comes out", os.read(found.fd, 100), b"there")
    os.write(found.fd, b"back")
    require("what comes back", near.recv(100), b"back")


@case("fd/data-in-flight", "FD-13", "FD-3", "FD-6")
def data_in_flight(lab: Lab) -> None:
    """Bytes that wait in a parked connection are there for the client that finds it; the server adds none."""
    peer, line = lab.peer(), lab.line()
    line.near.send(b"before, ")
    peer.saves(line.far.fileno(), lab.label("e"), b"p")
    line.let_go()
    line.near.send(b"while parked, ")
    found = peer.finds_endp("e", b"p")
    line.near.send(b"after")
    require("what comes out", os.read(found.fd, 100), b"before, while parked, after")
    require("that nothing was written to our end", line.is_other_end_of(found.fd), True)


@case("fd/pipe", "FD-13", "FD-3", "FD-6")
def pipe(lab: Lab) -> None:
    """The reading end of a pipe comes back as the reading end of that pipe."""
    reader, writer = os.pipe()
    lab.closing.callback(os.close, writer)
    try:
        peer, whole = lab.peer(), identity(reader)
        peer.saves(reader, lab.label("e"), b"p")
    finally:
        os.close(reader)
    os.write(writer, b"through")
    found = peer.finds_endp("e", b"p")
    require("the identity of the pipe", identity(found.fd), whole)
    require("what comes out", os.read(found.fd, 100), b"through")


@case("fd/file-offset-and-flags", "FD-13", "FD-3", "FD-6")
def file_offset_and_flags(lab: Lab) -> None:
    """A file comes back with its offset and its flags: it is the same open file, not opened again."""
    peer = lab.peer()
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        os.lseek(file.fileno(), 3, os.SEEK_SET)
        os.set_blocking(file.fileno(), False)
        whole = identity(file.fileno())
        peer.saves(file.fileno(), lab.label("e"), b"p")
        os.lseek(file.fileno(), 2, os.SEEK_CUR)
        found = peer.finds_endp("e", b"p")
        require("the identity of the file", identity(found.fd), whole)
        require("the offset", os.lseek(found.fd, 0, os.SEEK_CUR), 5)
        require("whether it blocks", os.get_blocking(found.fd), False)
        require("what is read", os.read(found.fd, 100), b"56789")


@case("fd/flags-untouched", "FD-13", "FD-3", "FD-6")
def flags_untouched(lab: Lab) -> None:
    """Parking does not change whether reads and writes on a connection block (O_NONBLOCK)."""
    peer = lab.peer()
    for blocking in (True, False):
        line = lab.line()
        line.far.setblocking(blocking)
        peer.saves(line.far.fileno(), lab.label("e"), b"p")
        require("whether it blocks while parked", os.get_blocking(line.far.fileno()), blocking)
        found = peer.finds_endp("e", b"p", line)
        require("whether it blocks when found", os.get_blocking(found.fd), blocking)


@case("fd/listening-socket", "FD-3", "FD-6", level=Level.INFO)
def listening_socket(lab: Lab) -> str:
    """Whether a listening socket can be parked."""
    peer = lab.peer()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if peer.save_endp(lab.ttl_s, lab.label("e"), b"p", listener.fileno()) != DONE:
            return "no"
    peer.finds_endp("e", b"p")
    return "yes"


@case("fd/handed-on-twice", "FD-6", "FD-8", "ENDP-2")
def handed_on_twice(lab: Lab) -> None:
    """A connection that was found can be parked and found again, ten times over."""
    peer = lab.peer()
    line = peer.park("e", b"0")
    for turn in range(10):
        found = peer.finds_endp("e", b"%d" % turn, line)
        peer.saves(found.fd, lab.label("e"), b"%d" % (turn + 1))


@case("fd/not-before-ready", "FD-6", "FD-1")
def not_before_ready(lab: Lab) -> None:
    """The server does not send the descriptor before the client sends "ready"."""
    peer = lab.peer()
    line = peer.parks_and_holds()
    peer.insist_on_silence(SILENCE_S)
    peer.takes_end_of(line)


@case("fd/nothing-after-the-descriptor", "FD-6", "FD-9")
def nothing_after_the_descriptor(lab: Lab) -> None:
    """After the byte with the descriptor the server sends nothing, neither before nor after "received"."""
    peer = lab.peer()
    line = peer.parks_and_holds()
    peer.says_ready_for(line)
    peer.insist_on_silence(SILENCE_S)
    peer.send_bytes(DUMMY_LIST)
    peer.insist_on_silence(SILENCE_S)
    peer.misses_endp("e")


@case("fd/outlives-its-end-while-held", "CONN-10", "FD-6", schedule=Schedule.UNDISTURBED)
def outlives_its_end_while_held(lab: Lab) -> None:
    """A session whose expiry passes while it is held is handed over when its client sends "ready"."""
    peer, ttl_s = lab.peer(), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = peer.park("e", b"p", ttl_s)
    with life.in_time():
        peer.holds_endp("e")
    lab.set_clock_forward(ttl_s)  # a server that serves one dance at a time could not be poked
    life.reach_end()
    peer.takes_end_of(line)


@case("fd/any-byte-carries-it", "FD-3")
def any_byte_carries_it(lab: Lab) -> None:
    """The byte with which a client sends a descriptor may have any value."""
    peer = lab.peer()
    for byte in (b"x", b"\xff", b"\n", b"r", b"\0"):
        line, properties = lab.line(), byte.hex().encode()
        peer.begin_save("e", properties)
        peer.sends_descriptors([line.far.fileno()], data=byte)
        peer.finds_endp("e", properties, line)


# What says ready and received, and what does not.

_FIND = lists.find_endp(b"x")


def _ready(slug: str, with_what: str, data: bytes) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        line = peer.parks_and_holds()
        peer.send_bytes(data)
        peer.receives_end_of(line)
        peer.send_bytes(DUMMY_LIST)
        peer.misses_endp("e")

    add(f"fd/ready-{slug}", f'A list that begins with `dummy` is "ready", {with_what}.', ("FD-6",), function)


def _received(slug: str, even: str, data: bytes) -> None:
    def function(lab: Lab) -> None:
        peer = lab.peer()
        line = peer.parks_and_holds()
        peer.says_ready_for(line)
        peer.send_bytes(data)
        peer.wait_until_taken()
        peer.misses_endp("e")
        peer.misses_dest()

    title = f'The list after the descriptor is "received" and gets no reply, even {even}.'
    add(f"fd/received-{slug}", title, ("FD-9",), function)


def _not_ready(slug: str, what: str, data: bytes) -> None:
    def swallowed(lab: Lab) -> None:
        peer = lab.peer()
        line = peer.parks_and_holds()
        peer.send_bytes(data)
        peer.wait_until_taken()
        peer.misses_dest()
        if lab.peer("B").find_endp(lab.label("e")) is None:
            line.insist_on_hangup("the session that was neither handed over nor put back", peer.deadline_s)

    def put_back(lab: Lab) -> None:
        peer, other = lab.peer(), lab.peer("B")
        first, second = peer.park("e", b"1"), peer.park("e", b"2")
        peer.holds_endp("e", b"1")
        peer.send_bytes(data)
        peer.misses_dest()
        other.finds_endp("e", b"1", first)
        other.finds_endp("e", b"2", second)

    title = f'{what[0].upper()}{what[1:]} in place of "ready" is discarded, and no descriptor is sent.'
    add(f"fd/not-ready-{slug}", title, ("FD-7", "FD-1"), swallowed)
    title = f'After {what} in place of "ready" the session is put back, as the first of its endpoint.'
    add(f"fd/put-back-after-{slug}", title, ("FD-7", "ENDP-5"), put_back)


_ready("any-value", "whatever the value of `dummy`", lists.encode((b"dummy", b"any value\n")))
_ready(
    "more-attributes",
    "whatever other attributes follow",
    lists.encode((b"dummy", b""), (b"request", b"find_endp"), (b"label", b"x")),
)
_received("any-value", "with a value", lists.encode((b"dummy", b"any value\n")))
_received("empty-list", "an empty list", b"\0")
_received("request", "a request", _FIND)
_received("other-list", "a list without `dummy`", lists.encode((b"label", b"x")))
_not_ready("another-list", "a list that begins with `label`", lists.encode((b"label", b"x"), (b"dummy", b"")))
_not_ready("a-request", "a request", _FIND)
_not_ready("an-empty-list", "an empty list", b"\0")
_not_ready("a-longer-name", "a list that begins with `dummyx`", lists.encode((b"dummyx", b"")))
_not_ready("a-shorter-name", "a list that begins with `dumm`", lists.encode((b"dumm", b"")))
_not_ready("a-first-letter", "a list that begins with `d`", lists.encode((b"d", b"")))
