"""The figures on the page of SPEC.md about how sure one can be: those that are counted quickly."""

import re

from tests.proof.test_takeover import STATES_STORED as TAKEOVER_STATES
from tests.side_by_side.exploration.scopes import COMMITTED
from tests.spec.test_spin_model import STATES_STORED as DANCE_STATES
from tests.support.checkout import ROOT

from scache_spec import assurance
from scache_spec.conversation import TRANSITIONS, Action, State


def test_figures_of_the_searches_are_those_of_the_checks() -> None:
    assert (assurance.DANCE_STATES, assurance.TAKEOVER_STATES) == (DANCE_STATES, TAKEOVER_STATES)
    spaces = COMMITTED.values()
    assert (sum(each.states for each in spaces), sum(each.transitions for each in spaces)) == assurance.EXPLORED


def test_figures_of_the_proof_are_of_this_table() -> None:
    assert assurance.PROVED.rows == len(TRANSITIONS)
    changes = {kind: tried for kind, _, tried in assurance.PROVED.caught}
    assert changes["single changes of a row"] == len(TRANSITIONS) * (len(Action) - 1 + len(State) - 1)


def test_proved_is_said_of_nothing_else() -> None:
    text = (ROOT / "spec/SPEC.md").read_text(encoding="utf-8")
    before, _, page = text.partition("## How sure is this")
    assert page
    assert not re.search(r"\bproved\b", before, re.IGNORECASE)
