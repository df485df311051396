"""The takeover: a new process takes every session from an old one, and either may die at any step.

The model of proof/TAKEOVER.md, for any number of sessions: what each process may do, and what holds whatever happens,
proved by induction. A bounded model of the same protocol, searched completely, is proof/takeover.pml.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import z3

from scache_proof.logic import Anything, Sort, Term, both, choose, either, implies, negate, number, z3_sort

U: Final = Anything()
SESSION: Final = [Sort.SESSION]

SERVING, FROZEN, OFFERED, ENDING, ENDED, OLD_DEAD = range(6)
"""The old process: serves; sends its sessions and serves nobody; has offered; was taken over; has exited; is dead."""

ABSENT, RECEIVING, IN_CHARGE, GONE, NEW_DEAD = range(5)
"""The new process: is not there; receives; serves; gave up, closed everything and exited; is dead."""

PARTS: Final[dict[str, tuple[bool, type[bool] | type[int], str]]] = {
    "old": (False, int, "what the old process does"),
    "new": (False, int, "what the new process does"),
    "token": (False, int, "the value of the eventfd: 1 while the right to hand out lies there to be taken"),
    "is_over": (False, bool, "this attempt has failed: its control socket is closed"),
    "came": (True, bool, "the session was saved"),
    "old_has": (True, bool, "the old process has a copy of the descriptor"),
    "held": (True, bool, "the old process holds it for a client that found it"),
    "sent": (True, bool, "the descriptor is in the control socket"),
    "acknowledged": (True, bool, "the new process said that it has it"),
    "new_has": (True, bool, "the new process has a copy of the descriptor"),
    "handed": (True, int, "how often it was handed out"),
    "expired": (True, bool, "its time is over"),
    "lost": (True, bool, "it was lost, as the table in TAKEOVER.md says"),
}
"""Every part: whether it is of a session, its values, its meaning."""


class World:
    """All parts at one instant."""

    def __init__(self, functions: Mapping[str, Callable[..., Term]]) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Callable[..., Term]:
        """Return a part."""
        return self._functions[name]


def anything() -> World:
    """Return a world of which nothing is known."""
    sorts = {bool: z3.BoolSort(), int: z3.IntSort()}
    return World(
        {
            name: z3.Function(name, *([z3_sort(Sort.SESSION)] if of_session else []), sorts[values])
            for name, (of_session, values, _) in PARTS.items()
        }
    )


Changes = Mapping[str, Callable[..., Term]]


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that a process, the clock or death may do: when, and what is then."""

    can: Callable[[World, Term], Term]
    changes: Callable[[World, Term], Changes]


def is_wanted(w: World, s: Term) -> Term:
    """Return that a session ought still to be there: it was saved, not handed out, and its time is not over."""
    return both(w.came(s), w.handed(s) == 0, negate(w.expired(s)))


def old_is_in_charge(w: World) -> Term:
    """Return that nobody but the old process can have handed out what it has: it serves, or may go on to."""
    return either(w.old() <= FROZEN, both(w.old() == OFFERED, w.token() == 1))


def _with(part: Callable[..., Term], which: Term, value: bool) -> Callable[..., Term]:
    return lambda s: choose(s == which, value, part(s))


def _to(value: Term) -> Callable[[], Term]:
    return lambda: value


def _old_dies(w: World, s: Term) -> Changes:
    # The new process can still take the right if it lies there, and then has all but what is held.
    can_go_on = either(w.new() == IN_CHARGE, both(w.token() == 1, w.new() == RECEIVING))
    return {
        "old": _to(OLD_DEAD),
        "old_has": lambda x: False,
        "held": lambda x: False,
        "lost": lambda x: either(w.lost(x), both(is_wanted(w, x), w.old_has(x), either(w.held(x), negate(can_go_on)))),
    }


def _new_dies(w: World, s: Term) -> Changes:
    is_last = either(w.new() == IN_CHARGE, both(w.old() == OLD_DEAD, w.token() == 1))
    return {
        "new": _to(NEW_DEAD),
        "new_has": lambda x: False,
        "sent": lambda x: False,
        "lost": lambda x: either(w.lost(x), both(is_last, is_wanted(w, x), either(w.new_has(x), w.sent(x)))),
    }


def _new_closes(w: World) -> Changes:
    return {"new_has": lambda x: False, "sent": lambda x: False}


