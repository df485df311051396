"""The negative control of the takeover: every condition and every change of every move, left out one at a time.

Each breaks an invariant of `scache_proof.takeover`, or is listed with the reason why it does no harm.
"""

from collections.abc import Callable, Iterator
from typing import Final

import z3

from scache_proof.control import Tried
from scache_proof.logic import Sort, Term, both, z3_sort
from scache_proof.takeover import MOVES, Changes, Move, World, anything, prove_move

_STAYS = "who does not get on hands out nothing twice and loses nothing; takeover.pml asks whether everybody gets on"
_IMPLIED = "the invariants say it already: where this move is possible, the condition holds or nothing changes"
_QUEUE = "the control socket is a set in this model; takeover.pml has a queue"
_TIME = "when a session is due, each process judges by itself: that is the table's proof"

HARMLESS: Final = {
    **dict.fromkeys(
        (
            ("old: finds a session for a client", "does not change: held"),
            ("old: puts it back", "does not change: held"),
            ("old: freezes", "does not change: old"),
            ("old: sends a copy", "does not change: sent"),
            ("old: finds its offer taken, and closes its copies", "does not change: old"),
            ("old: exits", "does not change: old"),
            ("old: closes what has expired", "does not change: old_has"),
            ("new: starts", "does not change: new"),
            ("new: receives a descriptor", "does not change: acknowledged"),
            ("new: closes what has expired", "does not change: new_has"),
            ("time passes", "does not change: expired"),
            ("another attempt", "does not change: new"),
        ),
        _STAYS,
    ),
    **dict.fromkeys(
        (
            ("old: finds a session for a client", "may without: Not(held(session))"),
            ("old: hands it to the client", "may without: old <= 3"),
            ("old: puts it back", "may without: held(session)"),
            ("old: closes what has expired", "may without: old_has(session)"),
            ("old: dies", "may without: old < 4"),
            ("new: starts", "may without: old == 0"),
            ("new: receives a descriptor", "may without: Not(And(Not(new == 1), Not(new == 2)))"),
            ("new: closes what has expired", "may without: new_has(session)"),
            ("new: dies", "may without: Not(And(Not(new == 1), Not(new == 2)))"),
            ("time passes", "may without: came(session)"),
        ),
        _IMPLIED,
    ),
    ("old: sends a copy", "may without: Not(sent(session))"): _QUEUE,
    ("old: finds a session for a client", "may without: Not(expired(session))"): _TIME,
    ("new: hands a session out", "may without: Not(expired(session))"): _TIME,
}
"""What may be left out, with the reason."""


def _always(condition: Term) -> Callable[[World, Term], Term]:
    return lambda world, session: condition


def weakened() -> Iterator[tuple[str, str, Move]]:
    """Yield every move with one condition left out, and with one of its changes left out, and what was left out."""
    before, session = anything(), z3.Const("session", z3_sort(Sort.SESSION))
    for name, move in MOVES.items():
        guard = move.can(before, session)
        conditions = guard.children() if z3.is_and(guard) else [guard]
        for number_, left_out in enumerate(conditions):
            kept = both(*conditions[:number_], *conditions[number_ + 1 :])
            what = " ".join(str(left_out).split())
            yield name, f"may without: {what}", Move(_always(kept), move.changes)
        for part in move.changes(before, session):

            def fewer(w: World, s: Term, move: Move = move, part: str = part) -> Changes:
                return {each: new for each, new in move.changes(w, s).items() if each != part}

            yield name, f"does not change: {part}", Move(move.can, fewer)


def first_broken(name: str, move: Move) -> str | None:
    """Return an invariant that a move breaks, None if it keeps them all."""
    return next((each.invariant for each in prove_move(name, move) if not each.is_proved), None)


def try_takeover() -> Iterator[Tried]:
    """Yield what becomes of the proof with each thing left out."""
    for name, left_out, move in weakened():
        yield Tried(f"{name}; {left_out}", first_broken(name, move), HARMLESS.get((name, left_out), ""))
