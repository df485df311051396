"""What is published about a clause beside its text: its reason, verdicts on programs, the servers that break it.

Read from docs/rationale.md, conformance/RESULTS.md and conformance/MUTANTS.md, the files that `make conformance` and
`make mutants` write.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scache_spec.clauses import AREAS, gather

ROOT: Final = Path(__file__).parents[2]
CLAUSES: Final = gather()
ID: Final = re.compile(rf"\b((?:{'|'.join(AREAS)})-[0-9]+)\b")
CELLS: Final = re.compile(r"(?<!\\)\|")
"""What is between the cells of a line of a table: a bar that is not escaped."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all cases of a clause said about one server or client: a sign and numbers, as in `✓ 3/3`."""

    program: str
    sign: str


@dataclass(frozen=True, slots=True)
class Deviation:
    """One case that a program fails."""

    program: str
    case: str
    clauses: tuple[str, ...]
    expected: str
    actual: str
    reason: str


@dataclass(slots=True)
class Results:
    """conformance/RESULTS.md."""

    signs: dict[str, str] = field(default_factory=dict)
    """What each sign means."""

    programs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Each server and client, how its cases ended, and its outcome."""

    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    deviations: list[Deviation] = field(default_factory=list)


def results(text: str) -> Results:
    """Return what the text of conformance/RESULTS.md says."""
    found = Results()
    head: list[str] = []
    program = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"\* (\S) (.+)", line):
            found.signs[match[1]] = match[2]
        if match := re.fullmatch(r"## Deviations of (.+)", line):
            program = match[1]
        if not (cells := _cells(line)):
            continue
        if cells[0] in ("", "clause"):
            head = cells[2:] if cells[0] else cells[1:]
        elif cells[0] == "cases":
            found.programs.update((name, (cell, "")) for name, cell in zip(head, cells[1:], strict=True))
        elif cells[0] == "outcome":
            for name, cell in zip(head, cells[1:], strict=True):
                found.programs[name] = (found.programs[name][0], cell)
        elif cells[0] in CLAUSES:
            found.verdicts[cells[0]] = [Verdict(name, cell) for name, cell in zip(head, cells[2:], strict=True)]
        elif program and cells[0].startswith("`") and len(cells) == 6:
            case, _, clauses, *rest = cells
            found.deviations.append(Deviation(program, case.strip("`"), tuple(clauses.split(", ")), *rest))
    return found


def _cells(line: str) -> list[str]:
    return (
        [cell.strip() for cell in CELLS.split(line.strip().removeprefix("|").removesuffix("|"))] if "|" in line else []
    )


def mutants(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return the wrong servers in the text of conformance/MUTANTS.md, by the clauses that they break."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if match := re.match(r"\| \*\*([^*]+)\*\* ([^|]+) \| ([^|]+) \|", line):
            for clause_id in match[3].split():
                found.setdefault(clause_id, []).append((match[1], match[2]))
    return found


def reasons(text: str) -> dict[str, str]:
    """Return what the text of docs/rationale.md says about clauses; ValueError if it names one that nobody states."""
    found = {clause_id: body for ids, body in _paragraphs(text) for clause_id in ids}
    if unknown := set(found) - set(CLAUSES):
        raise ValueError(f"docs/rationale.md speaks of {', '.join(sorted(unknown))}, which nobody states")
    return found


def _paragraphs(text: str) -> Iterator[tuple[list[str], str]]:
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        yield title.split(", "), body.strip()


def read(path: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / path).read_text(encoding="utf-8")
