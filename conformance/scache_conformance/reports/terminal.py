"""A run on a terminal: progress while it goes on, what failed at the end, and one line that says how it came out.

Failures are shown on one screen: grouped by their likely root, with the transcript of one case of each group. With
`verbose` every failure is shown in full.

What a server sent was escaped when it was written into a transcript: no control byte gets here.
"""

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from scache_conformance.reports.run import Run, clause_line
from scache_conformance.suite.roots import Group, groups
from scache_conformance.suite.verdicts import Result, Verdict
from scache_conformance.wire.transcript import DECIDED

WIDTH: Final = 100

SHOWN_WHILE_RUNNING_MAX: Final = 10
"""How many failures are named while the run goes on. Arbitrary: the end of the run names them all."""

GROUPS_IN_FULL: Final = 3
"""How many groups of failures are shown with a transcript. Arbitrary: with them the verdict fits on a screen."""

TRANSCRIPT_LINES: Final = 8
"""How many lines of a transcript are shown, up to the step that decided. Arbitrary."""

SLUGS_SHOWN: Final = 6
"""How many cases of a group are named. Arbitrary."""

_COLOURS: Final = {
    "PASS": "32",
    "FAIL": "31;1",
    "XPASS": "31;1",
    "ERROR": "35;1",
    "XFAIL": "33",
    "SKIP": "90",
    "INFO": "36",
}

_BAD: Final = ("FAIL", "XPASS", "ERROR")


class Terminal:
    """Writes to a stream, in colour and over its own last line if that is a terminal."""

    def __init__(self, stream: TextIO, total: int, *, verbose: bool = False) -> None:
        """Begin a run of so many cases; `verbose` names the cases that pass, too."""
        self._stream: Final = stream
        self._total: Final = total
        self._verbose: Final = verbose
        self._is_terminal: Final = stream.isatty()
        self._counts: Final[Counter[str]] = Counter()
        self._named = 0

    def progress(self, result: Result) -> None:
        """Show one more result: a line if it is worth one, and how far the run has come."""
        self._counts[result.word] += 1
        done = self._counts.total()
        self._named += result.word in _BAD
        if self._verbose or (result.word in _BAD and self._named <= SHOWN_WHILE_RUNNING_MAX):
            said = result.reason or (f"expected {result.expected}; got {result.actual}" if result.expected else "")
            self._erase()
            self._write(f"{self._word(result.word)} {result.level.name:<6} {result.slug}")
            self._write(
                f"  {textwrap.shorten(said, WIDTH, placeholder=' …')}\n" if said and result.word != "XFAIL" else "\n"
            )
            if self._named == SHOWN_WHILE_RUNNING_MAX and not self._verbose:
                self._write("further failures are named at the end\n")
        if self._is_terminal:
            self._write(f"\r\033[K{done}/{self._total}  {self._tally()}")
        elif done % 50 == 0 or done == self._total:
            self._write(f"{done}/{self._total}  {self._tally()}\n")
        self._stream.flush()

    def summary(self, run: Run, hint: str | None = None, differences: Iterable[str] = ()) -> None:
        """Show what failed, a hint at its cause if there is one, lines that compare it with others, and the outcome."""
        self._erase()
        if self._verbose:
            for result in run.failures():
                self._failure(result)
        else:
            self._groups(groups(run.failures()))
        weak = [each for each in run.results if each.verdict is Verdict.FAIL and each not in run.failures()]
        if unexcused := [result for result in weak if not result.is_excused]:
            self._write(f"\n{len(unexcused)} SHOULD not done, which counts with --strict:\n")
            for result in unexcused:
                self._write(f"  {result.slug} ({', '.join(result.clauses)})\n")
        self._skipped([result for result in run.results if result.verdict is Verdict.SKIP])
        for number, line in enumerate(differences):
            self._write("\n" * (number == 0) + textwrap.fill(line, WIDTH, subsequent_indent="    ") + "\n")
        if hint is not None:
            self._write("\n" + textwrap.fill(f"HINT: {hint}", WIDTH) + "\n")
        self._write(
            f"\n{run.server}: {self._tally()} of {len(run.results)} cases in {run.seconds:.1f} s: {run.outcome}\n"
        )

    def _groups(self, found: tuple[Group, ...]) -> None:
        for number, group in enumerate(found):
            self._write(f"\n{self._word(group.results[0].word).strip()} {group.root}: {_cases(group.results)}\n")
            if number < GROUPS_IN_FULL:
                self._failure(group.results[0], TRANSCRIPT_LINES)
        if found:
            self._write("\nThe cause is a guess. -v and the reports show every case with its whole transcript.\n")

    def _skipped(self, skipped: list[Result]) -> None:
        by_reason: dict[str, list[Result]] = {}
        for result in skipped:
            by_reason.setdefault(result.reason, []).append(result)
        if skipped:
            self._write(f"\n{len(skipped)} skipped:\n")
        for reason, results in by_reason.items():
            shown = len(results) if self._verbose else SLUGS_SHOWN
            self._write(_indented(f"{reason}: {_cases(results, shown)}") + "\n")

    def _failure(self, result: Result, lines_max: int | None = None) -> None:
        """Show one failure: in full, or with so many lines of its transcript and its first clause."""
        rule = f"\n{'─' * WIDTH}\n" if lines_max is None else ""
        self._write(f"{rule}{self._word(result.word)} {result.level.name} {result.slug}: {result.title}\n")
        for clause in result.clauses if lines_max is None else result.clauses[:1]:
            self._write(_indented(clause_line(clause)) + "\n")
        if result.is_better_than_expected:
            self._write(f"  it passes; expected to fail: {result.excuse}\n  take it out of the file\n")
        for name, text in (("expected", result.expected), ("actual", result.actual), ("reason", result.reason)):
            if text:
                self._write(f"  {name + ':':<9} {text}\n")
        for line in result.transcript if lines_max is None else _around_decision(result.transcript, lines_max):
            self._write(f"    {line if lines_max is None else line[:WIDTH]}\n")

    def _tally(self) -> str:
        return ", ".join(f"{count} {self._word(word).strip()}" for word, count in self._counts.most_common())

    def _word(self, word: str) -> str:
        return f"\033[{_COLOURS[word]}m{word:<5}\033[0m" if self._is_terminal else f"{word:<5}"

    def _erase(self) -> None:
        if self._is_terminal:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)


def _indented(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _cases(results: Sequence[Result], shown: int = SLUGS_SHOWN) -> str:
    more = f" and {len(results) - shown} more" if len(results) > shown else ""
    return f"{len(results)} case{'s' * (len(results) > 1)}: {', '.join(each.slug for each in results[:shown])}{more}"


def _around_decision(transcript: tuple[str, ...], lines_max: int) -> tuple[str, ...]:
    """Return the lines of a transcript up to the step that decided, the last of them."""
    end = next((number for number, line in enumerate(transcript, 1) if DECIDED in line), len(transcript))
    return transcript[max(0, end - lines_max) : end]
