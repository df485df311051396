"""Every clause is stated once, every cited one is stated, every stated one is cited by a test or a conformance case."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scache_spec import clauses
from scache_spec.clauses import AREAS
from scache_spec.conversation import TRANSITIONS
from scache_spec.render import render

ROOT = Path(__file__).parents[2]

ID = re.compile(rf"\b(?:{'|'.join(AREAS)})[-_][0-9]+\b(?!\.)")

NOT_CITED_BECAUSE: dict[str, str] = {
    "CONN-14": "leaves the order of service free: there is nothing that a test could refuse",
    "ENDP-7": "leaves an order free, likewise",
}
"""Clauses that no test and no case cites, each with its reason."""


NO_CLAUSE = "CONN-999"
"""What tests name when they want an id that is nobody's."""


def tracked(*folders: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *folders],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def cited_in(*folders: str, suffixes: tuple[str, ...] = (".py", ".md", ".toml", ".txt", ".pml")) -> dict[str, Path]:
    return {
        found.replace("_", "-"): path
        for path in tracked(*folders)
        if path.suffix in suffixes and path != Path(__file__)
        for found in ID.findall(path.read_text(encoding="utf-8"))
    }


def test_clauses_are_there() -> None:
    assert len(clauses.gather()) >= 70


def test_every_area_has_clauses() -> None:
    assert {clause.area for clause in clauses.gather().values()} == set(AREAS)


def test_every_cited_clause_is_stated() -> None:
    stated = clauses.gather()
    wrong = {
        name: str(path.relative_to(ROOT)) for name, path in cited_in(".").items() if name not in {*stated, NO_CLAUSE}
    }
    assert wrong == {}


def test_every_row_of_the_table_cites_a_stated_clause() -> None:
    stated = clauses.gather()
    assert [row.clause for row in TRANSITIONS.values() if row.clause not in stated] == []


def test_every_clause_is_cited_by_a_test_or_a_case() -> None:
    cited = cited_in("tests", "conformance", suffixes=(".py",))
    missing = [name for name in clauses.gather() if name not in cited and name not in NOT_CITED_BECAUSE]
    assert missing == []


def test_every_reason_for_not_citing_is_still_needed() -> None:
    assert set(NOT_CITED_BECAUSE) <= set(clauses.gather())


def test_clauses_say_no_should() -> None:
    assert [clause.id for clause in clauses.gather().values() if re.search(r"\bshould\b", clause.text)] == []


def test_specification_text_is_current() -> None:
    committed = (ROOT / "spec/SPEC.md").read_text(encoding="utf-8")
    assert committed == render(), "spec/SPEC.md is not what the code says: run make spec"


def test_a_clause_stated_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clauses, "MODULES", (*clauses.MODULES, sys.modules["scache_spec.cache"]))
    with pytest.raises(ValueError, match="is stated in"):
        clauses.gather()
