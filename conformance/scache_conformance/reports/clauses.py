"""`scache-conformance clause ID`: a clause, the cases that try it, and what the published servers do.

What the servers do is read from RESULTS.md, which comes with the suite.
"""

import argparse
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from scache_conformance.clients.cases import CASES
from scache_conformance.reports.run import clause_line
from scache_conformance.suite.registry import CLAUSES, all_cases
from scache_conformance.suite.unobservable import UNOBSERVABLE
from scache_conformance.suite.verdicts import Exit

WIDTH: Final = 100

RESULTS: Final = (
    Path(__file__).parents[2] / "RESULTS.md",
    Path(sysconfig.get_path("data")) / "share/doc/scached/RESULTS.md",
)
"""Where RESULTS.md is: in a checkout, and where the wheel puts it."""


def show(words: Sequence[str]) -> Exit:
    """Print one or more clauses. The ids may be in any case."""
    parser = argparse.ArgumentParser(
        prog="scache-conformance clause", description="Show a clause, its cases, and what the published servers do."
    )
    parser.add_argument(
        "clauses", metavar="ID", nargs="+", type=str.upper, help="number of a clause, such as ENDP-3, in any case"
    )
    wanted = parser.parse_args(words).clauses
    if unknown := [each for each in wanted if each not in CLAUSES]:
        print(
            f"scache-conformance: there is no clause {unknown[0]}; write one of {', '.join(CLAUSES)}", file=sys.stderr
        )
        return Exit.NO_VERDICT
    for each in wanted:
        print("\n".join(_shown(each)), end="\n\n")
    return Exit.GOOD


def _shown(clause_id: str) -> Iterator[str]:
    yield textwrap.fill(clause_line(clause_id), WIDTH, subsequent_indent="  ")
    cases = [case for case in all_cases() if clause_id in case.clauses]
    of_clients = [case for case in CASES if clause_id in case.clauses]
    count = len(cases) + len(of_clients)
    yield f"\n{count} cases try it:" if count else f"\nNo case tries it. {UNOBSERVABLE.get(clause_id, '')}".rstrip()
    for client_case in of_clients:
        yield textwrap.fill(
            f"{client_case.slug}: {client_case.title}", WIDTH, initial_indent="  ", subsequent_indent="    "
        )
    for case in cases:
        line = f"{case.level.name:<6} {case.slug}: {case.title}"
        yield textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="         ")
    cells = list(_published(clause_id))
    if cells:
        yield "\nWhat the published servers or clients do (cases passed of those tried):"
        yield from cells


def _published(clause_id: str) -> Iterator[str]:
    """Yield a line for each server of RESULTS.md."""
    path = next((path for path in RESULTS if path.is_file()), None)
    if path is None:
        return
    servers: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = [field.strip() for field in line.replace("\\|", "\0").strip("|").split("|")]
        if fields[0] == "" and len(fields) > 1:
            servers = fields[1:]
        elif fields[0] == clause_id and len(fields) == len(servers) + 2:
            yield from (f"  {server}: {cell}" for server, cell in zip(servers, fields[2:], strict=True))
