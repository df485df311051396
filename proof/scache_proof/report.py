"""What `make prove` prints: invariants and rows with times, the formulas held to the program, the negative control.

A row that breaks an invariant is told as a story.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Final

from scache_proof import control, encoding, takeover
from scache_proof.assumptions import ASSUMPTIONS
from scache_proof.encoding import DiffersError
from scache_proof.formulas import ACTIONS
from scache_proof.happenings import HAPPENINGS
from scache_proof.induction import Verdict, cases, first_state, prove
from scache_proof.invariants import AREAS, INVARIANTS
from scache_proof.story import tell
from scache_proof.takeover_control import try_takeover
from scache_spec.assurance import Proved
from scache_spec.conversation import TRANSITIONS, Action

STATES: Final = 1000
"""Concrete states on which each formula is compared with the program."""


@dataclass(slots=True)
class Figures:
    """What one run showed."""

    proved: int = 0
    takeover_proved: int = 0
    compared: int = 0
    caught: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Mistakes that broke an invariant, and those that were made, by their kind."""
    failed: bool = False

    def shown(self) -> Proved:
        """Return the figures as SPEC.md has them."""
        return Proved(
            rows=len(TRANSITIONS),
            happenings=len(HAPPENINGS),
            invariants=len(INVARIANTS),
            pairs=self.proved,
            compared=self.compared,
            takeover_moves=len(takeover.MOVES),
            takeover_pairs=self.takeover_proved,
            caught=tuple((kind, *numbers) for kind, numbers in self.caught.items()),
        )


def run(figures: Figures, *, states: int = STATES, with_control: bool = True) -> Iterator[str]:
    """Yield the lines of the report; `figures` says afterwards what was shown."""
    yield from _invariants()
    yield from _proof(figures)
    yield from _takeover(figures)
    yield from _encoding(figures, states)
    if with_control:
        yield from _control(figures)
    yield ""
    yield "Assumptions"
    for text in ASSUMPTIONS:
        yield from wrap(text, 116, initial_indent="* ", subsequent_indent="  ")


def _invariants() -> Iterator[str]:
    yield "Invariants"
    for number, (name, invariant) in enumerate(INVARIANTS.items(), start=1):
        yield f"{number:3} {name:34} {'of every state' if invariant.of_state else 'of every step'}"
        yield from wrap(invariant.text, 112, initial_indent="    ", subsequent_indent="    ")


def _proof(figures: Figures) -> Iterator[str]:
    yield ""
    yield "Proved by induction, for any number of clients, sessions, labels and bindings (+: proved, !: broken; ms)"
    areas = [INVARIANTS[name].area for name in INVARIANTS]
    width = [areas.count(area) for area in AREAS]
    yield f"{'':36}" + "".join(f"{area[:size]:{size + 1}}" for area, size in zip(AREAS, width, strict=True))
    broken: list[Verdict] = []
    for name, verdicts in [first_state(), *((case.name, list(prove(case))) for case in cases())]:
        marks = ""
        for area in AREAS:
            of_area = [each for each in verdicts if INVARIANTS[each.invariant].area == area]
            marks += "".join("+" if each.is_proved else "!" for each in of_area) + " "
        yield f"{name:36}{marks} {sum(each.seconds for each in verdicts) * 1000:6.0f}"
        figures.proved += sum(each.is_proved for each in verdicts)
        broken += [each for each in verdicts if not each.is_proved][:1]
    yield f"{figures.proved} pairs are proved, {len(broken)} steps break an invariant"
    rows = {f"{state.name} on {what.name}": (state, what) for state, what in TRANSITIONS}
    for verdict in broken:
        figures.failed = True
        yield ""
        if verdict.step in rows:
            key = rows[verdict.step]
            yield tell(*key, TRANSITIONS[key], verdict.invariant)
        else:
            yield f"{verdict.step} breaks {verdict.invariant}: {INVARIANTS[verdict.invariant].text}"


def _takeover(figures: Figures) -> Iterator[str]:
    verdicts = list(takeover.prove())
    yield ""
    yield "The takeover, proved by induction for any number of sessions, with death of either process at any step"
    for name, (text, _) in takeover.INVARIANTS.items():
        yield from wrap(f"{name}: {text}", 116, initial_indent="    ", subsequent_indent="      ")
    for move in dict.fromkeys(each.move for each in verdicts):
        of_move = [each for each in verdicts if each.move == move]
        marks = "".join("+" if each.is_proved else "!" for each in of_move)
        yield f"{move:60} {marks} {sum(each.seconds for each in of_move) * 1000:6.0f}"
    figures.takeover_proved = sum(each.is_proved for each in verdicts)
    figures.failed |= figures.takeover_proved < len(verdicts)
    yield f"{figures.takeover_proved} of {len(verdicts)} pairs are proved"


def _encoding(figures: Figures, states: int) -> Iterator[str]:
    yield ""
    yield f"The formulas are held to the program: on {states} concrete states each has one successor, the program's"
    began = time.perf_counter()
    for each in (*Action, *HAPPENINGS):
        name = each.name if isinstance(each, Action) else each
        try:
            compared = _compared(each, states)
        except DiffersError as differs:
            figures.failed = True
            yield f"! {name}: {differs}"
            continue
        figures.compared += compared.states
        refused = f", {compared.failures} more in which neither can be carried out" if compared.failures else ""
        yield f"+ {name:36} {compared.states} states{refused}"
    yield f"{figures.compared} states were compared in {time.perf_counter() - began:.1f} s"


def _compared(of: Action | str, states: int) -> encoding.Compared:
    return encoding.check_action(of, states) if isinstance(of, Action) else encoding.check_happening(of, states)


def _control(figures: Figures) -> Iterator[str]:
    kinds = {
        "single changes of a row": control.try_rows,
        "formulas without what they say of one part": control.try_without,
        "takeovers without one condition or change": try_takeover,
    }
    for kind, tries in kinds.items():
        began = time.perf_counter()
        tried = list(tries())
        caught = sum(each.broken is not None for each in tried)
        figures.caught[kind] = caught, len(tried)
        yield ""
        yield f"Negative control: of {len(tried)} {kind}, {caught} break an invariant"
        for name, count in control.by_invariant(tried).most_common():
            yield f"  {count:4} {name}"
        escaped = [each for each in tried if each.broken is None]
        for each in escaped:
            figures.failed |= not each.reason
            yield f"  {'none' if each.reason else 'NONE'} {each.name}: {each.reason or 'no reason is known'}"
        yield f"  {time.perf_counter() - began:.1f} s"


assert set(ACTIONS) == set(Action), "an action has no formula"
