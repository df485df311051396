"""A new process takes over from the one that runs: processes and sockets as they are. LIFE-10 to LIFE-12.

Who is killed when, and what is lost then, is the table of proof/TAKEOVER.md. The death of one side is played by
a test that closes everything it has; the other side is a process.
"""

import array
import os
import pwd
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S, Client
from tests.support.descriptors import is_hung_up
from tests.support.messages import DONE, DUMMY, GREETING, MISSED, find_endp, found, save_dest, save_endp
from tests.support.processes import COMMAND, Running, ended, environment, run, running, with_descriptors
from tests.support.takeover import Giver, Heir, deadline_s, giver

from scache_fast.admin.client import AdminClient, AdminError
from scache_fast.process.errors import StartError
from scache_fast.process.invocation import parse
from scache_fast.takeover import snapshot
from scache_fast.takeover.snapshot import FORMAT, Kind

OPTIONS = ("--ttl-limit", "600", "--busy-poll", "0")


@contextmanager
def old_server(folder: Path, *options: str) -> Iterator[Running]:
    with running("--listen", folder / "s", "--admin", folder / "admin", *OPTIONS, *options) as server:
        yield server


@contextmanager
def new_server(folder: Path, *options: str) -> Iterator[Running]:
    with running("--takeover", folder / "admin", *OPTIONS, *options) as server:
        yield server


def stats(folder: Path) -> dict[str, object]:
    with AdminClient(str(folder / "admin")) as admin:
        return admin.ask("stats")


def listed(folder: Path) -> list[dict[str, object]]:
    """Return what is parked and bound, without ages, which change."""
    with AdminClient(str(folder / "admin")) as admin:
        rows = [row | {"age_s": 0, "ttl_s": 0} for row in admin.rows("list", properties=True)]
    return sorted(rows, key=str)


def fails(folder: Path, *options: str | Path, command: Sequence[str] = COMMAND, **env: str) -> str:
    """Try to take over; return why it failed."""
    ended = run("--takeover", folder / "admin", *OPTIONS, *options, command=command, env=env)
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


def is_served(peer: Client, far: socket.socket) -> None:
    """See that a parked connection is found, and park it again."""
    with peer.pick_up(b"e") as taken:
        taken.send(b"x")
        assert far.recv(1) == b"x"
        assert peer.save(b"e", taken.fileno()) == DONE


