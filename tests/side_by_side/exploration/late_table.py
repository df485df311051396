"""The production table while what is due has not been removed, as in a turn whose share of that is used up.

TTL-5 says that nobody can tell. So this table reports what is due as closed when time passes, and does not count it,
as the specification; inside, all of it stays until a request meets it or needs its room, and then goes one piece at a
time, as the server does it (requests.py) with a share of 1.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Self

from tests.side_by_side.exploration.fast_table import FastTable, queue

from scache_fast.engine.table import Binding, Session
from scache_spec.cache import Sizes
from scache_spec.statistics import Counters
from scache_spec.vocabulary import Handle, Label, Limits, Properties, Status

_REPORTED: Final = 0
"""Stands for the handle of a session that was reported as closed."""


class LateTable(FastTable):
    """A FastTable in which what is due remains."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits, share=1)
        self.now_ns = 0

    def save_endp(
        self, endpoint: Label, properties: Properties, handle: Handle, ttl_s: int, now_ns: int
    ) -> tuple[Status, tuple[Handle, ...]]:
        limit = self.table.save_endp(endpoint, properties, handle, ttl_s, now_ns)
        while limit is not None and self._make_room():
            limit = self.table.save_endp(endpoint, properties, handle, ttl_s, now_ns)
        if limit is not None:
            return Status.FAILED, (handle,)
        sizes = self.sizes()
        self.statistics.saved_endp(sizes.endpoints, sizes.sessions)
        return Status.DONE, ()

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        limit = self.table.save_dest(destination, properties, endpoint, ttl_s, now_ns)
        while limit is not None and self._make_room():
            limit = self.table.save_dest(destination, properties, endpoint, ttl_s, now_ns)
        if limit is not None:
            return Status.FAILED
        sizes = self.sizes()
        self.statistics.saved_dest(sizes.destinations, sizes.endpoints)
        return Status.DONE

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        self.now_ns = now_ns
        due = [session for session in self._sessions() if session.expiry_ns <= now_ns]
        expired = [session.descriptor for session in due if session.descriptor != _REPORTED]
        for session in due:
            session.descriptor = _REPORTED
        return tuple(sorted(map(Handle, expired)))

    def next_expiry_ns(self) -> int | None:
        alive = [session.expiry_ns for session in self._sessions() if session.expiry_ns > self.now_ns]
        alive += [binding.expiry_ns for binding in self._bindings() if binding.expiry_ns > self.now_ns]
        return min(alive, default=None)

    def sizes(self) -> Sizes:
        sessions = [session for session in self._sessions() if session.expiry_ns > self.now_ns]
        bindings = [binding for binding in self._bindings() if binding.expiry_ns > self.now_ns]
        destinations = {binding.destination for binding in bindings}
        return Sizes(len(destinations), len({session.endpoint for session in sessions}), len(sessions), len(bindings))

    def handles(self) -> tuple[Handle, ...]:
        return tuple(handle for handle in super().handles() if handle != _REPORTED)

    def key(self, now_ns: int, names: Mapping[Handle, int]) -> Hashable:
        return _not_later(super().key(now_ns, names))

    def _thaw(self, frozen: bytes, counters: Counters) -> Self:
        twin = super()._thaw(frozen, counters)
        twin.now_ns = self.now_ns
        return twin

    def _take(self, endpoint: Label) -> Session | None:
        session = super()._take(endpoint)
        while session is not None and session.expiry_ns <= self.now_ns:
            session = super()._take(endpoint)
        return session

    def _take_bound(self, destination: Label) -> tuple[bytes, Session] | None:
        found = self.table.find_dest(destination, self.now_ns)
        while found is not None and found[1].expiry_ns <= self.now_ns:
            found = self.table.find_dest(destination, self.now_ns)
        return found

    def _make_room(self) -> bool:
        """Remove some of what is due; False: nothing is."""
        expiry_ns = self.table.next_expiry_ns
        if expiry_ns is None or expiry_ns > self.now_ns:
            return False
        self.table.pop_expired(self.now_ns, self.share)
        return True

    def _sessions(self) -> Iterator[Session]:
        return (session for record in self.table._endpoints.values() for session in queue(record))

    def _bindings(self) -> Iterator[Binding]:
        return (binding for bindings in self.table._destinations.values() for binding in bindings.values())


def _not_later(value: Hashable) -> Hashable:
    """Return a key in which what is due is due now: states would be without end."""
    if isinstance(value, tuple):
        return tuple(map(_not_later, value))
    return max(value, 0) if isinstance(value, int) else value
