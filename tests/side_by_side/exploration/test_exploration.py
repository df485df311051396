"""The specification's cache beside the production table, exhaustively, and beside wrong versions of both."""

import contextlib
import io
from collections.abc import Hashable, Iterator

import pytest
from tests.side_by_side.exploration.breadth_first import reachable
from tests.side_by_side.exploration.catching import first_difference
from tests.side_by_side.exploration.explorer import Pair, Scope, enabled, explore, pair_key, script
from tests.side_by_side.exploration.fast_table import FastTable, is_heap, stale_instants_max
from tests.side_by_side.exploration.invariants import check_state, check_step
from tests.side_by_side.exploration.operations import Operation, apply, instant_after, new_handle
from tests.side_by_side.exploration.scopes import COMMITTED, ORDER, PEAKS, QUEUE, SMALL
from tests.side_by_side.exploration.server_table import ServerTable
from tests.side_by_side.exploration.spec_table import SpecTable
from tests.wrong import versions
from tests.wrong.versions import WRONG_VERSIONS

OPERATIONS_MAX = 8
"""A counterexample longer than this is one that nobody reads."""


@pytest.mark.parametrize("name", SMALL)
def test_production_table_agrees_in_every_state_of_a_scope(name: str) -> None:
    committed = COMMITTED[name]
    limits = committed.scope.limits
    with stale_instants_max(committed.stale_max):
        explored = explore(committed.scope, SpecTable(limits), FastTable(limits))
    print(f"{name}: {explored.states} states, {explored.transitions} transitions, depth {explored.depth}")
    assert explored.difference is None, script(
        committed.scope, SpecTable, FastTable, explored.operations, committed.setup()
    )
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
    "wrong",
    [
        versions.HandsOutTwice,
        versions.NewestFirst,
        versions.PutBackForgotten,
        versions.SessionNeverExpires,
        versions.ExpiryLeaks,
        versions.SavedTwice,
        versions.LastBindingFirst,
        versions.BindingConsumed,
        versions.BindingTtlWithoutLimit,
        versions.RefusalLeaks,
        versions.NoBindingsLimit,
    ],
)
def test_invariant_is_seen_broken(wrong: type[SpecTable]) -> None:
    with pytest.raises(AssertionError):
        check_everywhere(ORDER, wrong(ORDER.limits))


def check_everywhere(scope: Scope, start: SpecTable) -> int:
    """Check the invariants in every state that can be reached, and at every step; return the number of states."""
    choices = scope.saves_and_finds()

    def successors(state: tuple[int, SpecTable]) -> Iterator[tuple[Operation, tuple[int, SpecTable]]]:
        before_ns, before = state
        copy = before.copier()
        for operation in enabled(scope, choices, before):
            after, now_ns, handle = copy(), instant_after(operation, before_ns), new_handle(before)
            reply = apply(after, operation, now_ns, handle)
            check_step(before, operation, handle, reply, after, now_ns)
            yield operation, (now_ns, after)

    def key(state: tuple[int, SpecTable]) -> Hashable:
        return pair_key(scope, Pair(state[0], state[1], state[1]))

    count = 0
    for (now_ns, table), _ in reachable((0, start), successors, key):
        check_state(scope, table, now_ns)
        count += 1
    return count


@pytest.mark.parametrize("wrong", WRONG_VERSIONS, ids=lambda wrong: wrong.__name__)
def test_wrong_version_is_caught(wrong: type[SpecTable] | type[FastTable]) -> None:
    scope, explored = first_difference(wrong)
    assert explored.difference is not None, f"nothing catches this: {wrong.__doc__}"
    assert len(explored.operations) <= OPERATIONS_MAX
    program = script(scope, SpecTable, wrong, explored.operations, COMMITTED["order"].setup())
    print(f"{len(explored.operations)} operations  {wrong.__name__:32}  {wrong.__doc__}\n{program}")
    assert differs_when_run(program)


def differs_when_run(program: str) -> bool:
    """Run a counterexample; return whether the two tables print different lines or the second one breaks."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), stale_instants_max(0):
        try:
            exec(compile(program, "counterexample", "exec"), {})
        except (LookupError, AssertionError, AttributeError):
            return True
    tables = printed.getvalue().split("# ")[1:]
    left, right = (each.split("\n", 1)[1] for each in tables)
    return left != right


def test_there_are_enough_wrong_versions() -> None:
    assert len(WRONG_VERSIONS) >= 25
    assert len({wrong.__name__ for wrong in WRONG_VERSIONS}) == len(WRONG_VERSIONS)


def test_right_version_shows_no_difference_when_run() -> None:
    explored = explore(ORDER, SpecTable(ORDER.limits), WRONG_VERSIONS[0](ORDER.limits))
    program = script(ORDER, SpecTable, FastTable, explored.operations)
    assert not differs_when_run(program)


def test_table_compacts_its_heap_within_a_scope() -> None:
    """Rebuilding is rare in production; the exploration is worth nothing to it unless it happens here."""
    wrong = {version.__name__: version for version in WRONG_VERSIONS}["HeapRebuiltShort"]
    assert first_difference(wrong)[1].difference is not None


@pytest.mark.parametrize(("numbers", "expected"), [([], True), ([1, 2, 3], True), ([1, 3, 2], True), ([2, 1], False)])
def test_heap_order_is_told_from_disorder(numbers: list[int], expected: bool) -> None:
    assert is_heap(numbers) is expected
