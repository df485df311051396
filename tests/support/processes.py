"""Servers and other commands as processes of their own: started, watched, waited for and ended."""

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
from typing import Final

from tests.support.client import PATIENCE_S

COMMAND: Final = (sys.executable, "-m", "scache_fast")

TRY_AGAIN_MS: Final = 20
"""How often a starting process is tried. Its death is noticed at once."""


def module(name: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours."""
    return sys.executable, "-m", name


def with_descriptors(count: int) -> list[str]:
    """Return a command that starts the server with so many descriptors at most."""
    return ["sh", "-c", f'ulimit -n {count}; exec "$@"', "sh", *COMMAND]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, with the folders of the sources in it."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **(more or {})}


def run(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command that is to end by itself."""
    return subprocess.run(
        [*command, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=PATIENCE_S, env=environment(env), pass_fds=pass_fds,
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

    def end(self, number: int = signal.SIGTERM) -> list[str]:
        """End it; return what it printed and nobody has waited for."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, status: int = 0) -> list[str]:
        """Wait for its end; return what it printed and nobody has waited for."""
        while self._read():
            pass
        assert self.process.wait(PATIENCE_S) == status, self.lines
        return self.lines

    @property
    def descriptors(self) -> int:
        """Return how many descriptors it has."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def await_descriptors(self, count: int) -> None:
        """Wait until it has so many descriptors: its closing threads close a moment after it answers."""
        for _ in range(int(PATIENCE_S * 1000 / TRY_AGAIN_MS)):
            if self.descriptors == count:
                return
            assert not ended(self.pid, TRY_AGAIN_MS), "the server ended"
        raise AssertionError(f"the server has {self.descriptors} descriptors after {PATIENCE_S} s, not {count}")

    def status(self, name: str) -> str:
        """Return a line of its /proc/PID/status."""
        return process_status(self.pid, name)

    def _read(self) -> bool:
        assert self.process.stderr is not None
        ready, _, _ = select.select([self.process.stderr], [], [], PATIENCE_S)
        assert ready, f"nothing came for {PATIENCE_S} s; so far: {self.lines}"
        data = os.read(self.process.stderr.fileno(), 65_536)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in whole]
        return bool(data)


@contextmanager
def starting(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    pass_fds: Sequence[int] = (),
    umask: int = -1,
) -> Iterator[Running]:
    """Start a server; end it if the test did not."""
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stderr=subprocess.PIPE, env=environment(env), pass_fds=pass_fds, umask=umask,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        yield Running(process)
    finally:
        process.kill()  # does nothing to a process that was waited for
        process.wait()
        process.stderr.close()


@contextmanager
def running(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    pass_fds: Sequence[int] = (),
    umask: int = -1,
) -> Iterator[Running]:
    """Start a server and wait until it says that it listens; end it if the test did not."""
    with starting(*arguments, env=env, command=command, pass_fds=pass_fds, umask=umask) as server:
        server.line("listening on ")
        yield server


@contextmanager
def standing(name: str, path: Path, *options: str) -> Iterator[Running]:
    """Run a server of ours that every user may connect to; hold it to a clean end."""
    with running("--listen", path, *options, command=module(name)) as server:
        path.chmod(0o666)
        yield server
        server.end()
    assert not path.exists(), f"{name} left its socket file behind"


def process_status(pid: int, name: str) -> str:
    """Return a line of a process's status in /proc, without its name."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(line.partition("\t")[2] for line in text.splitlines() if line.startswith(f"{name}:"))


def ended(pid: int, within_ms: int) -> bool:
    """Wait until a process has ended, at most so long; tell whether it has. Does not reap it."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(within_ms))
    finally:
        os.close(pidfd)


def await_listener(process: subprocess.Popen[bytes], address: tuple[str, int]) -> None:
    """Return when somebody listens at the host and port; fail if the process ends before."""
    for _ in range(int(PATIENCE_S * 1000 / TRY_AGAIN_MS)):
        with socket.socket() as trial:
            if trial.connect_ex(address) == 0:
                return
        assert not ended(process.pid, TRY_AGAIN_MS), f"{process.args!r} ended with {process.wait()}"
    raise AssertionError(f"nobody listens at {address!r} after {PATIENCE_S} s: {process.args!r}")
