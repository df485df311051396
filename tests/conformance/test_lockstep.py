"""Lockstep: what is made up is worth trying, good servers keep step, a wrong one is caught and its run shortened."""

import json
import random
import secrets
from collections import Counter
from pathlib import Path

import pytest
from tests.conformance import plugged
from tests.conftest import SAMPLE, Volume

from scache_conformance.generated import lockstep, oracle, rules, traces
from scache_conformance.generated.driver import drive
from scache_conformance.generated.lockstep import PLAN_BYTES, trace_of
from scache_conformance.generated.rules import RuleSet
from scache_conformance.generated.scenario import CLIENTS, Names, Scenario
from scache_conformance.generated.steps import (
    FindDest,
    FindEndp,
    Outcome,
    SaveDest,
    SaveEndp,
    Send,
    Trace,
    trace_from_json,
    trace_to_json,
)
from scache_spec.conversation import State
from scache_spec.vocabulary import Limits

LIMITS = Limits(ttl_limit_s=2, ipc_timeout_s=60)


def made_up(rule_set: RuleSet, number: int) -> list[Trace]:
    rng = random.Random(5)
    names = Names.tagged(b"")
    return [trace_of(rng.randbytes(PLAN_BYTES), names, LIMITS, rule_set, has_clock=True) for _ in range(number)]


@pytest.mark.parametrize("rule_set", RuleSet)
def test_finds_hit_and_miss_often_enough(rule_set: RuleSet) -> None:
    finds = Counter(what for trace in made_up(rule_set, 400) for what in lockstep.tally(trace))
    kinds = {f"{verb} {what}" for verb in ("find_endp", "find_dest") for what in ("hit", "gone", "unknown")}
    assert {kind: number for kind, number in finds.items() if number < 100} == {}
    assert set(finds) == kinds
    assert sum(number for what, number in finds.items() if what.endswith("hit")) >= sum(finds.values()) // 5


def test_every_step_and_outcome_is_made_up() -> None:
    runs = made_up(RuleSet.ALL, 200)
    kinds = {type(each.step).__name__ for trace in runs for each in trace.steps}
    assert kinds == {"Connect", "HangUp", "Tick", "SaveEndp", "SaveDest", "FindEndp", "FindDest", "Send"}
    assert any(each.outcome.closed for trace in runs for each in trace.steps if isinstance(each.step, Send))
    assert sum(len(each.step.sessions) == 2 for trace in runs for each in trace.steps if isinstance(each.step, Send))


def test_same_plan_is_the_same_run() -> None:
    assert made_up(RuleSet.ALL, 5) == made_up(RuleSet.ALL, 5)


def test_plan_of_zeros_does_nothing() -> None:
    trace = trace_of(bytes(PLAN_BYTES), Names.tagged(b""), LIMITS, RuleSet.ALL, has_clock=True)
    assert not any(isinstance(each.step, Send | SaveEndp | FindEndp) for each in trace.steps)


@pytest.mark.parametrize("rule_set", RuleSet)
def test_no_client_is_left_waiting_by_a_server_for_one_dance_at_a_time(rule_set: RuleSet) -> None:
    """After each rule a Postfix server must be at rest: others come next."""
    names = Names.tagged(b"")
    waiting = 0
    for seed in range(50):
        scenario = Scenario(names, LIMITS, True)
        for piece in range(0, PLAN_BYTES, 3):
            rules.follow(scenario, rule_set, random.Random(f"{seed}.{piece}").randbytes(3))
            waiting += not all(scenario.is_in(client, State.REQUEST) for client in CLIENTS)
    assert (waiting == 0) == (rule_set is RuleSet.SEQUENTIAL)


