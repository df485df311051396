"""scached as a child of somebody who does as master(8) does: what it is told, what it tells, how it ends."""

import errno
import os
import pwd
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
from tests.postfix.launcher import Starter, miss, process_field, scached, texts, traced
from tests.postfix.peer import DUMMY, GREETING, Peer, find_dest, find_endp, missed, request, save_dest, save_endp
from tests.postfix.standing_server import PATIENCE_S, ended

from scache_conformance.servers.master_channels import STATUS_MESSAGE, StatusMessage
from scache_conformance.servers.postfix import postfix_parameter

pytestmark = pytest.mark.needs("postfix", "root")

MISS: Final = "statistics: address lookup hits=0 miss=1 success=0%"


# What master(8) is told.


def test_nothing_is_told_before_the_first_request(start: Starter) -> None:
    child = start()
    child.poke()
    assert child.read_status_messages() == []


def test_first_request_is_told_as_taken_and_available(start: Starter) -> None:
    assert STATUS_MESSAGE.size == struct.calcsize("iIi") == 12
    child = start(generation="17")
    for _ in range(3):
        miss(child)
    child.poke()
    assert child.read_status_messages() == [StatusMessage(child.pid, 15, False), StatusMessage(child.pid, 15, True)]


def test_generation_wraps_as_an_unsigned_int(start: Starter) -> None:
    child = start(generation="40000000003")
    miss(child)
    child.poke()
    assert {message.generation for message in child.read_status_messages()} == {3}


# What it is told.


def test_override_wins_over_the_configuration(start: Starter) -> None:
    written = ("max_idle = 5h", "connection_cache_status_update_time = 1s")
    child = start(
        "connection_cache_status_update_time=5h", configuration=written, arguments=["-l", "-t", "unix", "-i", "1"]
    )
    miss(child)
    child.disconnect()
    assert child.wait() == 0  # -i is a way to write max_idle


def test_overrides_may_have_blanks_and_be_joined(start: Starter) -> None:
    child = start(
        arguments=[
            "-l",
            "-t",
            "unix",
            "-omax_idle = 1s",
            "-o",
            "scached_verbose = true",
            "-o",
            "stress=",
            "-d",
            "-m",
            "5",
            "-v",
        ]
    )
    child.disconnect()
    assert child.wait() == 0


def test_overrides_take_part_in_the_expansion_of_parameters(start: Starter) -> None:
    child = start("max_idle=$mine", "mine=1s", arguments=["-l", "-t", "unix"])
    child.disconnect()
    assert child.wait() == 0


def test_settings_of_its_own_are_given_with_a_prefix(start: Starter) -> None:
    child = start("scached_sessions_max=1", "scached_farewell=smtp*=QUIT\\r\\n", "connection_cache_ttl_limit=1s")
    near, far = socket.socketpair()
    with near, far, Peer(child.socket_path) as peer:
        peer.save_endp(1, b"smtp", b"", near.fileno())
        peer.send(save_endp(1, b"smtp", b""))
        peer.expect(DUMMY)
        peer.send(b"\0", (near.fileno(),))
        peer.expect(b"status\x002\0\0")
        near.close()
        far.settimeout(PATIENCE_S)
        assert far.recv(100) == b"QUIT\r\n"


def test_several_listeners_serve_one_cache(start: Starter, tmp_path: Path) -> None:
    second = tmp_path / "second"
    prelude = f"""
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind({str(second)!r})
listener.listen()
assert listener.fileno() == 7, listener
listener.set_inheritable(True)
listener.detach()
"""
    child = start(prelude=prelude, arguments=["-l", "-t", "unix", "-s", "2"])
    reader, writer = os.pipe()
    with Peer(child.socket_path) as one, Peer(second) as other:
        one.save_endp(2, b"endpoint", b"properties", reader)
        os.close(other.find(find_endp(b"endpoint"), b"properties"))
    os.close(reader)
    os.close(writer)


def test_soft_limit_of_descriptors_is_raised(start: Starter) -> None:
    child = start(descriptors_max=64)
    limits = Path(f"/proc/{child.pid}/limits").read_text()
    found = re.search(r"^Max open files\s+(\d+)\s+(\d+)", limits, re.MULTILINE)
    assert found is not None
    assert found[1] == found[2] != "64"


# Who it is, and where.


