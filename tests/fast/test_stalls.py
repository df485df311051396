"""A descriptor that makes the kernel wait when it is closed: measured, and not waited for."""

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import DONE, DUMMY, FAILED, MISSED, find_endp, save_endp
from tests.support.processes import Running, running
from tests.support.servers import Fast

from scache_fast.engine.log import Silence
from scache_fast.process.closing import ClosingThreads
from scache_fast.process.stalls import Watch

LINGER = struct.pack("ii", 1, 3600)

LINGERS_S = 20
"""How long a close takes that nobody interrupts. Arbitrary: far longer than a watch needs on a busy machine."""


@contextmanager
def lingering() -> Iterator[socket.socket]:
    """Yield a connection whose last close takes an hour: its peer never reads what is left to be sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    while True:
        try:
            near.send(b"x" * 65_536)
        except BlockingIOError:
            break
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    with far:
        yield near
        if near.fileno() >= 0:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            near.close()


@contextmanager
def stopped(server: Running) -> Iterator[None]:
    """Let a server do nothing meanwhile, so that its close of what it is sent will be the last one, and not ours."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("where", ["smuggled on a list", "left unread", "two with one byte", "at expiry", "at the end"])
def test_CONN_2_close_that_lingers_holds_up_nobody(where: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running("--listen", path, "--ttl-limit", "1h") as server, Client(path) as other, lingering() as near:
        with Client(path) as client:
            if where == "smuggled on a list":
                with stopped(server):
                    socket.send_fds(client.sock, [find_endp(b"zz")], [near.fileno()])
                    near.close()
                assert client.sock.recv(100) == MISSED
            else:
                ttl = b"1" if where == "at expiry" else b"600"
                assert client.say(save_endp(b"e", ttl=ttl)) == DUMMY
                with stopped(server):
                    descriptors = [near.fileno()] * (2 if where == "two with one byte" else 1)
                    socket.send_fds(client.sock, [b"\0"], descriptors)
                    near.close()
                    if where == "left unread":
                        client.sock.close()
                if where != "left unread":
                    assert client.sock.recv(100) == (FAILED if where == "two with one byte" else DONE)
        if where == "at expiry":
            with other.park(b"later", ttl=b"1") as far:
                assert far.recv(1) == b""
        assert other.say(find_endp(b"zz")) == MISSED
        server.end()


def test_CONN_2_turn_that_hangs_in_a_close_is_interrupted() -> None:
    closing = ClosingThreads(Silence())
    with Fast() as house, lingering() as near, Watch(house.server, closing, Silence()):
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGERS_S))
        began_s = time.monotonic()
        house.server.turns = house.server.turn = house.server.turns + 1
        if house.server.on_turn is not None:
            house.server.on_turn()
        os.close(near.detach())
        house.server.turn = None
        assert time.monotonic() - began_s < LINGERS_S
    assert closing.finish(PATIENCE_S)


def test_turn_without_events_wakes_no_watch() -> None:
    with Fast() as house:
        seen: list[None] = []
        house.server.on_turn = lambda: seen.append(None)
        house.server.step(0)
        assert seen == []
        with house.peer():
            assert seen != []
