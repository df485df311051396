"""What a server counts, and the lines it prints of it.

When and where the lines are printed is not decided here. The interval's start is given as text, because nothing in the
specification reads the wall clock.

Sources: the lines that scache(8) logs, which operators' scripts already read.
"""

from dataclasses import dataclass, replace

from scache_spec.cache import Sizes
from scache_spec.vocabulary import FIND_DEST, SAVE_DEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a server counted since statistics were last printed."""

    dest_hits: int = 0
    dest_misses: int = 0
    endp_hits: int = 0
    endp_misses: int = 0
    destinations_max: int = 0
    endpoints_max: int = 0
    sessions_max: int = 0


def count_find(counters: Counters, request: bytes, *, hit: bool) -> Counters:
    """Count a well-formed find.

    STAT-2  A find_dest counts as a domain lookup. A find_endp counts as an address lookup. A find_dest that hits does
    not count as an address lookup too.

    STAT-3  A find that is answered with status 0 counts as a hit at that moment, even if the hand-over fails
    afterwards. A find that is answered with status 2 counts as a miss. A malformed request counts nowhere.
    """
    match request == FIND_DEST, hit:
        case True, True:
            return replace(counters, dest_hits=counters.dest_hits + 1)
        case True, False:
            return replace(counters, dest_misses=counters.dest_misses + 1)
        case False, True:
            return replace(counters, endp_hits=counters.endp_hits + 1)
        case _:
            return replace(counters, endp_misses=counters.endp_misses + 1)


def count_save(counters: Counters, request: bytes, after: Sizes) -> Counters:
    """Raise the peaks after a save that was done.

    STAT-4  A peak is the largest number since the last statistics. Each save that is done takes peaks, of what the
    cache holds after it: a save_endp those of addresses (endpoints) and connections (sessions), a save_dest those of
    domains (destinations) and addresses (endpoints). A save_dest that renews a binding takes its peaks too. A save that
    is refused takes no peak. A held session is not in the cache and does not count.
    """
    counters = replace(counters, endpoints_max=max(counters.endpoints_max, after.endpoints))
    if request == SAVE_DEST:
        return replace(counters, destinations_max=max(counters.destinations_max, after.destinations))
    return replace(counters, sessions_max=max(counters.sessions_max, after.sessions))


def lines(counters: Counters, interval_start: str) -> tuple[str, ...]:
    """Return the lines to print; `interval_start` is local time such as `Nov 22 11:03:25`, the day padded with a blank.

    STAT-5  The first line says when the interval began, in local time, as in `Nov 2 11:03:25`: the English short name
    of the month, and a day below 10 with a blank before it. This line is printed if any counter is not zero. Each other
    line is printed if one of its own counters is not zero. After printing, all counters are zero and a new interval
    begins.

    STAT-6  The success percentage of a line is hits * 100 / (hits + misses), rounded down.
    """
    if counters == Counters():
        return ()
    printed = [f"statistics: start interval {interval_start}"]
    for name, hits, misses in (
        ("domain", counters.dest_hits, counters.dest_misses),
        ("address", counters.endp_hits, counters.endp_misses),
    ):
        if hits or misses:
            success = hits * 100 // (hits + misses)
            printed.append(f"statistics: {name} lookup hits={hits} miss={misses} success={success}%")
    if counters.destinations_max or counters.endpoints_max or counters.sessions_max:
        printed.append(
            f"statistics: max simultaneous domains={counters.destinations_max}"
            f" addresses={counters.endpoints_max} connection={counters.sessions_max}"
        )
    return tuple(printed)