MOVES: Final[dict[str, Move]] = {
    "old: saves a session": Move(
        lambda w, s: both(w.old() == SERVING, negate(w.came(s))),
        lambda w, s: {"came": _with(w.came, s, True), "old_has": _with(w.old_has, s, True)},
    ),
    "old: finds a session for a client": Move(
        lambda w, s: both(w.old() == SERVING, w.old_has(s), negate(w.held(s)), negate(w.expired(s))),
        lambda w, s: {"held": _with(w.held, s, True)},
    ),
    "old: hands it to the client": Move(
        lambda w, s: both(w.old() <= ENDING, w.held(s)),
        lambda w, s: {
            "handed": lambda x: w.handed(x) + number(x == s),
            "held": _with(w.held, s, False),
            "old_has": _with(w.old_has, s, False),
        },
    ),
    "old: puts it back": Move(
        lambda w, s: both(either(w.old() == SERVING, w.old() == FROZEN), w.held(s)),
        lambda w, s: {"held": _with(w.held, s, False)},
    ),
    "old: sends what is put back to the new one": Move(
        lambda w, s: both(w.old() == ENDING, w.held(s)),
        lambda w, s: {
            "held": _with(w.held, s, False),
            "old_has": _with(w.old_has, s, False),
            "sent": lambda x: choose(x == s, w.new() == IN_CHARGE, w.sent(x)),
            "lost": lambda x: either(w.lost(x), both(x == s, w.new() != IN_CHARGE, is_wanted(w, x))),
        },
    ),
    "old: freezes": Move(
        lambda w, s: both(w.old() == SERVING, w.new() == RECEIVING, negate(w.is_over())),
        lambda w, s: {"old": _to(FROZEN)},
    ),
    "old: sends a copy": Move(
        lambda w, s: both(
            w.old() == FROZEN,
            w.old_has(s),
            negate(w.held(s)),
            w.new() == RECEIVING,
            negate(w.sent(s)),
            negate(w.acknowledged(s)),
        ),
        lambda w, s: {"sent": _with(w.sent, s, True)},
    ),
    "old: offers": Move(
        lambda w, s: both(
            w.old() == FROZEN,
            U.every(SESSION, lambda x: implies(both(w.old_has(x), negate(w.held(x))), w.acknowledged(x))),
        ),
        lambda w, s: {"old": _to(OFFERED), "token": _to(1)},
    ),
    "old: goes on, as nothing was offered yet": Move(
        lambda w, s: w.old() == FROZEN, lambda w, s: {"old": _to(SERVING), "is_over": _to(True)}
    ),
    "old: takes its offer back": Move(
        lambda w, s: both(w.old() == OFFERED, w.token() == 1),
        lambda w, s: {"old": _to(SERVING), "token": _to(0), "is_over": _to(True)},
    ),
    "old: finds its offer taken, and closes its copies": Move(
        lambda w, s: both(w.old() == OFFERED, w.token() == 0), lambda w, s: {"old": _to(ENDING), "old_has": w.held}
    ),
    "old: exits": Move(
        lambda w, s: both(w.old() == ENDING, U.every(SESSION, lambda x: negate(w.held(x)))),
        lambda w, s: {"old": _to(ENDED)},
    ),
    "old: closes what has expired": Move(
        lambda w, s: both(w.old() == SERVING, w.old_has(s), w.expired(s), negate(w.held(s))),
        lambda w, s: {"old_has": _with(w.old_has, s, False)},
    ),
    "old: dies": Move(lambda w, s: w.old() < ENDED, _old_dies),
    "new: starts": Move(lambda w, s: both(w.new() == ABSENT, w.old() == SERVING), lambda w, s: {"new": _to(RECEIVING)}),
    "new: receives a descriptor": Move(
        lambda w, s: both(either(w.new() == RECEIVING, w.new() == IN_CHARGE), w.sent(s)),
        lambda w, s: {
            "sent": _with(w.sent, s, False),
            "new_has": _with(w.new_has, s, True),
            "acknowledged": _with(w.acknowledged, s, True),
        },
    ),
    "new: takes the right": Move(
        lambda w, s: both(w.new() == RECEIVING, w.token() == 1),
        lambda w, s: {"new": _to(IN_CHARGE), "token": _to(0)},
    ),
    "new: gives up, closes everything and exits": Move(
        lambda w, s: both(w.new() == RECEIVING, either(w.token() == 0, w.old() == OFFERED)),
        lambda w, s: {"new": _to(GONE), **_new_closes(w)},
    ),
    "new: starts empty, as the old one is dead and offered nothing": Move(
        lambda w, s: both(w.new() == RECEIVING, w.old() == OLD_DEAD, w.token() == 0),
        lambda w, s: {"new": _to(IN_CHARGE), **_new_closes(w)},
    ),
    "new: saves a session": Move(
        lambda w, s: both(w.new() == IN_CHARGE, negate(w.came(s))),
        lambda w, s: {"came": _with(w.came, s, True), "new_has": _with(w.new_has, s, True)},
    ),
    "new: hands a session out": Move(
        lambda w, s: both(w.new() == IN_CHARGE, w.new_has(s), negate(w.expired(s))),
        lambda w, s: {"handed": lambda x: w.handed(x) + number(x == s), "new_has": _with(w.new_has, s, False)},
    ),
    "new: closes what has expired": Move(
        lambda w, s: both(w.new() == IN_CHARGE, w.new_has(s), w.expired(s)),
        lambda w, s: {"new_has": _with(w.new_has, s, False)},
    ),
    "new: dies": Move(lambda w, s: either(w.new() == RECEIVING, w.new() == IN_CHARGE), _new_dies),
    "time passes": Move(lambda w, s: w.came(s), lambda w, s: {"expired": _with(w.expired, s, True)}),
    "another attempt": Move(
        lambda w, s: both(w.old() == SERVING, either(w.new() == GONE, w.new() == NEW_DEAD)),
        lambda w, s: {"new": _to(ABSENT), "is_over": _to(False), "acknowledged": lambda x: False},
    ),
}
"""Whatever may happen, in any order. A process that is slow or stopped does nothing for as long as it likes."""

