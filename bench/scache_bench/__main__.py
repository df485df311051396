"""`python -m scache_bench`: measures everything, shows it, and writes RESULTS.md with its pictures."""

import argparse
import importlib.util
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from scache_bench import machine, programs, report
from scache_bench.load import Load
from scache_bench.measure import Measurement
from scache_bench.results import Results
from scache_bench.scenarios import Plan, full_plan, quick_plan
from scache_bench.servers import SERVERS

PUBLISHED: Final = Path(__file__).parents[1]
SCRATCH: Final = Path(__file__).parents[2] / ".cache" / "bench"
"""Where quick and partial runs are written: their figures are not for publication. Ignored by git."""


class Progress:
    """One line that says what is under way, how much is done and how long the rest may take."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        self._last_percent = -1

    def __call__(self, words: str, done: float) -> None:
        """Show a step; where nobody watches, only every tenth of the whole is a line."""
        elapsed = time.monotonic() - self._start
        percent = int(done * 100)
        rest = f", about {elapsed / done - elapsed:.0f} s to go" if done > 0.05 else ""
        line = f"{percent:3d} % {words}{rest}"
        if self._is_terminal:
            print(f"\r\x1b[K{line[:110]}", end="", file=sys.stderr, flush=True)
        elif percent // 10 != self._last_percent // 10:
            print(line, file=sys.stderr, flush=True)
        self._last_percent = percent

    def end(self) -> None:
        """Leave the line empty."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scache_bench", description="Compare the speed of connection cache servers."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run for one minute instead of seven; the figures are rough and not published",
    )
    names = ", ".join(SERVERS)
    parser.add_argument(
        "--only", metavar="NAMES", help=f"measure only these servers, separated by commas. Choices: {names}"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="repeat each measurement N times")
    parser.add_argument("--seconds", type=float, metavar="S", help="measure each scenario for S seconds")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder for the results (default: bench/; with --quick or --only: .cache/bench/)",
    )
    parser.add_argument("--png", action="store_true", help="draw the pictures as PNG instead of SVG")
    parser.add_argument(
        "--again",
        type=Path,
        metavar="FILE",
        help="do not measure: report an earlier run, from .cache/bench/results.json or a copy of it",
    )
    parser.add_argument(
        "--no-pin", action="store_true", help="let the kernel choose the processors of servers and load"
    )
    arguments = parser.parse_args(words)
    arguments.names = arguments.only.split(",") if arguments.only else list(SERVERS)
    for name in arguments.names:
        if name not in SERVERS:
            parser.error(f"--only {name}: there is no such server; write one of {names}")
    return arguments


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = quick_plan() if arguments.quick else full_plan()
    rounds, seconds = arguments.rounds or plan.rounds, arguments.seconds or plan.seconds
    return replace(plan, rounds=rounds, seconds=seconds)


def _measure(plan: Plan, names: Sequence[str], *, pin: bool) -> Results:
    described = machine.describe()
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="scache-bench-") as scratch:
        folder = Path(scratch)
        load = Load(programs.build("load", folder), plan.seconds, plan.warmup_s)
        pin = pin and len(os.sched_getaffinity(0)) > 1
        if pin:
            load = replace(load, processor=_pin_to_all_but_one())
        results = Measurement(plan, load, folder, progress).run(names)
    progress.end()
    placement = "servers and load on processors of their own" if pin else "left to the kernel"
    results.machine = {**described, "Placement": placement}
    SCRATCH.mkdir(parents=True, exist_ok=True)
    results.write(SCRATCH / "results.json")
    return results


def _pin_to_all_but_one() -> int:
    """Keep this process, and with it every server, off one processor, and return that one's number for the load."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, processors[:-1])
    return processors[-1]


def _raise_descriptor_limit() -> None:
    """Let this process, and with it every server, have as many descriptors as root allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 1 when nothing could be measured."""
    arguments = _arguments(words)
    _raise_descriptor_limit()
    try:
        results = (
            Results.read(arguments.again)
            if arguments.again
            else _measure(_plan(arguments), arguments.names, pin=not arguments.no_pin)
        )
    except programs.NoCompilerError as reason:
        print(f"scache_bench: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nscache_bench: interrupted: nothing was written", file=sys.stderr)
        return 130
    is_partial = arguments.quick or arguments.only or arguments.again
    output: Path = arguments.output or (SCRATCH if is_partial else PUBLISHED)
    output.mkdir(parents=True, exist_ok=True)
    for heading, figures, body in report.sections(results):
        print(f"\n{heading}. {figures}\n{body}", end="")
    suffix = ".png" if arguments.png else ".svg"
    if importlib.util.find_spec("matplotlib") is None:
        print("\nNo pictures: matplotlib is missing; pip install matplotlib")
        suffix = ""
    else:
        from scache_bench import plots

        plots.draw(results, output / "plots", suffix)
    (output / "RESULTS.md").write_text(report.markdown(results, suffix or None))
    pictures = f", {output / 'plots'}/*{suffix}" if suffix else ""
    print(f"\nWritten: {output / 'RESULTS.md'}{pictures}")
    return 0 if results.samples else 1


if __name__ == "__main__":
    sys.exit(main())
