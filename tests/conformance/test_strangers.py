"""Right servers that were written from SPEC.md alone pass. The wait for a sleeping server sees all of their threads."""

import pytest
from tests.support.checkout import ROOT
from tests.wrong.registry import stranger
from tests.wrong.strangers.slips import STRANGERS

from scache_conformance.servers.target import Declared
from scache_conformance.servers.target_command import CommandServer
from scache_conformance.suite.registry import all_cases, choose
from scache_conformance.suite.runner import Runner

TOUCHY = ["life/*", "limits/at-rest", "limits/unfinished*", "limits/slow-clients*", "ttl/each-closed*", "endp/oldest*"]
"""What failed a right server with threads, and a case of each other kind."""

SOURCES = [each.source for each in STRANGERS if each.source.endswith(".c")]
GO = [each.source for each in STRANGERS if each.source.endswith(".go")]


@pytest.mark.needs("compiler")
def test_server_with_threads_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(SOURCES[0], TOUCHY, monkeypatch) == {}


@pytest.mark.generated
@pytest.mark.parametrize(
    "source",
    [pytest.param(each, marks=pytest.mark.needs("compiler")) for each in SOURCES]
    + [pytest.param(each, marks=pytest.mark.needs("go")) for each in GO],
)
def test_stranger_passes(source: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    patterns = ["*"] if pytestconfig.getoption("--full") else ["endp/oldest-first"]
    assert failed(source, patterns, monkeypatch) == {}


def failed(source: str, patterns: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what a right server of this source does in the cases that it fails, expected or not."""
    monkeypatch.chdir(ROOT)
    with CommandServer(stranger(source), Declared()) as server:
        results = Runner(server, {}, lambda result: None).run(choose(all_cases(), patterns))
    return {each.slug: each.actual for each in results if each.verdict.name not in ("PASS", "INFO", "SKIP")}
