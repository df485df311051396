"""A client that does what a test tells it to: it writes bytes and descriptors and hands out what comes back."""

import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from tests.support.messages import DONE, DUMMY, GREETING, find_endp, found, save_endp

PATIENCE_S: Final = 60
"""How long anything may take before the test is given up. Never a measure of anything."""


class Client:
    """One connection to a server.

    `turn` lets a server in this process do what is to be done; reading does not wait then. Without it the server is
    another process, and reading waits for something to come.
    """

    def __init__(
        self, address: Path | str | bytes, turn: Callable[[], None] | None = None, *, greeted: bool = True
    ) -> None:
        self._turn = turn
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(address) if isinstance(address, Path) else address)
        self._set_patience(self.sock)
        if greeted:
            assert self.hear() == GREETING

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes, *descriptors: int) -> None:
        """Write, with descriptors on the first byte."""
        if descriptors:
            assert socket.send_fds(self.sock, [data], descriptors) == len(data)
        else:
            self.sock.sendall(data)

    def read(self) -> bytes:
        """Return what has come; b"" is the end or, from a server in this process, nothing."""
        try:
            return self.sock.recv(1_000_000)
        except BlockingIOError:
            return b""

    def hear(self) -> bytes:
        """Let the server have its turn; return what has come."""
        self._let_run()
        return self.read()

    def say(self, data: bytes, *descriptors: int) -> bytes:
        """Write; return what the server says to it."""
        self.send(data, *descriptors)
        return self.hear()

    def is_closed(self) -> bool:
        """Say whether the next thing to be read is the end of the connection."""
        try:
            return self.sock.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def read_with_descriptors(self) -> tuple[bytes, list[int]]:
        """Return what has come until a descriptor did."""
        data, descriptors, _, _ = socket.recv_fds(self.sock, 100, 2)
        return data, descriptors

    def unread_bytes(self) -> int:
        """Return how many bytes could be read; reading would stop at a descriptor."""
        count: int = struct.unpack("i", fcntl.ioctl(self.sock, termios.FIONREAD, bytes(4)))[0]
        return count

    def take_found(self, properties: bytes = b"p") -> None:
        """Read the answer to a find and the descriptor behind it, which is closed: both have come."""
        assert self.sock.recv(len(found(properties))) == found(properties)
        data, (taken,) = self.read_with_descriptors()
        assert data == b"\0"
        os.close(taken)

    def take(self) -> int:
        """Say ready; return the descriptor that comes, which is the caller's."""
        self.send(DUMMY)
        self._let_run()
        data, descriptors = self.read_with_descriptors()
        assert (data, len(descriptors)) == (b"\0", 1)
        return descriptors[0]

    # Whole dances.

    def save(self, endpoint: bytes, descriptor: int, properties: bytes = b"p", ttl: bytes = b"600") -> bytes:
        """Save a descriptor; return the status."""
        assert self.say(save_endp(endpoint, properties, ttl)) == DUMMY
        return self.say(b"\0", descriptor)

    def park(self, endpoint: bytes, properties: bytes = b"p", ttl: bytes = b"600") -> socket.socket:
        """Save one end of a new connection; return the other end."""
        near, far = socket.socketpair()
        with near:
            assert self.save(endpoint, near.fileno(), properties, ttl) == DONE
        self._set_patience(far)
        return far

    def pick_up(self, endpoint: bytes, properties: bytes = b"p") -> socket.socket:
        """Find a connection that has these properties."""
        assert self.say(find_endp(endpoint)) == found(properties)
        taken = socket.socket(fileno=self.take())
        self.send(DUMMY)
        self._let_run()
        return taken

    def _let_run(self) -> None:
        if self._turn is not None:
            self._turn()

    def _set_patience(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_S if self._turn is None else 0)
