"""The list of cases: each with a slug that never changes, the clauses it tries, and its level.

Decides what a case is and which are chosen. Refuses to know what any case does, and in which order and beside which
others it runs.
"""

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.verdicts import Level
from scache_spec.clauses import gather

Function = Callable[[Lab], str | None]
"""Raises Unmet if the server does something else; returns what it found out, for a case of level INFO."""

CLAUSES: Final = gather()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case. With `waits` it lets time pass, and may run beside others that do where time is real; with
    `undisturbed` only on a server that nobody else uses meanwhile: it would hold them up, or they would
    wake it. With `apart` it starts all the servers that it uses, and may run beside others that do.
    """

    slug: str
    title: str
    clauses: tuple[str, ...]
    level: Level
    waits: bool
    undisturbed: bool
    apart: bool
    function: Function

    @property
    def area(self) -> str:
        """Return the part of the slug before the stroke."""
        return self.slug.partition("/")[0]


AREAS: Final = (
    "greeting", "requests", "malformed", "splits", "pipelining", "endp", "dest",
    "ttl", "fd", "deaths", "stalls", "limits", "stats", "life",
)  # fmt: skip
"""The first parts of the slugs, each a module of `scache_conformance.cases`, from the simple to the intricate."""

_registered: Final[dict[str, Case]] = {}


def add(
    slug: str,
    title: str,
    clauses: tuple[str, ...],
    level: Level,
    function: Function,
    *,
    waits: bool = False,
    undisturbed: bool = False,
    apart: bool = False,
) -> None:
    """Register a case. Raises ValueError for a slug that is taken, an unknown clause, or none."""
    if slug in _registered:
        raise ValueError(f"there are two cases of the slug {slug}: name one of them otherwise")
    if unknown := [clause for clause in clauses if clause not in CLAUSES]:
        raise ValueError(f"case {slug} names clauses that nobody states: {', '.join(unknown)}")
    if not clauses or not title:
        raise ValueError(f"case {slug} needs a title, and a clause that it tries")
    _registered[slug] = Case(
        slug=slug,
        title=title,
        clauses=clauses,
        level=level,
        waits=waits or undisturbed,
        undisturbed=undisturbed,
        apart=apart,
        function=function,
    )


def case(
    slug: str,
    *clauses: str,
    level: Level = Level.MUST,
    waits: bool = False,
    undisturbed: bool = False,
    apart: bool = False,
) -> Callable[[Function], Function]:
    """Register the decorated function as a case; the first line of its docstring is the title."""

    def register(function: Function) -> Function:
        title = (function.__doc__ or "").partition("\n")[0]
        add(slug, title, clauses, level, function, waits=waits, undisturbed=undisturbed, apart=apart)
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
