"""Servers that are wrong on purpose, and the committed table of how each is caught."""

import subprocess
import sys

import pytest
from tests.conformance.mutants import table
from tests.conformance.mutants.__main__ import MUTANTS

from scache_conformance.registry import all_cases

CASES = {case.slug: case for case in all_cases()}

ONE_IN = 9
"""Here every so many-th is held against some cases; `python -m tests.conformance.mutants.table` holds them all."""


def cells(name: str) -> tuple[list[str], list[str]]:
    """Return the clauses that a server breaks and the cases that show it, as the committed table has them."""
    _, _, clauses, caught, _, _ = table.committed()[name].split("|")
    return clauses.split(), caught.replace("`", "").split()


def test_there_are_many() -> None:
    assert len(MUTANTS) >= 30


def test_table_has_a_row_for_each() -> None:
    assert list(table.committed()) == list(MUTANTS)


def test_every_area_of_clauses_is_broken() -> None:
    areas = {clause.partition("-")[0] for mutant in MUTANTS.values() for clause in mutant.clauses}
    assert areas == {"WIRE", "CONN", "ENDP", "DEST", "TTL", "FD", "STAT", "LIFE", "LIMIT"}


@pytest.mark.parametrize("name", MUTANTS)
def test_row_shows_every_clause_that_is_broken(name: str) -> None:
    clauses, caught = cells(name)
    assert clauses == list(MUTANTS[name].clauses)
    if caught != ["the", "suite", "does", "not", "begin"]:
        assert all(set(CASES[slug].clauses) & set(clauses) for slug in caught)
        assert {clause for slug in caught for clause in CASES[slug].clauses} >= set(clauses)


@pytest.mark.parametrize("held", list(MUTANTS)[::ONE_IN])
def test_wrong_server_fails_the_cases_of_its_row(held: str) -> None:
    _, caught = cells(held)
    some = caught[:4]
    outcome = table.hold(MUTANTS[held], *(word for slug in some for word in ("--run", slug)))
    assert list(outcome.failed) == some


def test_unknown_mutant_is_refused() -> None:
    command = [sys.executable, "-m", "tests.conformance.mutants", "nobody", "--listen", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=table.ROOT)
    assert done.returncode == 1
    assert "no mutant 'nobody'" in done.stderr
