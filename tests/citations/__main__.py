"""`python -m tests.citations [WORD…]`: break each line of the fast server that cites a clause, and see a test fail.

Every mutation of a cited line must fail a test of a clause that it cites, and of each of these clauses some mutation
must fail a test; what does not is a survivor. Survivors are listed with their reasons in survivors.py, and nothing
else is. Words choose lines by clause (`FD-3`) or by file (`table.py`). The checkout is not changed: all of it happens
in copies of the tree.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from tests.citations.mutations import mutations
from tests.citations.survivors import SURVIVORS
from tests.citations.trial import MARK
from tests.support.checkout import ROOT, files
from tests.support.commands import status_of

from scache_spec.places import Place, citations

FAST = Path("fast/scache_fast")
IMPORTED_FROM = (".", "spec", "reference", "fast", "client", "conformance", "proof", "bench")

_later_s = count(int(ROOT.stat().st_mtime) + 1)
"""Times of change for mutated files: a file that changes twice in a second would be taken for the one before."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A line of the fast server, and the clauses that it cites."""

    file: str
    place: Place
    clauses: tuple[str, ...]

    @property
    def code(self) -> str:
        """Return the line without its comment."""
        return self.place.text.partition("  # ")[0]

    def __str__(self) -> str:
        """Return where it is."""
        return f"{self.file}:{self.place.line}"


@dataclass(slots=True)
class Outcome:
    """What became of a line: each mutation with the test that failed, and what survived, as SURVIVORS names it."""

    citation: Citation
    caught: list[str] = field(default_factory=list)
    survived: list[tuple[str, str, str]] = field(default_factory=list)

    def survive(self, what: str) -> None:
        """Note that no test failed."""
        self.survived.append((self.citation.file, self.citation.code, what))


def all_citations() -> Iterator[Citation]:
    for path in sorted((ROOT / FAST).rglob("*.py")):
        for place, clauses in citations(path):
            yield Citation(str(path.relative_to(ROOT / FAST)), place, clauses)


def copy_of_the_tree(folder: Path) -> Path:
    """Copy every file of the tree, also what is not committed."""
    for path in files():
        there = folder / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)
    return folder


def failing_tests(tree: Path, clauses: list[str], *, all_of_them: bool) -> dict[str, str]:
    """Return a failing test for each clause that has one; for the first such clause unless all are wanted."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(tree / folder) for folder in IMPORTED_FROM)}
    command = [sys.executable, "-m", "tests.citations.trial", *(["--all"] if all_of_them else []), *clauses]
    # In a session of its own: some tests send signals to everybody around them.
    done = subprocess.run(
        command, cwd=tree, env=environment, check=False, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    if done.returncode:  # what is wrong may end the process that tries it: an interrupt that came at the wrong moment
        return {clauses[0]: f"the trial ends with {done.returncode}"}
    found = json.loads(done.stdout.rpartition(MARK)[2])
    return {clause: failed for clause, failed in found.items() if failed is not None}


def try_line(tree: Path, citation: Citation) -> Outcome:
    """Try every mutation of a line in a copy of the tree."""
    outcome = Outcome(citation)
    path = tree / FAST / citation.file
    right = path.read_text(encoding="utf-8")
    changes = mutations(right, citation.place.line)
    unseen = [*citation.clauses]
    for change in changes:
        began_s = time.monotonic()
        _write(path, change.source)
        seen = [each for each in citation.clauses if each not in unseen]
        failed = failing_tests(tree, [*unseen, *seen], all_of_them=bool(unseen))
        if failed:
            clause, test = next(iter(failed.items()))
            outcome.caught.append(f"{change.done}: {clause} {test}, {time.monotonic() - began_s:.1f} s")
        else:
            outcome.survive(change.done)
        unseen = [each for each in unseen if each not in failed]
    _write(path, right)
    for clause in unseen:
        outcome.survive(f"no test of {clause} fails")
    return outcome


def _write(path: Path, source: str) -> None:
    path.write_text(source, encoding="utf-8")
    later_s = next(_later_s)
    os.utime(path, (later_s, later_s))


def outcomes(chosen: list[Citation], jobs: int) -> Iterator[Outcome]:
    """Yield what became of each line, as it is known."""
    with tempfile.TemporaryDirectory(prefix="citations-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            trees.put(copy_of_the_tree(Path(folder, str(number))))

        def in_a_tree(citation: Citation) -> Outcome:
            tree = trees.get()
            try:
                return try_line(tree, citation)
            finally:
                trees.put(tree)

        try:
            yield from pool.map(in_a_tree, chosen)
        finally:
            pool.shutdown(cancel_futures=True)


def baseline(clauses: list[str]) -> dict[str, str]:
    """Return the tests that fail without any mutation."""
    with tempfile.TemporaryDirectory(prefix="citations-") as folder:
        return failing_tests(copy_of_the_tree(Path(folder)), clauses, all_of_them=True)


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.citations", description="Break each cited line of fast/.")
    parser.add_argument(
        "words", metavar="WORD", nargs="*", help="clauses, or parts of the names of files; default: all"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="lines at once (default: %(default)s)")
    options = parser.parse_args()
    chosen = [
        each for each in all_citations()
        if not options.words or any(word in each.clauses or word in each.file for word in options.words)
    ]  # fmt: skip
    if failing := baseline(list(dict.fromkeys(clause for each in chosen for clause in each.clauses))):
        print(f"these fail without any mutation: {failing}")
        return 1
    survived: list[tuple[str, str, str]] = []
    caught = 0
    for outcome in outcomes(chosen, options.jobs):
        caught += len(outcome.caught)
        survived += outcome.survived
        print(f"{outcome.citation}  {', '.join(outcome.citation.clauses)}  {outcome.citation.code}")
        for line in outcome.caught:
            print(f"    {line}")
        for key in outcome.survived:
            print(f"    SURVIVED {key[2]}: {SURVIVORS.get(key, 'not listed')}", flush=True)
    lines = {(each.file, each.code) for each in chosen}
    unlisted = [key for key in survived if key not in SURVIVORS]
    stale = [key for key in SURVIVORS if key not in survived and (key[:2] in lines or not options.words)]
    print(f"{len(chosen)} lines, {caught} mutations caught, {len(survived)} survivors, {len(unlisted)} not listed")
    print(*(f"listed, but does not survive: {key}" for key in stale), sep="\n", end="")
    return 1 if unlisted or stale else 0


if __name__ == "__main__":
    sys.exit(status_of(main))