@pytest.mark.parametrize("privileges", [False, True])
@pytest.mark.parametrize("root", [False, True])
def test_privileges_and_root_are_as_asked_for(start: Starter, privileges: bool, root: bool) -> None:
    child = start(privileges=privileges, root=root)
    owner = pwd.getpwnam(postfix_parameter("mail_owner"))
    uid, gid = (0, 0) if privileges else (owner.pw_uid, owner.pw_gid)
    assert process_field(child, "Uid") == [str(uid)] * 4
    assert process_field(child, "Gid") == [str(gid)] * 4
    if not privileges:
        groups = os.getgrouplist(owner.pw_name, owner.pw_gid)
        assert sorted(process_field(child, "Groups")) == sorted(map(str, groups))
        assert process_field(child, "CapEff") == ["0" * 16]
    assert Path(f"/proc/{child.pid}/root").readlink() == (Path("/") if root else child.queue_directory)
    assert Path(f"/proc/{child.pid}/cwd").readlink() == child.queue_directory
    miss(child)


def test_interpreter_and_program_need_not_be_readable_for_the_mail_owner(start: Starter, tmp_path: Path) -> None:
    assert tmp_path.stat().st_mode & 0o077 == 0 or tmp_path.parent.stat().st_mode & 0o077 == 0
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", tmp_path / "venv"], check=True)
    interpreter = tmp_path / "venv" / "bin" / "python"
    assert not interpreter.is_symlink()
    as_owner = subprocess.run(
        ["/bin/cat", interpreter], user=postfix_parameter("mail_owner"), cwd="/", capture_output=True, check=False
    )
    assert b"Permission denied" in as_owner.stderr
    child = start(program=scached(tmp_path, interpreter=str(interpreter)))
    assert Path(f"/proc/{child.pid}/exe").readlink() == interpreter
    miss(child)


