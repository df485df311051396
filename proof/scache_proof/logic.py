"""One set of formulas, read in two ways: as z3 terms about any number of things, or as values about a few.

A formula is written once, with the functions below. Over an `Anything` universe it becomes a z3 term in which "every
session" is a quantifier. Over a `Few` universe it is computed at once, as Python values. There is no formula here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Protocol

import z3

# z3's own handler of SIGINT would end a check without an answer, and Python would not know of the interrupt.
z3.set_param("ctrl_c", False)

Term = Any
"""A z3 term or a Python value: z3 has no types for mypy, and the same operators mean the same on both."""


class Sort(Enum):
    """The kinds of things that there may be any number of."""

    CLIENT = "client"
    SESSION = "session"
    ENDPOINT = "endpoint"
    DESTINATION = "destination"
    BINDING = "binding"


def both(*parts: Term) -> Term:
    """Return the conjunction."""
    if any(part is False for part in parts):
        return False
    open_parts = [part for part in parts if part is not True]
    return z3.And(*open_parts) if open_parts else True


def either(*parts: Term) -> Term:
    """Return the disjunction."""
    return negate(both(*map(negate, parts)))


def negate(part: Term) -> Term:
    """Return the negation."""
    return not part if isinstance(part, bool) else z3.Not(part)


def implies(condition: Term, conclusion: Term) -> Term:
    """Return the implication."""
    if condition is False or conclusion is True:
        return True
    return conclusion if condition is True else either(negate(condition), conclusion)


def choose(condition: Term, yes: Term, no: Term) -> Term:
    """Return one of two values."""
    if isinstance(condition, bool):
        return yes if condition else no
    return z3.If(condition, yes, no)


def number(condition: Term) -> Term:
    """Return 1 if it holds, 0 otherwise."""
    return choose(condition, 1, 0)


def smaller(one: Term, other: Term) -> Term:
    """Return the smaller of two numbers."""
    return choose(one <= other, one, other)


def larger(one: Term, other: Term) -> Term:
    """Return the larger of two numbers."""
    return choose(one >= other, one, other)


class Universe(Protocol):
    """The things there are."""

    def every(self, sorts: Sequence[Sort], holds: Callable[..., Term]) -> Term:
        """Return that something holds of all things of these sorts."""

    def some(self, sorts: Sequence[Sort], holds: Callable[..., Term]) -> Term:
        """Return that something holds of some things of these sorts."""


@cache
def z3_sort(sort: Sort) -> Term:
    """Return z3's name for a sort, of which it is assumed that there is at least one thing, and nothing else."""
    return z3.DeclareSort(sort.value)


class Anything:
    """Any number of things of each sort."""

    def every(self, sorts: Sequence[Sort], holds: Callable[..., Term]) -> Term:
        """Return the quantified formula."""
        things = [z3.Const(f"{sort.value}{n}", z3_sort(sort)) for n, sort in enumerate(sorts, start=_depth())]
        body = _deeper(len(sorts), holds, things)
        return body if isinstance(body, bool) else z3.ForAll(things, body)

    def some(self, sorts: Sequence[Sort], holds: Callable[..., Term]) -> Term:
        """Return the quantified formula."""
        return negate(self.every(sorts, lambda *things: negate(holds(*things))))


_DEPTH = [0]


def _depth() -> int:
    return _DEPTH[0]


def _deeper(by: int, holds: Callable[..., Term], things: list[Term]) -> Term:
    """Name what is quantified further in differently."""
    _DEPTH[0] += by
    try:
        return holds(*things)
    finally:
        _DEPTH[0] -= by


@dataclass(frozen=True, slots=True)
class Few:
    """The things listed, and no others."""

    things: Mapping[Sort, Sequence[Term]]

    def every(self, sorts: Sequence[Sort], holds: Callable[..., Term]) -> bool:
        """Return whether it holds of all of them."""
        first, *rest = sorts
        if not rest:
            return all(holds(thing) for thing in self.things[first])
        return all(self.every(rest, lambda *more, thing=thing: holds(thing, *more)) for thing in self.things[first])

    def some(self, sorts: Sequence[Sort], holds: Callable[..., Term]) -> bool:
        """Return whether it holds of one of them."""
        return not self.every(sorts, lambda *things: negate(holds(*things)))
