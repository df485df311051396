"""STAT: what moves which counter, and the lines that are printed."""

from dataclasses import replace

import pytest
from tests.spec.driver import Driver, find_dest, find_endp, save_dest, save_endp

from scache_spec import statistics
from scache_spec.cache import Sizes
from scache_spec.statistics import Counters
from scache_spec.vocabulary import FIND_DEST, FIND_ENDP, SAVE_DEST, SAVE_ENDP, Limits

ZERO = Counters()
START = "Nov 22 11:03:25"


@pytest.mark.parametrize(
    ("request_name", "hit", "counted"),
    [
        (FIND_DEST, True, Counters(dest_hits=1)),
        (FIND_DEST, False, Counters(dest_misses=1)),
        (FIND_ENDP, True, Counters(endp_hits=1)),
        (FIND_ENDP, False, Counters(endp_misses=1)),
    ],
)
def test_STAT_2_find_counts_in_one_place(request_name: bytes, hit: bool, counted: Counters) -> None:
    assert statistics.count_find(ZERO, request_name, hit=hit) == counted


def test_STAT_2_find_dest_that_hits_is_no_address_lookup() -> None:
    driver = Driver()
    driver.connect()
    driver.park(1)
    driver.say(save_dest(b"d", b"e"))
    driver.take(find_dest(b"d"))
    counted = driver.server.counters
    assert (counted.dest_hits, counted.endp_hits, counted.endp_misses) == (1, 0, 0)


def test_STAT_3_hit_counts_at_once_and_stays_when_the_hand_over_fails() -> None:
    driver = Driver()
    driver.connect()
    driver.park(1)
    driver.say(find_endp(b"e"))
    assert driver.server.counters.endp_hits == 1
    driver.gone()
    assert driver.parked() == [1]
    assert driver.server.counters.endp_hits == 1


@pytest.mark.parametrize(
    "data",
    [b"request\0find_endp\0\0", b"request\0find_dest\0\0", b"request\0other\0\0", b"dummy\0\0\0", b"\0"],
)
def test_STAT_3_what_is_no_well_formed_find_counts_nowhere(data: bytes) -> None:
    driver = Driver()
    driver.connect()
    driver.feed(data)
    assert driver.server.counters == ZERO


def test_STAT_4_save_endp_takes_the_peaks_of_addresses_and_connections() -> None:
    after = Sizes(destinations=7, endpoints=2, sessions=3, bindings=9)
    assert statistics.count_save(ZERO, SAVE_ENDP, after) == Counters(endpoints_max=2, sessions_max=3)


def test_STAT_4_save_dest_takes_the_peaks_of_domains_and_addresses() -> None:
    after = Sizes(destinations=7, endpoints=2, sessions=3, bindings=9)
    assert statistics.count_save(ZERO, SAVE_DEST, after) == Counters(destinations_max=7, endpoints_max=2)


@pytest.mark.parametrize("request_name", [SAVE_ENDP, SAVE_DEST])
def test_STAT_4_peak_does_not_go_down(request_name: bytes) -> None:
    peaks = Counters(destinations_max=5, endpoints_max=5, sessions_max=5)
    assert statistics.count_save(peaks, request_name, Sizes(4, 4, 4, 4)) == peaks


def test_STAT_4_refused_saves_and_held_sessions_count_nowhere() -> None:
    driver = Driver(Limits(sessions_max=1, bindings_max=0))
    driver.connect()
    driver.say(save_dest(b"d", b"e"))
    driver.say(save_endp(b"e"))
    driver.descriptors()
    assert driver.server.counters == ZERO
    driver.park(1)
    driver.park(2)
    assert driver.server.counters.sessions_max == 1
    driver.say(find_endp(b"e"))  # Held from here on.
    driver.connect(2)
    driver.park(3, client=2)
    assert driver.server.counters.sessions_max == 1


def test_STAT_4_put_back_takes_no_peak() -> None:
    driver = Driver()
    driver.connect(1)
    driver.connect(2)
    driver.park(1, b"e")
    driver.say(find_endp(b"e"))
    driver.park(2, b"f", client=2)
    driver.gone(1)
    assert len(driver.parked()) == 2
    assert (driver.server.counters.sessions_max, driver.server.counters.endpoints_max) == (1, 1)


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
