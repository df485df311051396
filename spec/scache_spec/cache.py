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

    DEST-1  Bindings and sessions do not depend on each other. A binding may exist without any session, and a session
    without any binding. The end of a binding ends no session, and the end of a session ends no binding.

    ENDP-1  Destination labels and endpoint labels are two separate name spaces. A destination and an endpoint with
    equal labels have nothing to do with each other.
    """

    sessions: tuple[Session, ...] = ()
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many there are of each.

    STAT-1  A destination counts while it has a binding. An endpoint counts while it has a session.
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

    TTL-1  A ttl above the server's `ttl_limit_s` counts as `ttl_limit_s`, for sessions and for bindings.

    TTL-2  What is saved at instant t with a ttl of n seconds can be found before t + n seconds, and cannot be found
    from t + n seconds on. The clock for this never jumps, and it counts the time for which the machine is suspended. A
    Postfix server counts whole seconds of the wall clock: there, something lives between n - 1 and n seconds. [BEYOND]
    """
    return now_ns + min(ttl_s, ttl_limit_s) * NS_PER_S


def save_endp(cache: Cache, session: Session) -> Cache:
    """Park a session.

    ENDP-2  A session that is saved goes last among the sessions of its endpoint. A save replaces no session. Sessions
    with equal labels and equal properties are separate sessions, and so are two sessions that hold the same connection.
    """
    return replace(cache, sessions=(*cache.sessions, session))


def find_endp(cache: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    """Take up the session of an endpoint that is first in turn, None if it has none.

    ENDP-3  A find hands out the oldest session of its endpoint, and never a session of another endpoint. The oldest
    session is the one that was saved first, even if another one expires first. A session that was put back comes before
    the oldest (ENDP-5). [OBSERVED]

    ENDP-4  A session is handed out at most once: a find removes the session that it finds from the cache.
    """
    found = next((session for session in cache.sessions if session.endpoint == endpoint), None)
    if found is None:
        return cache, None
    return replace(cache, sessions=tuple(session for session in cache.sessions if session is not found)), found


def put_back(cache: Cache, session: Session, now_ns: int) -> Cache | None:
    """Park again a session that was found but not handed over; None if it expired meanwhile.

    ENDP-5  A session that is put back becomes the first of its endpoint again, also before sessions that were saved
    while it was held. A session that is put back keeps its expiry. No limit applies to putting back, because putting
    back is not a save. [BEYOND]

    ENDP-7  When several sessions of one endpoint are put back at the same instant, the server may put them in any order
    among themselves. [FREE]

    ENDP-6  A session whose expiry passed while it was held is not put back: its descriptor is closed. [BEYOND]
    """
    if session.expiry_ns <= now_ns:
        return None
    return replace(cache, sessions=(session, *cache.sessions))


def save_dest(cache: Cache, binding: Binding) -> Cache:
    """Bind a destination to an endpoint, or renew the binding.

    DEST-2  A save_dest with the destination, the endpoint and the destination properties of an existing binding renews
    that binding. The binding gets the new expiry, whether that is later or sooner than the old one. The binding keeps
    its place in the order.

    DEST-3  A save_dest that renews no binding (DEST-2) makes a new one, which goes last among the bindings of its
    destination. A difference in the properties alone makes a new binding, and so does a difference in the endpoint
    alone.
    """
    if (kept := _same_binding(cache, binding)) is not None:
        return replace(cache, bindings=tuple(binding if each is kept else each for each in cache.bindings))
    return replace(cache, bindings=(*cache.bindings, binding))


def find_dest(cache: Cache, destination: Label) -> tuple[Cache, tuple[Binding, Session] | None]:
    """Take up the first session that a destination leads to, with the binding that led there; None if there is none.

    DEST-4  A find_dest tries the bindings of its destination in order, and takes the first binding whose endpoint has a
    session. A find_dest hands out the oldest session of that endpoint. The reply has the properties of that binding and
    of that session. [OBSERVED]

    DEST-5  A find_dest neither removes nor renews a binding. A find_dest removes the session that it finds, as a
    find_endp does.
    """
    for binding in cache.bindings:
        if binding.destination == destination:
            cache, session = find_endp(cache, binding.endpoint)
            if session is not None:
                return cache, (binding, session)
    return cache, None


def expire(cache: Cache, now_ns: int) -> tuple[Cache, tuple[Handle, ...]]:
    """Drop what has expired; return the handles of the sessions among it.

    TTL-3  When a session expires, its descriptor is closed. The server sends nothing on the connection before that,
    unless the server's operator asked for a farewell. A farewell is some bytes that the server sends on a connection
    before it closes the connection.

    TTL-4  When a binding expires, that binding is removed and nothing else.
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

    LIMIT-11  The labels and properties of all sessions and bindings in the cache have at most `cached_bytes_max` bytes
    together. A session counts its endpoint label and its properties. A binding counts its destination label, its
    properties and its endpoint label. Equal bytes count each time. A save beyond the limit saves nothing: its
    descriptor, if it has one, is closed, and it is answered with status 2. A save_dest that renews a binding needs no
    room. A held session takes no room, and it can be put back into a full cache. [BEYOND]
    """
    return sum(map(_size, cache.sessions)) + sum(map(_size, cache.bindings))


def limit_on_session(cache: Cache, limits: Limits, session: Session) -> Limit | None:
    """Return the limit that forbids to park the session, None if there is room.

    LIMIT-2  The cache has at most `sessions_max` sessions. A save_endp beyond that parks nothing: its descriptor is
    closed, and it is answered with status 2. A held session is not in the cache: it takes no room, and it can be put
    back into a full cache. [BEYOND]

    LIMIT-3  An endpoint has at most `sessions_per_endpoint_max` sessions. A save_endp beyond that parks nothing: its
    descriptor is closed, and it is answered with status 2. A held session takes no room, and it can be put back when
    its endpoint is full. [BEYOND]
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

    LIMIT-4  The cache has at most `bindings_max` bindings. A save_dest beyond that saves nothing and is answered with
    status 2. A save_dest that renews a binding needs no room. [BEYOND]

    LIMIT-10  A destination has at most `bindings_per_destination_max` bindings. A save_dest beyond that saves nothing
    and is answered with status 2. A save_dest that renews a binding needs no room. [BEYOND]
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
