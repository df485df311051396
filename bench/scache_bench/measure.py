"""One run of the benchmark: all servers side by side, all scenarios, round after round.

Within a round every scenario goes once through every server, beginning with another server each
time, so that whatever else happens on the machine hits all of them alike. A server that cannot be measured is set aside
with its reason and disturbs nobody.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from scache_bench.growth import Grown
from scache_bench.load import Load, LoadError, Parked
from scache_bench.longest_turn import Turn
from scache_bench.mail import CACHES, MailError, mailed
from scache_bench.probes import count_system_calls, resident_bytes
from scache_bench.results import Churn, Memory, Paced, Results, Sample
from scache_bench.scenarios import PACES, Plan, Scenario
from scache_bench.servers import COMPILED, PACED, PARKED_MAX, PYTHON, SERVERS, SOURCES, Server, StartError, has_strace

WARM: Final = Scenario("endp", 8)
"""Before the first look at a server's memory: buffers are there, code is loaded."""

CHURN: Final = Scenario("endp", 64)
CHURN_S: Final = 2.0
STARTS: Final = 5
TRACED: Final = Scenario("endp", 8)


@dataclass(slots=True)
class Measurement:
    """A run under way. Tells `progress` in words what comes next, and how much of the whole is done."""

    plan: Plan
    load: Load
    folder: Path
    progress: Callable[[str, float], None]
    results: Results = field(default_factory=Results)
    _running: dict[tuple[str, int], Server] = field(default_factory=dict)
    _active: list[str] = field(default_factory=list)
    _done: int = 0

    def run(self, names: Iterable[str]) -> Results:
        """Measure everything of the plan."""
        self.results.rounds, self.results.seconds = self.plan.rounds, self.plan.seconds
        self._active = [name for name in SERVERS if name in names]
        self.results.servers = self._active.copy()
        if self.plan.growth and "fast" in self._active:
            self._measure_growth()
            self._measure_turns()
        with ExitStack() as stack:
            for parked in self.plan.parked:
                for name in self._active.copy():
                    self._guarded(name, partial(self._start, stack, name, parked))
            for number in range(self.plan.rounds):
                self._measure_round(number)
            for name in self._active.copy():
                self._guarded(name, partial(self._measure_starts, name))
                self._guarded(name, partial(self._measure_churn, name))
                self._guarded(name, partial(self._count_system_calls, name))
        for name in PACED:
            if name.partition(",")[0] in self._active:
                self._guarded(name.partition(",")[0], partial(self._measure_paces, name))
        for name in CACHES:
            if name in self._active:
                self._measure_mail(name)
        return self.results

    def _guarded(self, name: str, action: Callable[[], None]) -> None:
        """Do something with a server; if it fails there, it is out, and the reason is kept."""
        try:
            action()
        except (StartError, LoadError) as reason:
            self.results.missing[name] = str(reason)
            self._active.remove(name)

    def _step(self, words: str) -> None:
        steps = len(self._active) * (len(self.plan.scenarios) * self.plan.rounds + len(self.plan.parked) + 2)
        self.progress(words, min(1.0, self._done / max(1, steps)))
        self._done += 1

    def _start(self, stack: ExitStack, name: str, parked: int) -> None:
        """Start a server, and park what it is to hold."""
        if parked > PARKED_MAX.get(name, parked):
            return
        self._step(f"{name}: starts" + (f", {parked} sessions are parked" if parked else ""))
        folder = self.folder / f"{name}-{parked}"
        folder.mkdir()
        server = stack.enter_context(SERVERS[name](folder))
        self._running[name, parked] = server
        self.load.run(server.socket, WARM, server.pid)
        empty = resident_bytes(server.pid)
        session_bytes = None
        if parked:
            stored: Parked = self.load.park(server.socket, parked)
            session_bytes = (resident_bytes(server.pid) - empty - stored.payload_bytes) / parked
        self.results.memory.append(Memory(name, parked, empty, session_bytes))

    def _measure_round(self, number: int) -> None:
        for index, scenario in enumerate(self.plan.scenarios):
            names = self._active.copy()
            first = (number + index) % max(1, len(names))
            for name in names[first:] + names[:first]:
                self._guarded(name, partial(self._measure, name, scenario, number))

    def _measure(self, name: str, scenario: Scenario, number: int) -> None:
        server = self._running.get((name, scenario.parked))
        if server is None:
            return
        self._step(f"round {number + 1} of {self.plan.rounds}: {name}, {scenario}")
        run = self.load.run(server.socket, scenario, server.pid)
        self.results.samples.append(Sample(name, scenario, number, run))

    def _measure_starts(self, name: str) -> None:
        if name == "scache":
            return  # It is not there before its first client, because master(8) starts it for one.
        self.results.starts[name] = starts = []
        for number in range(STARTS):
            folder = self.folder / f"starts-{name}-{number}"  # The floor leaves its socket behind.
            folder.mkdir()
            with SERVERS[name](folder) as server:
                if server.start_s is not None:
                    starts.append(server.start_s)

    def _measure_churn(self, name: str) -> None:
        self._step(f"{name}: memory while sessions come and go")
        server = self._running[name, 0]
        before = resident_bytes(server.pid)
        run = self.load.run(server.socket, CHURN, server.pid, seconds=CHURN_S)
        self.results.churn.append(Churn(name, run.operations, before, resident_bytes(server.pid)))

    def _count_system_calls(self, name: str) -> None:
        if not has_strace():
            self.results.missing["strace"] = "system calls are not counted without it: install strace"
            return
        self._step(f"{name}: system calls are counted")
        server = self._running[name, 0]
        whole = replace(self.load, seconds=0.3, warmup_s=0.0)  # all operations are counted, as all calls are
        try:
            self.results.system_calls[name] = count_system_calls(
                server.pid, self.folder, lambda: whole.run(server.socket, TRACED, server.pid).operations
            )
        except OSError as reason:
            self.results.missing["strace"] = str(reason)

    def _measure_paces(self, name: str) -> None:
        folder = self.folder / f"paced-{name.replace(', ', '-').replace(' ', '-')}"
        folder.mkdir()
        with PACED[name](folder) as server:
            self.load.run(server.socket, WARM, server.pid)
            for scenario in PACES:
                self.progress(f"{name}: {scenario}", 1.0)
                run = self.load.run(server.socket, scenario, server.pid, seconds=self.plan.paced_s)
                cpu_share = run.server_cpu_ns / 1e9 / run.seconds
                self.results.paces.append(Paced(name, scenario, run.operations_per_s, cpu_share))

    def _measure_mail(self, name: str) -> None:
        self.progress(f"{name}: real mail", 1.0)
        try:
            self.results.mail.append(mailed(name, self.plan.messages))
        except MailError as reason:
            self.results.missing["real mail"] = str(reason)

    def _measure_growth(self) -> None:
        self.progress("the table alone, without sockets", 0.0)
        said = self._module_says("growth", *(str(size) for size in self.plan.growth))
        self.results.growth = [Grown(**json.loads(line)) for line in said]

    def _measure_turns(self) -> None:
        self.progress("the longest turn, every limit full", 0.0)
        self.results.turns = [Turn(**json.loads(line)) for line in self._module_says("longest_turn")]

    def _module_says(self, name: str, *words: str) -> list[str]:
        """Return what a module of the benchmark prints, run as a process of its own, compiled if that is measured."""
        sources = f"{COMPILED}{os.pathsep}{SOURCES}" if "compiled" in self._active else SOURCES
        result = subprocess.run(
            [PYTHON, "-m", f"scache_bench.{name}", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": sources},
        )
        if result.returncode != 0:
            self.results.missing[name] = result.stderr.strip().rpartition("\n")[2]
        return result.stdout.splitlines()
