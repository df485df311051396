"""The commands for generated runs (lockstep, histories, traces): what they print, and their exit status.

Hypothesis, which makes up the runs of lockstep, is imported only for these runs.
"""

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from scache_conformance.generated import histories, traces
from scache_conformance.generated.driver import Divergence
from scache_conformance.generated.rules import RuleSet
from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.verdicts import Exit

STEPS: Final = 20_000
"""The default number of lockstep steps: a minute or less."""

HISTORIES: Final = 1_000
"""The default number of histories."""

DIVERGENCES_MAX: Final = 10
"""After how many divergences the replay of traces ends. Arbitrary."""


class Progress:
    """The progress of a long run, on standard error: one line that changes on a terminal, else a line every 10 s."""

    def __init__(self, what: str, unit: str, total: int | None = None) -> None:
        """Say what begins."""
        self._unit: Final = unit if total is None else f"of {total} {unit}"
        self._is_terminal: Final = sys.stderr.isatty()
        self._shown_s = time.monotonic()
        self._write(f"{what}\n")

    def __call__(self, done: int) -> None:
        """Show how many are done, if the last time was long enough ago."""
        now_s = time.monotonic()
        if now_s - self._shown_s >= (0.1 if self._is_terminal else 10.0):
            self._shown_s = now_s
            self._write(f"\r\033[K{done} {self._unit}" if self._is_terminal else f"{done} {self._unit}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        print(text, end="", file=sys.stderr, flush=True)


def run_model(target: Target, steps: int, seed: int, rule_set: RuleSet, trace_path: Path | None) -> Exit:
    """Keep the server in lockstep with the specification; write the shortest run that fails. Raises Unavailable."""
    if find_spec("hypothesis") is None:
        raise Unavailable("--model needs Hypothesis: pip install hypothesis")
    from scache_conformance.generated import lockstep  # here, because Hypothesis is not everybody's

    still = "" if target.has_clock else ", in which no time passes: the server has no virtual clock"
    with Progress(f"lockstep, seed {seed}{still}", "steps", steps) as progress:
        result = lockstep.run(target, steps_min=steps, seed_number=seed, rule_set=rule_set, progress=progress)
    print(f"{target.name}: {result}")
    if result.divergence is None:
        return Exit.GOOD if result.steps else Exit.NO_VERDICT
    _show(result.divergence)
    if trace_path is not None:
        with trace_path.open("w", encoding="utf-8") as file:
            traces.write(file, [result.divergence.trace], target.declared.ttl_limit_s)
        print(f"the run is in {trace_path}; play it again with: scache-conformance replay {trace_path} …")
    return Exit.FAILED


def run_histories(target: Target, count: int, seed: int, rule_set: RuleSet) -> Exit:
    """Record concurrent histories and judge whether they are linearizable."""
    with Progress(f"concurrent histories, seed {seed}", "histories", count) as progress:
        recorded = histories.run(target, count=count, seed_number=seed, rule_set=rule_set, progress=progress)
    print(f"{target.name}: {recorded}")
    if recorded.failure is not None:
        return Exit.FAILED
    return Exit.GOOD if recorded.operations else Exit.NO_VERDICT


def write_traces(path: Path | None) -> Exit:
    """Write every trace of the small scope to a file, or to standard output."""
    if path is None:
        traces.export(sys.stdout)
        return Exit.GOOD
    with path.open("w", encoding="utf-8") as file:
        number = traces.export(file)
    print(f"{number} traces written to {path}")
    return Exit.GOOD


def replay_traces(target: Target, path: Path) -> Exit:
    """Play a file of traces on a server. Raises Unavailable, ValueError for a file that is none, OSError."""
    with path.open(encoding="utf-8") as file, Progress(f"traces of {path}", "traces") as progress:
        replayed = traces.replay(target, traces.read(file), divergences_max=DIVERGENCES_MAX, progress=progress)
    print(f"{target.name}: {replayed}")
    for divergence in replayed.divergences:
        _show(divergence)
    if replayed.divergences:
        return Exit.FAILED
    return Exit.GOOD if replayed.replayed else Exit.NO_VERDICT


def _show(divergence: Divergence) -> None:
    print(f"\n{divergence}")
    for line in divergence.transcript:
        print(f"    {line}")
