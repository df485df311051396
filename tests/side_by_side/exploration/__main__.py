"""Explore one scope: `python -m tests.side_by_side.exploration [order|queue|peaks|late|wide|wrong]`, wide by default.

`wrong` lists the wrong rules instead, each with the length of the shortest way to show that it is wrong.

Prints the size of the space and, where the two tables differ, the shortest program that shows it. Exit status 0: they
agree and the counts are the committed ones; 1: they do not; 2: there is no such scope.
"""

import sys
import time

from tests.side_by_side.exploration.catching import first_difference
from tests.side_by_side.exploration.explorer import explore, script
from tests.side_by_side.exploration.fast_table import FastTable
from tests.side_by_side.exploration.late_table import LateTable
from tests.side_by_side.exploration.scopes import COMMITTED
from tests.side_by_side.exploration.spec_table import SpecTable
from tests.support.commands import status_of
from tests.wrong.registry import Layer, caught_by


def main(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "wide"
    if arguments == ["wrong"]:
        return list_wrong_rules()
    if name not in COMMITTED or len(arguments) > 1:
        print(f"no scope {' '.join(arguments)!r}: give one of {', '.join(COMMITTED)} or wrong", file=sys.stderr)
        return 2
    committed = COMMITTED[name]
    limits = committed.scope.limits
    kind = LateTable if name == "late" else FastTable
    begin_s = time.monotonic()
    explored = explore(committed.scope, SpecTable(limits), kind(limits))
    print(
        f"{name}: {explored.states} states, {explored.transitions} transitions, depth {explored.depth},"
        f" {time.monotonic() - begin_s:.1f} s"
    )
    if explored.difference is not None:
        print(f"differs:\n  {explored.difference.left}\n  {explored.difference.right}\n")
        print(script(committed.scope, SpecTable, kind, explored.operations))
        return 1
    if (explored.states, explored.transitions) != (committed.states, committed.transitions):
        print(f"committed: {committed.states} states, {committed.transitions} transitions")
        return 1
    return 0


def list_wrong_rules() -> int:
    missed = 0
    caught = caught_by(Layer.EXPLORATION)
    for rule in caught:
        explored = first_difference(rule)[1]
        missed += explored.difference is None
        steps = str(len(explored.operations)) if explored.difference is not None else "missed"
        print(f"{steps:>6}  {rule.slug:46} {rule.what}")
    print(f"{len(caught) - missed} of {len(caught)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(sys.argv[1:])))
