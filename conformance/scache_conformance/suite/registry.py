"""The list of cases: each with a slug that never changes, the clauses it tries, and its level."""

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.verdicts import Level
from scache_spec.clauses import gather

Function = Callable[[Lab], str | None]
"""Raises Unmet if the server does something else; returns what it found out, for a case of level INFO."""

CLAUSES: Final = gather()


class Schedule(Enum):
    """On which server a case runs, and beside which other cases."""

    IN_TURN = "on the server that the cases share, one after the other"
    WAITING = "lets time pass: where that is real, at once with others that do, on the server that they share"
    UNDISTURBED = "lets time pass, on a server that nobody else uses: it would hold others up, or they would wake it"
    REAL_TIME = "lets time pass on a server with the machine's clock, where the server that cases share has another"
    OWN_SERVERS = "starts every server that it uses, and may run beside others that do"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case."""

    slug: str
    title: str
    clauses: tuple[str, ...]
    level: Level
    schedule: Schedule
    function: Function

    @property
    def area(self) -> str:
        """Return the part of the slug before the stroke."""
        return self.slug.partition("/")[0]


AREAS: Final = (
    "greeting", "requests", "malformed", "splits", "pipelining", "endp", "dest",
    "ttl", "fd", "deaths", "stalls", "limits", "stats", "life", "timers",
)  # fmt: skip
"""The first parts of the slugs, from the simple to the intricate: each a module or a folder of `cases`."""

_registered: Final[dict[str, Case]] = {}


def add(
    slug: str,
    title: str,
    clauses: tuple[str, ...],
    function: Function,
    *,
    level: Level = Level.MUST,
    schedule: Schedule = Schedule.IN_TURN,
) -> None:
    """Register a case. Raises ValueError for a slug that is taken, an unknown clause, or none."""
    if slug in _registered:
        raise ValueError(f"there are two cases of the slug {slug}: name one of them otherwise")
    if unknown := [clause for clause in clauses if clause not in CLAUSES]:
        raise ValueError(f"case {slug} names clauses that nobody states: {', '.join(unknown)}")
    if not clauses or not title:
        raise ValueError(f"case {slug} needs a title, and a clause that it tries")
    _registered[slug] = Case(
        slug=slug, title=title, clauses=clauses, level=level, schedule=schedule, function=function
    )  # fmt: skip


def case(
    slug: str, *clauses: str, level: Level = Level.MUST, schedule: Schedule = Schedule.IN_TURN
) -> Callable[[Function], Function]:
    """Register the decorated function as a case; the first line of its docstring is the title."""

    def register(function: Function) -> Function:
        title = (function.__doc__ or "").partition("\n")[0]
        add(slug, title, clauses, function, level=level, schedule=schedule)
        return function

    return register


def all_cases() -> tuple[Case, ...]:
    """Return every case, by area and within it in the order of the source."""
    # Importing the package is what registers them; at the top of this module it would be a circle.
    import scache_conformance.cases  # noqa: F401

    return tuple(sorted(_registered.values(), key=lambda case: AREAS.index(case.area)))


def choose(cases: Iterable[Case], patterns: Iterable[str] = (), clauses: Iterable[str] = ()) -> tuple[Case, ...]:
    """Return the cases whose slug fits one of the patterns (if any) and that try one of the clauses (if any)."""
    patterns, wanted = tuple(patterns), frozenset(clauses)
    return tuple(
        each
        for each in cases
        if (not patterns or any(fnmatch.fnmatchcase(each.slug, pattern) for pattern in patterns))
        and (not wanted or wanted & frozenset(each.clauses))
    )
