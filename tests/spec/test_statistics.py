"""STAT: what moves which counter, and the lines that are printed."""

from dataclasses import replace

import pytest

from scache_spec import statistics
from scache_spec.statistics import Counters

ZERO = Counters()
START = "Nov 22 11:03:25"


def test_STAT_5_all_lines() -> None:
    counted = Counters(
        dest_hits=2, dest_misses=1, endp_hits=0, endp_misses=4, destinations_max=1, endpoints_max=2, sessions_max=3
    )
    assert statistics.lines(counted, START) == (
        "statistics: start interval Nov 22 11:03:25",
        "statistics: domain lookup hits=2 miss=1 success=66%",
        "statistics: address lookup hits=0 miss=4 success=0%",
        "statistics: max simultaneous domains=1 addresses=2 connection=3",
    )


def test_STAT_5_nothing_counted_nothing_printed() -> None:
    assert statistics.lines(ZERO, START) == ()


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("dest_hits", "statistics: domain lookup hits=1 miss=0 success=100%"),
        ("dest_misses", "statistics: domain lookup hits=0 miss=1 success=0%"),
        ("endp_hits", "statistics: address lookup hits=1 miss=0 success=100%"),
        ("endp_misses", "statistics: address lookup hits=0 miss=1 success=0%"),
        ("destinations_max", "statistics: max simultaneous domains=1 addresses=0 connection=0"),
        ("endpoints_max", "statistics: max simultaneous domains=0 addresses=1 connection=0"),
        ("sessions_max", "statistics: max simultaneous domains=0 addresses=0 connection=1"),
    ],
)
def test_STAT_5_one_counter_prints_its_line_and_the_first(field: str, line: str) -> None:
    assert statistics.lines(replace(ZERO, **{field: 1}), START) == (f"statistics: start interval {START}", line)


@pytest.mark.parametrize(
    ("hits", "misses", "percent"), [(1, 0, 100), (2, 1, 66), (1, 199, 0), (199, 1, 99), (1, 1, 50)]
)
def test_STAT_6_success_is_rounded_down(hits: int, misses: int, percent: int) -> None:
    line = statistics.lines(Counters(dest_hits=hits, dest_misses=misses), START)[1]
    assert line.endswith(f"success={percent}%")
