"""Failures that are expected, read from a file: which cases fail on a server that is known to deviate, and why.

Each entry must be true to the cases, and it is strict: an expected failure that passes counts as a failure.

    [[deviation]]
    clauses = ["CONN-2"]
    cases = ["stalls/mid-name", "stalls/mid-list"]
    reason = "The server waits for one client at a time."

`seen_on = "Postfix 3.7.11"`, before all tables, says which server the list was made from: where another one is tried,
what differs from the list is told.

With `clock = "real"` or `clock = "virtual"` a deviation is expected only where time is that.
"""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scache_conformance.suite.registry import CLAUSES, Case
from scache_conformance.suite.verdicts import Result, Verdict

FOLDER = Path(__file__).with_name("expected_failures")
"""The lists that come with the suite, of servers that anybody may want to try."""

_FIELDS = {"clauses", "cases", "reason"}
_CLOCKS = ("real", "virtual")


@dataclass(frozen=True, slots=True)
class Expectations:
    """The reason for each case that is expected to fail, by slug, and the server on which that was seen, if named."""

    reasons: dict[str, str]
    seen_on: str | None = None

    def differences(self, results: Sequence[Result], version: str | None) -> Iterator[str]:
        """Yield lines that say how a server of some version differs from that on which the failures were seen."""
        if self.seen_on is None:
            return
        yield f"The expected failures are those of {self.seen_on}; this is {version or 'a server of unknown version'}."
        others = [each.slug for each in results if each.verdict is Verdict.FAIL and each.excuse is None]
        better = [each.slug for each in results if each.is_better_than_expected]
        for what, slugs in (("fails, and is not listed", others), ("passes, and is listed", better)):
            if slugs:
                yield f"  {what}: {', '.join(slugs)}"
        if not others and not better:
            yield "  It fails no case that is not listed, and passes none that is."


class BadExpectations(Exception):  # noqa: N818 - the file's mistake; the text says which and what to do
    """The file cannot be used."""


def find(name: str) -> Path:
    """Return the path of a file of this name, or else of the list of this name that comes with the suite."""
    path, known = Path(name), FOLDER / f"{name}.toml"
    return known if known.is_file() and not path.exists() else path


def read(path: Path, cases: Iterable[Case], clock: str) -> Expectations:
    """Return what a file expects under such a clock. Raises BadExpectations."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.toml")))
        raise BadExpectations(
            f"cannot read the expected failures in {path}: {error}; known by name: {known}"
        ) from error
    entries, seen_on = document.get("deviation"), document.pop("seen_on", None)
    if not isinstance(seen_on, str | None):
        raise BadExpectations(f"{path}: seen_on must be the name and version of a server; is {seen_on!r}")
    if set(document) != {"deviation"} or not isinstance(entries, list):
        has = ", ".join(document) or "nothing"
        raise BadExpectations(f"{path}: needs tables [[deviation]], may have seen_on, and nothing else; has {has}")
    by_slug = {case.slug: case for case in cases}
    reasons: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        where = f"{path}, deviation {number}"
        if not isinstance(entry, dict):
            raise BadExpectations(f"{where}: is {entry!r} and not a table")
        if set(entry) - {"clock"} != _FIELDS or not entry["reason"]:
            raise BadExpectations(f"{where}: needs clauses, cases and a reason, may have a clock; has {sorted(entry)}")
        for name in ("clauses", "cases"):
            if not isinstance(entry[name], list) or not entry[name] or not all(isinstance(e, str) for e in entry[name]):
                raise BadExpectations(f"{where}: {name} must be a list of strings, and not empty; is {entry[name]!r}")
        if unknown := [clause for clause in entry["clauses"] if clause not in CLAUSES]:
            raise BadExpectations(f"{where}: nobody states {', '.join(unknown)}")
        if entry.get("clock", clock) not in _CLOCKS:
            raise BadExpectations(f"{where}: clock {entry['clock']!r} is none of {', '.join(_CLOCKS)}")
        for slug in entry["cases"]:
            if slug not in by_slug:
                raise BadExpectations(f"{where}: there is no case {slug!r}; --list names them")
            if not set(entry["clauses"]) & set(by_slug[slug].clauses):
                tried = ", ".join(by_slug[slug].clauses)
                raise BadExpectations(f"{where}: {slug} tries {tried}, none of {', '.join(entry['clauses'])}")
            if slug in reasons:
                raise BadExpectations(f"{where}: {slug} is listed twice")
            if entry.get("clock", clock) == clock:
                reasons[slug] = f"{', '.join(entry['clauses'])}: {entry['reason']}"
    return Expectations(reasons, seen_on)
