"""The table: all sessions and all bindings, their order, their limits and their expiry.

Nothing here knows clients or sockets, and nothing here reads a clock: every instant is an argument. Descriptors are
plain numbers. The table never opens, closes or inspects a descriptor; it returns those that are to be closed.

Guarantees:

* A descriptor that was saved with status 0 is in the table, or was returned by exactly one find, or was returned by
  exactly one expiry. (A put-back brings a found descriptor into the table again.)
* A session or binding is alive while now < expiry. What is due may still be in the table, because callers remove it in
  shares. A find does not follow a binding that is due, and a save_dest does not renew it. A find may return a session
  that is due: the caller compares its expiry with the time.
* Saving and finding cost the same however much is parked. The one exception is find_dest, which costs one step for each
  binding that it skips because the endpoint of that binding has no session.
* Memory is bounded by what is alive: nothing is kept of what has left the table.

Why queues are linked lists. Most endpoints have one or two sessions. An empty deque takes 760 bytes; two more links in
a session take 16. A session that expires in the middle of its queue is removed without a search.

Why constructors are written out here and in client.py. mypyc compiles a constructor that is written out. It leaves one
that dataclass generates to the interpreter.
"""

from typing import NamedTuple

from scache_fast.engine.expiries import Expiries, Timed
from scache_spec.vocabulary import NS_PER_S, Limit, Limits


