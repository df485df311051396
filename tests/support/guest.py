"""A client made by hand, for a server in the same process.

Decides how a test writes, lets the server take its turns and reads. Refuses to know what is right.
"""

import array
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

from tests.support.servers import InProcessServer

TURNS: Final = 4
"""How many turns a server gets for what a guest wrote. One is enough for most, none of them waits."""

FLOOD_BYTES_MAX: Final = 8_000_000
"""Far more than two sockets' buffers and what a server may keep: whoever takes so much keeps it all."""

GREETING: Final = b"protocol\0connection_cache_protocol\0\0"
DUMMY: Final = b"dummy\0\0\0"
DONE: Final = b"status\x000\0\0"
FAILED: Final = b"status\x002\0\0"
MISSED: Final = b"status\x002\0property\0\0\0"


def save_endp(endpoint: bytes, properties: bytes = b"p", ttl: bytes = b"9") -> bytes:
    return b"request\0save_endp\0ttl\0%b\0label\0%b\0property\0%b\0\0" % (ttl, endpoint, properties)


def save_dest(destination: bytes, properties: bytes, endpoint: bytes, ttl: bytes = b"9") -> bytes:
    pairs = ttl, destination, properties, endpoint
    return b"request\0save_dest\0ttl\0%b\0label\0%b\0property\0%b\0label\0%b\0\0" % pairs


def find_endp(endpoint: bytes) -> bytes:
    return b"request\0find_endp\0label\0%b\0\0" % endpoint


def find_dest(destination: bytes) -> bytes:
    return b"request\0find_dest\0label\0%b\0\0" % destination


def found(*properties: bytes) -> bytes:
    return b"status\x000\0" + b"".join(b"property\0%b\0" % each for each in properties) + b"\0"


class Guest:
    """One connection to a server, and the server's turns."""

    def __init__(self, server: InProcessServer) -> None:
        self._server = server
        self.socket = server.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def write(self, data: bytes, *descriptors: int) -> int:
        """Write what the socket takes of it, with descriptors on the first byte; return how much that was."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        return self.socket.sendmsg([data], [rights] if descriptors else [])

    def turn(self) -> None:
        """Let the server take turns."""
        for _ in range(TURNS):
            self._server.step()

    def flood(self) -> bytes:
        """Write requests for as long as they are taken, and read no reply; return what is missing of the last one."""
        request = find_endp(b"nothing")
        many, rest, idle, taken = request * 200, b"", 0, 0
        while idle < 10:  # The server takes more for some turns after the socket was full.
            try:
                written = self.write(rest or many)
            except BlockingIOError:
                self.turn()
                idle += 1
                continue
            rest = (rest or many)[written:]
            idle = 0
            taken += written
            assert taken < FLOOD_BYTES_MAX, f"{taken} bytes of requests were taken from a client that reads nothing"
        return rest[: len(rest) % len(request)]

    def hear(self) -> bytes:
        """Let the server take turns; return all there is to read, b"" for nothing. EOFError: the server hung up."""
        self.turn()
        heard = b""
        while True:
            try:
                more = self.socket.recv(1 << 20)
            except BlockingIOError:
                return heard
            except ConnectionResetError:
                more = b""
            if not more:
                if heard:
                    return heard
                raise EOFError
            heard += more

    def say(self, data: bytes, *descriptors: int) -> bytes:
        """Write, and return what the server says to it."""
        assert self.write(data, *descriptors) == len(data)
        return self.hear()

    def is_disconnected(self) -> bool:
        """Say whether the server hung up."""
        try:
            assert self.hear() == b""
        except EOFError:
            return True
        return False

    def park(self, endpoint: bytes, properties: bytes = b"p", ttl: bytes = b"9") -> int:
        """Save one end of a pipe; return the other, which is the caller's to close."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        assert self.say(save_endp(endpoint, properties, ttl)) == DUMMY
        assert self.say(b"!", writer) == DONE
        os.close(writer)
        return reader

    def take_descriptor(self) -> int:
        """Say ready, and return the descriptor that comes."""
        self.write(DUMMY)
        self.turn()
        data, descriptors, _, _ = socket.recv_fds(self.socket, 1, 2)
        assert (data, len(descriptors)) == (b"\0", 1)
        return descriptors[0]


def is_closed(reader: int) -> bool:
    """Say whether nobody has the writing end of a pipe any more; nothing may have been written to it."""
    try:
        assert os.read(reader, 1) == b""
    except BlockingIOError:
        return False
    return True


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open so many more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    # The limit is one on numbers: those below the highest are used up first.
    filler = [os.dup(0)]
    while filler[-1] <= highest:
        filler.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (filler[-1] + 1 + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filler:
            os.close(descriptor)
