"""A server that does what a test tells it to, line by line, also what no server may do."""

import array
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Self

from tests.support.client import PATIENCE_S
from tests.support.descriptors import is_hung_up
from tests.support.messages import found

FOUND = found(b"of the endpoint")
FOUND_DEST = found(b"of the binding", b"of the endpoint")


@dataclass
class Pair:
    """A connection: `mine` is parked or handed out, `far` is its peer."""

    mine: socket.socket
    far: socket.socket

    def is_mine(self, fd: int) -> bool:
        """Say whether a descriptor is another copy of mine."""
        return os.path.sameopenfile(fd, self.mine.fileno())

    def hung_up(self) -> bool:
        """Say whether every copy of mine is closed."""
        return is_hung_up(self.far)


class Line:
    """One connection as the server has it."""

    def __init__(self, connection: socket.socket, server: "Scripted") -> None:
        connection.settimeout(PATIENCE_S)
        self.connection = connection
        self.server = server

    def read_list(self) -> bytes:
        """Read one attribute list, byte by byte: an empty name ends it."""
        data, words = b"", 0
        while True:
            start = len(data)
            while not data.endswith(b"\0") or len(data) == start:
                byte = self.connection.recv(1)
                assert byte, f"the client closed after {data!r}"
                data += byte
            if words % 2 == 0 and len(data) == start + 1:
                return data
            words += 1


Action = Callable[[Line], None]
Script = Sequence[Action]


class Scripted:
    """Listens, and plays one script for each connection, in a thread."""

    def __init__(self, path: Path | str = "") -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))  # Linux finds a free name outside of the file system if there is none.
        self._listener.listen(8)
        self.path = str(path) or self._listener.getsockname().decode()
        self.heard: list[bytes] = []
        self.taken: list[int] = []
        self.accepted = 0
        self.stalled = threading.Event()
        self._scripts: Iterable[Script] = ()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def serve(self, *scripts: Script) -> None:
        """Begin to play the scripts, one connection each."""
        self._listener.settimeout(PATIENCE_S)
        self.begin(scripts)

    def begin(self, scripts: Iterable[Script]) -> None:
        """Begin to play the scripts, and go on until there are no more or it is stopped."""
        self._scripts = scripts
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the end of the last script; raise what went wrong in one, or when a connection too many came."""
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive(), "the script hangs"
            self._thread = None
        if self._failure is not None:
            raise self._failure
        self._listener.setblocking(False)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return
        raise AssertionError("one more connection was made than the scripts tell")

    def stop(self) -> None:
        """Take no connection more, and wait for the end of the last script."""
        self._listener.shutdown(socket.SHUT_RDWR)
        assert self._thread is not None
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._listener.close()
            for fd in self.taken:
                os.close(fd)

    def _play(self) -> None:
        try:
            for script in self._scripts:
                with self._listener.accept()[0] as connection:
                    self.accepted += 1
                    for action in script:
                        action(Line(connection, self))
        except (AssertionError, OSError) as error:
            self._failure = error


def say(data: bytes) -> Action:
    """Send these bytes."""
    return lambda line: line.connection.sendall(data)


def say_piecemeal(data: bytes) -> Action:
    """Send these bytes one by one."""

    def action(line: Line) -> None:
        for byte in data:
            line.connection.send(bytes([byte]))

    return action


def hear(line: Line) -> None:
    """Read one list and remember it. Nothing may come behind it unasked."""
    line.server.heard.append(line.read_list())
    line.connection.setblocking(False)
    try:
        ahead = line.connection.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, ConnectionResetError):
        ahead = b""
    line.connection.settimeout(PATIENCE_S)
    assert not ahead, f"the client went ahead and sent {ahead!r}"


def hear_farewell(line: Line) -> None:
    """Read the list that ends a find. The next request may well be behind it: nobody waits for an answer to this."""
    line.server.heard.append(line.read_list())


def hear_bytes(length: int) -> Action:
    """Read so many bytes, quickly."""

    def action(line: Line) -> None:
        data = b""
        while len(data) < length:
            data += line.connection.recv(length - len(data))
        line.server.heard.append(data)

    return action


def take(line: Line) -> None:
    """Receive one byte with one descriptor and keep it."""
    data, control, flags, _ = line.connection.recvmsg(1, socket.CMSG_SPACE(8), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for _, _, payload in control:
        fds.frombytes(payload)
    line.server.taken.extend(fds)
    assert (data, len(fds), flags & socket.MSG_CTRUNC) == (b"\0", 1, 0)


def hand(*fds: int, byte: bytes = b"\0") -> Action:
    """Send one byte with these descriptors."""

    def action(line: Line) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        line.connection.sendmsg([byte], rights)

    return action


def stall(line: Line) -> None:
    """Do nothing until the client has closed."""
    line.server.stalled.set()
    while True:
        try:
            if not line.connection.recv(65_536):
                return
        except ConnectionResetError:
            return


def deafen(line: Line) -> None:
    """Let the client's next words fail, and go on speaking."""
    line.connection.shutdown(socket.SHUT_RD)


def await_end(line: Line) -> None:
    """Check that the client closes and says nothing more."""
    try:
        assert line.connection.recv(1) == b""
    except ConnectionResetError:
        return


def await_taken(line: Line) -> None:
    """Wait until the client has read all: the kernel may glue what is written next to what was not read yet."""
    deadline_s = time.monotonic() + PATIENCE_S
    while struct.unpack("i", fcntl.ioctl(line.connection, termios.TIOCOUTQ, bytes(4)))[0]:
        assert time.monotonic() < deadline_s
        time.sleep(0.000_5)


@contextmanager
def saying(folder: Path, *said: tuple[bytes, Sequence[int]], keep_open: bool = True) -> Iterator[Path]:
    """Say this to everybody, unasked and each in a write of its own; then hang up or wait for the client to."""
    server = Scripted(folder / "saying")
    script = [action for data, fds in said for action in (await_taken, hand(*fds, byte=data))]
    server.begin(repeat([*script, stall] if keep_open else script))
    try:
        yield folder / "saying"
    finally:
        server.stop()
