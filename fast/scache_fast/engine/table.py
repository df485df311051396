"""What is parked, under which label, in which order, and until when.

Decides which session a find hands out, which binding a renewal renews, which limit a save meets, and what has
expired at a given instant. Refuses to know clients, bytes on a socket, and clocks: every instant is an argument.
Descriptors are plain numbers here; the table never opens, closes or inspects one. It says which are to be closed.

Guarantees:

* A descriptor that was saved with status 0 is either in the table, or was returned by exactly one find, or was
  returned by exactly one expiry. (A put-back gives a found one to the table again.)
* An item is alive while now < expiry. Callers expire first and ask then, with the same instant.
* Saving and finding cost the same however much is parked. Only find_dest costs a step for each binding it has to
  pass over because that binding's endpoint has no session.
* Memory follows what is alive: instants of things that are gone never outnumber those of things that are there by
  more than `STALE_MAX`, and they keep no label, no properties and no descriptor alive.

How expiry works. Each session and each binding has a `due`, one whole number: its expiry in the upper bits, a serial
number in the lower 64. The heap holds these numbers and nothing else; `_timed` says what is due. Whatever leaves the
table before its time is deleted from `_timed` alone, and its number stays in the heap until it comes up or until
the heap is rebuilt. Bare numbers were chosen over (instant, serial, item) tuples because they compare faster, the
garbage collector need not visit them, and a stale one costs 56 bytes instead of a whole session.

Why queues are linked lists. Most endpoints hold one or two sessions. An empty deque weighs 760 bytes, a session with
two more links 16; and a session that expires in the middle of its queue leaves it without a walk.

Why constructors are written out here and in client.py: mypyc compiles them, and leaves those that dataclass makes up to
the interpreter.
"""

from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from scache_spec.vocabulary import NS_PER_S, Limit, Limits, Status

STALE_MAX: Final = 1024
"""How many stale instants the heap may hold beyond as many as are alive: 57 kB, rebuilt every 1024 finds at most."""

DONE: Final = Status.DONE
FAILED: Final = Status.FAILED
# Bare names: looking up a member of an enumeration takes as long as looking up a label.

_SERIAL_BITS: Final = 64
"""Room for serial numbers: at a million saves a second they last for 584 000 years."""


class Session:
    """One parked connection."""

    __slots__ = ("descriptor", "due", "endpoint", "newer", "older", "properties")

    def __init__(
        self, endpoint: bytes, properties: bytes, descriptor: int, due: int, older: "Session | None" = None
    ) -> None:
        self.endpoint = endpoint
        self.properties = properties
        self.descriptor = descriptor
        self.due = due
        self.older = older
        self.newer: Session | None = None

    @property
    def expiry_ns(self) -> int:
        """Return the first instant at which the session is no longer alive."""
        return self.due >> _SERIAL_BITS


class _Endpoint:
    """The queue of one endpoint label. It exists while a session is in it or a binding points at it."""

    __slots__ = ("bindings", "label", "newest", "oldest", "sessions")

    def __init__(self, label: bytes, sessions: int = 0, bindings: int = 0) -> None:
        self.label = label
        self.oldest: Session | None = None
        self.newest: Session | None = None
        self.sessions = sessions
        self.bindings = bindings


class _Binding:
    """One way from a destination to an endpoint."""

    __slots__ = ("destination", "due", "endpoint", "properties")

    def __init__(self, destination: bytes, endpoint: _Endpoint, properties: bytes, due: int) -> None:
        self.destination = destination
        self.endpoint = endpoint
        self.properties = properties
        self.due = due


class Sizes(NamedTuple):
    """How much a table holds. A label with nothing under it does not count."""

    destinations: int
    endpoints: int
    sessions: int
    bindings: int


