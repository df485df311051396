"""The server's clock: what it counts, and how long a wait may be."""

import sys
from pathlib import Path

import pytest
from tests.support.client import Client
from tests.support.messages import MISSED, find_endp
from tests.support.processes import running

AHEAD = """
import os, sys, time
clock_gettime_ns, monotonic_ns = time.clock_gettime_ns, time.monotonic_ns
def ahead_ns():
    return 3_600_000_000_000 if os.path.exists({file!r}) else 0
def clock(number):
    return clock_gettime_ns(number) + (ahead_ns() if number == time.CLOCK_BOOTTIME else 0)
if {which!r} == "CLOCK_BOOTTIME":
    time.clock_gettime_ns = clock
else:
    time.monotonic_ns = lambda: monotonic_ns() + ahead_ns()
from scache_fast.__main__ import main
sys.exit(main())
"""
"""A clock goes ahead by an hour, at the instant at which a file is made."""


@pytest.mark.parametrize(("which", "ttl", "is_gone"), [
    ("CLOCK_BOOTTIME", b"3500", True), ("CLOCK_BOOTTIME", b"7200", False), ("CLOCK_MONOTONIC", b"3500", False),
])  # fmt: skip
def test_TTL_1_time_goes_on_while_the_machine_sleeps(which: str, ttl: bytes, is_gone: bool, tmp_path: Path) -> None:
    """CLOCK_BOOTTIME is the one that does not stop then."""
    file = tmp_path / "hour"
    command = [sys.executable, "-c", AHEAD.format(file=str(file), which=which)]
    with (
        running("--listen", tmp_path / "s", "--ttl-limit", "3h", command=command),
        Client(tmp_path / "s") as client,
        client.park(b"e", ttl=ttl) as far,
    ):
        file.touch()
        if is_gone:
            assert client.say(find_endp(b"e")) == MISSED
            assert far.recv(1) == b""
        else:
            client.pick_up(b"e").close()


@pytest.mark.parametrize("option", ["--status-update-time", "--ttl-limit", "--max-idle", "--ipc-timeout"])
@pytest.mark.parametrize("time", ["25d", "2147483647"])
def test_times_that_epoll_cannot_count_are_fine(option: str, time: str, tmp_path: Path) -> None:
    """epoll counts milliseconds, in an int: 24.8 days."""
    times = ["--status-update-time", "30d", "--ttl-limit", "30d", option, time]
    with running("--listen", tmp_path / "s", *times) as server, Client(tmp_path / "s") as client:
        with client.park(b"e", ttl=b"2000000000"):
            client.send(b"request")
            with Client(tmp_path / "s") as other:
                assert other.say(find_endp(b"zz")) == MISSED
                other.pick_up(b"e").close()
        server.end()
