"""The command `scached` as a process of its own, and clients that wait for its answers.

Decides how a test starts, watches and ends one. Refuses to know what is right.
"""

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from tests.fast.peer import DONE, DUMMY, GREETING, find_endp, found, save_endp

COMMAND: Final = (sys.executable, "-m", "scache_fast")


def with_descriptors(count: int) -> list[str]:
    """Return a command that starts the server with so many descriptors at most."""
    return ["sh", "-c", f'ulimit -n {count}; exec "$@"', "sh", *COMMAND]


PATIENCE_S: Final = 60
"""How long anything may take before the test is given up. Never a measure of anything."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, with the folders of the sources in it."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **(more or {})}


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None, command: Sequence[str] = COMMAND
) -> subprocess.CompletedProcess[str]:
    """Run a command that is to end by itself."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE_S, env=environment(env), check=False,
    )  # fmt: skip


class Running:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self.lines: list[str] = []
        """What it has printed so far."""
        self._rest = b""

    def line(self, wanted: str) -> str:
        """Wait for a line that a pattern is found in, and return it."""
        while True:
            for index, line in enumerate(self.lines):
                if re.search(wanted, line):
                    return self.lines.pop(index)
            if not self._read():
                raise AssertionError(f"the server ended without saying {wanted!r}; it said {self.lines}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> list[str]:
        """End it; return what it printed and nobody has waited for."""
        self.process.send_signal(number)
        while self._read():
            pass
        assert self.process.wait(PATIENCE_S) == 0, self.lines
        return self.lines

    @property
    def descriptors(self) -> int:
        """Return how many descriptors it has."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def status(self, name: str) -> str:
        """Return a line of its /proc/PID/status."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return next(line.partition("\t")[2] for line in text.splitlines() if line.startswith(f"{name}:"))

    def _read(self) -> bool:
        assert self.process.stderr is not None
        ready, _, _ = select.select([self.process.stderr], [], [], PATIENCE_S)
        assert ready, f"nothing came for {PATIENCE_S} s; so far: {self.lines}"
        data = os.read(self.process.stderr.fileno(), 65_536)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in whole]
        return bool(data)


@contextmanager
def running(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    pass_fds: Sequence[int] = (),
) -> Iterator[Running]:
    """Start a server and wait until it says that it listens; end it if the test did not."""
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stderr=subprocess.PIPE, env=environment(env), pass_fds=pass_fds,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        server = Running(process)
        server.line("listening on ")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


class Client:
    """A client that waits for every answer."""

    def __init__(self, path: Path | str, *, greeted: bool = True) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(path))
        if greeted:
            assert self.sock.recv(100) == GREETING

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(self, request: bytes) -> bytes:
        self.sock.sendall(request)
        return self.sock.recv(100_000)

    def give(self, descriptor: int) -> bytes:
        """Send the byte with a descriptor; return the reply."""
        socket.send_fds(self.sock, [b"\0"], [descriptor])
        return self.sock.recv(1000)

    def save(self, endpoint: bytes, descriptor: int, ttl: bytes = b"600") -> bytes:
        """Save a descriptor; return the status."""
        assert self.ask(save_endp(endpoint, ttl=ttl)) == DUMMY
        return self.give(descriptor)

    def park(self, endpoint: bytes, ttl: bytes = b"600") -> socket.socket:
        """Save one end of a new connection; return the other end."""
        near, far = socket.socketpair()
        with near:
            assert self.save(endpoint, near.fileno(), ttl) == DONE
        far.settimeout(PATIENCE_S)
        return far

    def pick_up(self, endpoint: bytes) -> socket.socket:
        """Find a connection."""
        assert self.ask(find_endp(endpoint)) == found(b"p")
        self.sock.sendall(DUMMY)
        data, taken, _, _ = socket.recv_fds(self.sock, 1, 1)
        assert (data, len(taken)) == (b"\0", 1)
        self.sock.sendall(DUMMY)
        return socket.socket(fileno=taken[0])

    def is_closed(self) -> bool:
        """Wait for the end of the connection; False: something else came."""
        return self.sock.recv(1) == b""
