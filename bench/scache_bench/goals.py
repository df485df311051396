"""The goals, and whether a run met them.

Decides which ratio each goal is about and where its bound lies. Refuses to know how figures were measured or are shown.
All goals but the last two are ratios within one run: they mean the same on any machine with two cores.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from scache_bench.load import Run
from scache_bench.results import Results
from scache_bench.scenarios import MIXES, Scenario
from scache_bench.spread import Spread

JUDGED: Final = ("fast", "compiled")
"""Whose goals these are: the production server, as it is installed and compiled."""

FLOOR: Final = "floor"
"""Measured beside them: what any server can reach that makes these system calls."""

MEMORY_PER_SESSION_MAX: Final = 600.0
CHURN_GROWTH_MAX: Final = 1.01
"""One per cent: allocators and garbage collectors breathe, a leak of 20 bytes an operation would be ten times that."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal and what came out."""

    goal: str
    bound: float
    is_upper_bound: bool
    measured: Mapping[str, Spread]
    """By server. One that is not there was not measured, or the goal is none for it."""

    def is_met(self, server: str) -> bool | None:
        """Return whether a server's median is on the right side; None where nothing was measured."""
        if server not in self.measured:
            return None
        median = self.measured[server].median
        return median <= self.bound if self.is_upper_bound else median >= self.bound


def _throughput(run: Run) -> float:
    return run.operations_per_s


def _cpu(run: Run) -> float:
    return run.server_cpu_us


def _p99(run: Run) -> float:
    return run.latency.percentile_ns(99)


def verdicts(results: Results) -> list[Verdict]:
    """Judge every goal, in each mix where it applies."""
    found: list[Verdict] = []

    def judge(goal: str, bound: float, is_upper_bound: bool, measure: Callable[[str], Spread | None]) -> None:
        measured = {name: spread for name in (*JUDGED, FLOOR) if (spread := measure(name)) is not None}
        found.append(Verdict(goal, bound, is_upper_bound, measured))

    def against(
        other: str, words: str, scenario: Scenario, figure: Callable[[Run], float], bound: float, is_upper: bool
    ) -> None:
        def measure(name: str) -> Spread | None:
            return None if name == other else results.ratio((name, scenario), (other, scenario), figure)

        judge(f"{words} / {other}'s, {scenario}", bound, is_upper, measure)

    most = max((scenario.parked for scenario in results.scenarios()), default=0)
    for mix in MIXES:
        for clients, bound in ((1, 1.05), (8, 8.0), (64, 10.0)):
            against("scache", "throughput", Scenario(mix, clients), _throughput, bound, False)
        for clients, bound in ((8, 0.25), (64, 0.20)):
            against("scache", "processor time an operation", Scenario(mix, clients), _cpu, bound, True)
        for clients in (8, 64):
            against("scache", "p99", Scenario(mix, clients), _p99, 0.1, True)
        for clients in (8, 64):
            against(FLOOR, "throughput", Scenario(mix, clients), _throughput, 0.75, False)
        if most:
            full, empty = Scenario(mix, 8, most), Scenario(mix, 8)
            against("scache", "throughput", full, _throughput, 8.0, False)

            def own(name: str, full: Scenario = full, empty: Scenario = empty) -> Spread | None:
                return results.ratio((name, full), (name, empty), _cpu)

            judge(f"processor time an operation / with 0 parked, {full}", 1.1, True, own)

    def session_bytes(name: str) -> Spread | None:
        sizes = [memory.session_bytes for memory in results.memory if memory.server == name and memory.parked == most]
        known = [size for size in sizes if size is not None]
        return Spread.of(known) if known and name != FLOOR else None

    def growth(name: str) -> Spread | None:
        grown = [churn.after_bytes / churn.before_bytes for churn in results.churn if churn.server == name]
        return Spread.of(grown) if grown and name != FLOOR else None

    words = f"bytes a parked session beyond its label and properties, {most} parked"
    judge(words, MEMORY_PER_SESSION_MAX, True, session_bytes)
    judge("memory after a churn / before", CHURN_GROWTH_MAX, True, growth)
    return found
