"""How a wrong version is caught: the small scopes, one after the other, until one shows a difference.

Decides in which order to look. Refuses to know what is wrong with the version, and whether missing it is a failure.
"""

import math
from typing import Final

from tests.side_by_side.exploration.explorer import Explored, Scope, explore
from tests.side_by_side.exploration.fast_table import FastTable, stale_instants_max
from tests.side_by_side.exploration.scopes import COMMITTED, ORDER, SMALL
from tests.side_by_side.exploration.spec_table import SpecTable

FIRST_ROUND_TRANSITIONS: Final = 1000
"""Most wrong versions show themselves within a few steps of some scope, so that a first round looks only there."""


def first_difference(wrong: type[SpecTable] | type[FastTable]) -> tuple[Scope, Explored]:
    """Return the first small scope that shows the version to be wrong, and what it shows."""
    scope, explored = ORDER, Explored(0, 0, 0)
    for transitions_max in (FIRST_ROUND_TRANSITIONS, math.inf):
        for name, scope in SMALL.items():
            with stale_instants_max(COMMITTED[name].stale_max):
                explored = explore(scope, SpecTable(scope.limits), wrong(scope.limits), transitions_max)
            if explored.difference is not None:
                return scope, explored
    return scope, explored
