"""Clients that are killed in the middle of the dance, and clocks that jump: nobody else has anything of it."""

import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.descriptors import is_hung_up
from tests.support.messages import DONE, DUMMY, MISSED, find_dest, find_endp, found, save_dest, save_endp
from tests.support.needs import libfaketime
from tests.support.processes import running

VICTIM = """
import os, signal, socket, sys
path, steps, held = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_UNIX)
s.connect(path)
assert s.recv(100)
dummy = b"dummy\\0\\0\\0"
def send(data): return lambda: s.sendall(data)
def receive(): assert s.recv(100)
def give(): socket.send_fds(s, [b"x"], [held])
def take(): assert socket.recv_fds(s, 1, 1)[1]
dance = [
    send(b"request\\0save_en"), send(b"dp\\0ttl\\x00600\\0label\\0v\\0property\\0p\\0\\0"), receive, give, receive,
    send(b"request\\0find_endp\\0label\\0e\\0"), send(b"\\0"), receive, send(dummy[:3]), send(dummy[3:]), take,
    send(dummy[:2]), send(dummy[2:]),
]
for step in dance[:steps]:
    step()
os.kill(os.getpid(), signal.SIGKILL)
"""

STEPS = 13

GIVEN = 4
"""After so many steps the victim's own connection was sent."""

TAKEN = 11
"""After so many steps the victim has the session of e."""


@pytest.mark.parametrize("steps", range(STEPS + 1))
def test_FD_10_client_killed_at_each_step_loses_nothing_but_what_it_held(steps: int, tmp_path: Path) -> None:
    path = tmp_path / "s"
    near, held = socket.socketpair()
    with running("--listen", path, "--ttl-limit", "1h") as server, Client(path) as other, near, held:
        with other.park(b"e") as far:
            base = server.descriptors
            killed = subprocess.run(
                [sys.executable, "-I", "-S", "-c", VICTIM, str(path), str(steps), str(held.fileno())],
                pass_fds=[held.fileno()], timeout=PATIENCE_S, check=False,
            )  # fmt: skip
            assert killed.returncode == -signal.SIGKILL
            for _ in range(2):  # what had happened before is dealt with after two turns
                assert other.say(find_endp(b"zz")) == MISSED
            # The request of step 7, or the dance of steps 10 and 11, may not have been seen before the kill.
            is_gone = other.say(find_endp(b"e")) == MISSED
            if steps < TAKEN - 1:
                assert not is_gone
            if steps >= TAKEN:
                assert is_gone
            if is_gone:
                assert far.recv(10) == b""
            else:
                with socket.socket(fileno=other.take()) as found_again:
                    other.send(DUMMY)
                    found_again.sendall(b"same")
                    assert far.recv(10) == b"same"
            if steps >= GIVEN:
                other.pick_up(b"v").close()
            assert other.say(find_endp(b"zz")) == MISSED
            server.await_descriptors(base - 1)
        server.end()


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("days", [100, -100])
def test_TTL_2_steps_of_the_wall_clock_change_nothing(days: int, tmp_path: Path) -> None:
    path, offset = tmp_path / "s", tmp_path / "offset"
    offset.write_text("+0", encoding="ascii")
    env = {
        "LD_PRELOAD": str(libfaketime()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a step of the clock does not touch that one
        "TZ": "UTC",
    }
    options = ["--ttl-limit", "1h", "--max-idle", "1d", "--ipc-timeout", "1h"]
    with (
        running("--listen", path, *options, env=env) as server,
        Client(path) as client,
        Client(path) as stalled,
        client.park(b"e") as far,
        client.park(b"short", ttl=b"1") as short,
    ):
        assert client.say(save_dest(b"d", b"p", b"e", ttl=b"600")) == DONE
        assert stalled.say(save_endp(b"x")) == DUMMY
        offset.write_text(f"{days:+}d", encoding="ascii")
        assert short.recv(1) == b""  # what was due in a second is due in a second, and nothing else is
        assert client.say(find_dest(b"d")) == found(b"p", b"p")
        assert not is_hung_up(far)
        near, held = socket.socketpair()
        with near, held:
            assert stalled.say(b"\0", held.fileno()) == DONE
        # The wall clock did step: the statistics show it.
        server.process.send_signal(signal.SIGUSR1)
        server.line("start interval")
        assert stalled.say(find_endp(b"zz")) == MISSED
        server.process.send_signal(signal.SIGUSR1)
        shown = server.line("start interval").split()[-3:-1]
        stepped = datetime.now(UTC) + timedelta(days=days)
        assert shown == [stepped.strftime("%b"), str(stepped.day)]
