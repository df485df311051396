"""A new process takes over from the one that runs: what moves, and what is under way then. LIFE-10 and LIFE-11."""

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S, Client
from tests.support.descriptors import is_hung_up
from tests.support.messages import DONE, DUMMY, GREETING, MISSED, find_endp, found, save_dest, save_endp
from tests.support.processes import environment, running, with_descriptors
from tests.support.takeover import OPTIONS, Heir, in_flight, is_served, listed, new_server, old_server, stats

from scache_fast.admin.client import AdminClient, AdminError
from scache_fast.takeover.snapshot import FORMAT


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
            with Client(tmp_path / "s") as finder:
                for _ in range(2):  # A turn has ended when the second is answered.
                    assert finder.say(find_endp(b"back")) == MISSED
                leaver.close()
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