class Session(Timed):
    """One parked connection."""

    __slots__ = ("descriptor", "domain", "endpoint", "newer", "older", "pid", "properties", "saved_ns", "user")

    def __init__(
        self, endpoint: bytes, properties: bytes, descriptor: int, domain: int, user: int, pid: int, saved_ns: int,
        expiry_ns: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(expiry_ns)
        self.endpoint = endpoint
        self.properties = properties
        self.descriptor = descriptor
        self.domain = domain
        """The address family of its socket (AF_INET, …), -1 for what is no socket."""
        self.user = user
        """The uid of the process that saved it, -1 if nobody asked."""
        self.pid = pid
        """Its process id when it connected, -1 if nobody asked."""
        self.saved_ns = saved_ns
        self.older: Session | None = None
        self.newer: Session | None = None


class _Endpoint:
    """The queue of one endpoint label. It exists while a session is in it or a binding points at it."""

    __slots__ = ("bindings", "label", "newest", "oldest", "sessions")

    def __init__(self, label: bytes, sessions: int = 0, bindings: int = 0) -> None:
        self.label = label
        self.oldest: Session | None = None
        self.newest: Session | None = None
        self.sessions = sessions
        self.bindings = bindings


class Binding(Timed):
    """One way from a destination to an endpoint."""

    __slots__ = ("destination", "endpoint", "properties", "saved_ns")

    def __init__(self, destination: bytes, endpoint: _Endpoint, properties: bytes, saved_ns: int) -> None:
        super().__init__()
        self.destination = destination
        self.endpoint = endpoint
        self.properties = properties
        self.saved_ns = saved_ns
        """When it was saved first; a renewal does not change it."""


class Sizes(NamedTuple):
    """How much a table holds. A label with nothing under it does not count."""

    destinations: int
    endpoints: int
    sessions: int
    bindings: int


class Table:
    """Sessions under endpoint labels, and bindings from destinations to endpoints."""

    __slots__ = (
        "_bindings_max", "_bindings_per_destination_max", "_bytes_max", "_destinations", "_endpoints", "_expiries",
        "_sessions_max", "_sessions_per_endpoint_max", "_ttl_limit_s",
        "bindings", "bytes", "sessions", "used", "walked",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.set_limits(limits)
        self._endpoints: dict[bytes, _Endpoint] = {}
        self._destinations: dict[bytes, dict[tuple[bytes, bytes], Binding]] = {}
        self._expiries: Expiries[Session | Binding] = Expiries()
        self.sessions = 0
        self.bindings = 0
        self.used = 0  # endpoints that hold a session
        self.bytes = 0  # lengths of all labels and properties, of sessions and of bindings
        self.walked = 0  # how many bindings the last find_dest passed over

    def set_limits(self, limits: Limits) -> None:
        """Have other limits for what is saved from now on."""
        # One by one: the class of Limits is not compiled, and asking it for each costs more than comparing.
        self._ttl_limit_s = limits.ttl_limit_s  # LIFE-7
        self._sessions_max = limits.sessions_max
        self._sessions_per_endpoint_max = limits.sessions_per_endpoint_max
        self._bindings_max = limits.bindings_max
        self._bindings_per_destination_max = limits.bindings_per_destination_max
        self._bytes_max = limits.cached_bytes_max

    # The four verbs.

    def save_endp(
        self, endpoint: bytes, properties: bytes, descriptor: int, ttl_s: int, now_ns: int,
        *, domain: int = -1, user: int = -1, pid: int = -1,
    ) -> Limit | None:  # fmt: skip
        """Park a descriptor as the newest session of an endpoint; or return the limit that forbids it."""
        record = self._endpoints.get(endpoint)
        size = len(endpoint) + len(properties)
        if self.sessions >= self._sessions_max:  # LIMIT-2
            return Limit.SESSIONS
        if record is not None and record.sessions >= self._sessions_per_endpoint_max:  # LIMIT-3
            return Limit.SESSIONS_PER_ENDPOINT
        if self.bytes + size > self._bytes_max:  # LIMIT-11
            return Limit.CACHED_BYTES
        if record is None:
            record = self._endpoints[endpoint] = _Endpoint(endpoint)
        session = Session(record.label, properties, descriptor, domain, user, pid, now_ns)
        self._expiries.add(session, self._expiry_ns(ttl_s, now_ns))
        last = session.older = record.newest
        record.newest = session
        if last is None:
            record.oldest = session
            self.used += 1
        else:
            last.newer = session  # ENDP-2
        record.sessions += 1
        self.sessions += 1
        self.bytes += size
        return None

    def find_endp(self, endpoint: bytes) -> Session | None:
        """Take the oldest session of an endpoint out of the table. It may be due."""
        record = self._endpoints.get(endpoint)  # ENDP-1
        if record is None or record.oldest is None:
            return None
        return self._take(record, record.oldest)  # ENDP-3

    def save_dest(
        self, destination: bytes, properties: bytes, endpoint: bytes, ttl_s: int, now_ns: int
    ) -> Limit | None:
        """Bind a destination to an endpoint, or renew that binding; or return the limit that forbids it."""
        bindings = self._destinations.get(destination)
        binding = None if bindings is None else bindings.get((endpoint, properties))  # DEST-2, DEST-3
        if binding is not None:
            if binding.expiry_ns > now_ns:
                self._expiries.move(binding, self._expiry_ns(ttl_s, now_ns))  # DEST-2
                return None
            self._expiries.remove(binding)
            self._unbind(binding)  # TTL-5
            bindings = self._destinations.get(destination)
        size = len(destination) + len(properties) + len(endpoint)
        if self.bindings >= self._bindings_max:  # LIMIT-4
            return Limit.BINDINGS
        if bindings is not None and len(bindings) >= self._bindings_per_destination_max:  # LIMIT-10
            return Limit.BINDINGS_PER_DESTINATION
        if self.bytes + size > self._bytes_max:  # LIMIT-11
            return Limit.CACHED_BYTES
        self.adopt_binding(destination, properties, endpoint, now_ns, self._expiry_ns(ttl_s, now_ns))
        return None

    def find_dest(self, destination: bytes, now_ns: int) -> tuple[bytes, Session] | None:
        """Take the oldest session of the first bound endpoint that has one; return the binding's properties too.

        The session may be due. `walked` tells how many bindings were passed over.
        """
        self.walked = 0
        for binding in self._destinations.get(destination, {}).values():  # ENDP-1, DEST-4
            oldest = binding.endpoint.oldest
            if oldest is not None and binding.expiry_ns > now_ns:  # TTL-5
                return binding.properties, self._take(binding.endpoint, oldest)  # DEST-4, DEST-5
            self.walked += 1
        return None

    # Sessions that come back, and time.

    def put_back(self, session: Session, now_ns: int) -> bool:
        """Return a found session to the front of its queue, under its old expiry, whatever the limits say.

        False: it has expired meanwhile, and its descriptor is the caller's to close.
        """
        if session.expiry_ns <= now_ns:  # ENDP-6
            return False
        record = self._endpoint(session.endpoint)
        self._expiries.add(session, session.expiry_ns)  # ENDP-5
        first = record.oldest
        if first is None:
            record.newest = session
            self.used += 1
        else:
            first.older = session
            session.newer = first  # ENDP-5
        record.oldest = session  # ENDP-5
        record.sessions += 1
        self.sessions += 1
        self.bytes += len(session.endpoint) + len(session.properties)
        return True

    def pop_expired(self, now_ns: int, work_max: int) -> list[Session]:
        """Remove what is due, earliest first, in at most work_max steps; return the sessions among it.

        Their descriptors are to be closed. A step is a session or a binding.
        """
        expired: list[Session] = []
        items = self._expiries.items
        for _ in range(work_max):  # TTL-7
            if not items or items[0].expiry_ns > now_ns:  # TTL-2
                break
            item = items[0]
            self._expiries.remove(item)
            if isinstance(item, Session):
                self._unlink(self._endpoints[item.endpoint], item)
                expired.append(item)  # TTL-3
            else:
                self._unbind(item)  # TTL-4
        return expired

    def flush(self) -> list[Session]:
        """Remove everything; return the sessions, whose descriptors are to be closed."""
        sessions = [item for item in self._expiries.items if isinstance(item, Session)]
        for session in sessions:
            session.older = session.newer = None
        self._endpoints.clear()
        self._destinations.clear()
        self._expiries.clear()
        self.sessions = self.bindings = self.used = self.bytes = 0
        return sessions

    def remove(self, item: Session | Binding) -> bool:
        """Remove a session, whose descriptor is to be closed, or a binding; False: it was not in the table.

        A session that was found and is not handed over yet comes back no more: `put_back` will say that it expired.
        """
        if not self.holds(item):
            if isinstance(item, Session):
                item.expiry_ns = 0  # LIFE-6
            return False
        self._expiries.remove(item)
        if isinstance(item, Session):
            self._unlink(self._endpoints[item.endpoint], item)
        else:
            self._unbind(item)
        return True

    @property
    def next_expiry_ns(self) -> int | None:
        """Return the first instant at which something expires."""
        items = self._expiries.items
        return items[0].expiry_ns if items else None

    # Moving to the table of another process.

    def parked(self) -> list[Session]:
        """Return all sessions, those of one endpoint in turn, the newest first.

        Given to `put_back` in this order, they are queued in another table as they are in this one.
        """
        found: list[Session] = []
        for record in self._endpoints.values():
            session = record.newest
            while session is not None:
                found.append(session)
                session = session.older
        return found

    def bound(self) -> list[Binding]:
        """Return all bindings, those of one destination in turn, the first one first."""
        return [binding for bindings in self._destinations.values() for binding in bindings.values()]

    def adopt_binding(
        self, destination: bytes, properties: bytes, endpoint: bytes, saved_ns: int, expiry_ns: int
    ) -> None:
        """Add a binding that is not in the table, as the last of its destination, whatever the limits say."""
        bindings = self._destinations.get(destination)
        if bindings is None:
            bindings = self._destinations[destination] = {}
        record = self._endpoint(endpoint)
        binding = bindings[record.label, properties] = Binding(destination, record, properties, saved_ns)
        record.bindings += 1
        self.bindings += 1
        self.bytes += len(destination) + len(properties) + len(endpoint)
        self._expiries.add(binding, expiry_ns)

    # What can be asked without changing anything.

    def items(self) -> list[Session | Binding]:
        """Return all that is in the table, in no order. Whoever goes through it later asks `holds` about each."""
        return list(self._expiries.items)

    def holds(self, item: Session | Binding) -> bool:
        """Say whether a session or a binding is in the table. One that was renewed or put back is the same one."""
        return item.place >= 0

    @property
    def destinations(self) -> int:
        """Return how many destinations have a binding."""
        return len(self._destinations)  # STAT-1

    @property
    def sizes(self) -> Sizes:
        """Return how much the table holds."""
        return Sizes(len(self._destinations), self.used, self.sessions, self.bindings)

    # Below here: how the parts are kept in step.

    def _expiry_ns(self, ttl_s: int, now_ns: int) -> int:
        limit_s = self._ttl_limit_s
        return now_ns + (ttl_s if ttl_s < limit_s else limit_s) * NS_PER_S  # TTL-1, TTL-2

    def _endpoint(self, label: bytes) -> _Endpoint:
        record = self._endpoints.get(label)
        if record is None:
            record = self._endpoints[label] = _Endpoint(label)
        return record

    def _take(self, record: _Endpoint, session: Session) -> Session:
        self._expiries.remove(session)
        self._unlink(record, session)  # ENDP-4
        return session

    def _unlink(self, record: _Endpoint, session: Session) -> None:
        older, newer = session.older, session.newer
        if older is None:
            record.oldest = newer
        else:
            older.newer = newer
        if newer is None:
            record.newest = older
        else:
            newer.older = older
        session.older = session.newer = None
        record.sessions -= 1
        self.sessions -= 1
        self.bytes -= len(session.endpoint) + len(session.properties)
        if not record.sessions:
            self.used -= 1  # STAT-1
            if not record.bindings:  # DEST-1
                del self._endpoints[record.label]

    def _unbind(self, binding: Binding) -> None:
        record = binding.endpoint
        bindings = self._destinations[binding.destination]
        del bindings[record.label, binding.properties]
        if not bindings:  # STAT-1
            del self._destinations[binding.destination]
        self.bindings -= 1
        self.bytes -= len(binding.destination) + len(binding.properties) + len(record.label)
        record.bindings -= 1
        if not record.bindings and not record.sessions:  # DEST-1, TTL-4
            del self._endpoints[record.label]
