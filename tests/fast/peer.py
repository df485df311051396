"""A client made by hand and a server in the same process, taking turns under a clock that stands still.

Decides how a test speaks and listens. Refuses to know what is right: bytes go out and come back as they are.
"""

import array
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final, Self

from scache_fast.engine.hooks import Hooks
from scache_fast.engine.server import Server
from scache_spec.vocabulary import NS_PER_S, Limits

GREETING: Final = b"protocol\0connection_cache_protocol\0\0"
DUMMY: Final = b"dummy\0\0\0"
DONE: Final = b"status\x000\0\0"
MALFORMED: Final = b"status\x001\0\0"
FAILED: Final = b"status\x002\0\0"
MISSED: Final = b"status\x002\0property\0\0\0"
MISSED_DEST: Final = b"status\x002\0property\0\0property\0\0\0"


def save_endp(endpoint: bytes, properties: bytes = b"p", ttl: bytes = b"10") -> bytes:
    return b"request\0save_endp\0ttl\0%b\0label\0%b\0property\0%b\0\0" % (ttl, endpoint, properties)


def find_endp(endpoint: bytes) -> bytes:
    return b"request\0find_endp\0label\0%b\0\0" % endpoint


def save_dest(destination: bytes, properties: bytes, endpoint: bytes, ttl: bytes = b"10") -> bytes:
    return b"request\0save_dest\0ttl\0%b\0label\0%b\0property\0%b\0label\0%b\0\0" % (
        ttl, destination, properties, endpoint,
    )  # fmt: skip


def find_dest(destination: bytes) -> bytes:
    return b"request\0find_dest\0label\0%b\0\0" % destination


def found(*properties: bytes) -> bytes:
    return b"status\x000\0" + b"".join(b"property\0%b\0" % value for value in properties) + b"\0"


def open_descriptors() -> set[str]:
    return {f"{fd}: {os.readlink(f'/proc/self/fd/{fd}')}" for fd in os.listdir("/proc/self/fd") if _is_open(fd)}


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")  # the listing's own descriptor is gone by now


class Clock:
    """Tells the time it was told."""

    def __init__(self) -> None:
        self.now_ns = 5 * NS_PER_S

    def __call__(self) -> int:
        return self.now_ns


class Lines:
    """A log that keeps its lines."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.details: list[str] = []
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def detail(self, text: str) -> None:
        self.details.append(text)

    def info(self, text: str) -> None:
        self.lines.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class House:
    """A server in this process and everybody who visits it."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        hooks: Hooks | None = None,
        verbose: bool = False,
        polls_before_blocking: int = 0,
        after_turn: Sequence[Callable[[Server], None]] = (),
    ) -> None:
        self._after_turn = after_turn
        self.clock = Clock()
        self.log = Lines(verbose=verbose)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("")  # Linux finds a free name outside of the file system.
        self._listener.listen(512)
        self.address: bytes = self._listener.getsockname()
        self.server = Server(
            [self._listener],
            limits or Limits(ttl_limit_s=100),
            clock=self.clock,
            wall_clock=lambda: 0.0,
            log=self.log,
            hooks=hooks,
            polls_before_blocking=polls_before_blocking,
        )
        self.peers: list[Peer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        for peer in self.peers:
            peer.close()

    def turn(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.server.step(0)
            for call in self._after_turn:
                call(self.server)

    def advance(self, seconds: float) -> None:
        """Let time pass, and the server notice."""
        self.clock.now_ns += round(seconds * NS_PER_S)
        self.turn()

    def peer(self, *, greeted: bool = True) -> "Peer":
        peer = Peer(self)
        self.peers.append(peer)
        if greeted:
            self.turn()
            assert peer.read() == GREETING
        return peer


class Peer:
    """One client."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(house.address)
        self.sock.setblocking(False)

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        assert self.sock.send(data) == len(data)

    def say(self, data: bytes) -> bytes:
        """Write, let the server take a turn, and read the answer."""
        self.send(data)
        self._house.turn()
        return self.read()

    def read(self) -> bytes:
        """Read what is there; b"" if nothing is."""
        try:
            return self.sock.recv(1_000_000)
        except BlockingIOError:
            return b""

    def is_closed(self) -> bool:
        try:
            return self.sock.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def send_descriptors(self, *descriptors: int, data: bytes = b"\0") -> None:
        rights = array.array("i", descriptors)
        assert self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]) == len(data)

    def give(self, *descriptors: int) -> bytes:
        """Send one byte with descriptors, let the server take a turn, and read the answer."""
        self.send_descriptors(*descriptors)
        self._house.turn()
        return self.read()

    def take_descriptor(self) -> tuple[bytes, list[int]]:
        """Read one message with room for a descriptor."""
        data, ancillary, _, _ = self.sock.recvmsg(100, socket.CMSG_SPACE(4))
        taken = array.array("i")
        for _, _, payload in ancillary:
            taken.frombytes(payload)
        return data, taken.tolist()

    # Whole dances.

    def park(self, endpoint: bytes, properties: bytes = b"p", ttl: bytes = b"10") -> socket.socket:
        """Save one end of a new connection; return the other end."""
        near, far = socket.socketpair()
        with near:
            assert self.say(save_endp(endpoint, properties, ttl)) == DUMMY
            assert self.give(near.fileno()) == DONE
        far.setblocking(False)
        return far

    def pick_up(self, request: bytes) -> tuple[bytes, socket.socket]:
        """Find a connection; return the reply and the connection."""
        reply = self.say(request)
        self.send(DUMMY)
        self._house.turn()
        data, taken = self.take_descriptor()
        assert data == b"\0"
        assert len(taken) == 1
        assert self.say(DUMMY) == b""
        return reply, socket.socket(fileno=taken[0])


def is_hung_up(far: socket.socket) -> bool:
    """Say whether the last copy of the other end of a connection has been closed."""
    try:
        return far.recv(1) == b""
    except BlockingIOError:
        return False
