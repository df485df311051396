"""A takeover by a process of the same systemd service makes that process the main one (LIFE-10)."""

import array
import os
import signal
import socket
import struct
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.processes import COMMAND, Running, ended, environment, running
from tests.support.takeover import (
    OPTIONS,
    fails,
    is_served,
    old_server,
)

from scache_fast.admin.client import AdminClient, AdminError
from scache_fast.takeover.snapshot import FORMAT


class Notices:
    """The socket on which systemd hears from the processes of a service."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.settimeout(PATIENCE_S)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def next(self, wanted: str) -> tuple[str, int, list[int]]:
        """Wait for a notice that begins so; return what follows, who sent it, and the descriptors with it."""
        while True:
            data, ancillary, _, _ = self.sock.recvmsg(4096, 1000)
            passed = array.array("i")
            sender = 0
            for _, kind, payload in ancillary:
                if kind == socket.SCM_RIGHTS:
                    passed.frombytes(payload)
                else:
                    sender = struct.unpack("3i", payload)[0]
            if data.startswith(wanted.encode()):
                return data.decode()[len(wanted) :], sender, list(passed)


AS_SYSTEMD = ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh", *COMMAND)
"""Starts the server as systemd starts a process of a service."""


def kill(process: int) -> None:
    """Kill a process that is no child of this one, if it has not ended, and close its pidfd."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    os.close(process)


def test_takeover_by_a_process_of_the_same_service_makes_it_the_main_process(tmp_path: Path) -> None:
    """The old process names it, and ends when systemd has worked on that. What systemd has started waits as long."""
    with Notices(tmp_path / "notify") as systemd, ExitStack() as stack:
        service = ("--listen", tmp_path / "s", "--admin", tmp_path / "admin", *OPTIONS)
        old = stack.enter_context(running(*service, env=systemd.environment))
        peer = stack.enter_context(Client(tmp_path / "s"))
        far = stack.enter_context(peer.park(b"e"))
        command = [*AS_SYSTEMD, "--takeover", str(tmp_path / "admin"), *OPTIONS]
        started = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, env=environment()))
        said = Running(started)
        main, sender, _ = systemd.next("MAINPID=")
        stack.callback(kill, os.pidfd_open(int(main)))
        assert sender == old.pid
        _, sender, (barrier,) = systemd.next("BARRIER=1")
        assert sender == old.pid
        assert not ended(old.pid, 0)
        assert started.poll() is None
        is_served(peer, far)
        os.close(barrier)
        old.wait()
        assert started.wait(PATIENCE_S) == 0
        said.line(f"listening on .*, pid {main}")
        assert systemd.next("WATCHDOG=1")[1] == int(main)
        # It may be taken over in its turn.
        again = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, env=environment()))
        last, sender, _ = systemd.next("MAINPID=")
        stack.callback(kill, os.pidfd_open(int(last)))
        assert sender == int(main)
        os.close(systemd.next("BARRIER=1")[2][0])
        assert again.wait(PATIENCE_S) == 0
        is_served(peer, far)


def test_takeover_by_a_process_of_the_same_service_that_fails_is_a_reload_that_fails(tmp_path: Path) -> None:
    service = "--listen", tmp_path / "s", "--admin", tmp_path / "admin"
    with Notices(tmp_path / "notify") as systemd, running(*service, env=systemd.environment) as old:
        assert "changes no path" in fails(tmp_path, "--listen", tmp_path / "other", command=AS_SYSTEMD)
        with Client(tmp_path / "s") as peer, peer.park(b"e") as far:
            is_served(peer, far)
        old.end()


def test_takeover_is_refused_if_one_of_both_is_no_process_of_the_service(tmp_path: Path) -> None:
    with Notices(tmp_path / "notify") as systemd:
        path = tmp_path / "service"
        with running("--listen", tmp_path / "t", "--admin", path, env=systemd.environment) as old:
            with AdminClient(str(path)) as admin, pytest.raises(AdminError, match="systemctl reload"):
                admin.ask("takeover", format=FORMAT, descriptors=1000, pid=2**30)  # No process has this number.
            old.end()
        with old_server(tmp_path) as old:
            assert "systemctl restart scached" in fails(tmp_path, command=AS_SYSTEMD)
            old.end()
