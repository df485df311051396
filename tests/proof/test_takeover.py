"""The takeover's two models: proved for any number of sessions, searched completely for two; mistakes are found."""

import re
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.support.spin import search

MODEL = ROOT / "proof" / "takeover.pml"

STATES_STORED = 18_548
"""Every reachable state of two sessions and two attempts. Spin 6.5.2."""

NOT_TWO = r"assertion violated +!\(\(\(old==10\)&&\(new==3\)\)\)"
TWICE = r"assertion violated +!\(\(handed&"
LOST = r"assertion violated \(\(\(\(handed\|lost\)"

BUGS = {
    "CLOSE_EARLY": LOST,
    "EMPTY_UNASKED": NOT_TWO,
    "GO_ON_UNASKED": NOT_TWO,
    "OFFER_EARLY": LOST,
    "SEND_HELD": TWICE,
    "SERVE_FROZEN": TWICE,
    "SERVE_ON": NOT_TWO,
    "TAKE_UNASKED": NOT_TWO,
    "WAIT_FOR_EVER": r"assertion violated \(\(\(old==10\)",
}
"""Each mistake the model can be built with, and what the search must say about it."""


@pytest.mark.needs("spin", "compiler")
def test_one_process_hands_out_nothing_is_lost_but_by_the_table_and_everybody_gets_on(tmp_path: Path) -> None:
    said = search(MODEL, tmp_path)
    assert "errors: 0" in said, said
    assert "max search depth too small" not in said
    assert "Search not completed" not in said
    stored = re.search(r"(\d+) states, stored", said)
    assert stored is not None, said
    assert int(stored[1]) == STATES_STORED
    # An inline has lines for every phase, and each place that it is put in knows one phase.
    unreached = re.findall(r"unreached in proctype (\w+)\n\t(.*)", said)
    assert [name for name, first in unreached if not first.startswith("(0 of")] == ["old_process"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Look for every mistake with --full, and for a few without: each takes a compiler a second."""
    if "bug" in metafunc.fixturenames:
        metafunc.parametrize("bug", sorted(BUGS)[:: 1 if metafunc.config.getoption("--full") else 4])


@pytest.mark.needs("spin", "compiler")
@pytest.mark.generated
def test_built_in_mistake_is_found(bug: str, tmp_path: Path) -> None:
    said = search(MODEL, tmp_path, bug=bug)
    assert "errors: 1" in said, said
    assert re.search(BUGS[bug], said), said


def test_every_mistake_of_the_model_is_searched_for() -> None:
    assert set(re.findall(r"BUG_([A-Z_]+)$", MODEL.read_text(encoding="utf-8"), re.MULTILINE)) == set(BUGS)


def test_takeover_is_proved_for_any_number_of_sessions() -> None:
    pytest.importorskip("z3", reason="z3-solver is not installed: pip install 'scached[proof]'")
    from scache_proof import takeover

    verdicts = list(takeover.prove())
    assert len(verdicts) == (len(takeover.MOVES) + 1) * len(takeover.INVARIANTS)
    assert [(each.move, each.invariant) for each in verdicts if not each.is_proved] == []


@pytest.mark.parametrize("rest", range(3))
def test_what_is_left_out_of_a_move_breaks_an_invariant_or_is_listed(rest: int) -> None:
    pytest.importorskip("z3", reason="z3-solver is not installed: pip install 'scached[proof]'")
    from scache_proof.takeover_control import HARMLESS, first_broken, weakened

    some = list(weakened())[rest * 11 :: 33]
    assert some
    for name, left_out, move in some:
        assert (first_broken(name, move) is None) == ((name, left_out) in HARMLESS), (name, left_out)
