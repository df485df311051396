"""The list of what is wrong on purpose."""

import inspect
import subprocess
import sys

import pytest
from tests.support.checkout import ROOT
from tests.wrong.registry import (
    Instead,
    Layer,
    Rule,
    by_clause,
    caught_by,
    places,
    right_of,
    rules,
    wrong,
    wrong_server,
)

from scache_reference.shell import Shell
from scache_spec import attributes, events
from scache_spec.actions import ACTIONS
from scache_spec.clauses import AREAS, OF_CLIENTS
from scache_spec.conversation import TRANSITIONS, Action, Input, State

RULES = list(rules().values())


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.wrong", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.of is not None], ids=str)
def test_wrong_rule_has_the_parameters_of_the_right_one(rule: Rule) -> None:
    assert rule.of is not None
    right = right_of(rule.of)
    _, *given = inspect.signature(rule.function).parameters.values()
    named = [each.name for each in given if each.kind is not inspect.Parameter.VAR_POSITIONAL]
    wanted = list(inspect.signature(right).parameters) if inspect.isfunction(right) else []
    assert named == wanted[: len(named)]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_wrong_rule_is_undone(rule: Rule) -> None:
    instead = rule.instead()
    before = instead.looked_up()
    with instead:
        spoiled = instead.looked_up()
    assert all(each is not right for each, right in zip(spoiled, before, strict=True))
    assert instead.looked_up() == before


def test_every_layer_that_a_rule_escapes_is_given_a_reason() -> None:
    assert [str(rule) for rule in RULES if not all(rule.escapes.values())] == []
    assert [str(rule) for rule in RULES if len(rule.escapes) == len(Layer)] == []


def test_every_area_of_clauses_is_broken() -> None:
    assert {clause.partition("-")[0] for clause in by_clause()} == set(AREAS) - {OF_CLIENTS}


def test_each_layer_catches_many() -> None:
    assert {layer: len(caught_by(layer)) >= 90 for layer in Layer} == dict.fromkeys(Layer, True)


def test_function_is_replaced_wherever_it_was_imported() -> None:
    assert {holder for holder, _ in places(attributes.decode)} >= {attributes, events}


def test_action_row_and_method_are_replaced() -> None:
    assert places(Action.PARK) == [(ACTIONS, Action.PARK)]
    assert places((State.READY, Input.GONE)) == [(TRANSITIONS, (State.READY, Input.GONE))]
    assert places(Shell._serve) == [(Shell, "_serve")]


def test_rule_that_breaks_nothing_or_says_nothing_is_refused() -> None:
    def nameless(instead: Instead) -> None: ...

    with pytest.raises(AssertionError, match="breaks nothing"):
        wrong()(nameless)
    with pytest.raises(AssertionError, match="breaks what nobody states"):
        wrong("NOWHERE-1")(nameless)
    with pytest.raises(AssertionError, match="does not say what is wrong"):
        wrong("ENDP-3")(nameless)
    with pytest.raises(AssertionError, match="two wrong rules named newest-first"):
        wrong_server("newest-first", "ENDP-3", what="It is there already.", command="true {socket}")


def test_list_names_each_with_its_layers() -> None:
    printed = run("--list").stdout.splitlines()
    assert len(printed) == len(RULES)
    assert [line.split()[:5] for line in printed if line.startswith("newest-by-destination ")] == [
        ["newest-by-destination", "DEST-4", "exploration", "lockstep", "suite"]
    ]


def test_unknown_rule_is_refused() -> None:
    done = run("nobody", "--listen", "/nowhere")
    assert done.returncode == 1
    assert "no wrong rule 'nobody'" in done.stderr
