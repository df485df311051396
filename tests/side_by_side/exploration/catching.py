"""How a wrong rule is caught: the small scopes, one after the other, until one shows a difference."""

import math
import os
from typing import Final

from tests.side_by_side.exploration.explorer import Explored, Scope, explore
from tests.side_by_side.exploration.fast_table import FastTable
from tests.side_by_side.exploration.late_table import LateTable
from tests.side_by_side.exploration.scopes import LATE, ORDER, SMALL
from tests.side_by_side.exploration.server_table import ServerTable
from tests.side_by_side.exploration.spec_table import SpecTable
from tests.wrong.registry import Rule

FIRST_ROUND_TRANSITIONS: Final = 1000
"""Most wrong rules show themselves within a few steps of some scope, so that a first round looks only there."""

VERBS: Final = (
    *("save_endp", "find_endp", "save_dest", "find_dest", "put_back", "hand_over"),
    *("expire", "next_expiry_ns", "sizes"),
)


def is_late(rule: Rule) -> bool:
    """Say whether the rule is about what is due and not removed."""
    return rule.server == "fast" and "TTL-5" in rule.clauses


def wrong_table(rule: Rule) -> type[ServerTable] | type[FastTable]:
    """Return a table that goes by a wrong rule: what it spoils is the specified server or the production table."""
    instead = rule.instead()
    instead((os, "dup"))(lambda right: lambda handle: handle)  # Handles are numbers here, and need no descriptor.
    if rule.server == "fast":
        return instead.spoil(LateTable if is_late(rule) else FastTable, *VERBS)
    return instead.spoil(ServerTable, *VERBS)


def setup(rule: Rule) -> tuple[str, ...]:
    """Return the lines that a program needs to have the wrong table, too."""
    return (
        "from tests.side_by_side.exploration.catching import wrong_table",
        "from tests.wrong.registry import rules",
        f"WrongTable = wrong_table(rules()[{rule.slug!r}])",
    )


def first_difference(rule: Rule) -> tuple[Scope, Explored]:
    """Return the first small scope that shows the rule to be wrong, and what it shows."""
    scope, explored = ORDER, Explored(0, 0, 0)
    for transitions_max in (FIRST_ROUND_TRANSITIONS, math.inf):
        for scope in (LATE,) if is_late(rule) else SMALL.values():
            explored = explore(scope, SpecTable(scope.limits), wrong_table(rule)(scope.limits), transitions_max)
            if explored.difference is not None:
                return scope, explored
    return scope, explored
