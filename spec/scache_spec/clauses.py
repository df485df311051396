"""The clauses of the specification, gathered from the docstrings that state them.

A clause is a paragraph of a docstring that begins with its id, then two or more blanks:

    ENDP-4  A session is handed out at most once: finding it removes it.

It ends where the paragraph ends. Tags in brackets close it: OBSERVED for what the Postfix server was seen to do and
nobody promises, FREE for what is left to the implementation, BEYOND for what a Postfix server need not do.
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
"""In the order in which a reader wants them."""

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

OF_CLIENTS: Final = "CLNT"
"""The area whose clauses bind clients; all others bind servers."""


class Tag(Enum):
    """What kind of promise a clause is; most have no tag: they simply hold."""

    OBSERVED = "the Postfix server does so, without promising it"
    FREE = "left to the implementation"
    BEYOND = "this specification's own: a Postfix server need not do it"


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
    def order(self) -> tuple[int, int]:
        """Return what clauses are sorted by: area, then number."""
        return list(AREAS).index(self.area), int(self.id.partition("-")[2])


_CLAUSE: Final = re.compile(r"^[ ]*([A-Z]+-[0-9]+)[ ]{2,}(\S.*?)(?=\n[ ]*\n|\Z)", re.MULTILINE | re.DOTALL)
_TAG: Final = re.compile(r"\s*\[(" + "|".join(tag.name for tag in Tag) + r")\]")
_SOURCES: Final = re.compile(r"^Sources: (.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


def gather() -> dict[str, Clause]:
    """Return every clause by id, in order; ValueError if an id is stated twice or its area is none."""
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
    """Yield each docstring of a module with the name of what it documents; one below a constant counts as its own."""
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