def test_verbs_are_what_their_dances_are() -> None:
    """The oracle's short way through the four verbs, held against the specification's conversation byte by byte."""
    compared = 0
    for trace in made_up(RuleSet.SEQUENTIAL, 60):
        short = long = oracle.start(LIMITS)
        for each in trace.steps:
            short, outcome = oracle.perform(short, each.step)
            if not isinstance(each.step, SaveEndp | SaveDest | FindEndp | FindDest):
                long, seen = oracle.perform(long, each.step)
                assert seen == outcome
                continue
            received: list[object] = []
            for write in oracle.as_dance(each.step):
                long, seen = oracle.perform(long, write)
                received += seen.received
                if received[-1:] and b"status\x002" in bytes(str(received[-1]), "latin-1").replace(b"\\x00", b"\0"):
                    break
            assert long.cache == short.cache
            assert _is_said_by(outcome, received)
            compared += 1
    assert compared >= 500


def _is_said_by(outcome: Outcome, received: list[object]) -> bool:
    text = repr(received)
    if outcome.status is not None:
        return f"status\\x00{outcome.status}" in text
    if outcome.found is None:
        return "status\\x002" in text
    return f"Descriptor(session={outcome.found.session})" in text and "status\\x000" in text


@pytest.mark.generated
@pytest.mark.parametrize("name", plugged.SERVERS)
def test_server_keeps_step(name: str, tmp_path: Path, volume: Volume) -> None:
    with plugged.server(name, tmp_path) as target:
        result = lockstep.run(target, steps_min=volume.steps, seed_number=1, rule_set=plugged.rule_set(name))
    print(f"{name}: {result}")
    assert result.divergence is None, "\n".join([str(result), *result.divergence.transcript])
    assert result.steps >= volume.steps


@pytest.mark.generated
@pytest.mark.parametrize("name", plugged.SERVERS)
def test_server_keeps_step_in_runs_that_nobody_has_seen(name: str, tmp_path: Path, volume: Volume) -> None:
    seed_number = secrets.randbelow(1_000_000)  # the result names it
    with plugged.server(name, tmp_path) as target:
        result = lockstep.run(
            target, steps_min=volume.steps // 4, seed_number=seed_number, rule_set=plugged.rule_set(name)
        )
    print(f"{name}: {result}")
    assert result.divergence is None, "\n".join([str(result), *result.divergence.transcript])


@pytest.mark.parametrize("name", plugged.SERVERS)
def test_server_keeps_step_in_real_time(name: str, tmp_path: Path) -> None:
    with plugged.server(name, tmp_path, ttl_limit_s=600, real_time=True) as target:
        result = lockstep.run(target, steps_min=SAMPLE.steps // 4, seed_number=2, rule_set=plugged.rule_set(name))
    assert result.divergence is None, "\n".join([str(result), *result.divergence.transcript])


WRONG = [
    "newest-first",
    "put-back-goes-last",
    "put-back-is-lost",
    "held-session-never-expires",
    "received-list-is-served",
    "pipelined-request-is-dropped",
    "two-descriptors-are-accepted",
    "leaks-a-refused-descriptor",
    "renewal-reorders",
    "second-binding-is-tried-first",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_server_is_caught(wrong: str, tmp_path: Path) -> None:
    with plugged.wrong(wrong, tmp_path) as target:
        result = lockstep.run(target, steps_min=20_000, seed_number=3, shorten_s_max=0)
    assert result.divergence is not None
    assert "DIVERGED" in str(result)


def test_run_that_failed_is_short_and_can_be_replayed(tmp_path: Path) -> None:
    with plugged.wrong("newest-first", tmp_path) as target:
        result = lockstep.run(target, steps_min=20_000, seed_number=3)
        assert result.divergence is not None
        trace = trace_from_json(json.loads(json.dumps(trace_to_json(result.divergence.trace))))
        saves = [each for each in trace.steps if isinstance(each.step, SaveEndp | Send)]
        assert len(saves) <= 6, "two saves and a find would do"
        assert len(traces.replay(target, [trace]).divergences) == 1
    with plugged.server("reference", tmp_path) as target:
        drive(target, trace)
