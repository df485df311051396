"""Settings that are slow to read, as names of users are that a server elsewhere is asked for: nobody waits for them."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fast.test_configuration import VALUES, only
from tests.support.client import PATIENCE_S, Client
from tests.support.descriptors import none_left_open
from tests.support.messages import MISSED, find_endp
from tests.support.processes import Running, starting
from tests.support.servers import Fast
from tests.support.takeover import OPTIONS, is_served, old_server

from scache_fast.process.closing import ClosingThreads
from scache_fast.process.logger import Logger
from scache_fast.process.reloading import Outcome, Reloading
from scache_fast.settings.sources import ConfigurationError, merge
from scache_fast.settings.table import AT_RESTART, SETTINGS, Setting, Settings, by_name


class Slow:
    """Settings that are read when the test says so, and a server that reads them."""

    def __init__(self) -> None:
        self.reads: list[threading.Event] = []
        self.began = threading.Semaphore(0)
        self.result: Settings | Exception = merge({})._replace(verbose=True)
        self.said: list[str] = []
        self.house = Fast()
        log = Logger(lambda priority, line: self.said.append(line))
        self.closing = ClosingThreads(log, None)
        self.reloading = Reloading(merge({}), self.read, self.house.server, self.closing, log)

    def read(self) -> Settings:
        may_end = threading.Event()
        self.reads.append(may_end)
        self.began.release()
        assert may_end.wait(PATIENCE_S)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def await_known(self, outcome: Outcome) -> None:
        """Have turns taken until it is known what became of a reload."""
        while not outcome.is_known.is_set():
            self.house.server.step(PATIENCE_S)


@pytest.fixture
def slow() -> Iterator[Slow]:
    with none_left_open():
        made = Slow()
        yield made
        for event in made.reads:
            event.set()
        os.close(made.reloading._wake)
        made.closing.finish(PATIENCE_S)
        made.house.__exit__()


def test_clients_are_served_while_settings_are_read(slow: Slow) -> None:
    peer = slow.house.peer()
    outcome = slow.reloading.reload()
    assert slow.began.acquire(timeout=PATIENCE_S)
    assert peer.say(find_endp(b"zz")) == MISSED
    assert not outcome.is_known.is_set()
    slow.reads[0].set()
    slow.await_known(outcome)
    assert outcome.answer == {"changed": ["verbose"], "restart": []}


def test_reload_that_is_asked_for_meanwhile_reads_again(slow: Slow) -> None:
    first = slow.reloading.reload()
    assert slow.began.acquire(timeout=PATIENCE_S)
    later = [slow.reloading.reload() for _ in range(3)]
    slow.reads[0].set()
    slow.await_known(first)
    assert slow.began.acquire(timeout=PATIENCE_S)
    assert [each.is_known.is_set() for each in later] == [False] * 3
    assert len(set(later)) == 1, "what waits grows with those who ask"
    slow.reads[1].set()
    slow.await_known(later[0])
    assert all(each.is_known.is_set() for each in later)
    assert (len(slow.reads), slow.reloading.succeeded) == (2, 2)


@pytest.mark.parametrize("error", [ConfigurationError("wrong"), ZeroDivisionError("odd")], ids=["meant", "unforeseen"])
def test_failure_is_told_and_the_next_reload_works(slow: Slow, error: Exception) -> None:
    slow.result, good = error, slow.result
    outcome = slow.reloading.reload()
    assert slow.began.acquire(timeout=PATIENCE_S)
    slow.reads[0].set()
    slow.await_known(outcome)
    assert outcome.error is not None
    assert str(error) in str(outcome.error)
    assert (slow.reloading.failed, slow.reloading.was_last_ok) == (1, False)
    slow.result = good
    outcome = slow.reloading.reload()
    assert slow.began.acquire(timeout=PATIENCE_S)
    slow.reads[1].set()
    slow.await_known(outcome)
    assert (outcome.error, slow.reloading.was_last_ok) == (None, True)


def handles_hang_up(pid: int) -> bool:
    """Say whether a process ignores or handles SIGHUP."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigIgn:", "SigCgt:"))]
    return any(mask >> (signal.SIGHUP - 1) & 1 for mask in masks)


def hang_up_without_pause(server: Running) -> None:
    """Send SIGHUP from the instant at which the program has begun, to its end."""
    while not handles_hang_up(server.pid):
        assert server.process.poll() is None

    def hang_up() -> None:
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGHUP)

    threading.Thread(target=hang_up).start()


def test_hang_ups_from_the_start_to_the_end_end_nothing(tmp_path: Path) -> None:
    with starting("--listen", tmp_path / "s") as server:
        hang_up_without_pause(server)
        server.line("listening on")
        server.line("settings read again")
        server.end()


def test_hang_ups_through_a_takeover_end_neither_process(tmp_path: Path) -> None:
    with (
        old_server(tmp_path) as old,
        Client(tmp_path / "s") as peer,
        peer.park(b"e") as far,
        starting("--takeover", tmp_path / "admin", *OPTIONS) as new,
    ):
        hang_up_without_pause(old)
        hang_up_without_pause(new)
        new.line("took over from process")
        old.wait()
        is_served(peer, far)
        new.line("settings read again")
        new.end()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_setting_is_in_force_after_a_reload_or_named_as_needing_a_restart(slow: Slow, setting: Setting) -> None:
    values = VALUES[setting.name]
    slow.result = next(
        wanted
        for text in (values.line, values.file)
        if by_name(wanted := only(setting, text)) != by_name(merge({}))
    )  # fmt: skip
    outcome = slow.reloading.reload()
    assert slow.began.acquire(timeout=PATIENCE_S)
    slow.reads[0].set()
    slow.await_known(outcome)
    # The default of one setting may follow from another.
    changed = [name for name, value in by_name(slow.result).items() if value != by_name(merge({}))[name]]
    assert setting.name in changed
    needs_restart = setting.name in AT_RESTART
    assert outcome.answer == {"changed": [] if needs_restart else changed, "restart": changed if needs_restart else []}
    named = "not changed before a restart: " if needs_restart else "changed: "
    assert any(line.endswith(f"{named}{', '.join(changed)}") for line in slow.said)
