"""What is counted from the start of the process to its end, and never set to zero.

The statistics of Postfix (statistics.py) begin anew with each interval, while monitoring wants counters that only rise.
Lookups are counted in statistics.py alone, which also keeps their sums since the start.
"""

from bisect import bisect_left
from typing import Final

from scache_spec.vocabulary import NS_PER_S, REPLY_PROPERTIES

REUSE_AGE_BOUNDS_NS: Final = tuple(
    round(bound_s * NS_PER_S) for bound_s in (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
)
"""Upper bounds of the buckets for the age of what is handed over; one more bucket has what is older. Arbitrary, dense
where ttls usually are."""

TURN_BOUNDS_NS: Final = tuple(ms * 1_000_000 for ms in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))
"""Upper bounds of the buckets for how long a turn took. The first is far above a usual turn, which then costs one
comparison."""

_TURN_BOUND_NS: Final = 1_000_000
_REUSE_BOUND_NS: Final = 100_000_000  # the first of the bounds


class Counters:
    """Events since the start."""

    __slots__ = (
        "bindings_saved", "clients_refused", "clients_welcomed", "dead", "dest_refused", "endp_refused", "expired",
        "flushed", "malformed", "put_back", "reuse_age_ns", "reuse_ages", "sessions_saved", "slow_turns",
        "turn_ns", "turns_before", "unknown",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sessions_saved = 0
        self.bindings_saved = 0
        self.endp_refused = 0
        """Saves that got status 2; their descriptors were closed."""
        self.dest_refused = 0
        self.malformed: dict[bytes, int] = dict.fromkeys(REPLY_PROPERTIES, 0)
        """Requests that got status 1, by name."""
        self.unknown = 0
        """Requests of unknown name, which get status 1."""
        self.put_back = 0
        """Found sessions that went back to their queue, because they could not be handed over."""
        self.expired = 0
        self.flushed = 0
        self.dead = 0
        """Sessions that were closed instead of handed out, because their connection was gone."""
        self.reuse_ages = [0] * (len(REUSE_AGE_BOUNDS_NS) + 1)
        """Sessions that were handed over, by age."""
        self.reuse_age_ns = 0
        """The sum of these ages."""
        self.clients_welcomed = 0
        self.clients_refused = 0
        self.slow_turns = [0] * (len(TURN_BOUNDS_NS) + 1)
        """Turns by length; the first bucket stays empty, it has all others."""
        self.turn_ns = 0
        """How long all turns took together."""
        self.turns_before = 0
        """How many turns were taken by the processes before this one, which took over from them."""

    @property
    def found(self) -> int:
        """Return how many sessions were handed over."""
        return sum(self.reuse_ages)

    def handed_over(self, age_ns: int) -> None:
        """Count a session that was handed over so long after it was saved."""
        self.reuse_age_ns += age_ns
        self.reuse_ages[0 if age_ns <= _REUSE_BOUND_NS else bisect_left(REUSE_AGE_BOUNDS_NS, age_ns)] += 1

    def took_turn(self, turn_ns: int) -> None:
        """Count a turn that took so long."""
        self.turn_ns += turn_ns
        if turn_ns > _TURN_BOUND_NS:
            self.slow_turns[bisect_left(TURN_BOUNDS_NS, turn_ns)] += 1
