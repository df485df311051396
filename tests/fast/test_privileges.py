"""Becoming less than root: who it is then, what it sees, and that it needs nothing more."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.client import Client
from tests.support.messages import DONE, DUMMY, MISSED, find_dest, find_endp, found, save_dest
from tests.support.processes import Running, run, running, with_descriptors

pytestmark = pytest.mark.needs("root")

NOBODY_ELSES = "games"
"""A user of whom nothing runs on this machine: what one of its processes does counts against all of them."""

NOTHING_LATE = """
import builtins, os, sys
from scache_fast import __main__
from scache_fast.process import standalone
drop = standalone.drop
def nothing_after(identity):
    drop(identity)
    def refuse(event, arguments):
        if event in ("import", "open", "os.listdir", "subprocess.Popen"):
            os.write(2, f"LATE {event} {arguments}\\n".encode())
    sys.addaudithook(refuse)
standalone.drop = nothing_after
sys.exit(__main__.main())
"""


def dance(path: Path) -> None:
    """Use every request once."""
    with Client(path) as client, client.park(b"e") as far:
        assert client.say(save_dest(b"d", b"dp", b"e")) == DONE
        assert client.say(find_dest(b"d")) == found(b"dp", b"p")
        client.sock.sendall(DUMMY)
        _, (taken,), _, _ = socket.recv_fds(client.sock, 1, 1)
        os.write(taken, b"alive")
        os.close(taken)
        assert far.recv(10) == b"alive"
        client.sock.sendall(DUMMY)
        assert client.say(find_endp(b"e")) == MISSED


def identity(server: Running) -> tuple[str, str, str]:
    return server.status("Uid"), server.status("Gid"), server.status("Groups").strip()


@pytest.mark.parametrize(
    ("options", "uid", "gid", "groups"),
    [
        (["--user", "nobody"], 65534, 65534, "65534"),
        (["--user", "65534", "--group", "daemon"], 65534, 1, "1 65534"),
        (["--user", "root", "--group", "1"], 0, 1, "0 1"),
        (["--user", "nobody", "--chroot", "{}"], 65534, 65534, "65534"),
    ],
)
def test_it_is_somebody_else_for_good_and_serves(
    options: list[str], uid: int, gid: int, groups: str, jail: Path
) -> None:
    options = [each.format(jail) for each in options]
    before = "import os, sys; os.setgroups([5, 7]); from scache_fast.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", before]
    with running("--listen", jail / "s", "--ttl-limit", "1h", *options, command=command) as server:
        assert identity(server)[:2] == ("\t".join([str(uid)] * 4), "\t".join([str(gid)] * 4))
        assert set(identity(server)[2].split()) <= set(groups.split())
        if uid:
            assert int(server.status("CapEff"), 16) == 0
            assert int(server.status("CapPrm"), 16) == 0
        is_jailed = "--chroot" in options
        assert os.readlink(f"/proc/{server.pid}/root") == (str(jail) if is_jailed else "/")
        if is_jailed:
            assert os.readlink(f"/proc/{server.pid}/cwd") == str(jail)
        dance(jail / "s")
        lines = server.end()
    assert any("address lookup" in line for line in lines)


@pytest.mark.parametrize("options", [["--group", "1"], ["--chroot", "{}"], ["--group", "1", "--chroot", "{}"]])
def test_root_that_would_stay_root_unasked_is_refused(options: list[str], jail: Path) -> None:
    ended = run("--listen", jail / "s", *[each.format(jail) for each in options])
    assert ended.returncode == 2
    assert "scached: error: with --group or --chroot alone the process stays root: give --user" in ended.stderr
    assert list(jail.iterdir()) == []


def test_root_that_stays_root_on_purpose_serves(jail: Path) -> None:
    with running("--listen", jail / "s", "--ttl-limit", "1h", "--user", "root", "--chroot", jail) as server:
        assert identity(server)[0] == "0\t0\t0\t0"
        dance(jail / "s")


def test_nothing_is_imported_opened_or_started_after_the_change(jail: Path) -> None:
    options = ["--user", "nobody", "--chroot", str(jail), "--farewell", r"*=bye\n", "--liveness", "rdhup", "-v"]
    allowed = ["--allow-uid", "0", "--allow-gid", "0"]
    command = [sys.executable, "-c", NOTHING_LATE]
    with running("--listen", jail / "s", "--ttl-limit", "1h", *options, *allowed, command=command) as server:
        dance(jail / "s")
        with Client(jail / "s") as client, client.park(b"e") as far:
            client.say(b"request\0nonsense\0\0")
            lines = server.end()
            assert far.recv(10) == b"bye\n"
    assert [line for line in lines if line.startswith("LATE")] == []
    assert any("unknown request" in line for line in lines)


def test_hook_of_the_test_above_would_see_it(jail: Path) -> None:
    late = NOTHING_LATE.replace("sys.addaudithook(refuse)", "sys.addaudithook(refuse); import wave")
    with running("--listen", jail / "s", command=[sys.executable, "-c", late]) as server:
        assert any(line.startswith("LATE import ('wave'") for line in [*server.lines, *server.end()])


@pytest.mark.parametrize(
    ("owner", "uid", "gid"),
    [("nobody", 65534, 0), ("nobody:daemon", 65534, 1), (":daemon", 0, 1), ("65534:1", 65534, 1)],
)
def test_socket_belongs_to_whom_it_was_given(owner: str, uid: int, gid: int, jail: Path) -> None:
    with running("--listen", jail / "s", "--owner", owner, "--mode", "0660"):
        status = (jail / "s").stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (uid, gid, 0o660)


def test_socket_that_may_not_be_removed_any_more_is_replaced_by_the_next(jail: Path) -> None:
    for _ in range(2):
        with running("--listen", jail / "s", "--user", "nobody") as server:
            dance(jail / "s")
            assert not any("left behind" in line for line in server.end())
        assert (jail / "s").is_socket()


def test_socket_in_a_folder_of_its_own_user_is_removed(jail: Path) -> None:
    os.chown(jail, 65534, 65534)
    with running("--listen", jail / "s", "--user", "nobody") as server:
        server.end()
    assert list(jail.iterdir()) == []


FLOOD = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
near, far = socket.socketpair()
near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
for _ in range(4):
    socket.send_fds(near, [b"x"], [0] * 250)
print("in flight", flush=True)
sys.stdin.read()
"""
"""Puts 1000 descriptors in flight, and leaves them there until its input ends."""


def test_FD_10_session_comes_back_when_the_servers_user_has_too_many_descriptors_in_flight(tmp_path: Path) -> None:
    """The kernel counts them by user. Root never meets the limit."""
    tmp_path.chmod(0o711)
    options = "--listen", tmp_path / "s", "--ttl-limit", "1h", "--user", NOBODY_ELSES
    with running(*options, command=with_descriptors(600)) as server, Client(tmp_path / "s") as other:
        uid = server.status("Uid").split()[0]
        with (
            other.park(b"e") as far,
            subprocess.Popen(
                [sys.executable, "-I", "-c", FLOOD, uid], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as flood,
        ):
            assert flood.stdout is not None
            assert flood.stdin is not None
            assert flood.stdout.readline() == b"in flight\n"
            with Client(tmp_path / "s") as client:
                assert client.say(find_endp(b"e")) == found(b"p")
                client.send(DUMMY)
                assert client.is_closed()
            assert "session put back" in server.line("Too many references")
            flood.stdin.close()
            assert flood.wait() == 0
            with other.pick_up(b"e") as near:
                near.send(b"through")
                assert far.recv(7) == b"through"
        server.end()
