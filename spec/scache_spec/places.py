"""Where a clause is stated, carried out, tried and broken: `python -m scache_spec.clauses ENDP-3`.

The places are found by reading source files, those of a checkout or, for parts that are installed without one, those
beside this package; nothing of the other parts is imported. Every place is a line that can be looked up.
"""

import argparse
import ast
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from scache_spec.clauses import AREAS, MODULES, Clause, gather, sources

_PACKAGE: Final = Path(__file__).parent
_ROOT: Final = _PACKAGE.parents[1]
_IS_CHECKOUT: Final = (_ROOT / "spec" / "SPEC.md").is_file()

_ID: Final = rf"(?:{'|'.join(AREAS)})-[0-9]+"
_CITATION: Final = re.compile(rf"#\s*({_ID}(?:, {_ID})*)(?::.*)?")
_WIDTH: Final = 120


@dataclass(frozen=True, slots=True)
class Place:
    """One line of a file."""

    path: Path
    line: int
    text: str


def citations(path: Path) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Yield each line of code that cites clauses, and which: in a comment behind it, or in one alone above it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    waiting: tuple[str, ...] = ()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            row, column = token.start
            if token.type == tokenize.COMMENT:
                match = _CITATION.fullmatch(token.string)
                cited = tuple(match[1].split(", ")) if match else ()
                if lines[row - 1][:column].strip():
                    if cited:
                        yield Place(path, row, lines[row - 1].strip()), cited
                else:
                    waiting += cited
            elif waiting and token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
                yield Place(path, row, lines[row - 1].strip()), waiting
                waiting = ()


@cache
def _citations(path: Path) -> tuple[tuple[Place, tuple[str, ...]], ...]:
    return tuple(citations(path))


@cache
def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines())


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse("\n".join(_lines(path)))


def _cited(path: Path, clause_id: str) -> Iterator[Place]:
    return (place for place, cited in _citations(path) if clause_id in cited)


def _stated(path: Path, clause_id: str) -> Iterator[Place]:
    return _matching(path, rf'^\s*(?:r?""")?{clause_id}\s\s')


def _named(path: Path, clause_id: str) -> Iterator[Place]:
    return _matching(path, f'"{clause_id}"')


def _carried_out(path: Path, clause_id: str) -> Iterator[Place]:
    """Yield rows of the table, functions and classes whose docstring states the clause, and lines that cite it."""
    yield from _matching(path, rf'Transition\(.*"{clause_id}"')
    stated = re.compile(rf"^{clause_id}\s\s", re.MULTILINE)
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and stated.search(ast.get_docstring(node) or ""):
            yield Place(path, node.lineno, _lines(path)[node.lineno - 1].strip())
    yield from _cited(path, clause_id)


def _tested(path: Path, clause_id: str) -> Iterator[Place]:
    return _matching(path, rf"def test_(?:[A-Z]+_[0-9]+_)*{clause_id.replace('-', '_')}_")


def _matching(path: Path, pattern: str) -> Iterator[Place]:
    for number, line in enumerate(_lines(path), start=1):
        if re.search(pattern, line):
            yield Place(path, number, line.strip())


_Search = Callable[[Path, str], Iterator[Place]]

KINDS: Final[tuple[tuple[str, str, _Search], ...]] = (
    ("stated", "spec/scache_spec", _stated),
    ("carried out in the specification", "spec/scache_spec", _carried_out),
    ("carried out in the fast server", "fast/scache_fast", _cited),
    ("tried by cases", "conformance/scache_conformance/cases", _named),
    ("in the name of tests", "tests", _tested),
    ("broken on purpose", "tests/wrong", _named),
)
"""What is told of a clause: a title, the folder to look in, and what to look for."""


def places(clause_id: str) -> dict[str, list[Place] | None]:
    """Return the places of a clause by title; None for a part that is not here."""
    found: dict[str, list[Place] | None] = {}
    for title, folder, search in KINDS:
        here = _here(folder)
        found[title] = None if here is None else [
            place for path in sorted(here.rglob("*.py")) for place in search(path, clause_id)
        ]  # fmt: skip
    return found


def _here(folder: str) -> Path | None:
    """Return where a folder of the checkout is: below its root, or else, for a package, beside this one."""
    path = _ROOT / folder if _IS_CHECKOUT else _PACKAGE.parent / folder.partition("/")[2]
    return path if path != _PACKAGE.parent and path.is_dir() else None


def describe(clause: Clause) -> Iterator[str]:
    """Yield the lines that tell of a clause and its places."""
    yield from textwrap.wrap(f"{clause.id}  {clause.text}", _WIDTH, subsequent_indent="    ")
    yield from (f"{tag.name}: {tag.value}" for tag in sorted(clause.tags, key=lambda tag: tag.name))
    source = next(sources(module) for module in MODULES if module.__name__ == clause.module)
    yield from textwrap.wrap(f"Sources: {source}", _WIDTH, subsequent_indent="    ")
    for title, found in places(clause.id).items():
        yield ""
        yield f"{title}:{'' if found else ' not here' if found is None else ' nowhere'}"
        for place in found or ():
            path = place.path.relative_to(_ROOT if _IS_CHECKOUT else _PACKAGE.parent)
            yield f"  {path}:{place.line}  {place.text}"


def main(arguments: list[str] | None = None) -> None:
    """Run the command: tell of the clauses named, or list all."""
    parser = argparse.ArgumentParser(
        prog="python -m scache_spec.clauses",
        description="Print a clause: its text, and where it is stated, carried out, tried and broken on purpose.",
    )
    parser.add_argument("clauses", metavar="CLAUSE", nargs="*", help="such as ENDP-3; default: list all")
    stated = gather()
    wanted: list[str] = parser.parse_args(arguments).clauses
    for name in wanted:
        if name not in stated:
            parser.error(f"there is no clause {name}; without an argument all are listed")
    told = ["\n".join(describe(stated[name])) for name in wanted]
    listed = ["\n".join(f"{clause.id:<9}{clause.text}" for clause in stated.values())]
    print("\n\n".join(told or listed))
