"""A run on a terminal: progress while it goes on, what failed at the end, and one line that says how it came out.

What a server sent was escaped when it was written into a transcript: no control byte gets here.
"""

import textwrap
from collections import Counter
from typing import Final, TextIO

from scache_conformance.reports.run import Run, clause_line
from scache_conformance.suite.verdicts import Result, Verdict

WIDTH: Final = 100

_COLOURS: Final = {
    "PASS": "32",
    "FAIL": "31;1",
    "XPASS": "31;1",
    "ERROR": "35;1",
    "XFAIL": "33",
    "SKIP": "90",
    "INFO": "36",
}


class Terminal:
    """Writes to a stream, in colour and over its own last line if that is a terminal."""

    def __init__(self, stream: TextIO, total: int, *, verbose: bool = False) -> None:
        """Begin a run of so many cases; `verbose` names the cases that pass, too."""
        self._stream: Final = stream
        self._total: Final = total
        self._verbose: Final = verbose
        self._is_terminal: Final = stream.isatty()
        self._counts: Final[Counter[str]] = Counter()

    def progress(self, result: Result) -> None:
        """Show one more result: a line if it is worth one, and how far the run has come."""
        self._counts[result.word] += 1
        done = self._counts.total()
        if self._verbose or result.word not in ("PASS", "SKIP") or (result.word == "PASS" and result.reason):
            said = result.reason or (f"expected {result.expected}; got {result.actual}" if result.expected else "")
            self._erase()
            self._write(f"{self._word(result.word)} {result.level.name:<6} {result.slug}")
            self._write(
                f"  {textwrap.shorten(said, WIDTH, placeholder=' …')}\n" if said and result.word != "XFAIL" else "\n"
            )
        if self._is_terminal:
            self._write(f"\r\033[K{done}/{self._total}  {self._tally()}")
        elif done % 50 == 0 or done == self._total:
            self._write(f"{done}/{self._total}  {self._tally()}\n")
        self._stream.flush()

    def summary(self, run: Run) -> None:
        """Show what failed, in full, and how the run came out."""
        self._erase()
        for result in run.failures():
            self._failure(result)
        weak = [each for each in run.results if each.verdict is Verdict.FAIL and each not in run.failures()]
        if unexcused := [result for result in weak if not result.is_excused]:
            self._write(f"\n{len(unexcused)} SHOULD not done, which counts with --strict:\n")
            for result in unexcused:
                self._write(f"  {result.slug} ({', '.join(result.clauses)})\n")
        if skipped := [result for result in run.results if result.verdict is Verdict.SKIP]:
            self._write(f"\n{len(skipped)} skipped:\n")
            for result in skipped:
                self._write(f"  {result.slug}: {result.reason}\n")
        self._write(
            f"\n{run.server}: {self._tally()} of {len(run.results)} cases in {run.seconds:.1f} s: {run.outcome}\n"
        )

    def _failure(self, result: Result) -> None:
        self._write(f"\n{'─' * WIDTH}\n{self._word(result.word)} {result.level.name} {result.slug}: {result.title}\n")
        for clause in result.clauses:
            self._write(textwrap.fill(clause_line(clause), WIDTH, initial_indent="  ", subsequent_indent="    ") + "\n")
        if result.is_better_than_expected:
            self._write(f"  it passes; expected to fail: {result.excuse}\n  take it out of the file\n")
        for name, text in (("expected", result.expected), ("actual", result.actual), ("reason", result.reason)):
            if text:
                self._write(f"  {name + ':':<9} {text}\n")
        for line in result.transcript:
            self._write(f"    {line}\n")

    def _tally(self) -> str:
        return ", ".join(f"{count} {self._word(word).strip()}" for word, count in self._counts.most_common())

    def _word(self, word: str) -> str:
        return f"\033[{_COLOURS[word]}m{word:<5}\033[0m" if self._is_terminal else f"{word:<5}"

    def _erase(self) -> None:
        if self._is_terminal:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
