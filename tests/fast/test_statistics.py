"""Counters and their lines."""

import time

import pytest

from scache_fast.engine.statistics import Statistics
from scache_spec.vocabulary import Limit


@pytest.fixture
def statistics() -> Statistics:
    return Statistics(start_s=1_000_000.0)


def test_STAT_5_nothing_happened_nothing_is_printed(statistics: Statistics) -> None:
    assert statistics.close_interval(2_000_000.0) == []
    assert statistics.start_s == 2_000_000.0


def test_STAT_5_all_lines_then_none(statistics: Statistics) -> None:
    statistics.dest_hits, statistics.dest_misses = 2, 1
    statistics.endp_hits, statistics.endp_misses = 1, 2
    statistics.saved_dest(3, 2)
    statistics.saved_endp(4, 5)
    assert statistics.close_interval(2_000_000.0) == [
        f"statistics: start interval {time.ctime(1_000_000.0)[4:19]}",
        "statistics: domain lookup hits=2 miss=1 success=66%",
        "statistics: address lookup hits=1 miss=2 success=33%",
        "statistics: max simultaneous domains=3 addresses=4 connection=5",
    ]
    assert statistics.close_interval(3_000_000.0) == []


@pytest.mark.parametrize(
    ("name", "line"),
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
def test_STAT_5_each_line_needs_only_its_own_counters(statistics: Statistics, name: str, line: str) -> None:
    setattr(statistics, name, 1)
    lines = statistics.close_interval(0.0)
    assert lines[1:] == [line]
    assert lines[0].startswith("statistics: start interval ")


def test_STAT_4_peaks_only_rise(statistics: Statistics) -> None:
    statistics.saved_endp(3, 7)
    statistics.saved_endp(2, 6)
    statistics.saved_dest(5, 1)
    statistics.saved_dest(4, 2)
    assert (statistics.destinations_max, statistics.endpoints_max, statistics.sessions_max) == (5, 3, 7)


def test_limits_met_are_not_part_of_an_interval(statistics: Statistics) -> None:
    statistics.limit_hits[Limit.CLIENTS] += 1
    assert statistics.close_interval(0.0) == []
    assert statistics.limit_hits[Limit.CLIENTS] == 1
