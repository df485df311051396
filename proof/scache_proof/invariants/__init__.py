"""What is proved: what holds in every state, and what holds of every step.

An invariant of a state is proved by induction: the first state satisfies it, and every step that begins in a state
which satisfies them all ends in one. An invariant of a step holds of every step that begins in such a state.
`make prove` and SPEC.md show the texts.
"""

from typing import Final

from scache_proof.invariants import ownership, order, replies, lifetime, counters, room  # isort: skip
from scache_proof.invariants.registry import INVARIANTS, Invariant, Step

AREAS: Final = {
    module.__name__.rpartition(".")[2]: module.__doc__ or ""
    for module in (ownership, order, replies, lifetime, counters, room)
}
"""What the areas are about, by their names."""

__all__ = ["AREAS", "INVARIANTS", "Invariant", "Step"]
