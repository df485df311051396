"""Every clause is stated once, carried out in the specification and in the fast server, tried, and broken on purpose.

What cannot be so stands on a list with its reason, and nothing else does. Every clause that is cited is stated.
"""

import re
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from tests.support.checkout import ROOT, files
from tests.wrong.clients import SLIPS
from tests.wrong.registry import by_clause

from scache_conformance.clients.cases import CASES as CLIENT_CASES
from scache_conformance.suite.expectations import FOLDER
from scache_conformance.suite.registry import all_cases
from scache_conformance.suite.unobservable import UNOBSERVABLE
from scache_spec import changes, clauses, places
from scache_spec.clauses import AREAS, OF_CLIENTS, Tag
from scache_spec.conversation import TRANSITIONS
from scache_spec.render import render

ID = re.compile(rf"\b(?:{'|'.join(AREAS)})[-_][0-9]+\b(?!\.)")

NO_CLAUSE = "CONN-999"
"""What tests name when they want an id that is nobody's."""

FREE = "leaves an order to the server: there is nothing to carry out, and nothing that could be wrong"

NOT_IN_SPECIFICATION = {
    "CONN-14": FREE,
    "FD-13": "in a specification without descriptors nothing could be done to one: a handle comes out as it went in",
}

NOT_IN_FAST = {
    "CONN-14": FREE,
    "ENDP-7": FREE,
    "LIFE-1": "nothing is kept outside the process but for LIFE-13: it is carried out by there being no line for it",
}

OPERATOR = "no case can tell a wrong server from a right one: only an operator's command leads there"

NOT_BROKEN = {
    "CONN-14": FREE,
    "ENDP-7": FREE,
    "LIFE-5": "what nobody foresaw has to be brought about first: tests/fast does",
    **dict.fromkeys((f"LIFE-{number}" for number in range(6, 14)), OPERATOR),
    "TTL-7": "leaves to the server when to remove what can no more be found",
}


def cited_anywhere() -> dict[str, Path]:
    return {
        found.replace("_", "-"): path
        for path in files()
        if path.suffix in (".py", ".md", ".toml", ".txt", ".pml") and path != Path(__file__)
        for found in ID.findall(path.read_text(encoding="utf-8"))
    }


def stated_by_code() -> Iterator[str]:
    """Yield each clause that is stated by a row of the table, or in the docstring of a function or a class."""
    yield from (row.clause for row in TRANSITIONS.values())
    yield from (clause.id for clause in clauses.gather().values() if "." in clause.where)


def cited_in_fast() -> Iterator[str]:
    for path in sorted((ROOT / "fast").rglob("*.py")):
        for _, cited in places.citations(path):
            yield from cited


PARTS: dict[str, tuple[Callable[[], Iterable[str]], dict[str, str]]] = {
    "carried out in the specification": (stated_by_code, NOT_IN_SPECIFICATION),
    "carried out in the fast server": (cited_in_fast, NOT_IN_FAST),
    "tried by a case": (lambda: (clause for case in all_cases() for clause in case.clauses), UNOBSERVABLE),
    "broken on purpose": (by_clause, NOT_BROKEN),
}


@pytest.mark.parametrize("part", PARTS)
def test_every_clause_is(part: str) -> None:
    find, exceptions = PARTS[part]
    of_servers = {name for name, clause in clauses.gather().items() if clause.area != OF_CLIENTS}
    assert of_servers - {*find()} == {*exceptions}


def test_every_clause_of_clients_is_tried_and_broken_on_purpose() -> None:
    of_clients = {name for name, clause in clauses.gather().items() if clause.area == OF_CLIENTS}
    assert {clause for case in CLIENT_CASES for clause in case.clauses} == of_clients
    assert {clause for slip in SLIPS.values() for clause in slip.clauses} == of_clients


def test_every_clause_has_a_reason() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "docs/rationale.md").read_text(encoding="utf-8"), re.MULTILINE)
    explained = [name for title in titles for name in title.split(", ")]
    assert sorted(explained) == sorted(clauses.gather()), "docs/rationale.md says for each clause once why it is so"


def test_clauses_are_there() -> None:
    assert len(clauses.gather()) >= 70


def test_every_area_has_clauses() -> None:
    assert {clause.area for clause in clauses.gather().values()} == set(AREAS)


def test_every_cited_clause_is_stated() -> None:
    stated = clauses.gather()
    wrong = {
        name: str(path.relative_to(ROOT)) for name, path in cited_anywhere().items() if name not in {*stated, NO_CLAUSE}
    }
    assert wrong == {}


def test_every_comment_in_fast_that_names_a_clause_is_a_citation() -> None:
    for path in sorted((ROOT / "fast").rglob("*.py")):
        with path.open("rb") as source:
            named = [
                ID.findall(token.string)
                for token in tokenize.tokenize(source.readline)
                if token.type == tokenize.COMMENT
            ]
        cited = [clause for _, clauses_of_line in places.citations(path) for clause in clauses_of_line]
        assert [clause for found in named for clause in found] == cited, path


def test_clauses_say_no_should() -> None:
    assert [clause.id for clause in clauses.gather().values() if re.search(r"\bshould\b", clause.text)] == []


def test_what_postfix_does_otherwise_is_tagged() -> None:
    deviations = tomllib.loads((FOLDER / "postfix-scache.toml").read_text(encoding="utf-8"))["deviation"]
    deviating = {name for each in deviations for name in each["clauses"]}
    assert [each.id for each in clauses.gather().values() if each.id in deviating and Tag.BEYOND not in each.tags] == []


def test_version_of_the_specification_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == changes.VERSION
    assert next(iter(changes.CHANGES)).startswith(changes.VERSION)


def test_contents_lead_to_every_section() -> None:
    text = render()
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert re.findall(r"^\* \[[^]]+\]\(#([^)]+)\)$", text, re.MULTILINE) == [
        each for each in anchors if each != "contents"
    ]


def test_a_clause_stated_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clauses, "MODULES", (*clauses.MODULES, sys.modules["scache_spec.cache"]))
    with pytest.raises(ValueError, match="is stated in"):
        clauses.gather()
