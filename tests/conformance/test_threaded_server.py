"""A right server with threads passes: the suite sees all of its threads when it waits for the server to sleep."""

import pytest
from tests.support.checkout import ROOT
from tests.wrong.registry import threaded_server

from scache_conformance.servers.target import Declared
from scache_conformance.servers.target_command import CommandServer
from scache_conformance.suite.registry import all_cases, choose
from scache_conformance.suite.runner import Runner

pytestmark = pytest.mark.needs("compiler")

TOUCHY = ["life/*", "limits/at-rest", "limits/unfinished*", "limits/slow-clients*", "ttl/each-closed*", "endp/oldest*"]
"""What failed a right server with threads, and a case of each other kind. `make mutants` tries all."""


def test_threaded_server_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with CommandServer(threaded_server("right"), Declared()) as server:
        results = Runner(server, {}, lambda result: None).run(choose(all_cases(), TOUCHY))
    assert {result.slug: result.actual for result in results if result.verdict.name not in ("PASS", "INFO")} == {}
