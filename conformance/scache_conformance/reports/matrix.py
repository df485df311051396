"""Clauses by servers: what all cases of one clause say about one server.

Of several verdicts the worst counts, and what was not tried says nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from scache_conformance.reports.run import Run
from scache_conformance.suite.registry import CLAUSES
from scache_conformance.suite.unobservable import UNOBSERVABLE
from scache_conformance.suite.verdicts import Level, Result, Verdict
from scache_spec.clauses import AREAS, OF_CLIENTS, Clause


class State(Enum):
    """What is known of a clause on a server, the best first; the value is the sign for it."""

    UNOBSERVABLE = "·"
    NOT_TRIED = "?"
    NOTED = "i"
    PASSES = "✓"
    DEVIATES = "△"
    FAILS = "✗"
    NO_VERDICT = "!"


MEANINGS = {
    State.PASSES: "every case passes",
    State.DEVIATES: "fails as expected, or fails a SHOULD: a known deviation",
    State.FAILS: "fails a MUST, or passes where it was expected to fail",
    State.NO_VERDICT: "no verdict: the server died, or the suite failed",
    State.NOTED: "what the server does is written down, nothing is demanded",
    State.NOT_TRIED: "not tried, for the reason given",
    State.UNOBSERVABLE: "cannot be seen from outside",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One clause on one server."""

    state: State
    passed: int
    tried: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One clause on every server; `reason` is why it has no case, if it has none."""

    clause: Clause
    cells: tuple[Cell, ...]
    reason: str


def rows(runs: Sequence[Run]) -> dict[str, list[Row]]:
    """Return the rows by title of the area, in the order of the specification."""
    by_area: dict[str, list[Row]] = {}
    of_clients = is_of_clients(runs)
    for clause in CLAUSES.values():
        if (clause.area == OF_CLIENTS) is not of_clients:
            continue  # runs of clients say nothing of servers
        cells = tuple(_cell(clause.id, run) for run in runs)
        row = Row(clause, cells, UNOBSERVABLE.get(clause.id, ""))
        by_area.setdefault(AREAS[clause.area], []).append(row)
    return by_area


def is_of_clients(runs: Sequence[Run]) -> bool:
    """Tell whether clients were held against the specification, and not servers."""
    return any(clause.startswith(OF_CLIENTS) for run in runs for each in run.results for clause in each.clauses)


def _cell(clause_id: str, run: Run) -> Cell:
    results = tuple(result for result in run.results if clause_id in result.clauses)
    tried = [result for result in results if result.verdict not in (Verdict.SKIP, Verdict.INFO)]
    passed = [result for result in tried if result.verdict is Verdict.PASS]
    states = [state_of(result) for result in results]
    fallback = State.UNOBSERVABLE if clause_id in UNOBSERVABLE else State.NOT_TRIED
    return Cell(max(states, key=list(State).index, default=fallback), len(passed), len(tried), results)


def state_of(result: Result) -> State:
    """Return what one result alone says of its clauses."""
    match result.verdict:
        case Verdict.ERROR:
            return State.NO_VERDICT
        case Verdict.SKIP:
            return State.NOT_TRIED
        case Verdict.INFO:
            return State.NOTED
        case Verdict.PASS:
            return State.FAILS if result.is_better_than_expected else State.PASSES
        case Verdict.FAIL:
            is_known = result.is_excused or result.level is not Level.MUST
            return State.DEVIATES if is_known else State.FAILS
