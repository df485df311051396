"""The load generator (load.c) as a function: it runs one scenario on one socket, and returns what was measured."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from scache_bench.latency import Histogram
from scache_bench.scenarios import Scenario


class _Said(TypedDict):
    """What the load generator prints: the first six after a measurement, the last three after parking."""

    operations: int
    seconds: float
    server_cpu_ns: int
    own_cpu_ns: int
    stalled: int
    blocked: bool
    histogram_ns: list[tuple[int, int, int]]

    parked: int
    label_bytes: int
    property_bytes: int


class LoadError(Exception):
    """The server gave a wrong answer or none. The text is that of the load generator."""


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement."""

    operations: int
    seconds: float
    server_cpu_ns: int
    own_cpu_ns: int
    """CPU time of the load generator itself. If it is near `seconds`, the load generator was the limit."""
    stalled: int
    """How many clients reached the middle of a dance, where they stop on purpose."""
    blocked: bool
    """No client got an answer within `patience_s`."""
    latency: Histogram

    @property
    def operations_per_s(self) -> float:
        """Return the throughput."""
        return self.operations / self.seconds

    @property
    def server_cpu_us(self) -> float:
        """Return the server's CPU time for one operation, in microseconds."""
        return self.server_cpu_ns / 1_000 / self.operations

    @property
    def is_generator_limit(self) -> bool:
        """Say whether the load generator used all of its CPU: then the server may be faster than measured."""
        return self.own_cpu_ns > 0.95e9 * self.seconds


@dataclass(frozen=True, slots=True)
class Parked:
    """What was parked, and the bytes of it that every server has to keep."""

    sessions: int
    payload_bytes: int
    """Labels and properties."""


@dataclass(frozen=True, slots=True)
class Load:
    """The compiled load generator."""

    program: Path
    seconds: float
    warmup_s: float
    patience_s: float = 3.0
    processor: int | None = None
    """The CPU on which it runs; None: the kernel chooses."""

    def run(self, socket: Path, scenario: Scenario, server_pid: int, seconds: float | None = None) -> Run:
        """Measure one scenario; `seconds` overrules the usual length. Raises LoadError."""
        options = {
            "--clients": scenario.clients,
            "--stalled": scenario.stalled,
            "--rate": scenario.rate,
            "--seconds": self.seconds if seconds is None else seconds,
            "--warmup": self.warmup_s,
            "--patience": self.patience_s,
            "--server-pid": server_pid,
        }
        said = self._call(socket, scenario.mix, options)
        return Run(
            operations=said["operations"],
            seconds=said["seconds"],
            server_cpu_ns=said["server_cpu_ns"],
            own_cpu_ns=said["own_cpu_ns"],
            stalled=said["stalled"],
            blocked=said["blocked"],
            latency=Histogram(tuple((start, end, count) for start, end, count in said["histogram_ns"])),
        )

    def park(self, socket: Path, sessions: int) -> Parked:
        """Park sessions for good, each under a label of its own. Raises LoadError."""
        said = self._call(socket, "park", {"--count": sessions, "--patience": 20})
        return Parked(said["parked"], said["label_bytes"] + said["property_bytes"])

    def _call(self, socket: Path, mix: str, options: dict[str, int | float]) -> _Said:
        if self.processor is not None:
            options = {**options, "--processor": self.processor}
        words = [str(word) for option in options.items() for word in option]
        result = subprocess.run([self.program, socket, mix, *words], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise LoadError(result.stderr.strip() or f"the load generator ended with status {result.returncode}")
        said: _Said = json.loads(result.stdout)
        return said
