"""What an operator does to the fast server: flush, pause, drain, limits, reload. LIFE-6 to LIFE-9."""

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fast.test_configuration import VALUES, quoted
from tests.support.checkout import ROOT
from tests.support.client import Client
from tests.support.descriptors import is_hung_up
from tests.support.messages import DONE, DUMMY, FAILED, MISSED, find_endp, found, save_dest
from tests.support.operator import Office, office
from tests.support.processes import Running, running
from tests.support.servers import Fast

from scache_fast.admin.client import AdminClient, AdminError
from scache_fast.settings.sources import merge
from scache_fast.settings.table import AT_RESTART, SETTINGS, by_name
from scache_spec.vocabulary import Limits

LABEL = bytes(range(1, 256))


@pytest.fixture
def bureau() -> Iterator[Office]:
    with Fast(Limits(ttl_limit_s=1000)) as house, office(house) as opened:
        yield opened


def test_LIFE_6_flush_closes_what_is_named(bureau: Office) -> None:
    peer = bureau.house.peer()
    with bureau.operator() as operator, peer.park(LABEL) as gone, peer.park(b"stays") as stays:
        peer.say(save_dest(b"d", b"p", b"stays"))
        assert not operator.ask("flush", label="no such")["sessions"]
        answer = operator.ask("flush", label=LABEL.decode("latin-1"))
        assert (answer["sessions"], answer["bindings"]) == (1, 0)
        assert is_hung_up(gone)
        assert not is_hung_up(stays)
        assert peer.say(find_endp(LABEL)) == MISSED
        assert operator.ask("flush", what="destinations")["bindings"] == 1
        assert operator.ask("flush", glob="st*")["sessions"] == 1
        assert is_hung_up(stays)
        assert bureau.house.server.counters.flushed == 2
        assert bureau.house.server.table.sizes == (0, 0, 0, 0)


@pytest.mark.parametrize("named", [{}, {"what": "endpoints"}, {"glob": "e"}])
def test_LIFE_6_held_session_is_handed_over_after_a_flush(bureau: Office, named: dict[str, str]) -> None:
    peer = bureau.house.peer()
    with bureau.operator() as operator, peer.park(b"e") as far:
        assert peer.say(find_endp(b"e")) == found(b"p")
        assert operator.ask("flush", **named)["sessions"] == 0
        with socket.socket(fileno=peer.take()) as taken:
            taken.send(b"x")
            assert far.recv(1) == b"x"


def test_LIFE_6_held_session_that_comes_back_is_closed(bureau: Office) -> None:
    peer, other = bureau.house.peer(), bureau.house.peer()
    with bureau.operator() as operator, peer.park(b"e") as far, peer.park(b"other") as kept:
        peer.say(find_endp(b"e"))
        other.say(find_endp(b"other"))
        operator.ask("flush", label="e")
        peer.close()
        bureau.turn()
        assert is_hung_up(far)
        other.close()
        bureau.turn()
        assert not is_hung_up(kept), "it was not named"
        assert bureau.house.server.table.sessions == 1


