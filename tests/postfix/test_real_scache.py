"""The installed scache(8), started without a Postfix around it: what every comparison with it stands on."""

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.client import Client
from tests.support.descriptors import is_hung_up
from tests.support.messages import MALFORMED, MISSED, find_endp

from scache_conformance.servers.master_channels import StatusMessage
from scache_conformance.servers.postfix import MasterChild
from scache_conformance.servers.target import ServerDied

pytestmark = pytest.mark.needs("postfix", "compiler")


@pytest.fixture
def scache() -> Iterator[MasterChild]:
    """Start the real server under a virtual clock."""
    with ExitStack() as stack:
        child = stack.enter_context(MasterChild(virtual_clock=True, ttl_limit_s=100))
        yield child


def test_advance_returns_when_expired_descriptors_are_closed(scache: MasterChild) -> None:
    with Client(scache.socket_path) as peer:
        baseline = scache.descriptors()
        with peer.park(b"endpoint", ttl=b"50") as far:
            assert scache.descriptors() == baseline + 1
            scache.advance(49)
            assert not is_hung_up(far)
            scache.advance(1)
            assert scache.descriptors() == baseline
            assert is_hung_up(far)


def test_leap_far_beyond_postfix_max_idle_leaves_the_server_alive(scache: MasterChild) -> None:
    scache.advance(1_000_000)
    with Client(scache.socket_path) as peer:
        assert peer.say(find_endp(b"nothing")) == MISSED


def test_log_and_status_messages_are_seen(scache: MasterChild) -> None:
    with Client(scache.socket_path) as peer:
        assert peer.say(b"request\0bogus\0\0") == MALFORMED
        assert "warning: unrecognized request" in scache.log()
        assert peer.say(find_endp(b"nothing")) == MISSED  # the pair is complete when the next request is served
    first, second, *_ = scache.read_status_messages()
    assert (first, second) == (StatusMessage(scache.pid, 1, False), StatusMessage(scache.pid, 1, True))


def test_server_exits_with_its_statistics_when_the_master_goes_away(scache: MasterChild) -> None:
    with Client(scache.socket_path) as peer:
        assert peer.say(find_endp(b"nothing")) == MISSED
        scache.hang_up()
        assert scache.wait() == 0
    assert "statistics: address lookup hits=0 miss=1 success=0%" in scache.log()


def test_next_child_takes_over_the_waiting_connections(scache: MasterChild) -> None:
    first = scache.pid
    scache.signal(signal.SIGTERM)
    assert scache.wait() == -signal.SIGTERM
    with pytest.raises(ServerDied):
        scache.poke()
    scache.start()
    scache.await_greeting()
    assert scache.pid != first


@pytest.mark.needs("root")
def test_privileges_and_root_are_dropped_on_demand(scache: MasterChild) -> None:
    with MasterChild(drop_privileges=True, chroot=True) as child:
        assert Path(f"/proc/{child.pid}").stat().st_uid != 0
        assert Path(f"/proc/{child.pid}/root").readlink() == child.queue_directory


def test_child_that_dies_at_once_is_reported_with_its_log(scache: MasterChild) -> None:
    with pytest.raises(ServerDied, match=r"exit status 1\b.*fatal: .*process limit of 1"):
        MasterChild(arguments=["-t", "unix"]).__enter__()


def test_stop_leaves_no_process_descriptor_thread_or_file(scache: MasterChild) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with MasterChild(virtual_clock=True) as child:
        pid, folder = child.pid, child.queue_directory.parent
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert set(os.listdir("/proc/self/fd")) == before
    assert sum(thread.name == "master-channels" for thread in threading.enumerate()) == 1  # that of the fixture
    child.stop()


def test_server_does_not_outlive_a_killed_test(scache: MasterChild) -> None:
    code = """if True:
        import os, sys
        from scache_conformance.servers.postfix import MasterChild
        child = MasterChild()
        child.__enter__()
        print(child.pid, child.queue_directory.parent, flush=True)
        sys.stdin.read()
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = os.environ | {"PYTHONPATH": path}
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as runner:
        assert runner.stdout is not None
        pid, folder = runner.stdout.readline().split()
        pidfd = os.pidfd_open(int(pid))
        runner.kill()
    # The orphan is not this process's to reap; a pidfd tells of its end all the same.
    assert select.select([pidfd], [], [], 20.0)[0], f"server {pid} still runs after its starter was killed"
    os.close(pidfd)
    shutil.rmtree(folder)
