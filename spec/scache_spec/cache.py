"""The cache: which sessions and bindings there are, and which of them a find hands out.

Order, uniqueness, lifetime and room. Nothing here reads a clock, owns a descriptor or touches a socket: an instant is
an argument, a descriptor is a handle, and the caller closes the handles of sessions that expired.

    destination label  --0..n-->  endpoint label  --0..n-->  session
                       (binding)

A cache is two tuples in the order of saving. That makes it slow and makes every rule below one line.

Sources: scache_multi(3).
"""

from dataclasses import dataclass, replace

from scache_spec.vocabulary import NS_PER_S, Handle, Label, Limit, Limits, Properties


@dataclass(frozen=True, slots=True)
class Session:
    """A parked connection."""

    endpoint: Label
    properties: Properties
    handle: Handle
    expiry_ns: int


@dataclass(frozen=True, slots=True)
class Binding:
    """A destination's pointer to an endpoint."""

    destination: Label
    properties: Properties
    endpoint: Label
    expiry_ns: int


@dataclass(frozen=True, slots=True)
class Cache:
    """All sessions and all bindings, each in the order in which they are tried.

    DEST-1  Bindings and sessions live independently: either may exist without the other, and neither's end is the
    other's.

    ENDP-1  Destination labels and endpoint labels are two name spaces: equal bytes do not make them the same name.
    """

    sessions: tuple[Session, ...] = ()
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many there are of each.

    STAT-1  A label counts while there is something under it: a destination with a binding, an endpoint with a session.
    """

    destinations: int
    endpoints: int
    sessions: int
    bindings: int


def sizes(cache: Cache) -> Sizes:
    """Return how many destinations, endpoints, sessions and bindings there are."""
    return Sizes(
        destinations=len({binding.destination for binding in cache.bindings}),
        endpoints=len({session.endpoint for session in cache.sessions}),
        sessions=len(cache.sessions),
        bindings=len(cache.bindings),
    )


def expiry_ns(ttl_s: int, ttl_limit_s: int, now_ns: int) -> int:
    """Return the instant at which something saved now expires.

    TTL-1  A ttl above the server's ttl limit counts as the limit, for sessions and for bindings.

    TTL-2  What is saved at instant t with a ttl of n seconds can be found before t + n seconds and no more from then
    on, by a clock that never jumps and that counts the time for which the machine sleeps. The Postfix server counts
    whole seconds of the wall clock: there, something lives between n - 1 and n seconds. [BEYOND]
    """
    return now_ns + min(ttl_s, ttl_limit_s) * NS_PER_S


def save_endp(cache: Cache, session: Session) -> Cache:
    """Park a session.

    ENDP-2  A saved session goes last among those of its endpoint. Nothing is replaced: equal labels, equal properties,
    even the same connection twice, are sessions of their own.
    """
    return replace(cache, sessions=(*cache.sessions, session))


def find_endp(cache: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    """Take up the session of an endpoint that is first in turn, None if it has none.

    ENDP-3  A find hands out the oldest session of its endpoint, and no other endpoint's. The oldest is the one that was
    saved first, whichever expires first; a session that was put back comes before it (ENDP-5). [OBSERVED]

    ENDP-4  A session is handed out at most once: finding it removes it.
    """
    found = next((session for session in cache.sessions if session.endpoint == endpoint), None)
    if found is None:
        return cache, None
    return replace(cache, sessions=tuple(session for session in cache.sessions if session is not found)), found


def put_back(cache: Cache, session: Session, now_ns: int) -> Cache | None:
    """Park again a session that was found but not handed over; None if it expired meanwhile.

    ENDP-5  A session that is put back is first in turn at its endpoint again, whatever was saved meanwhile, with the
    expiry it had; limits do not apply, as it is not a save. [BEYOND]

    ENDP-7  When several sessions of one endpoint are put back at the same instant, their order among themselves is left
    to the server. [FREE]

    ENDP-6  A session whose expiry passed while it was held is not put back: its descriptor is closed. [BEYOND]
    """
    if session.expiry_ns <= now_ns:
        return None
    return replace(cache, sessions=(session, *cache.sessions))


def save_dest(cache: Cache, binding: Binding) -> Cache:
    """Bind a destination to an endpoint, or renew the binding.

    DEST-2  A binding with the same destination, the same endpoint and the same destination properties is the same
    binding: saving it again gives it the new expiry, sooner or later than the old, and leaves its place in the order.

    DEST-3  Any other binding goes last among those of its destination. One that differs in its properties alone is
    another binding, and so is one to another endpoint.
    """
    if (kept := _same_binding(cache, binding)) is not None:
        return replace(cache, bindings=tuple(binding if each is kept else each for each in cache.bindings))
    return replace(cache, bindings=(*cache.bindings, binding))


def find_dest(cache: Cache, destination: Label) -> tuple[Cache, tuple[Binding, Session] | None]:
    """Take up the first session that a destination leads to, with the binding that led there; None if there is none.

    DEST-4  The destination's bindings are tried in order; the first whose endpoint has a session gives it, the oldest
    of that endpoint. The properties handed out are this binding's and this session's. [OBSERVED]

    DEST-5  Finding does not consume or renew a binding; the session it removes, as find_endp does.
    """
    for binding in cache.bindings:
        if binding.destination == destination:
            cache, session = find_endp(cache, binding.endpoint)
            if session is not None:
                return cache, (binding, session)
    return cache, None


def expire(cache: Cache, now_ns: int) -> tuple[Cache, tuple[Handle, ...]]:
    """Drop what has expired; return the handles of the sessions among it.

    TTL-3  When a session expires, its descriptor is closed, and nothing is sent on it before, unless the server's
    operator asked for a farewell: bytes that the server sends on a connection before it closes the connection.

    TTL-4  When a binding expires, it is gone, and nothing else is.
    """
    return (
        Cache(
            sessions=tuple(session for session in cache.sessions if session.expiry_ns > now_ns),
            bindings=tuple(binding for binding in cache.bindings if binding.expiry_ns > now_ns),
        ),
        tuple(session.handle for session in cache.sessions if session.expiry_ns <= now_ns),
    )


def cached_bytes(cache: Cache) -> int:
    """Return how many bytes of labels and properties there are.

    LIMIT-11  The labels and properties of all sessions and bindings have at most `cached_bytes_max` bytes together:
    what would be more is not saved, its descriptor is closed if it has one, and its client told status 2. A session
    counts its endpoint label and its properties; a binding counts its destination label, its properties and its
    endpoint label; equal bytes count each time. A session that is held does not count: put back, it may be too much,
    and stays. A renewal needs no room. [BEYOND]
    """
    return sum(map(_size, cache.sessions)) + sum(map(_size, cache.bindings))


def limit_on_session(cache: Cache, limits: Limits, session: Session) -> Limit | None:
    """Return the limit that forbids to park the session, None if there is room.

    LIMIT-2  There are at most `sessions_max` sessions: one more is not parked, its descriptor is closed and its client
    told status 2. One that is held takes no room: put back, it may be one too many, and stays. [BEYOND]

    LIMIT-3  An endpoint has at most `sessions_per_endpoint_max` sessions, likewise. [BEYOND]
    """
    if len(cache.sessions) >= limits.sessions_max:
        return Limit.SESSIONS
    if sum(each.endpoint == session.endpoint for each in cache.sessions) >= limits.sessions_per_endpoint_max:
        return Limit.SESSIONS_PER_ENDPOINT
    if cached_bytes(cache) + _size(session) > limits.cached_bytes_max:
        return Limit.CACHED_BYTES
    return None


def limit_on_binding(cache: Cache, limits: Limits, binding: Binding) -> Limit | None:
    """Return the limit that forbids to save the binding, None if there is room or it is a renewal.

    LIMIT-4  There are at most `bindings_max` bindings: one more is not saved and its client told status 2. A renewal
    needs no room. [BEYOND]

    LIMIT-10  A destination has at most `bindings_per_destination_max` bindings: one more is not saved and its client
    told status 2. A renewal needs no room. [BEYOND]
    """
    if _same_binding(cache, binding) is not None:
        return None
    if len(cache.bindings) >= limits.bindings_max:
        return Limit.BINDINGS
    if sum(each.destination == binding.destination for each in cache.bindings) >= limits.bindings_per_destination_max:
        return Limit.BINDINGS_PER_DESTINATION
    if cached_bytes(cache) + _size(binding) > limits.cached_bytes_max:
        return Limit.CACHED_BYTES
    return None


def _size(saved: Session | Binding) -> int:
    destination = saved.destination if isinstance(saved, Binding) else b""
    return len(destination) + len(saved.properties) + len(saved.endpoint)


def _same_binding(cache: Cache, binding: Binding) -> Binding | None:
    return next((each for each in cache.bindings if replace(each, expiry_ns=binding.expiry_ns) == binding), None)
