"""`python -m tests.citations.trial CLAUSE…`: hold the fast server of this tree against the tests of these clauses.

Its last line tells the first failing test of each clause, null for none, up to the first clause that has one. Tests of
a clause are the cases of the suite that try it, on the server under a virtual clock, and the tests of the server that
are named after it.
"""

import argparse
import json
import re
import resource
import signal
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

import pytest
from tests.conformance.plugged import under_clock
from tests.support.checkout import ROOT

from scache_conformance.servers.target import ServerDied
from scache_conformance.suite.registry import Schedule, all_cases, choose
from scache_conformance.suite.runner import Runner
from scache_conformance.suite.verdicts import Verdict

FOLDERS = ("tests/fast", "tests/side_by_side")

MARK = "failing:"
"""What the last line begins with."""

DEADLINE_S = 2
"""How long a reply may take: some never come, and each is waited for."""

PATIENCE_CPU_S = 60
PATIENCE_S = 600
"""How long the tests of one clause may compute, and take: what is wrong may go round in a loop, or wait. Arbitrary."""


MEMORY_BYTES_MAX = 2 << 30
"""What goes round in a loop may eat memory, too."""


class TakesTooLong(KeyboardInterrupt):
    """The tests of a clause do not come to an end. An interrupt gets out of tests and cases."""


def first_failing_case(runner: Runner, clause: str) -> str | None:
    """Try the cases of a clause, those that need no server of their own first."""
    for case in sorted(choose(all_cases(), clauses=[clause]), key=lambda case: case.schedule is Schedule.OWN_SERVERS):
        (result,) = runner.run([case])
        if result.verdict in (Verdict.FAIL, Verdict.ERROR):
            return case.slug
    return None


@cache
def named_tests() -> dict[str, list[str]]:
    """Return the tests that are named after a clause, by clause."""
    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("test_*.py")):
            for name, ids in re.findall(r"^def (test_((?:[A-Z]+_\d+_)+)\w*)", path.read_text(), re.MULTILINE):
                for area, number in re.findall(r"([A-Z]+)_(\d+)_", ids):
                    found.setdefault(f"{area}-{number}", []).append(f"{path.relative_to(ROOT)}::{name}")
    return found


class Failures:
    """A plugin of pytest that keeps the names of the tests that failed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid)


def first_failing_test(clause: str) -> str | None:
    tests, failures = named_tests().get(clause, []), Failures()
    if not tests:
        return None
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    try:
        status = pytest.main([*options, *tests], plugins=[failures])
    except AssertionError:
        status = pytest.ExitCode.INTERRUPTED  # what a test that was interrupted leaves open
    if status == pytest.ExitCode.INTERRUPTED:
        raise TakesTooLong
    return None if status == pytest.ExitCode.OK else [*failures.names, "the tests cannot be collected"][0]


def first_failing(runner: Runner, clause: str) -> str | None:
    """Return the first test of a clause that fails, or what ends all of them."""
    signal.setitimer(signal.ITIMER_PROF, PATIENCE_CPU_S, PATIENCE_CPU_S)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)
    try:
        runner.target.check_alive()
        return first_failing_case(runner, clause) or first_failing_test(clause)
    except (TakesTooLong, MemoryError):
        return "no end of it"
    except ServerDied:
        runner.target.revive()
        return "the server dies"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def take_too_long(number: int, frame: FrameType | None) -> NoReturn:
    raise TakesTooLong


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.citations.trial")
    parser.add_argument("clauses", metavar="CLAUSE", nargs="+")
    parser.add_argument("--all", action="store_true", help="go on after the first clause of which a test fails")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    for alarm in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(alarm, take_too_long)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        try:
            target = stack.enter_context(under_clock("scache_fast", folder, deadline_s=DEADLINE_S))
        except ServerDied:
            print(MARK, json.dumps(dict.fromkeys(options.clauses, "the server does not start")))
            return
        runner = Runner(target, {}, lambda result: None)
        failing: dict[str, str | None] = {}
        for clause in options.clauses:
            failing[clause] = first_failing(runner, clause)
            if failing[clause] is not None and not options.all:
                break
    print(MARK, json.dumps(failing))


if __name__ == "__main__":
    main()
