"""The clauses of the specification, gathered from the docstrings that state them.

A clause is a paragraph of a docstring that begins with its id, then two or more blanks:

    ENDP-4  A session is handed out at most once: finding it removes it.

A clause ends where the paragraph ends. The last words may be tags in brackets; `Tag` says what each tag means.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Final

from scache_spec import (
    actions,
    attributes,
    cache,
    clients,
    conversation,
    effects,
    events,
    operation,
    server,
    statistics,
    vocabulary,
)

MODULES: Final[tuple[ModuleType, ...]] = (
    vocabulary,
    attributes,
    conversation,
    cache,
    statistics,
    effects,
    server,
    actions,
    events,
    operation,
    clients,
)
"""The modules that state clauses, in reading order."""

AREAS: Final[dict[str, str]] = {
    "WIRE": "Attribute lists and the bytes they travel as",
    "CONN": "One client's conversation",
    "FD": "How a descriptor passes",
    "ENDP": "Endpoints and their sessions",
    "DEST": "Destinations and their bindings",
    "TTL": "Lifetime",
    "STAT": "Statistics",
    "LIFE": "The server's own life",
    "LIMIT": "Limits",
    "CLNT": "What a client does",
}

FIRST: Final = ("CONN-1", "CONN-12", "CONN-13")
"""Clauses that come first in their area, whatever their numbers: other clauses use the words that they define."""

OF_CLIENTS: Final = "CLNT"
"""The area whose clauses bind clients; all others bind servers."""


class Tag(Enum):
    """What a clause demands of whom. A clause without a tag is demanded of every server, and Postfix's keeps it."""

    OBSERVED = "the Postfix server does so, though no document promises it"
    FREE = "the clause leaves something to the server"
    BEYOND = "demanded by this specification, but the Postfix server does otherwise or has nothing like it"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: its text is one line, without tags."""

    id: str
    text: str
    tags: frozenset[Tag]
    module: str
    where: str

    @property
    def area(self) -> str:
        """Return the part of the id before the number."""
        return self.id.partition("-")[0]

    @property
    def order(self) -> tuple[int, int, int]:
        """Return what clauses are sorted by: the area, then the place in FIRST, then the number."""
        place = FIRST.index(self.id) if self.id in FIRST else len(FIRST)
        return list(AREAS).index(self.area), place, int(self.id.partition("-")[2])


_CLAUSE: Final = re.compile(r"^[ ]*([A-Z]+-[0-9]+)[ ]{2,}(\S.*?)(?=\n[ ]*\n|\Z)", re.MULTILINE | re.DOTALL)
_TAG: Final = re.compile(r"\s*\[(" + "|".join(tag.name for tag in Tag) + r")\]")
_SOURCES: Final = re.compile(r"^Sources: (.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


def gather() -> dict[str, Clause]:
    """Return every clause by id, in order. Raises ValueError if an id is stated twice or its area is unknown."""
    found: dict[str, Clause] = {}
    for module in MODULES:
        for where, docstring in docstrings(module):
            for match in _CLAUSE.finditer(docstring):
                clause = _clause(match[1], match[2], module.__name__, where)
                if clause.id in found:
                    raise ValueError(f"{clause.id} is stated in {found[clause.id].where} and again in {where}")
                if clause.area not in AREAS:
                    raise ValueError(f"{clause.id} in {where}: there is no area {clause.area}, only {', '.join(AREAS)}")
                found[clause.id] = clause
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def sources(module: ModuleType) -> str:
    """Return what a module names as its sources, empty if it names none."""
    match = _SOURCES.search(module.__doc__ or "")
    return " ".join(match[1].split()) if match else ""


def docstrings(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield each docstring of a module with the name of what it documents, also those below constants."""
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    yield from _docstrings_in(tree, module.__name__.rpartition(".")[2])


def _docstrings_in(node: ast.Module | ast.ClassDef | ast.FunctionDef, where: str) -> Iterator[tuple[str, str]]:
    before = where
    for child in node.body:
        match child:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                yield before, text
            case ast.ClassDef() | ast.FunctionDef():
                yield from _docstrings_in(child, f"{where}.{child.name}")
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                before = f"{where}.{name}"
            case _:
                before = where


def _clause(clause_id: str, body: str, module: str, where: str) -> Clause:
    text = " ".join(_TAG.sub("", body).split())
    return Clause(clause_id, text, frozenset(Tag[name] for name in _TAG.findall(body)), module, where)


if __name__ == "__main__":
    from scache_spec import places

    places.main()
