"""The specification's cache behind the verbs of a table.

The pure functions of scache_spec.cache and scache_spec.statistics are called one after the other here, as
scache_spec.actions does too; the exploration compares the two, so neither can drift. No rule is stated here.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Self

from scache_spec import cache as caches
from scache_spec import statistics
from scache_spec.cache import Binding, Cache, Session, Sizes
from scache_spec.statistics import Counters
from scache_spec.vocabulary import FIND_DEST, FIND_ENDP, SAVE_DEST, SAVE_ENDP, Handle, Label, Limits, Properties, Status


class SpecTable:
    """A table that follows the specification by calling it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.cache = Cache()
        self.held: tuple[Session, ...] = ()
        self.counters = Counters()

    def save_endp(
        self, endpoint: Label, properties: Properties, handle: Handle, ttl_s: int, now_ns: int
    ) -> tuple[Status, tuple[Handle, ...]]:
        expiry_ns = caches.expiry_ns(ttl_s, self.limits.ttl_limit_s, now_ns)
        session = Session(endpoint, properties, handle, expiry_ns)
        if caches.limit_on_session(self.cache, self.limits, session) is not None:
            return Status.FAILED, (handle,)
        self.cache = caches.save_endp(self.cache, session)
        self.counters = statistics.count_save(self.counters, SAVE_ENDP, self.sizes())
        return Status.DONE, ()

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        self.cache, session = caches.find_endp(self.cache, endpoint)
        self.counters = statistics.count_find(self.counters, FIND_ENDP, hit=session is not None)
        if session is None:
            return None
        self.held = (*self.held, session)
        return session.properties, session.handle

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        expiry_ns = caches.expiry_ns(ttl_s, self.limits.ttl_limit_s, now_ns)
        binding = Binding(destination, properties, endpoint, expiry_ns)
        if caches.limit_on_binding(self.cache, self.limits, binding) is not None:
            return Status.FAILED
        self.cache = caches.save_dest(self.cache, binding)
        self.counters = statistics.count_save(self.counters, SAVE_DEST, self.sizes())
        return Status.DONE

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        self.cache, pair = caches.find_dest(self.cache, destination)
        self.counters = statistics.count_find(self.counters, FIND_DEST, hit=pair is not None)
        if pair is None:
            return None
        binding, session = pair
        self.held = (*self.held, session)
        return binding.properties, session.properties, session.handle

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        cache = caches.put_back(self.cache, self.release(handle), now_ns)
        if cache is None:
            return (handle,)
        self.cache = cache
        return ()

    def hand_over(self, handle: Handle) -> None:
        self.release(handle)

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        self.cache, expired = caches.expire(self.cache, now_ns)
        return tuple(sorted(expired))

    def next_expiry_ns(self) -> int | None:
        sessions, bindings = self.cache.sessions, self.cache.bindings
        return min([*(s.expiry_ns for s in sessions), *(b.expiry_ns for b in bindings)], default=None)

    def sizes(self) -> Sizes:
        return caches.sizes(self.cache)

    # What the exploration needs besides.

    def release(self, handle: Handle) -> Session:
        """Hold a session no longer; return it."""
        session = next(each for each in self.held if each.handle == handle)
        self.held = tuple(each for each in self.held if each is not session)
        return session

    def held_handles(self) -> tuple[Handle, ...]:
        return tuple(session.handle for session in self.held)

    def handles(self) -> tuple[Handle, ...]:
        return tuple(session.handle for session in (*self.sessions_by_endpoint(), *self.held))

    def sessions_by_endpoint(self) -> list[Session]:
        """Return the sessions, those of one endpoint in order. The order between two endpoints has no effect."""
        return sorted(self.cache.sessions, key=lambda session: session.endpoint)

    def key(self, now_ns: int, names: Mapping[Handle, int]) -> Hashable:
        bindings = sorted(self.cache.bindings, key=lambda binding: binding.destination)
        return (
            tuple(
                (s.endpoint, s.properties, names[s.handle], s.expiry_ns - now_ns) for s in self.sessions_by_endpoint()
            ),
            tuple((b.destination, b.properties, b.endpoint, b.expiry_ns - now_ns) for b in bindings),
            # A session whose expiry passed while it was held is as good as any other such.
            tuple((s.endpoint, s.properties, names[s.handle], max(0, s.expiry_ns - now_ns)) for s in self.held),
        )

    def copier(self) -> Callable[[], Self]:
        # Everything inside is immutable, so that sharing it is a copy.
        content = dict(self.__dict__)
        return lambda: self._holding(content)

    def _holding(self, content: Mapping[str, object]) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(content)
        return twin
