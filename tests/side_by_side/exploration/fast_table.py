"""The production server's table behind the verbs that the exploration compares.

Held sessions and counters are kept here as the production server's loop keeps them. The table is called; its inside is
read only to tell its states apart.
"""

import pickle
from collections.abc import Callable, Hashable, Mapping
from typing import Self

from scache_fast.engine.expiries import Timed
from scache_fast.engine.statistics import Statistics
from scache_fast.engine.table import Session, Table, _Endpoint
from scache_spec.cache import Sizes
from scache_spec.statistics import Counters
from scache_spec.vocabulary import Handle, Label, Limits, Properties, Status

ALL = 1_000_000
"""More than any scope holds."""


class FastTable:
    """The production table, its counters, and the sessions found in it."""

    def __init__(self, limits: Limits, share: int = ALL) -> None:
        self.limits = limits
        self.share = share
        """How many pieces of what is due are removed at a time."""
        self.table = Table(limits)
        self.held: dict[Handle, Session] = {}
        self.statistics = Statistics(start_s=0.0)

    def save_endp(
        self, endpoint: Label, properties: Properties, handle: Handle, ttl_s: int, now_ns: int
    ) -> tuple[Status, tuple[Handle, ...]]:
        if self.table.save_endp(endpoint, properties, handle, ttl_s, now_ns) is not None:
            return Status.FAILED, (handle,)
        self.statistics.saved_endp(self.table.used, self.table.sessions)
        return Status.DONE, ()

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        session = self._take(endpoint)
        if session is None:
            self.statistics.endp_misses += 1
            return None
        self.statistics.endp_hits += 1
        return Properties(session.properties), self._hold(session)

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        limit = self.table.save_dest(destination, properties, endpoint, ttl_s, now_ns)
        if limit is not None:
            return Status.FAILED
        self.statistics.saved_dest(self.table.destinations, self.table.used)
        return Status.DONE

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        found = self._take_bound(destination)
        if found is None:
            self.statistics.dest_misses += 1
            return None
        self.statistics.dest_hits += 1
        properties, session = found
        return Properties(properties), Properties(session.properties), self._hold(session)

    def _take(self, endpoint: Label) -> Session | None:
        return self.table.find_endp(endpoint)

    def _take_bound(self, destination: Label) -> tuple[bytes, Session] | None:
        return self.table.find_dest(destination, 0)  # expiry comes first here: nothing that is due is left

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        return () if self.table.put_back(self.held.pop(handle), now_ns) else (handle,)

    def hand_over(self, handle: Handle) -> None:
        del self.held[handle]

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        expired: list[Handle] = []
        while (due_ns := self.table.next_expiry_ns) is not None and due_ns <= now_ns:
            popped = self.table.pop_expired(now_ns, self.share)
            assert len(popped) <= self.share
            expired += [Handle(session.descriptor) for session in popped]
        return tuple(sorted(expired))

    def next_expiry_ns(self) -> int | None:
        return self.table.next_expiry_ns

    def sizes(self) -> Sizes:
        return Sizes(*self.table.sizes)

    @property
    def counters(self) -> Counters:
        counted = self.statistics
        return Counters(**{name: getattr(counted, name) for name in Counters.__dataclass_fields__})

    @counters.setter
    def counters(self, counters: Counters) -> None:
        for name in Counters.__dataclass_fields__:
            setattr(self.statistics, name, getattr(counters, name))

    # What the exploration needs besides.

    def _hold(self, session: Session) -> Handle:
        handle = Handle(session.descriptor)
        self.held[handle] = session
        return handle

    def held_handles(self) -> tuple[Handle, ...]:
        return tuple(self.held)

    def handles(self) -> tuple[Handle, ...]:
        records = sorted(self.table._endpoints.items())
        return (*(Handle(session.descriptor) for _, record in records for session in queue(record)), *self.held)

    def key(self, now_ns: int, names: Mapping[Handle, int]) -> Hashable:
        table = self.table

        def seen(session: Session) -> tuple[bytes, int, int]:
            return session.properties, names.get(Handle(session.descriptor), -1), session.expiry_ns - now_ns

        def due(item: Timed) -> tuple[int, bool, tuple[bytes, int, int] | tuple[()]]:
            knows_its_place = item.place >= 0 and table.items()[item.place] is item
            return item.expiry_ns - now_ns, knows_its_place, seen(item) if isinstance(item, Session) else ()

        return (
            tuple(
                (label, tuple(map(seen, queue(each))), each.sessions, each.bindings, each.newest and seen(each.newest))
                for label, each in sorted(table._endpoints.items())
            ),
            tuple(
                (label, tuple((*name, b.properties, b.expiry_ns - now_ns) for name, b in bindings.items()))
                for label, bindings in sorted(table._destinations.items())
            ),
            # Which place each has in the heap is no state of its own: tests/fast/test_expiries.py tries larger heaps.
            tuple(sorted(map(due, table.items()))),
            tuple((s.endpoint, s.properties, names[h], max(0, s.expiry_ns - now_ns)) for h, s in self.held.items()),
        )

    def copier(self) -> Callable[[], Self]:
        # Pickled whole: a copy that the table makes of itself may mend what is broken in it.
        frozen, counters = pickle.dumps((self.table, self.held), pickle.HIGHEST_PROTOCOL), self.counters
        return lambda: self._thaw(frozen, counters)

    def _thaw(self, frozen: bytes, counters: Counters) -> Self:
        twin = type(self).__new__(type(self))
        twin.limits = self.limits
        twin.share = self.share
        twin.statistics = Statistics(start_s=0.0)
        twin.table, twin.held = pickle.loads(frozen)
        twin.counters = counters
        return twin


def queue(record: _Endpoint) -> list[Session]:
    """Return an endpoint's sessions, the oldest first."""
    sessions = []
    session = record.oldest
    while session is not None:
        sessions.append(session)
        session = session.newer
    return sessions