def test_LIFE_10_everything_moves(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with old_server(tmp_path) as old, Client(path) as peer, Client(path) as other, Client(path) as third:
        inodes = [(tmp_path / name).stat().st_ino for name in ("s", "admin")]
        parked = [peer.park(b"e", b"p%d" % number) for number in range(3)]
        assert peer.say(save_dest(b"d", b"binding", b"e")) == DONE
        assert third.say(save_endp(b"late", b"late", b"600")) == DUMMY  # Its descriptor comes after the takeover.
        other.send(find_endp(b"e")[:10])  # The rest of the request too.
        before, rows = stats(tmp_path), listed(tmp_path)
        with new_server(tmp_path) as new:
            old.line("taken over 3 parked connections and 3 clients")
            old.wait()
            after = stats(tmp_path)
            assert after["pid"] == new.pid
            assert [(tmp_path / name).stat().st_ino for name in ("s", "admin")] == inodes
            assert [after[name] for name in ("sessions", "clients")] == [
                before[name] for name in ("sessions", "clients")
            ]
            assert listed(tmp_path) == rows
            assert other.say(find_endp(b"e")[10:]) == found(b"p0")
            with socket.socket(fileno=other.take()) as taken, parked[0]:
                taken.send(b"x")
                assert parked[0].recv(1) == b"x"
            near, far = socket.socketpair()
            with near, far:
                assert third.say(b"\0", near.fileno()) == DONE
            peer.pick_up(b"late", b"late").close()
            for far in parked[1:]:
                assert not is_hung_up(far)
                far.close()
            with Client(path) as late:
                late.pick_up(b"e", b"p1").close()
            assert new.descriptors < 40
            new.end()
    assert not path.exists()
    assert not (tmp_path / "admin").exists()


def plain() -> dict[str, str]:
    """Return the environment in which the server is plain Python, whatever form is tested."""
    return environment({"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "spec", ROOT / "fast")))})


def engine(folder: Path) -> object:
    with AdminClient(str(folder / "admin")) as admin:
        return admin.ask("version")["engine"]


def test_LIFE_10_plain_server_takes_over_from_the_tested_form_and_the_tested_form_from_a_plain_one(
    tmp_path: Path,
) -> None:
    """`make test-compiled` tests the compiled form."""
    with old_server(tmp_path) as tested, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        form = engine(tmp_path)
        assert peer.say(save_dest(b"d", b"binding", b"e")) == DONE
        rows = listed(tmp_path)
        with running("--takeover", tmp_path / "admin", *OPTIONS, env=plain()) as between:
            tested.wait()
            assert engine(tmp_path) == "plain Python"
            assert listed(tmp_path) == rows
            with new_server(tmp_path) as last:
                between.wait()
                assert engine(tmp_path) == form
                assert listed(tmp_path) == rows
                is_served(peer, far)
                last.end()


IN_FLIGHT = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
ours, theirs = socket.socketpair()
for _ in range(int(sys.argv[2]) // 10):
    socket.send_fds(ours, [b"x"], [0] * 10)
print("sent", flush=True)
sys.stdin.read()
"""
"""Has descriptors under way as a user, until its standard input ends."""


@contextmanager
def in_flight(user: str, count: int) -> Iterator[None]:
    command = [sys.executable, "-c", IN_FLIGHT, str(pwd.getpwnam(user).pw_uid), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent\n"
        yield


@pytest.mark.needs("root")
@pytest.mark.parametrize(("name", "count"), [("news", 0), ("uucp", 480)], ids=["none", "480 under way"])
def test_LIFE_10_server_without_privileges_and_with_few_descriptors_is_taken_over(
    tmp_path: Path, name: str, count: int
) -> None:
    """The kernel counts what is under way by user, and a server of root never meets that limit.

    For that reason no other test uses the user, whatever runs at the same time.
    """
    tmp_path.chmod(0o755)
    command, user = with_descriptors(500), ("--user", name)
    options = ("--listen", tmp_path / "s", "--admin", tmp_path / "admin", *OPTIONS, *user)
    with ExitStack() as stack:
        old = stack.enter_context(running(*options, command=command))
        peer = stack.enter_context(Client(tmp_path / "s"))
        fars = [stack.enter_context(peer.park(b"%d" % number)) for number in range(100)]
        before = []
        for _ in range(3):
            with in_flight(name, count):
                new = stack.enter_context(running("--takeover", tmp_path / "admin", *OPTIONS, *user, command=command))
                old.wait()
            with Client(tmp_path / "s") as other:  # When it is answered, the end of the old process has been noticed.
                other.say(find_endp(b"none"))
                before.append(new.descriptors)
            old = new
        assert before == before[:1] * 3
        for number, far in enumerate(fars):
            with peer.pick_up(b"%d" % number) as taken:
                taken.send(b"x")
                assert far.recv(1) == b"x"
        old.end()


@pytest.mark.needs("root")
def test_LIFE_12_old_process_serves_on_when_nothing_more_may_be_under_way(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    command, user = with_descriptors(500), ("--user", "irc")  # No other test uses it.
    options = ("--listen", tmp_path / "s", "--admin", tmp_path / "admin", *OPTIONS, *user)
    with running(*options, command=command) as old, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        with in_flight("irc", 510):
            assert "Too many references" in fails(tmp_path, *user, command=command)
        old.line("the takeover failed, this process continues")
        is_served(peer, far)
        old.end()


def test_LIFE_10_requests_and_replies_under_way_are_answered_once(tmp_path: Path) -> None:
    """A client reads nothing: replies fill its socket, then the server, and requests wait unserved and unread."""
    with old_server(tmp_path, "--output-bytes-max", "1000") as old, Client(tmp_path / "s") as peer:
        sent = fill(peer, find_endp(b"none"))
        with new_server(tmp_path, "--output-bytes-max", "1000") as new:
            old.wait()
            answer = b""
            whole, begun = divmod(sent, len(find_endp(b"none")))
            while len(answer) < whole * len(MISSED):
                answer += peer.read()
            if begun:
                answer += peer.say(find_endp(b"none")[begun:])
            assert answer == MISSED * (whole + bool(begun))
            new.end()


def fill(peer: Client, request: bytes) -> int:
    """Write requests, one after the other, until no more can be written; return how many bytes were."""
    sent = 0
    peer.sock.settimeout(0.1)  # The server goes on reading for a while. Whether it was long enough decides nothing.
    try:
        while True:
            sent += peer.sock.send((request * 2)[sent % len(request) :][: len(request)])
    except TimeoutError:
        peer.sock.settimeout(PATIENCE_S)
        return sent


def test_LIFE_10_who_waits_to_be_accepted_and_a_pause_move_too(tmp_path: Path) -> None:
    with old_server(tmp_path) as old:
        with AdminClient(str(tmp_path / "admin")) as admin:
            admin.ask("pause")
        with Heir(tmp_path / "admin") as heir, Client(tmp_path / "s", greeted=False) as waiting:
            heir.get_ready()
            heir.confirm()  # From here on nobody is accepted.
            with Client(tmp_path / "s", greeted=False) as queued:
                heir.close()
                with new_server(tmp_path) as new:
                    old.wait()
                    assert (waiting.read(), queued.read()) == (GREETING, GREETING)
                    assert stats(tmp_path)["state"] == "paused"
                    new.end()


def test_LIFE_11_hand_over_that_has_begun_is_finished_and_what_comes_back_is_first(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with old_server(tmp_path) as old, Client(path) as taker, Client(path) as leaver:
        fars = [taker.park(b"e", b"p%d" % number) for number in range(3)]
        assert taker.say(find_endp(b"e")) == found(b"p0")
        assert leaver.say(find_endp(b"e")) == found(b"p1")
        with new_server(tmp_path) as new:
            old.line("taken over 1 parked connections and 0 clients .* 2 clients finish here")
            # The second request is the new process's: the old one has nothing to find any more.
            taker.send(DUMMY + DUMMY + find_endp(b"e"))
            data, (descriptor,) = taker.read_with_descriptors()
            assert data == b"\0"
            with socket.socket(fileno=descriptor) as taken:
                taken.send(b"x")
                assert fars[0].recv(1) == b"x"
            assert taker.read() == found(b"p2")
            leaver.close()
            old.line("has everything, this one ends")
            old.wait()
            with Client(path) as finder:
                finder.pick_up(b"e", b"p1").close()
            os.close(taker.take())
            assert stats(tmp_path)["sessions"] == {
                "saved": 3, "refused": 0, "found": 3, "put_back": 1, "expired": 0, "flushed": 0, "dead": 0,
            }  # fmt: skip
            new.end()
        for far in fars:
            far.close()


def test_LIFE_11_request_behind_a_hand_over_is_carried_out_by_the_new_process(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with old_server(tmp_path) as old, Client(path) as peer, Client(path) as holder:
        fars = [peer.park(b"e"), peer.park(b"other", b"o")]
        assert holder.say(find_endp(b"e")) == found(b"p")
        with new_server(tmp_path) as new:
            old.line("1 clients finish here")
            # The first list is no `dummy`: what was found goes back. The second one comes in the same read.
            assert holder.say(find_endp(b"none") + find_endp(b"other")) == found(b"o")
            old.wait()
            peer.pick_up(b"e").close()
            new.end()
        for far in fars:
            far.close()


def test_LIFE_12_new_process_that_dies_before_it_takes_costs_nothing(tmp_path: Path) -> None:
    """It dies when it has asked, when it is ready, and after each message that it confirms, the last one included."""
    with old_server(tmp_path) as old, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        peer.say(save_dest(b"d", b"", b"e"))
        is_done, step = False, 0
        while not is_done:
            with Heir(tmp_path / "admin") as heir:
                if step > 0:
                    heir.get_ready()
                for _ in range(1, step):
                    is_done = is_done or heir.confirm() is Kind.END
            old.line("the takeover failed, this process continues")
            is_served(peer, far)
            step += 1
        assert step == 8, "listeners, counts, clients, sessions, bindings, end"
        with new_server(tmp_path) as new:
            is_served(peer, far)
            new.end()
        old.wait()


def test_LIFE_12_offer_is_taken_by_one_side_only(tmp_path: Path) -> None:
    with old_server(tmp_path) as old, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        with Heir(tmp_path / "admin") as heir:
            heir.get_ready()
            heir.confirm_all()
            heir.channel.close()  # The old process takes its offer back, though this one could still read it.
            old.line("the takeover failed, this process continues")
            assert not heir.take()
            is_served(peer, far)
        with Heir(tmp_path / "admin") as heir:
            heir.get_ready()
            heir.confirm_all()
            assert select.select([heir.offer], [], [], PATIENCE_S)[0]
            assert heir.take()
            heir.channel.close()  # It has died; but it had taken.
            old.line("another process has taken over 1 parked connections")
            old.line("cannot be passed on")
            old.wait()
            assert not is_hung_up(far), "the copy of the new process is open still"
        assert is_hung_up(far)
        assert (tmp_path / "s").exists(), "it was the new process's to remove"


def test_LIFE_12_second_takeover_is_refused_while_one_goes_on(tmp_path: Path) -> None:
    with old_server(tmp_path) as old:
        with Heir(tmp_path / "admin"):
            assert "another process is taking over" in fails(tmp_path)
        old.line("the takeover failed")
        with new_server(tmp_path) as new:
            new.end()
        old.wait()


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Giver]:
    with giver(tmp_path) as played:
        yield played


@contextmanager
def heir_of(old: Giver) -> Iterator[Running]:
    """Start a new process that has asked the old one, and is not in charge yet."""
    process = subprocess.Popen(
        [*COMMAND, "--takeover", str(old.admin), *OPTIONS], stderr=subprocess.PIPE, env=environment()
    )
    try:
        old.accept()
        yield Running(process)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


NEVER_NS = 2**62


def test_LIFE_12_old_process_that_dies_before_its_offer_leaves_an_empty_server(old: Giver) -> None:
    near, far = socket.socketpair()
    with far, heir_of(old) as new:
        with near:
            old.send_listeners()
            old.send_session(b"e", near.fileno(), NEVER_NS)
        old.die()
        new.line("died before it could hand over")
        new.line("listening on")
        far.settimeout(PATIENCE_S)
        assert far.recv(1) == b"", "its peer is told"
        with Client(old.path) as peer:
            assert peer.say(find_endp(b"e")) == MISSED
        new.end()


@pytest.mark.parametrize("is_offered", [True, False])
def test_LIFE_12_old_process_that_dies_after_everything_was_confirmed(old: Giver, is_offered: bool) -> None:
    near, far = socket.socketpair()
    with far, heir_of(old) as new:
        with near:
            old.send_listeners()
            old.send_session(b"e", near.fileno(), NEVER_NS)
            old.send_end(1)
            if is_offered:
                os.eventfd_write(old.offer, 1)
            old.die()
        new.line("listening on")
        with Client(old.path) as peer:
            if is_offered:
                with peer.pick_up(b"e") as taken:
                    taken.send(b"x")
                    assert far.recv(1) == b"x"
            else:
                assert peer.say(find_endp(b"e")) == MISSED
        new.end()


def test_LIFE_12_offer_that_is_taken_back_ends_the_new_process(old: Giver) -> None:
    near, far = socket.socketpair()
    with near, far, heir_of(old) as new:
        old.send_listeners()
        old.send_session(b"e", near.fileno(), NEVER_NS)
        old.send_end(1)
        old.channel.send(Kind.REFUSED, b"not in time", [], deadline_s())
        new.line("cannot take over: it was not offered")
        new.wait(1)
        near.close()
        assert is_hung_up(far), "the new process had closed its copy"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (snapshot.encode_message(Kind.END, snapshot.encode_counts({"sessions": 1})), "were sent"),
        (snapshot.encode_message(Kind.SESSIONS, b"\0\0"), "ends within its rows"),
        (snapshot.encode_message(Kind.SESSIONS, snapshot.encode_rows([1, 0, 0, 0, 0], [b"e", b"p"], 1)), "fewer"),
        (snapshot.encode_message(Kind.SESSIONS, b"", 3), "0 descriptors came with a message, not 3"),
        (snapshot.encode_message(Kind.TAKEN), "out of turn"),
        (snapshot.encode_message(Kind.COUNTS, b"abc")[:-1] + b"x", "checksum"),
        (b"x" * 100, "no snapshot"),
    ],
    ids=["totals", "cut", "a descriptor less", "descriptors lost", "out of turn", "flipped", "something else"],
)
def test_LIFE_12_snapshot_that_is_not_understood_is_refused(old: Giver, message: bytes, reason: str) -> None:
    with heir_of(old) as new:
        old.send_listeners()
        old.channel._sock.sendall(message)
        refusal = old.channel.receive(deadline_s())
        assert (refusal.kind, reason in refusal.payload.decode()) == (Kind.REFUSED, True), refusal
        new.line(f"cannot take over: .*{reason}")
        new.wait(1)


def test_LIFE_12_long_message_of_the_new_process_is_refused_by_its_header(tmp_path: Path) -> None:
    with old_server(tmp_path) as old, Heir(tmp_path / "admin") as heir, Client(tmp_path / "s") as peer:
        heir.channel._sock.sendall(snapshot.encode_message(Kind.READY, bytes(70_000)))
        old.line("a message has 70000 bytes")
        assert peer.say(find_endp(b"zz")) == MISSED


def test_other_format_too_few_descriptors_and_other_paths_are_refused(tmp_path: Path) -> None:
    with old_server(tmp_path) as old, Client(tmp_path / "s") as peer:
        fars = [peer.park(b"e") for _ in range(60)]
        with AdminClient(str(tmp_path / "admin")) as admin:
            for number in (FORMAT - 1, FORMAT + 1, None, "1"):
                with pytest.raises(AdminError, match="are not known here, only format"):
                    admin.ask("takeover", format=number, descriptors=1000)
        assert "raise its limit of open files" in fails(tmp_path, command=with_descriptors(60))
        assert "a takeover changes no path" in fails(tmp_path, "--listen", tmp_path / "other")
        old.line("the takeover failed, this process continues: the new process says: .*a takeover changes no path")
        assert not (tmp_path / "other").exists()
        with new_server(tmp_path, "--listen", str(tmp_path / "s"), "--admin", str(tmp_path / "admin")) as new:
            is_served(peer, fars[0])
            new.end()
        old.wait()
        for far in fars:
            far.close()


def test_without_a_server_there_is_a_reason(tmp_path: Path) -> None:
    assert "cannot take over: " in (reason := fails(tmp_path))
    assert "No such file or directory" in reason


def test_under_master_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="postfix reload"):
        parse("scached", ["-l", "-t", "unix", "--takeover", "x"], {"GENERATION": "1"})


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


def test_LIFE_11_second_takeover_is_refused_while_what_was_begun_before_the_first_may_come_back(tmp_path: Path) -> None:
    with old_server(tmp_path) as old, Client(tmp_path / "s") as taker, taker.park(b"e") as far:
        assert taker.say(find_endp(b"e")) == found(b"p")
        with new_server(tmp_path) as new:
            with AdminClient(str(tmp_path / "admin")) as admin, pytest.raises(AdminError, match="still finishes what"):
                admin.ask("takeover", format=FORMAT, descriptors=1000, pid=os.getpid())
            taker.close()
            old.wait()
            with new_server(tmp_path) as last, Client(tmp_path / "s") as finder:
                new.wait()
                is_served(finder, far)
                last.end()


def test_LIFE_6_session_that_comes_back_to_the_old_process_after_a_flush_is_closed(tmp_path: Path) -> None:
    with old_server(tmp_path) as old, Client(tmp_path / "s") as taker, Client(tmp_path / "s") as leaver:
        flushed, other = taker.park(b"flushed"), taker.park(b"other", b"o")
        assert taker.say(find_endp(b"flushed")) == found(b"p")
        assert leaver.say(find_endp(b"other")) == found(b"o")
        with flushed, other, new_server(tmp_path) as new:
            with AdminClient(str(tmp_path / "admin")) as admin:
                assert admin.ask("flush", label="flushed")["sessions"] == 0
            taker.close()
            leaver.close()
            old.wait()
            with Client(tmp_path / "s") as finder:
                finder.pick_up(b"other", b"o").close()
                assert finder.say(find_endp(b"flushed")) == MISSED
            flushed.settimeout(PATIENCE_S)
            assert flushed.recv(1) == b""
            new.end()


def test_LIFE_11_old_process_that_is_told_to_end_passes_on_what_it_holds(tmp_path: Path) -> None:
    with old_server(tmp_path) as old, Client(tmp_path / "s") as taker, taker.park(b"e") as far:
        assert taker.say(find_endp(b"e")) == found(b"p")
        with new_server(tmp_path) as new:
            old.line("1 clients finish here")
            old.end()
            assert taker.is_closed()
            with Client(tmp_path / "s") as finder:
                is_served(finder, far)
            new.end()


def test_LIFE_11_drained_server_waits_for_what_may_come_back(tmp_path: Path) -> None:
    """Nothing else is parked. A client leaves, and another goes on: neither process ends meanwhile."""
    with (
        old_server(tmp_path) as old,
        Client(tmp_path / "s") as taker,
        Client(tmp_path / "s") as leaver,
        taker.park(b"e"),
        taker.park(b"back"),
        AdminClient(str(tmp_path / "admin")) as admin,
    ):
        assert taker.say(find_endp(b"e")) == found(b"p")
        assert leaver.say(find_endp(b"back")) == found(b"p")
        admin.ask("drain")
        with new_server(tmp_path) as new:
            old.line("2 clients finish here")
            leaver.close()
            with Client(tmp_path / "s") as finder:
                deadline_s = time.monotonic() + PATIENCE_S
                while (answer := finder.say(find_endp(b"back"))) == MISSED:
                    assert time.monotonic() < deadline_s, "it does not come back"
                assert answer == found(b"p")
                os.close(taker.take())
                assert taker.say(DUMMY + find_endp(b"none")) == MISSED
                old.wait()
                os.close(finder.take())
                new.line("drained: nothing is parked any more")
            new.wait()


@pytest.mark.needs("root")
def test_new_user_who_cannot_open_the_admin_socket_is_warned_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with old_server(tmp_path, "--user", "daemon") as old, new_server(tmp_path, "--user", "lp") as new:
        uid = pwd.getpwnam("daemon").pw_uid
        new.line(f"the admin socket still belongs to uid {uid}, who may not use it any more")
        old.wait()
        assert stats(tmp_path)["pid"] == new.pid
        with new_server(tmp_path, "--user", "lp") as last:
            new.wait()
            last.end()


@pytest.mark.needs("root")
def test_server_of_another_user_is_not_taken_over(tmp_path: Path) -> None:
    """It could name a file of root's as its socket, which is removed at the end."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "admin"))
        os.seteuid(65_534)
        try:
            listener.listen()
        finally:
            os.seteuid(0)
        assert "uid 65534, pid" in fails(tmp_path)
