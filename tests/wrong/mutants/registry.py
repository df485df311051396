"""The list of servers that are wrong on purpose.

Decides what one is: a name, the clauses it breaks, and a function that breaks them in the specification that this
process is about to serve. Refuses to know what the suite makes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scache_spec.clauses import gather

CLAUSES = gather()


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong server; `wrong` says what is."""

    name: str
    clauses: tuple[str, ...]
    wrong: str
    spoil: Callable[[], None]


MUTANTS: dict[str, Mutant] = {}


def mutant(name: str, *clauses: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register the decorated function: called in a process, it breaks these clauses of what is served there."""

    def register(spoil: Callable[[], None]) -> Callable[[], None]:
        assert name not in MUTANTS, f"two mutants named {name}"
        assert clauses, f"{name} breaks nothing"
        assert all(clause in CLAUSES for clause in clauses), f"{name} breaks what nobody states: {clauses}"
        assert spoil.__doc__, f"{name} does not say what is wrong with it"
        MUTANTS[name] = Mutant(name, clauses, " ".join(spoil.__doc__.split()), spoil)
        return spoil

    return register


def wrap(holder: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace an attribute or an item by a function that gets the right one first."""
    if isinstance(holder, dict):
        right = holder[name]
        holder[name] = lambda *given, **named: wrapper(right, *given, **named)
    else:
        right = getattr(holder, name)
        setattr(holder, name, lambda *given, **named: wrapper(right, *given, **named))
