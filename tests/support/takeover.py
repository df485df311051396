"""Takeovers: servers that take over from each other, what is asked of them, and either side played step by step.

The process that takes over is played by `Heir`, the one that gives by `Giver`.
"""

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from tests.support.client import PATIENCE_S, Client
from tests.support.messages import DONE
from tests.support.processes import COMMAND, Running, run, running

from scache_fast.admin.client import AdminClient
from scache_fast.admin.protocol import decode, encode
from scache_fast.engine import wire
from scache_fast.takeover import snapshot
from scache_fast.takeover.channel import Channel, Message
from scache_fast.takeover.snapshot import FORMAT, Kind, Listener

_LINE_BYTES_MAX: Final = 65_536

OPTIONS = ("--ttl-limit", "600", "--busy-poll", "0")


@contextmanager
def old_server(folder: Path, *options: str) -> Iterator[Running]:
    with running("--listen", folder / "s", "--admin", folder / "admin", *OPTIONS, *options) as server:
        yield server


@contextmanager
def new_server(folder: Path, *options: str) -> Iterator[Running]:
    with running("--takeover", folder / "admin", *OPTIONS, *options) as server:
        yield server


def stats(folder: Path) -> dict[str, object]:
    with AdminClient(str(folder / "admin")) as admin:
        return admin.ask("stats")


def listed(folder: Path) -> list[dict[str, object]]:
    """Return what is parked and bound, without ages, which change."""
    with AdminClient(str(folder / "admin")) as admin:
        rows = [row | {"age_s": 0, "ttl_s": 0} for row in admin.rows("list", properties=True)]
    return sorted(rows, key=str)


def fails(folder: Path, *options: str | Path, command: Sequence[str] = COMMAND, **env: str) -> str:
    """Try to take over; return why it failed."""
    ended = run("--takeover", folder / "admin", *OPTIONS, *options, command=command, env=env)
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


def is_served(peer: Client, far: socket.socket) -> None:
    """See that a parked connection is found, and park it again."""
    with peer.pick_up(b"e") as taken:
        taken.send(b"x")
        assert far.recv(1) == b"x"
        assert peer.save(b"e", taken.fileno()) == DONE


IN_FLIGHT = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
ours, theirs = socket.socketpair()
for _ in range(int(sys.argv[2]) // 10):
    socket.send_fds(ours, [b"x"], [0] * 10)
print("sent", flush=True)
sys.stdin.read()
"""
"""Has descriptors under way as a user, until its standard input ends."""


@contextmanager
def in_flight(user: str, count: int) -> Iterator[None]:
    command = [sys.executable, "-c", IN_FLIGHT, str(pwd.getpwnam(user).pw_uid), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent\n"
        yield


def deadline_s() -> float:
    """Return when a test gives up."""
    return time.monotonic() + PATIENCE_S


class Heir:
    """The new process, up to wherever the test lets it come. Its death is `close`."""

    def __init__(self, admin: Path) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(str(admin))
            request = {"verb": "takeover", "format": FORMAT, "descriptors": 1000, "pid": os.getpid()}
            sock.sendall(encode(request))
            passed: list[int] = []
            answer = wire.receive(sock, sock.fileno(), _LINE_BYTES_MAX, passed)
        assert decode(answer)["ok"] is True, answer
        control, self.offer, self._old = passed
        self.channel = Channel(socket.socket(fileno=control))
        self.messages: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_ready(self) -> None:
        self.channel.send(Kind.READY, b"", [], deadline_s())

    def confirm(self) -> Kind:
        """Receive a message and confirm it; return its kind."""
        message = self.receive()
        self.channel.send(Kind.RECEIVED, b"", [], deadline_s())
        return message.kind

    def receive(self) -> Message:
        message = self.channel.receive(deadline_s())
        self.messages.append(message)
        return message

    def confirm_all(self) -> None:
        """Receive and confirm everything; the offer comes next."""
        while self.confirm() is not Kind.END:
            pass

    def take(self) -> bool:
        """Try to take; say whether it was there to be taken."""
        try:
            os.eventfd_read(self.offer)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close everything, as a death does."""
        self.channel.close()
        for descriptor in (self.offer, self._old, *(each for message in self.messages for each in message.descriptors)):
            if descriptor >= 0:
                os.close(descriptor)
        self.offer = self._old = -1
        self.messages.clear()


class Giver:
    """The old process, for one new process that connects. It is as alive as a child of the test."""

    def __init__(self, folder: Path) -> None:
        self.admin = folder / "old-admin"
        self.path = folder / "old"
        self.listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for listener, path in zip(self.listeners, (self.path, self.admin), strict=True):
            listener.bind(str(path))
            listener.listen(8)
            listener.settimeout(PATIENCE_S)
        self.offer = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        ours, self._theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._process = subprocess.Popen(["sleep", "1000"])

    def accept(self) -> None:
        """Let the new process ask, and give it what it needs for an attempt."""
        operator = self.listeners[1].accept()[0]
        with operator:
            operator.settimeout(PATIENCE_S)
            assert decode(operator.recv(_LINE_BYTES_MAX))["format"] == FORMAT
            pidfd = os.pidfd_open(self._process.pid)
            answer = encode({"ok": True, "pid": self._process.pid})
            socket.send_fds(operator, [answer], [self._theirs.fileno(), self.offer, pidfd])
            self._theirs.close()
            os.close(pidfd)
        assert self.channel.receive(deadline_s()).kind is Kind.READY

    def send(self, kind: Kind, payload: bytes, *descriptors: int) -> None:
        """Send a message that is to be confirmed."""
        self.channel.send(kind, payload, [*descriptors], deadline_s())
        assert self.channel.receive(deadline_s()).kind is Kind.RECEIVED

    def send_listeners(self) -> None:
        rows = [Listener(bytes(path), path is self.admin, False) for path in (self.path, self.admin)]
        self.send(Kind.LISTENERS, snapshot.encode_listeners(rows), *(each.fileno() for each in self.listeners))

    def send_session(self, endpoint: bytes, descriptor: int, expiry_ns: int) -> None:
        payload = snapshot.encode_rows([1, 0, 0, 0, expiry_ns], [endpoint, b"p"], 1)
        self.send(Kind.SESSIONS, payload, descriptor)

    def send_end(self, sessions: int) -> None:
        totals = {"listeners": 2, "clients": 0, "sessions": sessions, "bindings": 0}
        self.send(Kind.END, snapshot.encode_counts(totals))

    def die(self) -> None:
        """Do what a kill -9 does: every descriptor is closed, then the process is dead."""
        for listener in self.listeners:
            listener.close()
        self.channel.close()
        self._theirs.close()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self.die()
        os.close(self.offer)


@contextmanager
def giver(folder: Path) -> Iterator[Giver]:
    """Play the old process; end it afterwards."""
    played = Giver(folder)
    try:
        yield played
    finally:
        played.close()
