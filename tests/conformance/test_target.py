"""The server under test, as far as it is a process."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scache_conformance.servers.target import Declared
from scache_conformance.servers.target_command import CommandServer
from scache_conformance.servers.target_running import RunningServer

BUSY = """
import os, sys, time
fd = os.dup(0)
end_s = time.monotonic() + 0.03
print("busy", flush=True)
while time.monotonic() < end_s:
    pass
os.close(fd)
print("done", flush=True)
sys.stdin.read()
"""


@contextmanager
def busy_process() -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    """Start a process that computes for a moment; it has said so. What it says next comes when it has done."""
    words = [sys.executable, "-c", BUSY]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"busy\n"
        yield process, process.stdout
        process.stdin.close()


def test_TTL_5_server_has_come_to_rest_when_its_clock_is_moved(tmp_path: Path) -> None:
    with busy_process() as (process, stdout):
        began_s = time.monotonic()
        RunningServer(tmp_path / "socket", Declared(pid=process.pid)).come_to_rest()
        rested_s = time.monotonic() - began_s
        assert stdout.readline() == b"done\n"
        assert time.monotonic() - began_s - rested_s < rested_s, "it was still busy"


def test_server_that_is_about_to_close_something_has_no_descriptor_left_either(tmp_path: Path) -> None:
    with busy_process() as (process, stdout):
        target = RunningServer(tmp_path / "socket", Declared(pid=process.pid))
        with target.descriptors_exhausted():
            assert stdout.readline() == b"done\n"
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] == target.descriptor_count()


def test_server_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    RunningServer(tmp_path / "socket", Declared(pid=process.pid)).come_to_rest()


def test_process_is_that_which_listens_and_not_one_that_started_it() -> None:
    with CommandServer(
        f"sh -c '{sys.executable} -m scache_reference --listen {{socket}} & wait'", Declared()
    ) as target:
        assert b"scache_reference\0--listen" in Path(f"/proc/{target.pid}/cmdline").read_bytes()