class Table:
    """Sessions under endpoint labels, and bindings from destinations to endpoints."""

    __slots__ = ("_destinations", "_endpoints", "_heap", "_limits", "_serial", "_timed", "bindings", "sessions", "used")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._endpoints: dict[bytes, _Endpoint] = {}
        self._destinations: dict[bytes, dict[tuple[bytes, bytes], _Binding]] = {}
        self._timed: dict[int, Session | _Binding] = {}
        self._heap: list[int] = []
        self._serial = 0
        self.sessions = 0
        self.bindings = 0
        self.used = 0  # endpoints that hold a session

    # The four verbs.

    def save_endp(self, endpoint: bytes, properties: bytes, descriptor: int, ttl_s: int, now_ns: int) -> Status:
        """Park a descriptor as the newest session of an endpoint; FAILED: a limit forbids, the caller keeps it."""
        record = self._endpoints.get(endpoint)
        is_new = record is None
        if record is None:
            record = _Endpoint(endpoint)
        # LIMIT-2, LIMIT-3
        if self.sessions >= self._limits.sessions_max or record.sessions >= self._limits.sessions_per_endpoint_max:
            return FAILED
        if is_new:
            self._endpoints[endpoint] = record
        last = record.newest
        session = record.newest = Session(record.label, properties, descriptor, 0, last)
        if last is None:
            record.oldest = session
            self.used += 1
        else:
            last.newer = session  # ENDP-2
        record.sessions += 1
        self.sessions += 1
        self._schedule(session, self._expiry_ns(ttl_s, now_ns))
        return DONE

    def find_endp(self, endpoint: bytes) -> Session | None:
        """Take the oldest session of an endpoint out of the table."""
        record = self._endpoints.get(endpoint)  # ENDP-1
        if record is None or record.oldest is None:
            return None
        return self._take(record, record.oldest)  # ENDP-3

    def save_dest(self, destination: bytes, properties: bytes, endpoint: bytes, ttl_s: int, now_ns: int) -> Status:
        """Bind a destination to an endpoint, or renew that binding in its place; FAILED: a limit forbids a new one."""
        bindings = self._destinations.get(destination)
        binding = None if bindings is None else bindings.get((endpoint, properties))  # DEST-2, DEST-3
        if binding is not None:
            del self._timed[binding.due]
            self._schedule(binding, self._expiry_ns(ttl_s, now_ns))  # DEST-2
            if len(self._heap) > 2 * len(self._timed) + STALE_MAX:
                self._compact()
            return DONE
        if self.bindings >= self._limits.bindings_max:  # LIMIT-4
            return FAILED
        if bindings is None:
            bindings = self._destinations[destination] = {}
        record = self._endpoint(endpoint)
        binding = bindings[record.label, properties] = _Binding(destination, record, properties, 0)
        record.bindings += 1
        self.bindings += 1
        self._schedule(binding, self._expiry_ns(ttl_s, now_ns))
        return DONE

    def find_dest(self, destination: bytes) -> tuple[bytes, Session] | None:
        """Take the oldest session of the first bound endpoint that has one, and return the binding's properties too."""
        for binding in self._destinations.get(destination, {}).values():  # ENDP-1, DEST-4
            oldest = binding.endpoint.oldest
            if oldest is not None:
                return binding.properties, self._take(binding.endpoint, oldest)  # DEST-4, DEST-5
        return None

    # Sessions that come back, and time.

    def put_back(self, session: Session, now_ns: int) -> bool:
        """Return a found session to the front of its queue, under its old expiry, whatever the limits say.

        False: it has expired meanwhile, and its descriptor is the caller's to close.
        """
        if session.expiry_ns <= now_ns:  # ENDP-6
            return False
        record = self._endpoint(session.endpoint)
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
        self._schedule(session, session.expiry_ns)  # ENDP-5
        return True

    def pop_expired(self, now_ns: int) -> list[Session]:
        """Remove everything whose expiry has come; return its sessions, whose descriptors are to be closed."""
        expired: list[Session] = []
        horizon = (now_ns + 1) << _SERIAL_BITS  # TTL-2
        heap = self._heap
        while heap and heap[0] < horizon:
            item = self._timed.pop(heappop(heap), None)
            if isinstance(item, Session):
                self._unlink(self._endpoints[item.endpoint], item)
                expired.append(item)  # TTL-3
            elif item is not None:
                self._unbind(item)  # TTL-4
        return expired

    def flush(self) -> list[Session]:
        """Remove everything; return the sessions, whose descriptors are to be closed."""
        sessions = [item for item in self._timed.values() if isinstance(item, Session)]
        for session in sessions:
            session.older = session.newer = None
        self._endpoints.clear()
        self._destinations.clear()
        self._timed.clear()
        self._heap.clear()
        self.sessions = self.bindings = self.used = 0
        return sessions

    @property
    def next_expiry_ns(self) -> int | None:
        """Return the first instant at which something expires."""
        heap = self._heap
        while heap and heap[0] not in self._timed:
            heappop(heap)
        return heap[0] >> _SERIAL_BITS if heap else None

    # What can be asked without changing anything.

    def session_limit(self, endpoint: bytes) -> Limit | None:
        """Return the limit that forbids one more session under an endpoint."""
        if self.sessions >= self._limits.sessions_max:
            return Limit.SESSIONS
        record = self._endpoints.get(endpoint)
        if (0 if record is None else record.sessions) >= self._limits.sessions_per_endpoint_max:
            return Limit.SESSIONS_PER_ENDPOINT
        return None

    @property
    def destinations(self) -> int:
        """Return how many destinations have a binding."""
        return len(self._destinations)  # STAT-1

    @property
    def sizes(self) -> Sizes:
        """Return how much the table holds."""
        return Sizes(len(self._destinations), self.used, self.sessions, self.bindings)

    @property
    def instants(self) -> int:
        """Return how many instants the heap holds, stale ones included."""
        return len(self._heap)

    # Below here: how the parts are kept in step.

    def _expiry_ns(self, ttl_s: int, now_ns: int) -> int:
        limit_s = self._limits.ttl_limit_s
        return now_ns + (ttl_s if ttl_s < limit_s else limit_s) * NS_PER_S  # TTL-1, TTL-2

    def _endpoint(self, label: bytes) -> _Endpoint:
        record = self._endpoints.get(label)
        if record is None:
            record = self._endpoints[label] = _Endpoint(label)
        return record

    def _schedule(self, item: Session | _Binding, expiry_ns: int) -> None:
        self._serial = serial = self._serial + 1
        due = item.due = expiry_ns << _SERIAL_BITS | serial
        self._timed[due] = item
        heappush(self._heap, due)

    def _compact(self) -> None:
        """Rebuild the heap without its stale instants; the removals that made them have paid for it."""
        self._heap = list(self._timed)
        heapify(self._heap)

    def _take(self, record: _Endpoint, session: Session) -> Session:
        del self._timed[session.due]
        self._unlink(record, session)  # ENDP-4
        if len(self._heap) > 2 * len(self._timed) + STALE_MAX:
            self._compact()
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
        if not record.sessions:
            self.used -= 1  # STAT-1
            if not record.bindings:  # DEST-1
                del self._endpoints[record.label]

    def _unbind(self, binding: _Binding) -> None:
        record = binding.endpoint
        bindings = self._destinations[binding.destination]
        del bindings[record.label, binding.properties]
        if not bindings:  # STAT-1
            del self._destinations[binding.destination]
        self.bindings -= 1
        record.bindings -= 1
        if not record.bindings and not record.sessions:  # DEST-1, TTL-4
            del self._endpoints[record.label]
