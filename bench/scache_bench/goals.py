"""The goals, and whether a run met them.

Each goal is about a ratio, with a bound.
All goals but those in MB, ms and bytes are ratios within one run: they mean the same on any machine with two cores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scache_bench.load import Run
from scache_bench.results import Mailed, Results
from scache_bench.scenarios import MIXES, PACED, Scenario
from scache_bench.spread import Spread

JUDGED: Final = ("compiled", "fast")
"""Whose goals these are: the production server, as its packages install it and in plain Python."""

FLOOR: Final = "floor"
"""Measured beside them: what any server can reach that makes these system calls."""

MEMORY_PER_SESSION_MAX: Final = 350.0
FULL: Final = 10_000
"""From so many parked sessions on a server that looks through all of them is to be far behind."""

MAIL_MEMORY_MAX: Final = 2.2
"""Resident memory under real mail, in ratio to scache's."""

EMPTY_MB_MAX: Final = 14.0
START_MS_MAX: Final = 60.0

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

    def judge(
        goal: str, bound: float, is_upper_bound: bool, measure: Callable[[str], Spread | None], judged: Sequence[str]
    ) -> None:
        measured = {name: spread for name in (*judged, FLOOR) if (spread := measure(name)) is not None}
        found.append(Verdict(goal, bound, is_upper_bound, measured))

    def against(
        other: str, words: str, scenario: Scenario, figure: Callable[[Run], float], bound: float, is_upper: bool,
        judged: Sequence[str] = JUDGED,
    ) -> None:  # fmt: skip
        def measure(name: str) -> Spread | None:
            return None if name == other else results.ratio((name, scenario), (other, scenario), figure)

        judge(f"{words} / {other}'s, {scenario}", bound, is_upper, measure, judged)

    most = max((scenario.parked for scenario in results.scenarios()), default=0)
    compiled, plain = JUDGED[:1], JUDGED[1:]
    for mix in MIXES:
        for clients, share in ((8, 0.55), (64, 0.65)):
            against(FLOOR, "throughput", Scenario(mix, clients), _throughput, 0.8, False, compiled)
            against(FLOOR, "throughput", Scenario(mix, clients), _throughput, share, False, plain)
        against(FLOOR, "throughput", Scenario(mix, 1_024), _throughput, 0.8, False, compiled)
        for clients, share in ((8, 0.70), (64, 0.75)):
            scenario = Scenario(mix, clients)
            against(FLOOR, "processor time an operation", scenario, _cpu, 1 / share, True, compiled)
            against(FLOOR, "p99", scenario, _p99, 1.3, True, compiled)
        alone = Scenario(mix, 1)
        against("scache", "throughput", alone, _throughput, 2.5, False)
        against("scache", "processor time an operation", alone, _cpu, 1.0, True, compiled)
        if most:
            full, empty = Scenario(mix, 8, most), Scenario(mix, 8)
            if most >= FULL:
                against("scache", "throughput", full, _throughput, 30.0, False, compiled)

            def own(name: str, full: Scenario = full, empty: Scenario = empty) -> Spread | None:
                return results.ratio((name, full), (name, empty), _cpu)

            judge(f"processor time an operation / with 0 parked, {full}", 1.1, True, own, JUDGED)

    def paced(name: str) -> Spread | None:
        costs = {each.server: each.cpu_us for each in results.paces if each.scenario == PACED}
        own, real = costs.get(name), costs.get("scache")
        return Spread.of([own / real]) if own is not None and real is not None else None

    judge(f"processor time an operation / scache's, {PACED}", 1.0, True, paced, compiled)

    def mail(figure: Callable[[Mailed], float]) -> Callable[[str], Spread | None]:
        costs = {each.server: figure(each) for each in results.mail}
        return lambda name: Spread.of([costs[name] / costs["scache"]]) if {name, "scache"} <= costs.keys() else None

    judge("processor time / scache's, real mail", 1.0, True, mail(lambda each: each.cpu_s), compiled)
    memory = mail(lambda each: each.resident_bytes)
    judge("resident memory / scache's, real mail", MAIL_MEMORY_MAX, True, memory, compiled)

    def session_bytes(name: str) -> Spread | None:
        sizes = [memory.session_bytes for memory in results.memory if memory.server == name and memory.parked == most]
        known = [size for size in sizes if size is not None]
        return Spread.of(known) if known and name != FLOOR else None

    def growth(name: str) -> Spread | None:
        grown = [churn.after_bytes / churn.before_bytes for churn in results.churn if churn.server == name]
        return Spread.of(grown) if grown and name != FLOOR else None

    def empty_mb(name: str) -> Spread | None:
        sizes = [each.empty_bytes / 1e6 for each in results.memory if each.server == name]
        return Spread.of(sizes) if sizes and name != FLOOR else None

    def start_ms(name: str) -> Spread | None:
        starts = [each * 1000 for each in results.starts.get(name, [])]
        return Spread.of(starts) if starts and name != FLOOR else None

    judge("MB of memory, nothing parked", EMPTY_MB_MAX, True, empty_mb, compiled)
    judge("ms from the start to the first greeting", START_MS_MAX, True, start_ms, JUDGED)
    words = f"bytes a parked session beyond its label and properties, {most} parked"
    judge(words, MEMORY_PER_SESSION_MAX, True, session_bytes, JUDGED)
    judge("memory after a churn / before", CHURN_GROWTH_MAX, True, growth, JUDGED)
    return found
