"""Slips of a C programmer in threaded.c: each a server that is wrong on a code path of its own.

The edits are what was typed instead: an order of two calls, a comparison, a flag that was forgotten.
"""

from dataclasses import dataclass
from typing import Final

from tests.wrong.strangers.program import Edit


@dataclass(frozen=True, slots=True)
class Slip:
    """One slip: the clauses it breaks, what is wrong, and the edits."""

    clauses: tuple[str, ...]
    what: str
    edits: tuple[Edit, ...]


SLIPS: Final[dict[str, Slip]] = {}


def slip(name: str, clauses: str, what: str, *edits: Edit) -> None:
    """Add a slip; `clauses` are separated by blanks."""
    SLIPS[name] = Slip(tuple(clauses.split()), what, edits)


slip(
    "expiry-is-not-the-soonest",
    "TTL-6",
    "What expires sooner than all else does not wake the thread that waits for the next expiry.",
    ("    if (soonest == e)\n        pthread_cond_signal(&soonest_changed);\n", ""),
)
slip(
    "expiries-are-awaited-once",
    "TTL-6",
    "The thread that removes what is due waits for the next expiry once, and then for the next statistics.",
    (
        "        if (soonest && soonest->expiry < next)\n",
        "        static int waited;\n        if (soonest && !waited++)\n",
    ),
)
