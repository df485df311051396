"""The list of cases is whole: every clause has one or a reason, every case is where it belongs."""

import re
from pathlib import Path

import pytest

import scache_conformance
from scache_conformance.suite.registry import AREAS, add, all_cases, choose
from scache_conformance.suite.unobservable import UNOBSERVABLE
from scache_conformance.suite.verdicts import Level
from scache_spec.clauses import OF_CLIENTS, gather

CASES = all_cases()
CLAUSES = {name: clause for name, clause in gather().items() if clause.area != OF_CLIENTS}


def test_every_clause_has_a_case_or_a_reason() -> None:
    tried = {clause for case in CASES for clause in case.clauses}
    assert tried | set(UNOBSERVABLE) == set(CLAUSES)
    assert not tried & set(UNOBSERVABLE), "a clause that is tried needs no reason"
    assert all(UNOBSERVABLE.values())


def test_every_clause_without_a_tag_has_a_case_that_must_pass() -> None:
    demanded = {clause for case in CASES if case.level is Level.MUST for clause in case.clauses}
    assert {clause.id for clause in CLAUSES.values() if not clause.tags} - demanded == set()


def test_every_case_is_well_formed() -> None:
    assert [case.slug for case in CASES if not re.fullmatch(r"[a-z]+(/[a-z0-9]+(-[a-z0-9]+)*)", case.slug)] == []
    assert [case.slug for case in CASES if not case.title.endswith(".")] == [], "a title is a sentence"
    assert {case.area for case in CASES} == set(AREAS)


@pytest.mark.parametrize("area", AREAS)
def test_case_stands_in_the_module_of_its_area(area: str) -> None:
    modules = {case.function.__module__ for case in CASES if case.area == area}
    home = f"scache_conformance.cases.{area}"
    assert {module for module in modules if module != home and not module.startswith(f"{home}.")} == set()


ROOMS = ["wire", "servers", "suite", "cases"]
"""Each may import those before it."""


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_those_below_it(room: str) -> None:
    package = Path(scache_conformance.__file__).parent
    found = re.compile(r"^ *(?:from|import) scache_conformance\.(\w+)", re.MULTILINE)
    rooms = {name for path in (package / room).rglob("*.py") for name in found.findall(path.read_text())}
    # The registry imports the cases when they are asked for: that registers them.
    assert rooms - {*ROOMS[: ROOMS.index(room) + 1], *(["cases"] if room == "suite" else [])} == set()


def test_slug_is_taken_once() -> None:
    with pytest.raises(ValueError, match="two cases"):
        add(CASES[0].slug, "A title.", ("CONN-1",), CASES[0].function)


def test_unknown_clause_is_refused() -> None:
    with pytest.raises(ValueError, match="CONN-999"):
        add("greeting/of-nobody", "A title.", ("CONN-999",), CASES[0].function)


def test_choice_by_slug_and_clause() -> None:
    assert {case.area for case in choose(CASES, ["endp/*", "dest/*"])} == {"endp", "dest"}
    assert all("ENDP-4" in case.clauses for case in choose(CASES, clauses=["ENDP-4"]))
    assert choose(CASES, ["greeting/*"], ["STAT-1"]) == ()
    assert choose(CASES) == CASES
