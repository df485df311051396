"""The Spin model of the dance: searched completely, and each mistake built into it is found.

The verdict that each search must reach, and how many states there are.
"""

import re
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.support.spin import search

MODEL = ROOT / "spec" / "model" / "dance.pml"

STATES_STORED = 1_037_669
"""Without partial order reduction, so that the figure counts every reachable state. Spin 6.5.2."""

PROCESSES = {"server", "polite", "chaotic", "killer", "auditor"}

NEVER_CLOSED = r"assertion violated \(owner\[i\]==0\)"
NOT_THE_OWNER = r"assertion violated \(owner\[held\[c\]\]=="

BUGS = {
    "LEAK_ON_DEATH": NEVER_CLOSED,
    "LEAK_PAIR": NEVER_CLOSED,
    "LEAK_REFUSED": NEVER_CLOSED,
    "DOUBLE_HANDOUT": r"assertion violated +!\(Q_has\(table, 1, held\[c\]",
    "DOUBLE_CLOSE": NOT_THE_OWNER,
    "EXPIRE_HELD": NOT_THE_OWNER,
    "STALL": "invalid end state",
    "DEAF": r"assertion violated \(alive\[i\]\|\|",
}
"""Each mistake the model can be built with, and what the search must say about it."""

SEARCH_ONLY_FOR_END_STATES = {"STALL"}
"""Searched with assertions off: a server that waits for one client also misses another's death, and either shows."""

pytestmark = pytest.mark.needs("spin", "compiler")


def test_dance_has_no_deadlock_no_leak_and_no_second_handout(tmp_path: Path) -> None:
    said = search(MODEL, tmp_path)
    assert "errors: 0" in said, said
    # A search cut off at its depth would pass for a complete one.
    assert "max search depth too small" not in said
    assert "Search not completed" not in said
    unreached = dict(re.findall(r"unreached in proctype (\w+)\n\t\((\d+) of \d+ states\)", said))
    assert unreached == dict.fromkeys(PROCESSES, "0"), said
    stored = re.search(r"(\d+) states, stored", said)
    assert stored is not None, said
    assert int(stored[1]) == STATES_STORED


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_built_in_mistake_is_found(bug: str, tmp_path: Path) -> None:
    flags = ("-A",) if bug in SEARCH_ONLY_FOR_END_STATES else ()
    said = search(MODEL, tmp_path, bug=bug, flags=flags)
    assert "errors: 1" in said, said
    assert re.search(BUGS[bug], said), said
    assert (tmp_path / f"{MODEL.name}.trail").exists()


def test_every_mistake_of_the_model_is_searched_for() -> None:
    assert set(re.findall(r"BUG_([A-Z_]+)$", MODEL.read_text(), re.MULTILINE)) == set(BUGS)