INVARIANTS: Final[dict[str, tuple[str, Callable[[World], Term]]]] = {
    "at most one hands out": (
        "At every instant at most one of the two processes may hand out what is parked.",
        lambda w: both(
            implies(w.new() == IN_CHARGE, both(w.old() != SERVING, w.old() != FROZEN)),
            implies(w.token() == 1, both(either(w.old() == OFFERED, w.old() == OLD_DEAD), w.new() != IN_CHARGE)),
            implies(both(w.old() == OFFERED, w.token() == 0), either(w.new() == IN_CHARGE, w.new() == NEW_DEAD)),
            implies(either(w.old() == ENDING, w.old() == ENDED), either(w.new() == IN_CHARGE, w.new() == NEW_DEAD)),
        ),
    ),
    "handed out once": (
        "No session is handed out twice, by whichever process.",
        lambda w: U.every(
            SESSION,
            lambda s: both(
                w.handed(s) >= 0,
                w.handed(s) <= 1,
                implies(both(w.old_has(s), either(old_is_in_charge(w), w.held(s))), w.handed(s) == 0),
                implies(both(w.new() == IN_CHARGE, either(w.new_has(s), w.sent(s))), w.handed(s) == 0),
            ),
        ),
    ),
    "one owner": (
        "What the old process still holds for a client is not the new one's.",
        lambda w: U.every(
            SESSION,
            lambda s: both(
                implies(w.held(s), both(w.old_has(s), w.old() <= ENDING)),
                implies(
                    both(negate(w.is_over()), either(w.held(s), w.handed(s) > 0), w.new() == RECEIVING),
                    both(negate(w.new_has(s)), negate(w.sent(s)), negate(w.acknowledged(s))),
                ),
                implies(both(w.new() == IN_CHARGE, w.held(s)), both(negate(w.new_has(s)), negate(w.sent(s)))),
                implies(both(w.new_has(s), w.new() == IN_CHARGE), negate(w.sent(s))),
                implies(
                    both(w.old() == SERVING, w.new() == RECEIVING, negate(w.is_over())),
                    both(negate(w.new_has(s)), negate(w.sent(s)), negate(w.acknowledged(s))),
                ),
                implies(
                    both(w.old() == FROZEN, w.sent(s)),
                    both(w.old_has(s), negate(w.held(s)), negate(w.acknowledged(s))),
                ),
                implies(w.token() == 1, negate(w.sent(s))),
            ),
        ),
    ),
    "nothing else is lost": (
        "What is saved, not handed out, not expired and not lost by the table is with whoever is or may take charge.",
        lambda w: U.every(
            SESSION,
            lambda s: implies(
                both(is_wanted(w, s), negate(w.lost(s))),
                either(
                    both(old_is_in_charge(w), w.old_has(s)),
                    both(w.new() == IN_CHARGE, either(w.new_has(s), w.sent(s))),
                    both(either(w.old() == OFFERED, w.old() == ENDING), w.held(s)),
                    both(w.old() == OLD_DEAD, w.token() == 1, w.new() == RECEIVING, w.new_has(s)),
                ),
            ),
        ),
    ),
    "lost by death alone": (
        "Nothing is lost unless a process died that had it: not while the old one serves.",
        lambda w: U.every(
            SESSION,
            lambda s: implies(
                w.lost(s), either(w.old() == OLD_DEAD, both(w.new() == NEW_DEAD, w.old() >= OFFERED, w.token() == 0))
            ),
        ),
    ),
    "the offer is complete": (
        "While the right lies there to be taken, the new process has every session but those held for a client.",
        lambda w: both(
            U.every(
                SESSION,
                lambda s: both(
                    implies(
                        both(w.token() == 1, w.old_has(s), negate(w.held(s))),
                        both(w.acknowledged(s), negate(w.is_over())),
                    ),
                    implies(
                        both(w.new() == RECEIVING, w.acknowledged(s)),
                        either(w.new_has(s), w.is_over(), w.handed(s) > 0),
                    ),
                    implies(either(w.old_has(s), w.new_has(s), w.sent(s), w.handed(s) > 0, w.lost(s)), w.came(s)),
                    implies(w.acknowledged(s), w.came(s)),
                ),
            ),
            implies(either(w.token() == 1, w.old() == FROZEN, w.old() == OFFERED), negate(w.is_over())),
        ),
    ),
    "possible states": (
        "The model is in a state it knows.",
        lambda w: both(
            w.old() >= SERVING, w.old() <= OLD_DEAD, w.new() >= ABSENT, w.new() <= NEW_DEAD,
            either(w.token() == 0, w.token() == 1),
            implies(w.new() == ABSENT, both(negate(w.is_over()), either(w.old() == SERVING, w.old() == OLD_DEAD))),
            U.every(
                SESSION,
                lambda s: both(
                    implies(w.old() >= ENDED, negate(w.old_has(s))),
                    implies(either(w.new() == ABSENT, w.new() >= GONE), both(negate(w.new_has(s)), negate(w.sent(s)))),
                    implies(w.new() == ABSENT, negate(w.acknowledged(s))),
                    implies(w.old() == ENDING, w.old_has(s) == w.held(s)),
                ),
            ),
        ),
    ),
}  # fmt: skip
"""What holds whatever happens: a sentence and its formula."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What z3 said of one move and one invariant."""

    move: str
    invariant: str
    is_proved: bool
    seconds: float
    model: Term = None


