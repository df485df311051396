"""Postfix's smtp(8) conforms to the clauses for clients, but for what is listed here."""

import pytest
from tests.postfix.private_postfix import PrivatePostfix
from tests.postfix.smtp_as_client import PLAYS, SETTINGS, cases, hold

from scache_conformance.clients.cases import CASES
from scache_conformance.suite.verdicts import Verdict

DEVIATIONS = {
    "client/ends-after-parked": "It parks a second time what the cache may have parked.",
    "client/two-descriptors": "Of two descriptors with one byte it uses none and closes none: they are lost for good.",
}
"""Seen on Postfix 3.7.11."""

NOT_PLAYED = {"client/long-properties": "What is handed out has the properties that smtp(8) itself wrote."}


@pytest.mark.generated
@pytest.mark.needs("postfix", "root")
def test_smtp_keeps_to_the_clauses_for_clients(pytestconfig: pytest.Config) -> None:
    """One case, and with --full every one."""
    tried = cases() if pytestconfig.getoption("--full") else cases("client/find-dest")
    with PrivatePostfix(None, settings=SETTINGS) as postfix:
        results = [hold(postfix, case) for case in tried]
    failed = {result.slug: result.actual for result in results if result.verdict is not Verdict.PASS}
    assert set(failed) == set(DEVIATIONS) & {case.slug for case in tried}, failed


def test_every_case_of_clients_is_played_or_has_a_reason() -> None:
    assert {case.slug for case in CASES} == set(PLAYS) | set(NOT_PLAYED)
