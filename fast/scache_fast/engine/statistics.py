"""Counters, and the lines that are printed of them.

The words of the lines are those of Postfix's scache(8), so that programs which read its log can read this one: "domain"
is find_dest, "address" is find_endp, "connection" is a session. When and where lines are printed is not decided here:
the wall-clock time is an argument, and the lines are returned.
"""

import time

from scache_spec.vocabulary import Limit


class Statistics:
    """What happened since the interval began, and how often each limit was met since the server did."""

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        """Wall-clock time at which the interval began."""
        self.dest_hits = 0
        self.dest_misses = 0
        self.endp_hits = 0
        self.endp_misses = 0
        self.destinations_max = 0
        self.endpoints_max = 0
        self.sessions_max = 0
        self.limit_hits = dict.fromkeys(Limit, 0)
        """Not part of an interval: printing leaves these alone."""
        self.lookups_before = (0, 0, 0, 0)
        """Hits and misses of find_dest, then of find_endp, from the start to the beginning of the interval."""
        self.too_many_in_flight = 0
        """How often the kernel refused a hand-over since the start, because too many descriptors were in flight."""

    @property
    def lookups(self) -> tuple[int, int, int, int]:
        """Return hits and misses of find_dest, then of find_endp, since the start."""
        dest_hits, dest_misses, endp_hits, endp_misses = self.lookups_before
        return (
            dest_hits + self.dest_hits,
            dest_misses + self.dest_misses,
            endp_hits + self.endp_hits,
            endp_misses + self.endp_misses,
        )

    def saved_endp(self, endpoints: int, sessions: int) -> None:
        """Raise the peaks that a saved session can raise; sizes are those after the save."""
        if endpoints > self.endpoints_max:
            self.endpoints_max = endpoints  # STAT-4
        if sessions > self.sessions_max:
            self.sessions_max = sessions  # STAT-4

    def saved_dest(self, destinations: int, endpoints: int) -> None:
        """Raise the peaks that a saved binding can raise; sizes are those after the save."""
        if destinations > self.destinations_max:
            self.destinations_max = destinations  # STAT-4
        if endpoints > self.endpoints_max:
            self.endpoints_max = endpoints  # STAT-4

    def close_interval(self, now_s: float) -> list[str]:
        """Return the lines of the interval that ends now, and begin the next."""
        dest_lookups = self.dest_hits + self.dest_misses
        endp_lookups = self.endp_hits + self.endp_misses
        peaks = (self.destinations_max, self.endpoints_max, self.sessions_max)
        lines = []
        if dest_lookups or endp_lookups or any(peaks):  # STAT-5
            # ctime reads "Sat Nov 22 11:03:25 2025\n"; the log has always shown the middle of it.
            lines.append(f"statistics: start interval {time.ctime(self.start_s)[4:19]}")
        if dest_lookups:  # STAT-5
            lines.append(_lookups("domain", self.dest_hits, self.dest_misses))
        if endp_lookups:  # STAT-5
            lines.append(_lookups("address", self.endp_hits, self.endp_misses))
        if any(peaks):  # STAT-5
            domains, addresses, connections = peaks
            lines.append(
                f"statistics: max simultaneous domains={domains} addresses={addresses} connection={connections}"
            )
        self.lookups_before = self.lookups
        self.dest_hits = self.dest_misses = self.endp_hits = self.endp_misses = 0  # STAT-5
        self.destinations_max = self.endpoints_max = self.sessions_max = 0  # STAT-5
        self.start_s = now_s  # STAT-5
        return lines


def _lookups(kind: str, hits: int, misses: int) -> str:
    return f"statistics: {kind} lookup hits={hits} miss={misses} success={hits * 100 // (hits + misses)}%"  # STAT-6
