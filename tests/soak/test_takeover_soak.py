"""The short form of `python -m tests.soak.takeover`."""

from pathlib import Path

from tests.soak.takeover import in_a_row


def test_LIFE_10_nothing_is_lost_in_takeovers_under_load(tmp_path: Path) -> None:
    result = in_a_row(tmp_path, parked=100, clients=2, takeovers=3)
    assert result.pairs
