"""What a run of the lockstep has covered.

And what counts as enough. A save "hits" where there is something of its name already, a find where it is given a
session; either is "expired" where the last there was has gone with time alone.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.side_by_side.lockstep.world import World

from scache_conformance.generated.steps import FindDest, FindEndp, SaveDest, SaveEndp
from scache_spec import cache as caches
from scache_spec.vocabulary import Label

OPERATIONS: Final = ("SaveEndp", "FindEndp", "SaveDest", "FindDest")
OUTCOMES: Final = ("hit", "miss", "expired")


@dataclass(slots=True)
class Tally:
    """Counts of rules carried out and of operations by outcome."""

    steps: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def operation(self, world: World, step: SaveEndp | FindEndp | SaveDest | FindDest) -> None:
        """Count a whole dance by what will come of it."""
        cache, hit, expired = world.oracle.cache, False, False
        match step:
            case SaveEndp(_, _, endpoint, _, _):
                hit = any(each.endpoint == endpoint for each in cache.sessions)
                expired = endpoint in world.expired_endpoints
            case FindEndp(_, endpoint):
                hit = caches.find_endp(cache, Label(endpoint))[1] is not None
                expired = endpoint in world.expired_endpoints
            case SaveDest(_, _, destination, properties, endpoint):
                key = destination, properties, endpoint
                hit = any((each.destination, each.properties, each.endpoint) == key for each in cache.bindings)
                expired = key in world.expired_bindings
            case FindDest(_, destination):
                hit = caches.find_dest(cache, Label(destination))[1] is not None
                led = {each.endpoint for each in cache.bindings if each.destination == destination}
                by_time = any(each[0] == destination for each in world.expired_bindings)
                expired = by_time or bool(led & world.expired_endpoints)
        self.outcomes[type(step).__name__, "hit" if hit else "expired" if expired else "miss"] += 1

    def hit_percentage(self) -> int:
        """Return how many of all finds were given a session."""
        finds = sum(self.outcomes[name, outcome] for name in ("FindEndp", "FindDest") for outcome in OUTCOMES)
        hits = self.outcomes["FindEndp", "hit"] + self.outcomes["FindDest", "hit"]
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
