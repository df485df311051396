"""The list of invariants, and what a step is to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scache_proof.logic import Term, Universe, either
from scache_proof.world import (
    CODE,
    Given,
    World,
)
from scache_spec.conversation import Input, State, Transition


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a row of the table or, without one, what happens besides."""

    universe: Universe
    pre: World
    post: World
    given: Given
    row: Transition | None = None
    happening: str | None = None

    @property
    def what(self) -> Input | None:
        """Return the input of the row."""
        return self.given.what


@dataclass(frozen=True, slots=True)
class Invariant:
    """One sentence and its formula: of a state, or of a step."""

    area: str
    text: str
    of_state: Callable[[Universe, World], Term] | None = None
    of_step: Callable[[Step], Term] | None = None


INVARIANTS: Final[dict[str, Invariant]] = {}
"""Every invariant by its name."""

StateFormula = Callable[[Universe, World], Term]
StepFormula = Callable[[Step], Term]


def of_state(text: str) -> Callable[[StateFormula], StateFormula]:
    """Register an invariant of a state; the name of the formula is its name, and begins with its area."""

    def register(holds: StateFormula) -> StateFormula:
        area, _, _ = holds.__name__.partition("_")
        INVARIANTS[holds.__name__.replace("_", "-")] = Invariant(area, text, of_state=holds)
        return holds

    return register


def of_step(text: str) -> Callable[[StepFormula], StepFormula]:
    """Register an invariant of a step."""

    def register(holds: StepFormula) -> StepFormula:
        area, _, _ = holds.__name__.partition("_")
        INVARIANTS[holds.__name__.replace("_", "-")] = Invariant(area, text, of_step=holds)
        return holds

    return register


def is_in(world: World, client: Term, *states: State) -> Term:
    """Return that a client is in one of these states."""
    return either(*(world.state(client) == CODE[state] for state in states))