def prove(moves: Mapping[str, Move] = MOVES) -> Iterator[Verdict]:
    """Yield the verdicts: of the first state, in which an old process serves, then of each move."""
    zeros: dict[type[bool] | type[int], Callable[..., Term]] = {bool: lambda *_: False, int: lambda *_: 0}
    first = World({**{name: zeros[values] for name, (_, values, _) in PARTS.items()}, "old": _to(SERVING)})
    for name, (_, formula) in INVARIANTS.items():
        yield _ask(z3.Solver(), "the first state", name, formula(first))
    for move in moves:
        yield from prove_move(move, moves[move])


def prove_move(name: str, move: Move) -> Iterator[Verdict]:
    """Yield the verdict on each invariant after a move."""
    before, session = anything(), z3.Const("session", z3_sort(Sort.SESSION))
    changes = move.changes(before, session)
    after = World({part: changes.get(part, getattr(before, part)) for part in PARTS})
    solver = z3.Solver()
    solver.add(move.can(before, session), *(formula(before) for _, formula in INVARIANTS.values()))
    assert solver.check() == z3.sat, f"{name} never happens: nothing would be proved of it"
    for invariant, (_, formula) in INVARIANTS.items():
        yield _ask(solver, name, invariant, formula(after))


def _ask(solver: Term, move: str, invariant: str, claim: Term) -> Verdict:
    began = time.perf_counter()
    solver.push()
    solver.add(negate(claim))
    said = solver.check()
    model = solver.model() if said == z3.sat else None
    solver.pop()
    assert said != z3.unknown, f"z3 does not know whether {move!r} keeps {invariant!r}"
    return Verdict(move, invariant, said == z3.unsat, time.perf_counter() - began, model)
