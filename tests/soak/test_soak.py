"""The short form of the soak; `python -m tests.soak` is the long one."""

from pathlib import Path

from tests.soak.soak import soak
from tests.support.processes import running


def test_memory_and_descriptors_are_flat_over_many_pairs_under_a_long_ttl(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", "--ttl-limit", "600") as server:
        assert len(list(soak(server, tmp_path / "s", pairs=20_000, measures=10))) >= 10