def test_environment_has_neither_path_nor_home(start: Starter) -> None:
    child = start()
    names = {line.partition(b"=")[0] for line in Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")}
    assert names & {b"PATH", b"HOME", b"PYTHONPATH", b"VIRTUAL_ENV"} == set()


@pytest.mark.parametrize("verbose", [(), ("scached_verbose=true",)])
@pytest.mark.needs("strace")
def test_nothing_is_looked_up_by_name_after_privileges_are_dropped(
    start: Starter, tmp_path: Path, verbose: tuple[str, ...]
) -> None:
    program, trace = traced(tmp_path, "%file,setuid,setgid,setgroups")
    child = start("connection_cache_ttl_limit=1s", "connection_cache_status_update_time=1s", *verbose, program=program)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with Peer(child.socket_path) as peer:
        peer.save_endp(1, b"endpoint", b"", reader)
        peer.send(save_dest(1, b"destination", b"", b"endpoint"))
        peer.expect(b"status\x000\0\0")
        os.close(peer.find(find_dest(b"destination"), b"", b""))
        peer.send(request(b"bogus"))
        peer.expect(b"status\x001\0\0")
        peer.send(request(b"find_endp"))
        peer.expect(b"status\x001\0property\0\0\0")
        peer.save_endp(1, b"endpoint", b"", reader)
        os.close(reader)
        poll = select.poll()
        poll.register(writer, 0)
        assert poll.poll(PATIENCE_S * 1000), "the session does not expire"
    os.close(writer)
    # strace runs in the child's place and passes the signal's effect on, not the signal.
    traced_pid = int(trace.read_text().split()[0])
    os.kill(traced_pid, signal.SIGTERM)
    assert child.wait() == 0
    calls = [line.split(maxsplit=1)[1] for line in trace.read_text().splitlines()]
    names = [call.partition("(")[0] for call in calls]
    assert [name for name in names if name in {"setgid", "setgroups", "chroot", "setuid"}] == [
        "setgid", "setgroups", "chroot", "setuid",
    ]  # fmt: skip
    assert "openat" in names[: names.index("chroot")]
    # fstat(2) is written as a look at the empty path, and what begins with --- and +++ is a signal and an end.
    looked_up = [
        call
        for call in calls[names.index("chroot") + 1 :]
        if not call.startswith(("setuid(", "---", "+++")) and "AT_EMPTY_PATH" not in call
    ]
    assert [call.partition(" ")[0] for call in looked_up] == ['chdir("/")'], looked_up


# How it ends.


def test_end_of_the_status_channel_ends_it_with_statistics(start: Starter) -> None:
    child = start()
    miss(child)
    child.hang_up()
    assert child.wait() == 0
    assert texts(child) == ["statistics: start interval ...", MISS]


def test_clients_that_wait_are_left_to_the_next_child(start: Starter) -> None:
    child = start()
    with Peer(child.socket_path) as peer, socket.socket(socket.AF_UNIX) as client:
        # Behind its answer it accepts nobody in the same turn. Stopped there, it finds both in the next: the end of
        # the channel, and the client.
        peer.send(find_endp(b"nothing"))
        peer.expect(missed())
        child.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        client.settimeout(PATIENCE_S)
        client.connect(str(child.socket_path))
        child.hang_up()
        child.signal(signal.SIGCONT)
        assert child.wait() == 0
        child.start()
        client.sendall(find_endp(b"nothing"))  # the greeting alone might be the last that the first child did
        answer = b""
        while len(answer) < len(GREETING + missed()):
            more = client.recv(100)
            assert more, f"closed after {answer!r}"
            answer += more
        assert answer == GREETING + missed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_statistics_whatever_its_clients_do(start: Starter, number: signal.Signals) -> None:
    child = start()
    with Peer(child.socket_path) as stalled:
        miss(child)
        stalled.send(save_endp(2, b"endpoint", b""))
        stalled.expect(DUMMY)
        child.signal(number)
        assert child.wait() == 0
    assert texts(child) == ["statistics: start interval ...", MISS]


def test_idle_child_ends_with_statistics(start: Starter) -> None:
    child = start("max_idle=1s")
    miss(child)
    child.disconnect()
    assert child.wait() == 0
    assert texts(child) == ["statistics: start interval ...", MISS]


def test_idle_child_stays_while_a_session_is_parked(start: Starter) -> None:
    # Statistics are due each second, so that the loop turns, and looks, in between.
    child = start("max_idle=1s", "connection_cache_ttl_limit=3s", "connection_cache_status_update_time=1s")
    near, far = socket.socketpair()
    with near, far:
        with Peer(child.socket_path) as peer:
            began = time.monotonic()
            peer.save_endp(3, b"endpoint", b"", near.fileno())
        near.close()
        child.disconnect()
        far.settimeout(PATIENCE_S)
        assert far.recv(1) == b""
        assert time.monotonic() - began >= 3
        assert child.wait() == 0


# The watchdog.


@pytest.mark.parametrize("hang", ["time.sleep(3600)", "any(iter(int, 1))"], ids=["asleep", "busy"])
def test_turn_that_takes_too_long_ends_it(start: Starter, hang: str) -> None:
    # Nothing that a peer can do is known to hold up a turn for so long, so that a mistake has to be put in.
    prelude = (
        f"import time; from scache_fast.engine.server import Server; Server.print_statistics = lambda self: {hang}"
    )
    child = start("daemon_timeout=1s", "connection_cache_status_update_time=1s", prelude=prelude)
    assert child.wait() == -signal.SIGALRM


def test_process_that_gets_no_turn_ends_when_it_gets_one(start: Starter) -> None:
    child = start("daemon_timeout=1s")
    child.signal(signal.SIGSTOP)
    for _ in range(int(PATIENCE_S * 100)):
        pending = int(process_field(child, "ShdPnd")[0], 16)
        if pending >> (signal.SIGALRM - 1) & 1:
            break
        ended(child.pid, 10)
    else:
        pytest.fail("no alarm arrives")
    child.signal(signal.SIGCONT)
    assert child.wait() == -signal.SIGALRM


@pytest.mark.needs("strace")
def test_idle_child_is_left_alone_by_the_watchdog(start: Starter, tmp_path: Path) -> None:
    program, trace = traced(tmp_path, "alarm")
    child = start("daemon_timeout=1s", program=program)
    alarms: list[str] = []
    for _ in range(int(PATIENCE_S * 20)):
        alarms = [line for line in trace.read_text().splitlines() if "alarm(" in line]
        if len(alarms) >= 6:
            break
        assert not ended(child.pid, 50), child.log()
    else:
        pytest.fail("the alarm is not set again")
    pid = int(alarms[0].split()[0])
    assert all(re.search(r"alarm\(1\) += [01]$", line) for line in alarms), alarms
    miss(child)
    os.kill(pid, signal.SIGTERM)
    assert child.wait() == 0


# A descriptor table that is full.


def test_full_descriptor_table_is_survived(start: Starter) -> None:
    prelude = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    child = start("scached_descriptors_reserve=8", "connection_cache_ttl_limit=100s", prelude=prelude)
    reader, writer = os.pipe()
    with Peer(child.socket_path) as peer:
        saved = 0
        while True:
            peer.send(save_endp(100, b"endpoint", b""))
            peer.expect(DUMMY)
            peer.send(b"\0", (reader,))
            if peer.socket.recv(10) != b"status\x000\0\0":
                break
            saved += 1
        assert 20 < saved < 64
        crowd: list[socket.socket] = []
        for _ in range(20):
            crowd.append(socket.socket(socket.AF_UNIX))
            crowd[-1].connect(str(child.socket_path))
        for _ in range(saved):
            os.close(peer.find(find_endp(b"endpoint"), b""))
        for client in crowd:
            client.settimeout(PATIENCE_S)
            assert client.recv(100) == GREETING
            client.close()
    os.close(reader)
    with pytest.raises(OSError) as caught:
        os.write(writer, b"?")
    assert caught.value.errno == errno.EPIPE
    os.close(writer)
    assert any("no room for another client, accepting pauses" in line for line in texts(child))
