"""The proof: every invariant, for the first state, for every row of the table and for whatever else happens.

`prove` asks z3 for a step that begins where all invariants hold and ends where one does not. If there is none, that is
proved for any number of clients, sessions, labels and bindings. The table is the specification's own.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import z3

from scache_proof.formulas import ACTIONS, Successor, Within, meaning, row_successor
from scache_proof.happenings import HAPPENINGS
from scache_proof.invariants import INVARIANTS, Step
from scache_proof.logic import Anything, Sort, Term, both, negate, z3_sort
from scache_proof.world import CODE, PARTS, SESSION, Given, World, anything, given_anything, unknown
from scache_spec.conversation import TRANSITIONS, Input, State, Transition

FIRST: Final = "the first state"
UNIVERSE: Final = Anything()
TIMEOUT_MS: Final = 20_000
"""How long z3 may think about one question. Arbitrary: most take a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What z3 said of one step and one invariant."""

    step: str
    invariant: str
    is_proved: bool
    seconds: float
    model: Term = None


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of step: what is true when it is taken, and what is true after it."""

    name: str
    step: Step
    premises: tuple[Term, ...]


def defined(name: str, successor: Successor, premises: list[Term]) -> Callable[..., Term]:
    """Return a part after a step, and note what is known of it: without a definition it can be anything."""
    define = successor.get(name)
    if define is None:
        return unknown(name, "'")
    of = PARTS[name].of
    sample = define(*(z3.Const(f"any{n}", z3_sort(sort)) for n, sort in enumerate(of)))
    if not isinstance(sample, Within):
        return define
    part = unknown(name, "'")
    premises.append(
        UNIVERSE.every(of, lambda *x: both(define(*x).least <= part(*x), part(*x) <= define(*x).most))
        if of
        else both(sample.least <= part(), part() <= sample.most)
    )
    return part


def row_name(state: State, what: Input) -> str:
    """Return what a row is called in tables."""
    return f"{state.name} on {what.name}"


def row_case(state: State, what: Input, row: Transition, *, without: str | None = None) -> Case:
    """Return the step that a row is; `without` leaves out what its formula says of one part."""
    if row.action not in ACTIONS:
        raise ValueError(f"{row.action} has no formula: write one in scache_proof.formulas")
    pre, given = anything(""), given_anything(what)
    successor = row_successor(pre, given, row.action, row.next)
    return _case(row_name(state, what), pre, given, successor, meaning(UNIVERSE, pre, given, state), without, row=row)


def happening_case(name: str, *, without: str | None = None) -> Case:
    """Return the step that something else is."""
    happening = HAPPENINGS[name]
    pre, given = anything(""), given_anything(None)
    means = both(
        happening.meaning(UNIVERSE, pre, given),
        UNIVERSE.every([SESSION], lambda s: negate(given.arrives(s))),
    )
    return _case(name, pre, given, happening.successor(pre, given), means, without, happening=name)


def _case(
    name: str, pre: World, given: Given, successor: Successor, means: Term, without: str | None,
    row: Transition | None = None, happening: str | None = None,
) -> Case:  # fmt: skip
    premises = [means]
    known = {part: each for part, each in successor.items() if part != without}
    post = World({part: defined(part, known, premises) for part in PARTS})
    step = Step(UNIVERSE, pre, post, given, row, happening)
    return Case(name, step, (*premises, *_before()))


@cache
def _before() -> tuple[Term, ...]:
    """Return what is true where a step begins: every invariant of a state."""
    return tuple(each.of_state(UNIVERSE, anything("")) for each in INVARIANTS.values() if each.of_state)


def claim(case: Case, invariant: str) -> Term:
    """Return what an invariant says of a step."""
    each = INVARIANTS[invariant]
    if each.of_state is not None:
        return each.of_state(UNIVERSE, case.step.post)
    assert each.of_step is not None
    return each.of_step(case.step)


def cases(table: Mapping[tuple[State, Input], Transition] = TRANSITIONS) -> Iterator[Case]:
    """Yield every kind of step."""
    for (state, what), row in table.items():
        yield row_case(state, what, row)
    yield from map(happening_case, HAPPENINGS)


def prove(case: Case) -> Iterator[Verdict]:
    """Yield the verdict on each invariant."""
    solver = solver_for(case)
    for name in INVARIANTS:
        yield ask(solver, case, name)


def solver_for(case: Case) -> Term:
    """Return a solver that knows what is true of the step."""
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT_MS)
    solver.add(*(premise for premise in case.premises if premise is not True))
    return solver


def ask(solver: Term, case: Case, invariant: str) -> Verdict:
    """Return the verdict on one invariant."""
    began = time.perf_counter()
    claimed = claim(case, invariant)
    solver.push()
    solver.add(negate(claimed))
    said = z3.unsat if claimed is True else solver.check()
    model = solver.model() if said == z3.sat else None
    reason = solver.reason_unknown() if said == z3.unknown else None
    solver.pop()
    if reason is not None:
        raise ArithmeticError(f"z3 does not know whether {case.name} keeps {invariant}: {reason}")
    return Verdict(case.name, invariant, said == z3.unsat, time.perf_counter() - began, model)


def first_state() -> tuple[str, list[Verdict]]:
    """Return the verdicts on the state in which a server starts: nobody is there, nothing is cached."""
    values: dict[type[bool] | type[int] | Sort, Term] = {bool: False, int: 0}
    known = {
        name: (lambda *_, value=values[part.values]: value) for name, part in PARTS.items() if part.values in values
    }
    limits = {name: unknown(name, "") for name in PARTS if name.endswith("_limit") or PARTS[name].values not in values}
    closed = {"state": lambda c: CODE[State.CLOSED], "now": unknown("now", "")}
    start = World({**known, **limits, **closed})
    solver = z3.Solver()
    solver.add(start.ttl_limit() > 0)
    verdicts = []
    for name, invariant in INVARIANTS.items():
        if invariant.of_state is not None:
            began = time.perf_counter()
            said = solver.check(negate(invariant.of_state(UNIVERSE, start)))
            verdicts.append(Verdict(FIRST, name, said == z3.unsat, time.perf_counter() - began))
    return FIRST, verdicts
