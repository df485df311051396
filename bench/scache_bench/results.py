"""What one run of the benchmark has found, kept in one place for goals, tables and plots.

Figures are picked out by server and scenario, over all rounds. Everything can be written to a file and read back, so
that a report can be made again.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scache_bench.growth import Grown
from scache_bench.latency import Histogram, merge
from scache_bench.load import Run
from scache_bench.longest_turn import Turn
from scache_bench.scenarios import Scenario
from scache_bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: a run, and of what."""

    server: str
    scenario: Scenario
    round: int
    run: Run


@dataclass(frozen=True, slots=True)
class Memory:
    """What a server keeps in memory, in bytes."""

    server: str
    parked: int
    empty_bytes: int
    """Resident after a first load, with nothing parked."""
    session_bytes: float | None
    """For each parked session beyond its label and properties; None where nothing is parked."""


@dataclass(frozen=True, slots=True)
class Churn:
    """What a server's memory does while sessions come and go and nothing stays."""

    server: str
    operations: int
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class Paced:
    """What a server costs at one pace."""

    server: str
    scenario: Scenario
    operations_per_s: float
    cpu_share: float
    """Of one processor."""

    @property
    def cpu_us(self) -> float | None:
        """Return the processor time for one operation; None where there are none."""
        return self.cpu_share * 1e6 / self.operations_per_s if self.operations_per_s else None


@dataclass(frozen=True, slots=True)
class Mailed:
    """What one cache cost while real mail was delivered through it."""

    server: str
    messages: int
    reused: int
    """Messages that went over a connection that had been used before."""
    cpu_s: float
    resident_bytes: int


@dataclass(slots=True)
class Results:
    """Everything that was measured so far."""

    machine: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0.0
    servers: list[str] = field(default_factory=list)
    """Those that were to run, in table order."""
    missing: dict[str, str] = field(default_factory=dict)
    """Those that did not, or not all the way, and why."""
    samples: list[Sample] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    churn: list[Churn] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from the start of the process to the first client's greeting, by server."""
    system_calls: dict[str, dict[str, float]] = field(default_factory=dict)
    """By server and name, for one operation of the endp mix with 8 clients."""
    growth: list[Grown] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    paces: list[Paced] = field(default_factory=list)
    mail: list[Mailed] = field(default_factory=list)

    def scenarios(self) -> list[Scenario]:
        """List what was measured, in the order of the plan."""
        return list(dict.fromkeys(sample.scenario for sample in self.samples))

    def runs(self, server: str, scenario: Scenario) -> list[Run]:
        """List the runs of one server in one scenario, by round, unless it answered nobody."""
        return [
            sample.run
            for sample in sorted(self.samples, key=lambda sample: sample.round)
            if (sample.server, sample.scenario) == (server, scenario)
            and sample.run.operations
            and not sample.run.blocked
        ]

    def is_blocked(self, server: str, scenario: Scenario) -> bool:
        """Return whether the server ever answered nobody there."""
        return any(s.run.blocked for s in self.samples if (s.server, s.scenario) == (server, scenario))

    def is_generator_limit(self, server: str, scenario: Scenario) -> bool:
        """Return whether the load generator was busy all the time in any round."""
        return any(run.is_generator_limit for run in self.runs(server, scenario))

    def spread(self, server: str, scenario: Scenario, figure: Callable[[Run], float]) -> Spread | None:
        """Summarize one figure over the rounds; None where there is none."""
        runs = self.runs(server, scenario)
        return Spread.of(figure(run) for run in runs) if runs else None

    def ratio(
        self, above: tuple[str, Scenario], below: tuple[str, Scenario], figure: Callable[[Run], float]
    ) -> Spread | None:
        """Summarize the ratio of one figure of two servers, or of two scenarios, round by round; None without both."""
        first, second = self.runs(*above), self.runs(*below)
        if not first or len(first) != len(second):
            return None
        return Spread.of_ratios([figure(run) for run in first], [figure(run) for run in second])

    def latency(self, server: str, scenario: Scenario) -> Histogram | None:
        """Return the latencies of all rounds together; None where there are none."""
        runs = self.runs(server, scenario)
        return merge(run.latency for run in runs) if runs else None

    def write(self, path: Path) -> None:
        """Write everything to a file."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read what `write` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        said = json.loads(path.read_text())
        said["samples"] = [
            Sample(
                sample["server"],
                Scenario(**sample["scenario"]),
                sample["round"],
                Run(
                    **{
                        **sample["run"],
                        "latency": Histogram(tuple(tuple(bucket) for bucket in sample["run"]["latency"]["buckets"])),
                    }
                ),
            )
            for sample in said["samples"]
        ]
        said["memory"] = [Memory(**memory) for memory in said["memory"]]
        said["churn"] = [Churn(**churn) for churn in said["churn"]]
        said["growth"] = [Grown(**grown) for grown in said["growth"]]
        said["paces"] = [Paced(**{**each, "scenario": Scenario(**each["scenario"])}) for each in said.get("paces", ())]
        said["mail"] = [Mailed(**each) for each in said.get("mail", ())]
        said["turns"] = [Turn(**turn) for turn in said.get("turns", ())]
        return cls(**said)
