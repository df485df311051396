"""The proof: it holds, its formulas are the program's, and it fails where something is wrong.

A short form of `make prove`: each check that needs a fraction of a second runs here, the whole of it there.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from tests.support.checkout import ROOT

pytest.importorskip("z3", reason="z3-solver is not installed: pip install 'scached[proof]'")

from tests.proof.wrong_rules import (
    NOT_BROKEN,
    caught_elsewhere,
    descriptors,
    first_broken_by,
    scenes,
    speaks_of_the_table_or_the_cache,
)  # fmt: skip
from tests.wrong.registry import rules

from scache_proof import encoding, formulas
from scache_proof.control import first_broken, wrong_rows
from scache_proof.encoding import DiffersError, broken, check_action, check_happening, row_scenes
from scache_proof.formulas import ACTIONS
from scache_proof.happenings import HAPPENINGS
from scache_proof.induction import Case, cases, first_state, prove, row_case, solver_for
from scache_proof.invariants import INVARIANTS
from scache_proof.scenes import table_with
from scache_proof.story import tell
from scache_spec.conversation import TRANSITIONS, Action, Input, State, Transition

CASES = list(cases())
STATES = 40
"""Concrete states for each formula. Arbitrary: `make prove` compares a thousand."""


def test_there_are_invariants_of_every_area() -> None:
    assert {each.area for each in INVARIANTS.values()} == {
        "ownership", "order", "replies", "lifetime", "counters", "room",
    }  # fmt: skip
    assert len(INVARIANTS) >= 38


def test_every_row_of_the_table_is_a_step() -> None:
    assert len(CASES) == len(TRANSITIONS) + len(HAPPENINGS)


def test_first_state_satisfies_every_invariant() -> None:
    _, verdicts = first_state()
    assert verdicts
    assert [each.invariant for each in verdicts if not each.is_proved] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_step_can_be_taken_and_keeps_every_invariant(case: Case) -> None:
    assert str(solver_for(case).check()) == "sat", "no step is like this: nothing would be proved of it"
    assert [each.invariant for each in prove(case) if not each.is_proved] == []


@pytest.mark.parametrize("action", Action, ids=lambda action: action.name)
def test_formula_of_an_action_has_the_successor_that_the_program_makes(action: Action) -> None:
    assert check_action(action, STATES).states == STATES


@pytest.mark.parametrize("name", HAPPENINGS)
def test_formula_of_what_happens_besides_has_it_too(name: str) -> None:
    assert check_happening(name, STATES).states == STATES


@pytest.mark.parametrize("action", Action, ids=lambda action: action.name)
def test_formula_that_is_weakened_to_true_is_noticed(action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "row_successor", lambda *_: {})
    with pytest.raises(DiffersError, match="allows anything"):
        check_action(action, 1)


@pytest.mark.parametrize("part", ["cached", "said", "before", "kept"])
def test_formula_without_one_part_is_noticed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*given: object) -> Mapping[str, object]:
        return {name: each for name, each in formulas.row_successor(*given).items() if name != part}  # type: ignore[arg-type] # whatever check_action gives

    monkeypatch.setattr(encoding, "row_successor", without)
    with pytest.raises(DiffersError, match=f"{part}: the formula allows anything"):
        check_action(Action.HOLD, 1)


def test_formula_of_another_action_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIONS, Action.PUT_BACK, ACTIONS[Action.LET_GO])
    with pytest.raises(DiffersError, match="PUT_BACK"):
        check_action(Action.PUT_BACK, STATES)


def test_formula_of_another_happening_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = HAPPENINGS["statistics are printed"].successor
    monkeypatch.setitem(HAPPENINGS, "time passes", replace(HAPPENINGS["time passes"], successor=quiet))
    with pytest.raises(DiffersError, match="time passes"):
        check_happening("time passes", STATES)


def test_action_without_a_formula_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ACTIONS, Action.SEND)
    with pytest.raises(ValueError, match="SEND has no formula"):
        list(cases())
    with pytest.raises(DiffersError, match="SEND has no formula"):
        check_action(Action.SEND, 1)


def test_right_program_breaks_no_invariant_on_concrete_states() -> None:
    scenes = row_scenes(Random(2))
    for _ in range(100):
        state, what, scene, came = next(scenes)
        assert broken(scene, came, TRANSITIONS[state, what]) == []


A_FEW_WRONG_ROWS = list(wrong_rows())[::20]


@pytest.mark.parametrize("state, what, row", A_FEW_WRONG_ROWS)  # noqa: PT006
def test_wrong_row_breaks_an_invariant(state: State, what: Input, row: Transition) -> None:
    assert len(list(wrong_rows())) == len(TRANSITIONS) * (len(Action) - 1 + len(State) - 1)
    is_same = {row.action, TRANSITIONS[state, what].action} == {Action.IGNORE, Action.FORGET}
    assert (first_broken(row_case(state, what, row), "") is None) == is_same


@pytest.mark.parametrize("slug", ["newest-first", "put-back-goes-last", "one-session-too-many", "misses-are-hits"])
def test_wrong_rule_breaks_an_invariant(slug: str) -> None:
    with descriptors(12) as handles:
        assert first_broken_by(rules()[slug], scenes(handles)) is not None


def test_wrong_rules_that_break_nothing_are_of_the_picture() -> None:
    assert [slug for slug in NOT_BROKEN if not speaks_of_the_table_or_the_cache(rules()[slug])] == []
    assert [slug for slug in NOT_BROKEN if not caught_elsewhere(slug)] == []


WRONG = (State.READY, Input.GONE, Transition(State.CLOSED, Action.FORGET, "FD-10"))


def test_counterexample_is_a_story_with_a_script_that_shows_it() -> None:
    invariant = first_broken(row_case(*WRONG), "")
    assert invariant == "ownership-nothing-forgotten"
    story, _, script = tell(*WRONG, invariant).partition("This script shows it:\n")
    assert "client 1 is in READY, session" in story
    assert "is nowhere: its descriptor stays open" in story
    lines = "\n".join(line.removeprefix("    ") for line in script.splitlines())
    ran = subprocess.run([sys.executable, "-c", lines], cwd=ROOT / "spec", capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Disconnect(client=1)" in ran.stdout
    assert "CloseDescriptor" not in ran.stdout
    assert ran.stdout.endswith("clients:\nsessions:\n")


def test_wrong_row_in_the_table_itself_is_found_as_well() -> None:
    with table_with(*WRONG):
        case = next(case for case in cases() if case.name == "READY on GONE")
        assert "ownership-nothing-forgotten" in [each.invariant for each in prove(case) if not each.is_proved]


def test_command_tries_a_row() -> None:
    command = [sys.executable, "-m", "scache_proof", "RECEIVED", "GONE", "IGNORE", "CLOSED"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": f"{ROOT}/spec:{ROOT}/proof"}
    )
    assert (ran.returncode, ran.stdout) == (0, "Every invariant holds with this row.\n")
