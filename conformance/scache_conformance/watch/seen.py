"""What was seen of one session, one binding or one find: the instants between which it took effect, and its result.

The `Judge` decides what that says of the server. Each object tells the judge when it ends.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final, Protocol

from scache_conformance.wire.transcript import show
from scache_spec.vocabulary import NS_PER_S

REMEMBERED_MAX: Final = 200
"""So many finds and past sessions are kept of each label, and so many saves of each connection. Arbitrary: far more
than overlap."""


class Hearer(Protocol):
    """Who judges."""

    epoch: int
    """Counts how often everything was forgotten: what began before is not judged."""

    def refused(self, session: "SavedSession") -> None:
        """Take note that a session was not parked."""

    def missed(self, find: "Find", *, certain: bool) -> None:
        """Take note of a find that found nothing; `certain` unless the server answered something else."""

    def fetched(self, find: "Find", file: str) -> None:
        """Judge a session that was handed out."""

    def abandoned(self, find: "Find") -> None:
        """Take note that a session which this find may have found may be back, or gone."""


@dataclass(eq=False, slots=True)
class SavedSession:
    """A session that was saved here: from `begin_ns` on it may be there, from `end_ns` on it is."""

    judge: Hearer
    epoch: int
    endpoint: bytes
    properties: bytes
    ttl_s: int
    file: str
    begin_ns: int
    end_ns: float = inf
    taken_ns: float = inf
    """When it was asked for at the earliest by the find that fetched it."""
    is_taken: bool = False
    uncertain_ns: float = inf
    """From when on it may be held or gone, because somebody did not fetch what may have been this one."""
    is_refused: bool = False
    window: "Window" = (inf, -inf)
    """When it was there for sure."""

    def ended(self, at_ns: int, *, done: bool) -> None:
        """Take note of the status."""
        self.end_ns = at_ns
        self.is_refused = not done
        if self.is_refused and self.epoch == self.judge.epoch:
            self.judge.refused(self)


@dataclass(eq=False, slots=True)
class SavedBinding:
    """One save of a binding."""

    begin_ns: int
    ttl_s: int
    of: "Binding | None"
    end_ns: float = inf
    is_first: bool = False
    """Whether there was no such binding before, for sure."""
    promised_until_ns: float = -inf
    """Until when the binding was there for sure without this save."""

    def ended(self, at_ns: int, *, done: bool) -> None:
        """Take note of the status."""
        self.end_ns = at_ns
        if self.of is not None:
            self.of.settle(self, done=done)


@dataclass(eq=False, slots=True)
class Find:
    """A find: from `begin_ns` on it may have taken effect, at `end_ns` it has."""

    judge: Hearer
    epoch: int
    endpoint: bytes | None
    destination: bytes | None
    connection: int
    begin_ns: int
    end_ns: float = inf
    properties: tuple[bytes, ...] = ()
    session: SavedSession | None = None
    """What it fetched, if that was saved here."""
    is_hit: bool = False
    is_wrong: bool = False
    """Whether a fault was found in it."""
    placed_from_ns: float = -inf
    """When the binding that led a find of a destination took its place at the earliest."""

    def __str__(self) -> str:
        """Name the request."""
        if self.endpoint is not None:
            return f"find_endp {show(self.endpoint)}"
        return f"find_dest {show(self.destination or b'')}"

    def missed(self, at_ns: int, *, certain: bool) -> None:
        """Take note that nothing was found; `certain` unless the server says something else than that."""
        self.end_ns = at_ns
        self._unless_forgotten(lambda: self.judge.missed(self, certain=certain))

    def hit(self, at_ns: int, properties: tuple[bytes, ...]) -> None:
        """Take note of a reply that tells of a session."""
        self.end_ns, self.properties, self.is_hit = at_ns, properties, True

    def identified(self, file: str, at_ns: int) -> None:
        """Take note of what was handed out."""
        self._unless_forgotten(lambda: self.judge.fetched(self, file))

    def abandoned(self) -> None:
        """Take note that nobody will know what was found."""
        self._unless_forgotten(lambda: self.judge.abandoned(self))

    def _unless_forgotten(self, act: Callable[[], None]) -> None:
        if self.epoch == self.judge.epoch:
            act()


BindingKey = tuple[bytes, bytes, bytes]
"""Destination, properties, endpoint."""

Window = tuple[float, float]
"""Two instants between which something was there for sure."""


def lies_in(find: Find, window: Window) -> bool:
    """Tell whether a find took effect between two instants, whenever it did."""
    return window[0] < find.begin_ns and find.end_ns < window[1]


@dataclass(eq=False, slots=True)
class Binding:
    """A destination's binding to an endpoint, with certain properties."""

    saves: list[SavedBinding] = field(default_factory=list)
    """Those of which each may decide when it ends."""
    windows: deque[Window] = field(default_factory=lambda: deque(maxlen=REMEMBERED_MAX))
    placed: Window = (-inf, inf)
    """Between which instants it took its place among the bindings of its destination."""

    def settle(self, save: SavedBinding, *, done: bool) -> None:
        """Forget the saves that do not decide now that this one is answered."""
        if done:
            if save.is_first:
                self.placed = (save.begin_ns, save.end_ns)
            elif save.promised_until_ns < save.end_ns:  # it may have ended before, and gone last again
                self.placed = (self.placed[0], save.end_ns)
            self.saves = [each for each in self.saves if each.end_ns >= save.begin_ns]
        elif save in self.saves:
            self.saves.remove(save)

    def decided(self) -> SavedBinding | None:
        """Return the save that decides when it ends, None if that may be one or another."""
        return self.saves[0] if len(self.saves) == 1 and self.saves[0].end_ns < inf else None

    def has_expired(self, at_ns: float, ttl_limit_s: float) -> bool:
        """Tell whether it is gone for sure at an instant."""
        return all(each.end_ns + min(each.ttl_s, ttl_limit_s) * NS_PER_S < at_ns for each in self.saves)


@dataclass(eq=False, slots=True)
class Endpoint:
    """What is known of an endpoint label."""

    sessions: set[SavedSession] = field(default_factory=set)
    """Those that may be there."""
    past: deque[SavedSession] = field(default_factory=lambda: deque(maxlen=REMEMBERED_MAX))
    """Those of which it is known when they were there."""
    finds: deque[Find] = field(default_factory=lambda: deque(maxlen=REMEMBERED_MAX))
    """What ended while a session may have been there: misses of this label, and all that fetched a session of it."""
    led_here: dict[tuple[bytes, bytes], Binding] = field(default_factory=dict)
    """The bindings to it, by destination and properties."""
