"""A client of the tests' own: bytes and descriptors, one step at a time, no more manners than the test gives it.

Decides nothing about what is right. Shares no code with any server or client of the project, so that it shares no
mistake with them.
"""

import array
import os
import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

PATIENCE_S = 20.0
"""How long the tests wait for bytes before they call it a failure. Generous: the machine may be busy."""


def attributes(*pairs: tuple[bytes, bytes]) -> bytes:
    """Encode one attribute list."""
    return b"".join(name + b"\0" + value + b"\0" for name, value in pairs) + b"\0"


def request(name: bytes, *pairs: tuple[bytes, bytes]) -> bytes:
    """Encode one request."""
    return attributes((b"request", name), *pairs)


def save_endp(ttl_s: int, label: bytes, properties: bytes) -> bytes:
    """Encode a well-formed save_endp."""
    return request(b"save_endp", (b"ttl", b"%d" % ttl_s), (b"label", label), (b"property", properties))


def find_endp(label: bytes) -> bytes:
    """Encode a well-formed find_endp."""
    return request(b"find_endp", (b"label", label))


def save_dest(ttl_s: int, dest: bytes, properties: bytes, endp: bytes) -> bytes:
    """Encode a well-formed save_dest."""
    pairs = (b"ttl", b"%d" % ttl_s), (b"label", dest), (b"property", properties), (b"label", endp)
    return request(b"save_dest", *pairs)


def find_dest(label: bytes) -> bytes:
    """Encode a well-formed find_dest."""
    return request(b"find_dest", (b"label", label))


GREETING = attributes((b"protocol", b"connection_cache_protocol"))
DUMMY = attributes((b"dummy", b""))
DONE = attributes((b"status", b"0"))
MALFORMED = attributes((b"status", b"1"))
FAILED = attributes((b"status", b"2"))


def found(*properties: bytes) -> bytes:
    """Encode the reply to a find that found something."""
    return attributes((b"status", b"0"), *((b"property", value) for value in properties))


def missed(count: int = 1) -> bytes:
    """Encode the reply to a find that found nothing: one empty property for an endpoint, two for a destination."""
    return attributes((b"status", b"2"), *([(b"property", b"")] * count))


class Peer(AbstractContextManager["Peer"]):
    """One connection to a server, greeted."""

    def __init__(self, socket_path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(socket_path))
        self.expect(GREETING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send bytes, with descriptors attached to them where some are given."""
        try:
            if descriptors:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
                assert self.socket.sendmsg([data], [rights]) == len(data)
            else:
                self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may hang up before it has all; what is expected next tells whether it was right to

    def expect(self, reply: bytes) -> None:
        """Receive exactly these bytes, or fail with what came instead. Leaves everything after them unread."""
        received = b""
        while len(received) < len(reply):
            more = self.socket.recv(len(reply) - len(received))
            received += more
            assert reply.startswith(received), f"expected {reply!r}, received {received!r}"
            assert more, f"expected {reply!r}, received {received!r} and then the end"

    def expect_end(self) -> None:
        """Find the connection closed by the server, with nothing more to read."""
        try:
            assert (more := self.socket.recv(1)) == b"", f"expected the end, received {more!r}"
        except ConnectionResetError:
            pass  # closed, with something unread on the server's side

    def leave(self) -> bytes:
        """Close the connection, and return when the server has closed its end too; hand out what was left unread."""
        self.socket.shutdown(socket.SHUT_WR)
        unread = b""
        try:
            while more := self.socket.recv(4096):
                unread += more
        except ConnectionResetError:
            pass  # closed, with something unread on the server's side
        self.socket.close()
        return unread

    def take_descriptor(self) -> int:
        """Receive the byte that carries a descriptor, and own the descriptor."""
        data, fds, flags, _ = socket.recv_fds(self.socket, 1, 2)
        assert (data, len(fds), flags & socket.MSG_CTRUNC) == (b"\0", 1, 0), f"received {data!r} with {fds}"
        return fds[0]

    def save_endp(self, ttl_s: int, label: bytes, properties: bytes, fd: int) -> None:
        """Park a descriptor, as a well-behaved client does."""
        self.send(save_endp(ttl_s, label, properties))
        self.expect(DUMMY)
        self.send(b"\0", (fd,))
        self.expect(DONE)

    def find(self, find_request: bytes, *properties: bytes) -> int:
        """Take a parked descriptor, as a well-behaved client does, and own it."""
        self.send(find_request)
        self.expect(found(*properties))
        self.send(DUMMY)
        fd = self.take_descriptor()
        self.send(DUMMY)
        return fd


def same_file(one: int, other: int) -> bool:
    """Tell whether two descriptors stand for the same open file."""
    return os.path.samestat(os.fstat(one), os.fstat(other))
