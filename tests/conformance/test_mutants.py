"""Servers that are wrong on purpose, and the committed table of how each is caught."""

import subprocess
import sys

import pytest
from tests.wrong.mutants import table
from tests.wrong.mutants.registry import MUTANTS


def test_there_are_many() -> None:
    assert len(MUTANTS) >= 30


def test_table_has_a_row_for_each() -> None:
    assert list(table.committed()) == list(MUTANTS)


def test_every_area_of_clauses_is_broken() -> None:
    areas = {clause.partition("-")[0] for mutant in MUTANTS.values() for clause in mutant.clauses}
    assert areas == {"WIRE", "CONN", "ENDP", "DEST", "TTL", "FD", "STAT", "LIFE", "LIMIT"}


@pytest.mark.parametrize("name", MUTANTS)
def test_row_shows_every_clause_that_is_broken(name: str) -> None:
    clauses, caught = table.cells(name)
    assert clauses == list(MUTANTS[name].clauses)
    assert all(set(table.TRIES[slug]) & set(clauses) for slug in caught)
    assert {clause for slug in caught for clause in table.TRIES[slug]} >= set(clauses)


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_server_is_caught(name: str) -> None:
    """One case of its row for each clause shows that; `make mutants` holds it against all."""
    outcome = table.hold(MUTANTS[name], *table.brief(name))
    assert table.complaints(outcome) == []


def test_unknown_mutant_is_refused() -> None:
    command = [sys.executable, "-m", "tests.wrong.mutants", "nobody", "--listen", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=table.ROOT)
    assert done.returncode == 1
    assert "no mutant 'nobody'" in done.stderr
