"""Servers that are wrong on purpose, and the committed table of how each is caught."""

import pytest
from tests.wrong import table
from tests.wrong.registry import right_server


def test_table_has_a_row_for_each() -> None:
    assert list(table.committed()) == list(table.MUTANTS)


@pytest.mark.parametrize("name", table.MUTANTS)
def test_row_shows_every_clause_that_is_broken(name: str) -> None:
    clauses, caught = table.cells(name)
    assert clauses == list(table.MUTANTS[name].clauses)
    assert all(set(table.TRIES[slug]) & set(clauses) for slug in caught)
    assert {clause for slug in caught for clause in table.TRIES[slug]} >= set(clauses)


STRANGERS = [name for name, rule in table.MUTANTS.items() if rule.server == table.STRANGER]
"""Servers in C and Go: with --full two in C are compiled here. `make mutants` holds all of them against the suite."""

TRIED = [
    *(name for name in table.MUTANTS if name not in STRANGERS),
    *(pytest.param(name, marks=pytest.mark.needs("compiler")) for name in STRANGERS[:2]),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try every eighth wrong server, with --full all of them."""
    if "caught_name" in metafunc.fixturenames:
        metafunc.parametrize("caught_name", TRIED if metafunc.config.getoption("--full") else TRIED[::8])


@pytest.mark.generated
def test_wrong_server_is_caught(caught_name: str) -> None:
    """One case of its row for each clause shows that; `make mutants` holds it against all."""
    outcome = table.hold(table.MUTANTS[caught_name], *table.brief(caught_name))
    complaints = table.complaints(outcome)
    if complaints and outcome.skipped:
        pytest.skip("; ".join(f"{slug}: {reason}" for slug, reason in outcome.skipped.items()))
    assert complaints == []


def test_right_server_gets_away_with_it() -> None:
    outcome = table.hold(right_server(), "--run", "endp/oldest-first")
    assert table.complaints(outcome) == ["right gets away with it; failed: "]
