"""The runner: what is worth another try, and who gets a server of its own."""

from collections.abc import Iterator

import pytest
from tests.conformance.plugged import server

from scache_conformance.lab import Inconclusive, Lab
from scache_conformance.peer import Silence, Unmet
from scache_conformance.registry import Case, Function
from scache_conformance.runner import TRIES_MAX, Runner
from scache_conformance.target import RunningServer, Target, Told
from scache_conformance.verdicts import Level, Result, Verdict


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with server("reference", tmp_path_factory.mktemp("reference"), real_time=True) as started:
        yield started


def made_up(function: Function, slug: str = "ttl/made-up", *, undisturbed: bool = False) -> Case:
    return Case(
        slug=slug,
        title="made up",
        clauses=("TTL-1",),
        level=Level.MUST,
        waits=undisturbed,
        undisturbed=undisturbed,
        apart=False,
        function=function,
    )


def run(target: Target, *cases: Case) -> list[Result]:
    told: list[Result] = []
    results = Runner(target, {}, told.append).run(cases)
    assert sorted(each.slug for each in told) == sorted(each.slug for each in results), "each is told once"
    return list(results)


@pytest.mark.parametrize(
    ("seconds", "raised", "tries"),
    [
        (0.0, Unmet("this", "that"), 1),
        (1.0, Unmet("this", "that"), TRIES_MAX),
        (1.0, Silence("this", "nothing"), 1),
        (0.0, Inconclusive("busy"), TRIES_MAX),
    ],
    ids=["failed at once", "may have expired", "no answer", "too late"],
)
def test_another_try_is_for_what_the_machine_may_have_done(
    target: Target, seconds: float, raised: Exception, tries: int
) -> None:
    tried: list[Lab] = []

    def function(lab: Lab) -> None:
        tried.append(lab)
        lab.sleep(seconds)
        raise raised

    (result,) = run(target, made_up(function))
    assert len(tried) == tries
    assert result.verdict is (Verdict.SKIP if isinstance(raised, Inconclusive) else Verdict.FAIL)


def test_undisturbed_case_has_its_server_for_itself(target: Target) -> None:
    used: dict[str, int | None] = {}

    def noting(name: str) -> Function:
        def note(lab: Lab) -> None:
            used[name] = lab.target.pid

        return note

    names = ("ttl/a", "ttl/b")
    cases = [made_up(noting(name), name, undisturbed=True) for name in names]
    assert [each.verdict for each in run(target, *cases)] == [Verdict.PASS] * 2
    assert len({*used.values(), target.pid}) == 3
    # One that the suite cannot start has no second: there they take turns.
    running = RunningServer(target.socket_path, Told(pid=target.pid))
    assert [each.verdict for each in run(running, *cases)] == [Verdict.PASS] * 2
    assert set(used.values()) == {target.pid}


def test_server_that_dies_of_an_undisturbed_case_is_told(target: Target) -> None:
    def function(lab: Lab) -> None:
        lab.target.ask_to_exit()

    (result,) = run(target, made_up(function, undisturbed=True))
    assert (result.verdict, result.server_died) == (Verdict.ERROR, True)
    assert "started for this case alone died" in result.reason
    target.check_alive()