def test_LIFE_6_session_found_while_the_flush_goes_on_does_not_come_back(
    bureau: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scache_fast.admin.connections.SHARE_NS", 0)
    peer = bureau.house.peer()
    with bureau.operator() as operator, peer.park(b"first") as far:
        stay = [peer.park(b"e") for _ in range(200)]
        operator.send(b'{"verb": "flush"}\n')
        bureau.turn()
        assert peer.say(find_endp(b"first")) == found(b"p")
        assert next(iter(operator.lines()))["sessions"] == 200
        peer.close()
        bureau.turn()
        assert is_hung_up(far)
        assert all(map(is_hung_up, stay))
        for sock in stay:
            sock.close()


def test_LIFE_6_what_is_saved_while_the_flush_goes_on_stays(bureau: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scache_fast.admin.connections.SHARE_NS", 0)
    peer = bureau.house.peer()
    with bureau.operator() as operator:
        stay = [peer.park(b"e") for _ in range(200)]
        operator.send(b'{"verb": "flush"}\n')
        bureau.turn()
        with peer.park(b"new") as new:
            assert next(iter(operator.lines()))["sessions"] == 200
            assert not is_hung_up(new)
        for sock in stay:
            sock.close()


def test_LIFE_8_pause_refuses_saves_once_the_descriptor_came(bureau: Office) -> None:
    peer = bureau.house.peer()
    near, far = socket.socketpair()
    with bureau.operator() as operator, near, far, peer.park(b"e"):
        peer.say(save_dest(b"d", b"p", b"e"))
        answer = operator.ask("pause")
        assert (answer["state"], answer["undo"]) == ("paused", "resume")
        assert peer.save(b"e", near.fileno()) == FAILED
        assert peer.say(save_dest(b"new", b"p", b"e")) == FAILED
        assert peer.say(save_dest(b"d", b"p", b"e")) == DONE, "a renewal"
        assert any("paused by the operator" in line for line in bureau.house.log.warnings)
        assert not bureau.house.take_limits()
        peer.pick_up(b"e").close()
        assert operator.ask("resume")["state"] == "serving"
        assert peer.save(b"e", near.fileno()) == DONE
        assert bureau.house.running


def test_LIFE_8_pause_of_an_empty_cache_refuses_the_first_save_of_each_kind(bureau: Office) -> None:
    peer = bureau.house.peer()
    near, far = socket.socketpair()
    with bureau.operator() as operator, near, far:
        operator.ask("pause")
        assert peer.save(b"e", near.fileno()) == FAILED
        assert peer.say(save_dest(b"d", b"p", b"e")) == FAILED


def test_LIFE_9_drain_ends_when_nothing_is_parked_or_held(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    with running("--listen", tmp_path / "s", "--admin", path, "--ttl-limit", "1h") as server:
        with AdminClient(path) as admin, Client(tmp_path / "s") as peer, Client(tmp_path / "s") as finder:
            peer.say(save_dest(b"d", b"p", b"e"))
            with peer.park(b"e"):
                assert admin.ask("drain")["state"] == "draining"
                assert admin.ask("stats")["state"] == "draining"
                assert finder.say(find_endp(b"e")) == found(b"p")
                finder.close()
                while not admin.ask("stats")["sessions"]["put_back"]:  # type: ignore[index]
                    pass
                assert peer.say(find_endp(b"e")) == found(b"p")
                assert admin.ask("stats")["now"]["held"] == 1  # type: ignore[index]
                os.close(peer.take())
        assert any("drained: " in line for line in server.wait())


def test_drain_may_be_undone(bureau: Office) -> None:
    peer = bureau.house.peer()
    with bureau.operator() as operator, peer.park(b"e"):
        operator.ask("drain")
        assert operator.ask("resume")["state"] == "serving"
        assert not bureau.house.server.steering.is_drained


def test_LIFE_7_lower_limits_remove_nothing_and_refuse_what_comes_later(bureau: Office) -> None:
    house = bureau.house
    peer = house.peer()
    with peer.park(b"e") as first, peer.park(b"e") as second:
        house.server.steering.change_limits(Limits(sessions_max=1, clients_max=1, ttl_limit_s=1))
        near, far = socket.socketpair()
        with near, far:
            assert peer.save(b"e", near.fileno()) == FAILED
        assert house.peer(greeted=False).hear() == b""
        house.advance(2)
        assert not is_hung_up(first)
        assert not is_hung_up(second)
        house.server.steering.change_limits(Limits(ttl_limit_s=1))
        with peer.park(b"short") as short:
            house.advance(2)
            assert is_hung_up(short)


def test_LIFE_7_each_limit_is_in_force_after_the_change(bureau: Office) -> None:
    house = bureau.house
    house.server.steering.change_limits(Limits(ipc_timeout_s=5, status_update_time_s=7, max_idle_s=9))
    peer = house.peer()
    peer.send(b"request\0")
    house.turn()
    house.advance(5)
    assert peer.is_closed()
    assert not house.take_statistics()
    with house.peer() as other:
        other.say(find_endp(b"zz"))
    house.advance(2)
    assert house.take_statistics()
    house.advance(9)
    assert not house.running


def test_log_level_changes_at_once(bureau: Office) -> None:
    peer = bureau.house.peer()
    bureau.house.log.verbose = True
    with bureau.operator() as operator:
        peer.say(find_endp(b"zz"))
        assert not bureau.house.log.details
        assert operator.ask("loglevel", level="verbose")["ok"]
        peer.say(find_endp(b"zz"))
        assert len(bureau.house.log.details) == 1
        operator.ask("loglevel", level="normal")
        peer.say(find_endp(b"zz"))
        assert len(bureau.house.log.details) == 1
        assert not operator.ask("loglevel", level="loud")["ok"]
        assert not operator.ask("loglevel")["ok"]


# Reload, as processes.


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "f").write_text('ttl_limit = "1h"\nsessions_max = 5\n')
    with running("--config", tmp_path / "f", "--listen", tmp_path / "s", "--admin", tmp_path / "a") as server:
        yield server


def limit(admin: AdminClient, name: str) -> object:
    return next(row["value"] for row in admin.rows("limits") if row["limit"] == name)


def test_reload_changes_what_can_change_and_names_the_rest(configured: Running, tmp_path: Path) -> None:
    with AdminClient(str(tmp_path / "a")) as admin, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        (tmp_path / "f").write_text(
            'sessions_max = 1\nverbose = true\nallow_uid = [77]\nfarewell = "e*=BYE"\nliveness = "hup"\nbusy_poll = 3\n'
        )
        answer = admin.ask("reload")
        assert answer["changed"] == [
            "verbose", "liveness", "ttl_limit", "sessions_max", "allow_uid", "farewell",
        ]  # fmt: skip
        assert answer["restart"] == ["busy_poll"]
        assert "busy_poll" in configured.line("settings read again: changed: verbose")
        assert limit(admin, "sessions_max") == 1
        assert peer.say(find_endp(b"zz")) == MISSED
        configured.line("'find_endp' 'zz': ")
        with Client(tmp_path / "s", greeted=False) as refused:
            assert refused.is_closed()
        admin.ask("flush")
        assert far.recv(10) == b"BYE"


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BAD: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "folder": folder,
    "pipe": pipe,
    "long": lambda path: path.write_text("#" * 2_000_000),
    "no text": lambda path: path.write_bytes(b"\xff"),
    "no TOML": lambda path: path.write_text("sessions_max = "),
    "half wrong": lambda path: path.write_text("sessions_max = 2\nbindings_max = -1\n"),
    "unknown": lambda path: path.write_text("sessions_max = 2\nno_such = 1\n"),
}


def test_reload_of_what_is_wrong_changes_nothing(configured: Running, tmp_path: Path) -> None:
    path = tmp_path / "f"
    good = path.read_text()
    with AdminClient(str(tmp_path / "a")) as admin, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        before = list(admin.rows("limits"))
        for spoil in BAD.values():
            spoil(path)
            with pytest.raises(AdminError, match="the settings stay as they are: "):
                admin.ask("reload")
            configured.line("warning: the settings stay as they are: ")
            assert list(admin.rows("limits")) == before
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
            path.write_text(good)
        stats = admin.ask("stats")["reload"]
        assert isinstance(stats, dict)
        assert (stats["ok"], stats["failed"], stats["succeeded"]) == (False, len(BAD), 0)
        assert admin.ask("reload")["changed"] == []
        assert not is_hung_up(far)
        peer.pick_up(b"e").close()


OTHERS = {
    "sessions_max": "1", "verbose": "true", "allow_uid": "[77]", "farewell": '"e*=BYE"', "liveness": '"hup"',
}  # fmt: skip
"""Settings that a reload can change, beside a wrong one."""


def test_wrong_value_of_any_setting_keeps_each_other_setting_as_it_is(configured: Running, tmp_path: Path) -> None:
    path = tmp_path / "f"
    good = path.read_text()
    with AdminClient(str(tmp_path / "a")) as admin, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        before = list(admin.rows("limits"))
        for setting in SETTINGS:
            wrong = VALUES[setting.name].wrong
            values = OTHERS | {setting.name: "1.5" if wrong is None else quoted(wrong)}
            path.write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
            with pytest.raises(AdminError, match=f"the settings stay as they are: .*{setting.name}"):
                admin.ask("reload")
            assert list(admin.rows("limits")) == before
        path.write_text(good)
        assert admin.ask("reload")["changed"] == []
        Client(tmp_path / "s").close()
        admin.ask("flush")
        assert far.recv(10) == b""


def test_hang_up_reads_the_settings_again(configured: Running, tmp_path: Path) -> None:
    with AdminClient(str(tmp_path / "a")) as admin, Client(tmp_path / "s") as peer, peer.park(b"e") as far:
        requests = admin.ask("stats")["requests"]
        (tmp_path / "f").write_text('ttl_limit = "1h"\nsessions_max = 7\n')
        for _ in range(20):
            os.kill(configured.pid, signal.SIGHUP)
            os.kill(configured.pid, signal.SIGUSR1)
        configured.line("settings read again: changed: sessions_max$")
        assert limit(admin, "sessions_max") == 7
        assert admin.ask("stats")["requests"] == requests, "no counter fell"
        (tmp_path / "f").write_text("wrong")
        os.kill(configured.pid, signal.SIGHUP)
        configured.line("warning: the settings stay as they are: ")
        assert limit(admin, "sessions_max") == 7
        assert not is_hung_up(far)


@pytest.mark.needs("root")
def test_reload_in_a_chroot_is_refused_with_the_reason(tmp_path: Path) -> None:
    with running(
        "--listen", tmp_path / "s", "--admin", tmp_path / "a", "--user", "root", "--chroot", tmp_path
    ) as server:
        with AdminClient(str(tmp_path / "a")) as admin, pytest.raises(AdminError, match="in a chroot"):
            admin.ask("reload")
        os.kill(server.pid, signal.SIGHUP)
        server.line("warning: the settings stay as they are: in a chroot")


def test_every_setting_is_told_by_its_name() -> None:
    names = {setting.name for setting in SETTINGS}
    assert set(by_name(merge({}))) == names
    assert names > AT_RESTART


def test_page_says_what_needs_a_restart() -> None:
    page = (ROOT / "docs/admin.md").read_text(encoding="utf-8")
    listed = re.search(r"^These settings need a restart: (.*?)\.$", page, re.MULTILINE | re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == AT_RESTART


def test_requests_of_a_paused_server_are_invited(bureau: Office) -> None:
    peer = bureau.house.peer()
    with bureau.operator() as operator:
        operator.ask("pause")
        assert peer.say(b"request\0save_endp\0ttl\x005\0label\0e\0property\0p\0\0") == DUMMY
