"""The runner: what is worth another try, and who gets a server of its own."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.plugged import server

from scache_conformance.servers.target import Declared, Target
from scache_conformance.servers.target_command import CommandServer
from scache_conformance.servers.target_running import RunningServer
from scache_conformance.suite.lab import Inconclusive, Lab
from scache_conformance.suite.registry import Case, Function, Schedule
from scache_conformance.suite.runner import TRIES_MAX, Runner
from scache_conformance.suite.verdicts import Level, Result, Verdict
from scache_conformance.wire.unmet import Silence, Unmet


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with server("reference", tmp_path_factory.mktemp("reference"), real_time=True) as started:
        yield started


def made_up(function: Function, slug: str = "ttl/made-up", schedule: Schedule = Schedule.IN_TURN) -> Case:
    return Case(
        slug=slug,
        title="made up",
        clauses=("TTL-1",),
        level=Level.MUST,
        schedule=schedule,
        function=function,
    )


def run(target: Target, *cases: Case) -> list[Result]:
    told: list[Result] = []
    results = Runner(target, {}, told.append).run(cases)
    assert sorted(each.slug for each in told) == sorted(each.slug for each in results), "each is told once"
    return list(results)


@pytest.mark.parametrize(
    ("waited_s", "delayed_s", "raised", "tries"),
    [
        (0.0, 0.0, Unmet("this", "that"), 1),
        (0.0, 1.0, Unmet("this", "that"), TRIES_MAX),
        (1.0, 0.0, Unmet("this", "that"), 1),
        (0.0, 1.0, Silence("this", "nothing"), 1),
        (0.0, 0.0, Inconclusive("busy"), TRIES_MAX),
    ],
    ids=["failed at once", "may have expired", "waited on purpose", "no answer", "too late"],
)
def test_another_try_is_for_what_the_machine_may_have_done(
    target: Target, waited_s: float, delayed_s: float, raised: Exception, tries: int
) -> None:
    tried: list[Lab] = []

    def function(lab: Lab) -> None:
        tried.append(lab)
        lab.sleep(waited_s)
        lab.waited_s -= delayed_s  # as good as a machine that was slow for so long
        raise raised

    impatient = RunningServer(target.socket_path, Declared(deadline_s=0.5))
    (result,) = run(impatient, made_up(function))
    assert len(tried) == tries
    assert result.verdict is (Verdict.SKIP if isinstance(raised, Inconclusive) else Verdict.FAIL)


def test_pass_at_another_try_says_what_was_seen_before(target: Target) -> None:
    tried: list[Lab] = []

    def function(lab: Lab) -> None:
        tried.append(lab)
        if len(tried) == 1:
            raise Inconclusive("busy")

    (result,) = run(target, made_up(function))
    assert result.verdict is Verdict.PASS
    assert result.reason == "at another try, as the machine was slow; before that inconclusive: busy"


def test_undisturbed_case_has_its_server_for_itself(target: Target) -> None:
    used: dict[str, int | None] = {}

    def noting(name: str) -> Function:
        def note(lab: Lab) -> None:
            used[name] = lab.target.pid

        return note

    names = ("ttl/a", "ttl/b")
    cases = [made_up(noting(name), name, schedule=Schedule.UNDISTURBED) for name in names]
    assert [each.verdict for each in run(target, *cases)] == [Verdict.PASS] * 2
    assert len({*used.values(), target.pid}) == 3
    # One that the suite cannot start has no second: there they take turns.
    running = RunningServer(target.socket_path, Declared(pid=target.pid))
    assert [each.verdict for each in run(running, *cases)] == [Verdict.PASS] * 2
    assert set(used.values()) == {target.pid}


def test_server_that_dies_of_an_undisturbed_case_is_told(target: Target) -> None:
    def function(lab: Lab) -> None:
        lab.target.ask_to_exit()

    (result,) = run(target, made_up(function, schedule=Schedule.UNDISTURBED))
    assert (result.verdict, result.server_died) == (Verdict.ERROR, True)
    assert "started for this case alone died" in result.reason
    target.check_alive()


def test_server_that_starts_only_once_is_shared(tmp_path: Path) -> None:
    reference = f"{sys.executable} -m scache_reference --listen {{socket}}"
    command = f"sh -c 'mkdir {tmp_path}/lock && exec {reference}'"
    used: list[int | None] = []
    with CommandServer(command, Declared()) as once:
        (result,) = run(once, made_up(lambda lab: used.append(lab.target.pid), schedule=Schedule.UNDISTURBED))
        assert used == [once.pid]
    assert result.verdict is Verdict.PASS


def test_server_for_one_case_that_cannot_be_ended_is_told(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: CommandServer) -> None:
        right(self)
        if self is not target:
            raise OSError("no space left")

    right = CommandServer.stop
    with monkeypatch.context() as patch:
        (passed,) = run(target, made_up(lambda lab: None, schedule=Schedule.UNDISTURBED))
        patch.setattr(Runner, "_starts_twice", lambda self: True)
        patch.setattr(CommandServer, "stop", stop)
        (result,) = run(target, made_up(lambda lab: None, schedule=Schedule.UNDISTURBED))
    assert passed.verdict is Verdict.PASS
    assert result.verdict is Verdict.ERROR
    assert "no space left" in result.reason


def test_what_passed_beside_the_case_that_a_server_died_of_stays_told(tmp_path: Path) -> None:
    def kill(lab: Lab) -> None:
        assert lab.target.pid is not None
        os.kill(lab.target.pid, signal.SIGKILL)
        raise Unmet("a server", "none")

    with server("reference", tmp_path, real_time=True) as started:
        running = RunningServer(started.socket_path, Declared(pid=started.pid))
        waiting = [made_up(lambda lab: None, f"ttl/{name}", Schedule.WAITING) for name in "abc"]
        kills = made_up(kill, "ttl/kills", Schedule.WAITING)
        never = made_up(kill, "fd/never", Schedule.OWN_SERVERS)
        results = run(running, *waiting, kills, never)
    verdicts = {each.slug: each.verdict for each in results}
    assert verdicts.pop("fd/never") is Verdict.ERROR
    assert verdicts.pop("ttl/kills") is Verdict.FAIL
    assert set(verdicts.values()) == {Verdict.PASS}
