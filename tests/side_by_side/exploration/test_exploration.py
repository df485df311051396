"""The specification's cache beside the production table, exhaustively, and beside both with wrong rules."""

import contextlib
import io
from collections.abc import Hashable, Iterator

import pytest
from tests.side_by_side.exploration.breadth_first import reachable
from tests.side_by_side.exploration.catching import first_difference, setup, wrong_table
from tests.side_by_side.exploration.explorer import Pair, Scope, enabled, explore, pair_key, script
from tests.side_by_side.exploration.fast_table import ALL, FastTable
from tests.side_by_side.exploration.invariants import InspectedTable, check_state, check_step
from tests.side_by_side.exploration.late_table import LateTable
from tests.side_by_side.exploration.operations import Operation, apply, instant_after, new_handle
from tests.side_by_side.exploration.scopes import COMMITTED, ORDER, PEAKS, QUEUE, SMALL
from tests.side_by_side.exploration.server_table import ServerTable
from tests.side_by_side.exploration.spec_table import SpecTable
from tests.wrong.registry import Layer, Rule, caught_by, right_server, rules

from scache_spec.conversation import FindEndp, SaveEndp
from scache_spec.vocabulary import Label, Properties

OPERATIONS_MAX = 8
"""A counterexample longer than this is one that nobody reads."""


@pytest.mark.parametrize(("name", "share"), [*((name, ALL) for name in SMALL), ("peaks", 1)])
def test_production_table_agrees_in_every_state_of_a_scope(name: str, share: int) -> None:
    committed = COMMITTED[name]
    limits = committed.scope.limits
    explored = explore(committed.scope, SpecTable(limits), FastTable(limits, share))
    print(
        f"{name}, share {share}: {explored.states} states, {explored.transitions} transitions, depth {explored.depth}"
    )
    assert explored.difference is None, script(committed.scope, SpecTable, FastTable, explored.operations)
    assert (explored.states, explored.transitions) == (committed.states, committed.transitions)


def test_TTL_5_nobody_can_tell_what_is_due_and_not_removed_in_any_state_of_a_scope() -> None:
    committed = COMMITTED["late"]
    limits = committed.scope.limits
    explored = explore(committed.scope, SpecTable(limits), LateTable(limits))
    assert explored.difference is None, script(committed.scope, SpecTable, LateTable, explored.operations)
    assert (explored.states, explored.transitions) == (committed.states, committed.transitions)


@pytest.mark.parametrize(
    ("scope", "states", "transitions"),
    [(QUEUE, 1113, 9390), (PEAKS, 1077, 9133)],
    ids=["queue", "peaks"],
)
def test_specified_server_agrees_with_its_own_cache(scope: Scope, states: int, transitions: int) -> None:
    explored = explore(scope, SpecTable(scope.limits), ServerTable(scope.limits))
    assert explored.difference is None, script(scope, SpecTable, ServerTable, explored.operations)
    assert (explored.states, explored.transitions) == (states, transitions)


@pytest.mark.parametrize("scope", SMALL.values(), ids=SMALL)
def test_specification_keeps_its_invariants_in_every_state(scope: Scope) -> None:
    assert check_everywhere(scope, SpecTable(scope.limits)) > 1000


@pytest.mark.parametrize(
    "name",
    [
        "hands-out-twice",
        "newest-first",
        "held-session-leaks-with-its-client",
        "session-outlives-its-instant",
        "expired-descriptor-stays-open",
        "renewal-makes-a-second",
        "second-binding-is-tried-first",
        "find-consumes-its-binding",
        "binding-ttl-uncapped",
        "full-cache-leaks-a-descriptor",
        "bindings-unlimited",
    ],
)
def test_invariant_is_seen_broken(name: str) -> None:
    table = wrong_table(rules()[name])(ORDER.limits)
    assert isinstance(table, ServerTable)
    with pytest.raises(AssertionError):
        check_everywhere(ORDER, table)


def check_everywhere(scope: Scope, start: InspectedTable) -> int:
    """Check the invariants in every state that can be reached, and at every step; return the number of states."""
    choices = scope.saves_and_finds()

    def successors(state: tuple[int, InspectedTable]) -> Iterator[tuple[Operation, tuple[int, InspectedTable]]]:
        before_ns, before = state
        copy = before.copier()
        for operation in enabled(scope, choices, before):
            after, now_ns, handle = copy(), instant_after(operation, before_ns), new_handle(before)
            reply = apply(after, operation, now_ns, handle)
            check_step(before, operation, handle, reply, after, now_ns)
            yield operation, (now_ns, after)

    def key(state: tuple[int, InspectedTable]) -> Hashable:
        return pair_key(scope, Pair(state[0], state[1], state[1]))

    count = 0
    for (now_ns, table), _ in reachable((0, start), successors, key):
        check_state(scope, table, now_ns)
        count += 1
    return count


@pytest.mark.parametrize("rule", caught_by(Layer.EXPLORATION), ids=str)
def test_wrong_rule_is_caught(rule: Rule) -> None:
    scope, explored = first_difference(rule)
    assert explored.difference is not None, f"nothing catches this: {rule.what}"
    assert len(explored.operations) <= OPERATIONS_MAX
    program = script(scope, SpecTable, "WrongTable", explored.operations, setup(rule))
    print(f"{len(explored.operations)} operations  {rule.slug}  {rule.what}\n{program}")
    assert differs_when_run(program)


def differs_when_run(program: str) -> bool:
    """Run a counterexample; return whether the two tables print different lines or the second one breaks."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(program, "counterexample", "exec"), {})
        except (LookupError, AssertionError, AttributeError):
            return printed.getvalue().count("# ") == 2  # Nothing but the second table may break.
    tables = printed.getvalue().split("# ")[1:]
    left, right = (each.split("\n", 1)[1] for each in tables)
    return left != right


def test_right_table_shows_no_difference() -> None:
    rule = right_server()
    assert explore(PEAKS, SpecTable(PEAKS.limits), wrong_table(rule)(PEAKS.limits)).difference is None
    way = (SaveEndp(1, Label(b"a"), Properties(b"p")), FindEndp(Label(b"a")))
    assert not differs_when_run(script(PEAKS, SpecTable, ServerTable, way))
