"""System calls of a real server fail below Python, one after the other: strace has the kernel refuse them.

Both forms of the engine, plain and compiled, meet the same failures here. Whatever fails, the server lives, somebody
else is served, and when everybody has gone its descriptors are those that it had before.

A call that strace lets fail is not made at all. So `close` is not among them: the descriptor would stay open, which no
kernel does. What a failing close does is in test_faults.py.
"""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.client import Client
from tests.support.errnos import ERRNOS
from tests.support.messages import DONE, DUMMY, GREETING, MISSED, find_endp, found, save_endp
from tests.support.processes import Running, ended, running
from tests.support.tracing import injected

pytestmark = pytest.mark.needs("strace")

CALLS: Final = {
    "accept4": ERRNOS["accept"],
    "recvmsg": ERRNOS["recvmsg"],
    "sendto": ERRNOS["send"],
    "sendmsg": ERRNOS["sendmsg"],
    "getsockopt": ERRNOS["getsockopt"],
    "ioctl": ERRNOS["unread_bytes"],
    "fcntl": (errno.EMFILE, errno.EBADF),
    "epoll_ctl": ERRNOS["epoll.register"],
    "epoll_wait": ERRNOS["epoll.poll"],
}
"""By the kernel's name for what wire.py and the poller do."""

SAMPLE: Final = {
    "accept4": (errno.EMFILE,), "recvmsg": (errno.ENOMEM,), "sendto": (errno.EFAULT,),
    "sendmsg": (errno.ETOOMANYREFS,), "ioctl": (errno.ENOTTY,), "epoll_ctl": (errno.ENOMEM,),
}  # fmt: skip
"""One of most calls, for every run; --full tries all."""

OCCASIONS: Final = 3
"""How many of the same call in a row fail, one in each scenario: the first to the third."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path, int]]:
    """Return a server, its socket, and how many descriptors it has without a client."""
    path = tmp_path_factory.mktemp("server") / "s"
    with running("--listen", path, "--ttl-limit", "1h") as started:
        baseline = started.descriptors
        everybody_served(path)
        started.await_descriptors(baseline)
        yield started, path, baseline
        started.end()


@pytest.mark.generated
@pytest.mark.parametrize("call", CALLS)
def test_system_call_that_fails_ends_one_client_at_most(
    call: str, server: tuple[Running, Path, int], request: pytest.FixtureRequest
) -> None:
    is_full = request.config.getoption("--full")
    started, path, baseline = server
    for number in CALLS[call] if is_full else SAMPLE.get(call, ()):
        for occasion in range(1, OCCASIONS + 1) if is_full else (1,):
            with injected(started.pid, call, f"error={number}:when={occasion}") as log, socket.socket() as spare:
                scenario(path, spare)
                assert "(INJECTED)" in log.read_text(encoding="utf-8"), f"{call} was not called"
            assert not ended(started.pid, 0), f"{call}: {errno.errorcode[number]} ended the server"
            everybody_served(path)
            started.await_descriptors(baseline)


def scenario(path: Path, spare: socket.socket) -> None:
    """Save, find, let a found one be put back; whoever is disconnected comes again, and is heard no more after that."""
    for _ in range(OCCASIONS):
        try:
            with Client(path, greeted=False) as client:
                assert client.hear() == GREETING
                client.save(b"e", spare.fileno())
                if client.say(find_endp(b"e")) == found(b"p"):
                    os.close(client.take())
                    client.send(DUMMY)
                client.save(b"e", spare.fileno())
                client.say(find_endp(b"e"))
        except (AssertionError, OSError):
            pass  # It was the one that the failure met.


def everybody_served(path: Path) -> None:
    """See that somebody new can save, find and miss; leave nothing parked."""
    with Client(path) as client, socket.socket() as spare:
        assert client.say(save_endp(b"mine")) == DUMMY
        assert client.say(b"\0", spare.fileno()) == DONE
        for label in (b"mine", b"e"):
            while client.say(find_endp(label)) != MISSED:
                os.close(client.take())
                client.send(DUMMY)
