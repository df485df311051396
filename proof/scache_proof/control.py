"""The negative control: what is wrong on purpose breaks the proof, or is listed with the reason why it does not.

Two kinds of mistakes are made here: every single change of a row of the table (another action, another next state), and
every formula of an action or an event with what it says of one part left out. Wrong rules of the specification's code
are tried by tests/proof.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from scache_proof.happenings import HAPPENINGS
from scache_proof.induction import Case, ask, happening_case, row_case, row_name, solver_for
from scache_proof.invariants import INVARIANTS
from scache_proof.world import PARTS
from scache_spec.conversation import TRANSITIONS, Action, Input, State, Transition

SAME: Final = {frozenset({Action.IGNORE, Action.FORGET})}
"""Actions that do the same: a row with the other one is no other row."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One mistake, and the invariant it breaks: None if it breaks none."""

    name: str
    broken: str | None
    reason: str = ""
    """Why it may break none, and which layer catches it instead."""


_LAST_BROKEN: Final[dict[str, str]] = {}


def first_broken(case: Case, hint: str) -> str | None:
    """Return an invariant that z3 shows to be broken; those that such a mistake broke before are asked first."""
    solver = solver_for(case)
    before = _LAST_BROKEN.get(hint)
    for name in sorted(INVARIANTS, key=lambda each: each != before):
        if not ask(solver, case, name).is_proved:
            _LAST_BROKEN[hint] = name
            return name
    return None


def wrong_rows() -> Iterator[tuple[State, Input, Transition]]:
    """Yield every row of the table with another action or another next state."""
    for (state, what), row in TRANSITIONS.items():
        for action in Action:
            if action is not row.action:
                yield state, what, Transition(row.next, action, row.clause)
        for after in State:
            if after is not row.next:
                yield state, what, Transition(after, row.action, row.clause)


def try_rows() -> Iterator[Tried]:
    """Yield what becomes of the proof with each wrong row."""
    for state, what, row in wrong_rows():
        right = TRANSITIONS[state, what]
        is_same = row.next is right.next and frozenset({row.action, right.action}) in SAME
        changed = row.action.name if row.action is not right.action else f"then {row.next.name}"
        yield Tried(
            f"{row_name(state, what)}: {changed}",
            first_broken(row_case(state, what, row), f"{what} {row.action}"),
            "IGNORE and FORGET do the same: no client could notice, and nothing has to catch it" if is_same else "",
        )


_AFTER_EXIT: Final = "after the exit there is no client, session or binding of which it could be said"


def try_without() -> Iterator[Tried]:
    """Yield what becomes of the proof if what a formula says of one part is left out."""
    rows: dict[Action, list[tuple[State, Input]]] = {}
    for key, row in TRANSITIONS.items():
        rows.setdefault(row.action, []).append(key)
    for part in PARTS:
        hint = f"without {part}"
        for action, keys in rows.items():
            cases = (row_case(*key, TRANSITIONS[key], without=part) for key in keys)
            broken = next(filter(None, (first_broken(case, hint) for case in cases)), None)
            yield Tried(f"{action.name} {hint}", broken)
        for name in HAPPENINGS:
            broken = first_broken(happening_case(name, without=part), hint)
            is_of_something = bool(PARTS[part].of)
            yield Tried(f"{name}, {hint}", broken, _AFTER_EXIT if name == "exit" and is_of_something else "")


def by_invariant(tried: list[Tried]) -> Counter[str]:
    """Return how many mistakes broke each invariant first."""
    return Counter(each.broken for each in tried if each.broken is not None)
