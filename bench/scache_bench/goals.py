"""The goals, and whether a run met them.

Decides which ratio each goal is about and where its bound lies. Refuses to know how figures were measured or are shown.
All goals but the last two are ratios within one run: they mean the same on any machine with two cores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scache_bench.load import Run
from scache_bench.results import Results
from scache_bench.scenarios import MIXES, Scenario
from scache_bench.spread import Spread

MEMORY_PER_SESSION_MAX: Final = 600.0
CHURN_GROWTH_MAX: Final = 1.01
"""One per cent: allocators and garbage collectors breathe, a leak of 20 bytes an operation would be ten times that."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal and what came out."""

    goal: str
    bound: float
    is_upper_bound: bool
    measured: Spread | None
    """None: this run did not measure it."""

    floors: Spread | None = None
    """The same ratio for the floor, where it is one with the real scache: what any server can reach here."""

    @property
    def is_met(self) -> bool | None:
        """Return whether the median is on the right side; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured.median <= self.bound if self.is_upper_bound else self.measured.median >= self.bound


def _throughput(run: Run) -> float:
    return run.operations_per_s


def _cpu(run: Run) -> float:
    return run.server_cpu_us


def _p99(run: Run) -> float:
    return run.latency.percentile_ns(99)


def verdicts(results: Results) -> list[Verdict]:
    """Judge every goal, in each mix where it applies."""
    found: list[Verdict] = []

    def judge(
        goal: str, bound: float, is_upper_bound: bool, measured: Spread | None, floors: Spread | None = None
    ) -> None:
        found.append(Verdict(goal, bound, is_upper_bound, measured, floors))

    def against(
        other: str, words: str, scenario: Scenario, figure: Callable[[Run], float], bound: float, is_upper: bool
    ) -> None:
        below = (other, scenario)
        floors = results.ratio(("floor", scenario), below, figure) if other != "floor" else None
        name = f"{words} / {other}'s, {scenario}"
        judge(name, bound, is_upper, results.ratio(("fast", scenario), below, figure), floors)

    most = max((scenario.parked for scenario in results.scenarios()), default=0)
    for mix in MIXES:
        for clients, bound in ((1, 1.05), (8, 8.0), (64, 10.0)):
            against("scache", "throughput", Scenario(mix, clients), _throughput, bound, False)
        for clients, bound in ((8, 0.25), (64, 0.20)):
            against("scache", "processor time an operation", Scenario(mix, clients), _cpu, bound, True)
        for clients in (8, 64):
            against("scache", "p99", Scenario(mix, clients), _p99, 0.1, True)
        for clients in (8, 64):
            against("floor", "throughput", Scenario(mix, clients), _throughput, 0.75, False)
        if most:
            full, empty = Scenario(mix, 8, most), Scenario(mix, 8)
            against("scache", "throughput", full, _throughput, 8.0, False)
            own = results.ratio(("fast", full), ("fast", empty), _cpu)
            judge(f"processor time an operation / with 0 parked, {full}", 1.1, True, own)

    sizes = [memory.session_bytes for memory in results.memory if memory.server == "fast" and memory.parked == most]
    per_session = Spread.of(size for size in sizes if size is not None) if any(sizes) else None
    judge(
        f"bytes a parked session beyond its label and properties, {most} parked",
        MEMORY_PER_SESSION_MAX,
        True,
        per_session,
    )
    growth = [churn.after_bytes / churn.before_bytes for churn in results.churn if churn.server == "fast"]
    judge("memory after a churn / before", CHURN_GROWTH_MAX, True, Spread.of(growth) if growth else None)
    return found
