"""The Spin model of the dance: searched completely, and each mistake built into it is found.

The verdict that each search must reach, and how many states there are.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "spec" / "model" / "dance.pml"

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


def search(folder: Path, *, bug: str | None = None) -> str:
    """Build the search for the model, with one mistake or none, run it in `folder` and return what it says."""
    shutil.copy(MODEL, folder)
    defines = [] if bug is None else [f"-DBUG_{bug}"]
    flags = ["-A"] if bug in SEARCH_ONLY_FOR_END_STATES else []
    commands = [
        ["spin", *defines, "-a", MODEL.name],
        # pan.c is Spin's, and so are its warnings. A mistake is found early: not worth an optimizing compiler.
        ["cc", "-w", "-O2" if bug is None else "-O0", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"],
        ["./pan", "-m50000", "-w20", *flags],
    ]
    said = ""
    for command in commands:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        said = result.stdout + result.stderr
        assert result.returncode == 0, said
    return said


def test_dance_has_no_deadlock_no_leak_and_no_second_handout(tmp_path: Path) -> None:
    said = search(tmp_path)
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
    said = search(tmp_path, bug=bug)
    assert "errors: 1" in said, said
    assert re.search(BUGS[bug], said), said
    assert (tmp_path / f"{MODEL.name}.trail").exists()


def test_every_mistake_of_the_model_is_searched_for() -> None:
    assert set(re.findall(r"BUG_([A-Z_]+)$", MODEL.read_text(), re.MULTILINE)) == set(BUGS)
