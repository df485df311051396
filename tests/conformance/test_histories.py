"""Concurrent histories of every server are linearizable, and those of a wrong one are not."""

from pathlib import Path

import pytest
from tests.conformance import plugged
from tests.conftest import Volume

from scache_conformance.generated import histories
from scache_conformance.generated.rules import RuleSet


@pytest.mark.generated
@pytest.mark.parametrize("name", plugged.SERVERS)
def test_histories_are_linearizable(name: str, tmp_path: Path, volume: Volume) -> None:
    with plugged.server(name, tmp_path, ttl_limit_s=600) as target:
        result = histories.run(target, count=volume.histories, seed_number=1, rule_set=plugged.rule_set(name))
    print(f"{name}: {result}")
    assert result.failure is None, str(result)
    assert result.operations >= volume.histories * 2 * 40
    assert result.overlapping >= result.operations // 10, "clients that take turns show nothing"


def test_histories_can_be_made_in_real_time(tmp_path: Path) -> None:
    with plugged.server("fast", tmp_path, ttl_limit_s=600, real_time=True) as target:
        assert histories.run(target, count=3, seed_number=2).failure is None


def test_same_seed_asks_the_same(tmp_path: Path) -> None:
    with plugged.server("reference", tmp_path, ttl_limit_s=600) as target:
        counts = [histories.run(target, count=2, seed_number=3, rule_set=RuleSet.SEQUENTIAL) for _ in range(2)]
    assert counts[0].histories == counts[1].histories == 2


@pytest.mark.parametrize("wrong", ["newest-first", "hands-out-twice"])
def test_histories_of_a_wrong_server_are_rejected(wrong: str, tmp_path: Path) -> None:
    with plugged.wrong(wrong, tmp_path, ttl_limit_s=600) as target:
        result = histories.run(target, count=20, seed_number=1)
    assert result.failure is not None
    assert "history" in str(result)
