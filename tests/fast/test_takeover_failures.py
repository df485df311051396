"""A takeover that is refused, or in which one side dies: LIFE-12.

Who is killed when, and what is lost then, is the table of proof/TAKEOVER.md. The death of one side is played by a test
that closes everything it has; the other side is a process.
"""

import os
import pwd
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.descriptors import is_hung_up, none_left_open
from tests.support.messages import MISSED, find_endp, save_dest
from tests.support.processes import Running, running, starting, with_descriptors
from tests.support.servers import Fast
from tests.support.takeover import (
    OPTIONS,
    Giver,
    Heir,
    deadline_s,
    fails,
    giver,
    in_flight,
    is_served,
    new_server,
    old_server,
    stats,
)

from scache_fast.admin.client import AdminClient, AdminError
from scache_fast.process.errors import StartError
from scache_fast.process.invocation import parse
from scache_fast.takeover import snapshot
from scache_fast.takeover.snapshot import FORMAT, Kind
from scache_fast.takeover.successor import Successor, TakeoverError


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


def test_LIFE_12_several_that_take_over_at_once_leave_one_server(tmp_path: Path) -> None:
    """Each one is refused, or takes over from the one before it."""
    with ExitStack() as stack:
        servers = [stack.enter_context(old_server(tmp_path))]
        peer = stack.enter_context(Client(tmp_path / "s"))
        far = stack.enter_context(peer.park(b"e"))
        for new in [stack.enter_context(starting("--takeover", tmp_path / "admin", *OPTIONS)) for _ in range(4)]:
            try:
                new.line("listening on ")
            except AssertionError:
                new.wait(1)
            else:
                servers.append(new)
        assert len(servers) > 1, "one at least gets what it asks for"
        (last,) = [server for server in servers if server.pid == stats(tmp_path)["pid"]]
        for server in servers:
            if server is not last:
                server.wait()
        is_served(peer, far)
        last.end()


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Giver]:
    with giver(tmp_path) as played:
        yield played


@contextmanager
def heir_of(old: Giver) -> Iterator[Running]:
    """Start a new process that has asked the old one, and is not in charge yet."""
    with starting("--takeover", old.admin, *OPTIONS) as new:
        old.accept()
        yield new


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


def test_socket_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the socket for clients, which waits for the end of an attribute list."""
    monkeypatch.setattr("scache_fast.takeover.successor.PATIENCE_S", 0.1)
    with socket.socket(socket.AF_UNIX) as listener, none_left_open(), Fast() as house:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        successor = Successor(str(tmp_path / "s"), {os.geteuid()}, False, house.log)
        with pytest.raises(TakeoverError, match=r"/s': no answer within 0 s: give the admin socket of the server"):
            successor.receive(house.server, 1000)
