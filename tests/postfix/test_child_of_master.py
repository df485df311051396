"""scached as a child of somebody who does as master(8) does: what it is told, what it tells, how it ends."""

import os
import pwd
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.postfix.launcher import Starter, miss, scached, texts, traced
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import (
    DONE,
    DUMMY,
    FAILED,
    GREETING,
    MALFORMED,
    MISSED,
    find_dest,
    find_endp,
    found,
    save_dest,
    save_endp,
)
from tests.support.processes import ended, process_status

from scache_conformance.servers.master_channels import STATUS_MESSAGE, StatusMessage
from scache_conformance.servers.postfix import postfix_parameter
from scache_conformance.servers.target import ServerDied

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
    with Client(child.socket_path) as peer, peer.park(b"smtp") as far, socket.socket() as spare:
        assert peer.save(b"smtp", spare.fileno()) == FAILED
        assert far.recv(100) == b"QUIT\r\n"


def test_settings_of_its_own_are_read_from_a_file_too(start: Starter, tmp_path: Path) -> None:
    file = tmp_path / "scached.toml"
    file.write_text("ttl_limit = 1\nsessions_max = 5\nfarewell = ['smtp*=QUIT\\r\\n']\n")
    words = ["-l", "-t", "unix", "-o", "connection_cache_ttl_limit=9s", "-o", "scached_sessions_max=1", "-f", str(file)]
    child = start(arguments=words)
    with Client(child.socket_path) as peer, peer.park(b"smtp") as far, socket.socket() as spare:
        # The line in master.cf goes before the file, and the file before main.cf.
        assert peer.save(b"smtp", spare.fileno()) == FAILED
        assert far.recv(100) == b"QUIT\r\n"


def test_setting_that_has_another_place_is_refused_in_the_file(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "scached.toml").write_text("listen = '/x'\n")
    with pytest.raises(
        ServerDied, match=r"fatal: \S+/scached.toml: listen cannot be set under master\(8\): master\(8\)"
    ):
        start(arguments=["-l", "-t", "unix", "-f", str(tmp_path / "scached.toml")])


def test_file_makes_postconf_warn_of_nothing(tmp_path: Path) -> None:
    """Other than parameters with a name that Postfix does not know."""
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    said = []
    for words in ("-o scached_liveness=rdhup", "-o max_idle=5s -f /etc/scached.toml"):
        (tmp_path / "master.cf").write_text(f"scache unix - - y - 1 scached {words}\n")
        command = ["postconf", "-c", str(tmp_path), "-n"]
        path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
        said.append(subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True).stderr)
    assert "unused parameter: scached_liveness=rdhup" in said[0]
    assert said[1] == ""


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
    with Client(child.socket_path) as one, Client(second) as other, one.park(b"endpoint"):
        other.pick_up(b"endpoint").close()


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
    assert process_status(child.pid, "Uid").split() == [str(uid)] * 4
    assert process_status(child.pid, "Gid").split() == [str(gid)] * 4
    if not privileges:
        groups = os.getgrouplist(owner.pw_name, owner.pw_gid)
        assert sorted(process_status(child.pid, "Groups").split()) == sorted(map(str, groups))
        assert process_status(child.pid, "CapEff").split() == ["0" * 16]
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
    with Client(child.socket_path) as peer:
        peer.park(b"endpoint").close()
        assert peer.say(save_dest(b"destination", b"", b"endpoint")) == DONE
        assert peer.say(find_dest(b"destination")) == found(b"", b"p")
        os.close(peer.take())
        peer.send(DUMMY)
        assert peer.say(b"request\0bogus\0\0") == MALFORMED
        assert peer.say(b"request\0find_endp\0\0") == b"status\x001\0property\0\0\0"
        with peer.park(b"endpoint") as far:
            assert far.recv(1) == b""
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
    with Client(child.socket_path) as peer:
        # Behind its answer it accepts nobody in the same turn. Stopped there, it finds both in the next: the end of
        # the channel, and the client.
        assert peer.say(find_endp(b"nothing")) == MISSED
        child.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        with Client(child.socket_path, greeted=False) as client:
            child.hang_up()
            child.signal(signal.SIGCONT)
            assert child.wait() == 0
            child.start()
            client.send(find_endp(b"nothing"))  # the greeting alone might be the last that the first child did
            answer = b""
            while len(answer) < len(GREETING + MISSED):
                answer += (more := client.read())
                assert more, f"closed after {answer!r}"
            assert answer == GREETING + MISSED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_statistics_whatever_its_clients_do(start: Starter, number: signal.Signals) -> None:
    child = start()
    with Client(child.socket_path) as stalled:
        miss(child)
        assert stalled.say(save_endp(b"endpoint")) == DUMMY
        child.signal(number)
        assert child.wait() == 0
    assert texts(child) == ["statistics: start interval ...", MISS]


def test_idle_child_ends_with_statistics(start: Starter) -> None:
    child = start("max_idle=1s")
    miss(child)
    child.disconnect()
    assert child.wait() == 0
    assert texts(child) == ["statistics: start interval ...", MISS]


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
        pending = int(process_status(child.pid, "ShdPnd").split()[0], 16)
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
