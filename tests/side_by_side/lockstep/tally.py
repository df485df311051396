"""What a run of the lockstep has covered.

Decides what counts as enough. A save "hits" where there is something of its name already, a find where it is given a
session; either is "expired" where the last there was has gone with time alone.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.side_by_side.lockstep.world import World

from scache_spec import cache as caches
from scache_spec.vocabulary import Label, Properties

OPERATIONS: Final = ("save_endp", "find_endp", "save_dest", "find_dest")
OUTCOMES: Final = ("hit", "miss", "expired")


@dataclass(slots=True)
class Tally:
    """Counts of rules carried out and of operations by outcome."""

    steps: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def step(self, rule: str) -> None:
        self.steps += 1
        self.rules[rule] += 1

    def save_endp(self, world: World, endpoint: Label) -> None:
        known = any(each.endpoint == endpoint for each in world.oracle.cache.sessions)
        self._count("save_endp", known, endpoint in world.expired_endpoints)

    def find_endp(self, world: World, endpoint: Label) -> None:
        _, found = caches.find_endp(world.oracle.cache, endpoint)
        self._count("find_endp", found is not None, endpoint in world.expired_endpoints)

    def save_dest(self, world: World, destination: Label, properties: Properties, endpoint: Label) -> None:
        key = destination, properties, endpoint
        known = any((each.destination, each.properties, each.endpoint) == key for each in world.oracle.cache.bindings)
        self._count("save_dest", known, key in world.expired_bindings)

    def find_dest(self, world: World, destination: Label) -> None:
        _, found = caches.find_dest(world.oracle.cache, destination)
        led = {each.endpoint for each in world.oracle.cache.bindings if each.destination == destination}
        by_time = any(each[0] == destination for each in world.expired_bindings) or led & world.expired_endpoints
        self._count("find_dest", found is not None, bool(by_time))

    def hit_percentage(self) -> int:
        """Return how many of all finds were given a session."""
        finds = sum(self.outcomes[name, outcome] for name in ("find_endp", "find_dest") for outcome in OUTCOMES)
        hits = self.outcomes["find_endp", "hit"] + self.outcomes["find_dest", "hit"]
        return 100 * hits // max(1, finds)

    def assert_enough(self, *, steps_min: int, each_outcome_min: int = 100, hit_percentage_min: int = 20) -> None:
        """Raise AssertionError unless a run with these counts has looked into every corner."""
        assert self.steps >= steps_min, f"{self.steps} steps"
        assert self.hit_percentage() >= hit_percentage_min, f"{self.hit_percentage()} % of finds hit"
        seen = {(name, outcome): self.outcomes[name, outcome] for name in OPERATIONS for outcome in OUTCOMES}
        assert min(seen.values()) >= each_outcome_min, f"seldom: {seen}"

    def __str__(self) -> str:
        outcomes = ", ".join(f"{name} {outcome} {count}" for (name, outcome), count in sorted(self.outcomes.items()))
        rules = ", ".join(f"{name} {count}" for name, count in self.rules.most_common())
        return f"{self.steps} steps, {self.hit_percentage()} % of finds hit\n{outcomes}\n{rules}"

    def _count(self, operation: str, hit: bool, expired: bool) -> None:
        self.outcomes[operation, "hit" if hit else "expired" if expired else "miss"] += 1
