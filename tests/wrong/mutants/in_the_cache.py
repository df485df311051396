"""Wrong servers: order, uniqueness, bindings, lifetime, limits of the cache, statistics."""

import os
from dataclasses import replace

from tests.wrong.mutants.registry import mutant, wrap

from scache_spec import actions, statistics
from scache_spec import cache as caches
from scache_spec import events as spec
from scache_spec.conversation import Action
from scache_spec.effects import CloseDescriptor
from scache_spec.vocabulary import FIND_DEST, NS_PER_S, Handle

ACTIONS = actions.ACTIONS


def expiry_without_cap(ttl_s, ttl_limit_s, now_ns):
    return now_ns + ttl_s * NS_PER_S


def with_expiry(action, expiry_ns):
    """Let one action reckon expiries in another way."""

    def act(right, *given):
        reckoned = caches.expiry_ns
        caches.expiry_ns = expiry_ns
        try:
            return right(*given)
        finally:
            caches.expiry_ns = reckoned

    wrap(ACTIONS, action, act)


# Sessions.


@mutant("newest-first", "ENDP-3", "DEST-4")
def _():
    """A find hands out the youngest session of its endpoint."""

    def find_endp(right, cache, endpoint):
        cache, found = right(replace(cache, sessions=cache.sessions[::-1]), endpoint)
        return replace(cache, sessions=cache.sessions[::-1]), found

    wrap(caches, "find_endp", find_endp)


@mutant("hands-out-twice", "ENDP-4", "DEST-5")
def _():
    """A find leaves the session where it was."""

    def find_endp(right, cache, endpoint):
        _, found = right(cache, endpoint)
        return cache, replace(found, handle=Handle(os.dup(found.handle))) if found else None

    wrap(caches, "find_endp", find_endp)


@mutant("hands-out-twice-by-destination", "ENDP-4", "DEST-5")
def _():
    """A find_dest leaves the session where it was; a find_endp takes it."""

    def find_dest(right, cache, destination):
        _, pair = right(cache, destination)
        return cache, (pair[0], replace(pair[1], handle=Handle(os.dup(pair[1].handle)))) if pair else None

    wrap(caches, "find_dest", find_dest)


@mutant("hands-out-a-neighbours-descriptor", "ENDP-3", "FD-13")
def _():
    """With the properties of one session comes the descriptor of the one parked before it, under whatever label."""

    def find_endp(right, cache, endpoint):
        cache, found = right(cache, endpoint)
        if found is None or not cache.sessions:
            return cache, found
        other = cache.sessions[-1]
        sessions = (*cache.sessions[:-1], replace(other, handle=found.handle))
        return replace(cache, sessions=sessions), replace(found, handle=other.handle)

    wrap(caches, "find_endp", find_endp)


@mutant("equal-session-replaces", "ENDP-2")
def _():
    """A session with the label and the properties of another takes its place."""

    def park(right, server, client, given):
        sessions = server.cache.sessions
        same = [
            each for each in sessions
            if (each.endpoint, each.properties) == (client.saving.endpoint, client.saving.properties)
        ]  # fmt: skip
        kept = tuple(each for each in sessions if each not in same)
        server, effects = right(replace(server, cache=replace(server.cache, sessions=kept)), client, given)
        return server, (*(CloseDescriptor(each.handle) for each in same), *effects)

    wrap(ACTIONS, Action.PARK, park)


@mutant("one-session-per-endpoint", "ENDP-2")
def _():
    """Parking a session closes those that the endpoint had."""

    def park(right, server, client, given):
        sessions = server.cache.sessions
        kept = tuple(each for each in sessions if each.endpoint != client.saving.endpoint)
        gone = tuple(CloseDescriptor(each.handle) for each in sessions if each.endpoint == client.saving.endpoint)
        server, effects = right(replace(server, cache=replace(server.cache, sessions=kept)), client, given)
        return server, (*gone, *effects)

    wrap(ACTIONS, Action.PARK, park)


@mutant("destination-is-an-endpoint", "ENDP-1")
def _():
    """A find_dest also tries the endpoint of that name."""

    def find_dest(right, cache, destination):
        after, pair = right(cache, destination)
        if pair is None:
            after, session = caches.find_endp(cache, destination)
            pair = (caches.Binding(destination, b"", destination, 0), session) if session else None
        return after, pair

    wrap(caches, "find_dest", find_dest)


@mutant("labels-end-at-a-newline", "WIRE-3")
def _():
    """Of an endpoint's label only the first line counts."""
    wrap(caches, "find_endp", lambda right, cache, endpoint: right(cache, endpoint.partition(b"\n")[0]))
    wrap(
        caches,
        "save_endp",
        lambda right, cache, session: right(cache, replace(session, endpoint=session.endpoint.partition(b"\n")[0])),
    )


@mutant("put-back-goes-last", "ENDP-5")
def _():
    """A session that was not fetched goes to the end of its queue."""

    def put_back(right, cache, session, now_ns):
        after = right(cache, session, now_ns)
        return None if after is None else replace(cache, sessions=(*cache.sessions, session))

    wrap(caches, "put_back", put_back)


@mutant("put-back-is-lost", "ENDP-5", "FD-7", "FD-10")
def _():
    """A session that was not fetched is closed."""
    wrap(caches, "put_back", lambda right, cache, session, now_ns: None)


@mutant("held-session-never-expires", "ENDP-6")
def _():
    """A session that expired while it was held is put back all the same."""
    wrap(
        caches,
        "put_back",
        lambda right, cache, session, now_ns: right(
            cache, replace(session, expiry_ns=max(session.expiry_ns, now_ns + NS_PER_S)), now_ns
        ),
    )


@mutant("put-back-lives-anew", "ENDP-5", "ENDP-6")
def _():
    """A session that is put back gets ten more seconds."""
    wrap(
        caches,
        "put_back",
        lambda right, cache, session, now_ns: right(cache, replace(session, expiry_ns=now_ns + 10 * NS_PER_S), now_ns),
    )


# Bindings.


def same(cache, binding):
    return caches._same_binding(cache, binding)


@mutant("second-binding-is-tried-first", "DEST-4")
def _():
    """The bindings of a destination are tried from the last to the first."""

    def find_dest(right, cache, destination):
        after, pair = right(replace(cache, bindings=cache.bindings[::-1]), destination)
        return replace(after, bindings=cache.bindings), pair

    wrap(caches, "find_dest", find_dest)


@mutant("only-the-first-binding-is-tried", "DEST-4")
def _():
    """If the first binding leads nowhere, the others are not tried."""

    def find_dest(right, cache, destination):
        first = next((each for each in cache.bindings if each.destination == destination), None)
        after, pair = right(replace(cache, bindings=(first,) if first else ()), destination)
        return replace(after, bindings=cache.bindings), pair

    wrap(caches, "find_dest", find_dest)


@mutant("renewal-is-ignored", "DEST-2")
def _():
    """Saving a binding again changes nothing."""
    wrap(caches, "save_dest", lambda right, cache, binding: cache if same(cache, binding) else right(cache, binding))


@mutant("renewal-only-extends", "DEST-2")
def _():
    """Saving a binding again makes it end later, never sooner."""

    def save_dest(right, cache, binding):
        kept = same(cache, binding)
        return cache if kept is not None and kept.expiry_ns > binding.expiry_ns else right(cache, binding)

    wrap(caches, "save_dest", save_dest)


@mutant("renewal-reorders", "DEST-2")
def _():
    """A binding that is saved again goes last."""

    def save_dest(right, cache, binding):
        kept = same(cache, binding)
        return right(replace(cache, bindings=tuple(each for each in cache.bindings if each is not kept)), binding)

    wrap(caches, "save_dest", save_dest)


@mutant("renewal-makes-a-second", "DEST-2")
def _():
    """A binding that is saved again exists twice."""
    wrap(
        caches,
        "save_dest",
        lambda right, cache, binding: replace(cache, bindings=(*cache.bindings, binding)),
    )


@mutant("one-binding-per-endpoint", "DEST-3")
def _():
    """Bindings to the same endpoint are the same, whatever their properties."""

    def save_dest(right, cache, binding):
        ends = binding.destination, binding.endpoint
        for each in cache.bindings:
            if (each.destination, each.endpoint) == ends:
                bindings = tuple(binding if other is each else other for other in cache.bindings)
                return replace(cache, bindings=bindings)
        return right(cache, binding)

    wrap(caches, "save_dest", save_dest)


@mutant("one-binding-per-destination", "DEST-3")
def _():
    """A destination has one binding: the last that was saved."""

    def save_dest(right, cache, binding):
        others = tuple(each for each in cache.bindings if each.destination != binding.destination)
        return replace(cache, bindings=(*others, binding))

    wrap(caches, "save_dest", save_dest)


@mutant("newest-binding-first", "DEST-3", "DEST-4")
def _():
    """A new binding goes before the others of its destination."""

    def save_dest(right, cache, binding):
        return right(cache, binding) if same(cache, binding) else replace(cache, bindings=(binding, *cache.bindings))

    wrap(caches, "save_dest", save_dest)


@mutant("find-consumes-its-binding", "DEST-5")
def _():
    """The binding that led to a session goes with it."""

    def find_dest(right, cache, destination):
        after, pair = right(cache, destination)
        bindings = tuple(each for each in after.bindings if pair is None or each is not pair[0])
        return replace(after, bindings=bindings), pair

    wrap(caches, "find_dest", find_dest)


@mutant("find-renews-its-binding", "DEST-5")
def _():
    """The binding that led to a session lives five seconds longer."""

    def find_dest(right, cache, destination):
        after, pair = right(cache, destination)
        if pair is None:
            return after, pair
        longer = replace(pair[0], expiry_ns=pair[0].expiry_ns + 5 * NS_PER_S)
        return replace(after, bindings=tuple(longer if each is pair[0] else each for each in after.bindings)), pair

    wrap(caches, "find_dest", find_dest)


@mutant("binding-goes-with-its-last-session", "DEST-1", "DEST-5")
def _():
    """An endpoint whose last session is found takes the bindings to it along."""

    def find_endp(right, cache, endpoint):
        after, found = right(cache, endpoint)
        if found is not None and all(each.endpoint != endpoint for each in after.sessions):
            after = replace(after, bindings=tuple(each for each in after.bindings if each.endpoint != endpoint))
        return after, found

    wrap(caches, "find_endp", find_endp)


@mutant("session-goes-with-its-binding", "TTL-4", "DEST-1")
def _():
    """A binding that expires takes the sessions of its endpoint along."""

    def expire(right, cache, now_ns):
        after, handles = right(cache, now_ns)
        unbound = {each.endpoint for each in cache.bindings if each.expiry_ns <= now_ns}
        gone = tuple(each.handle for each in after.sessions if each.endpoint in unbound)
        kept = tuple(each for each in after.sessions if each.endpoint not in unbound)
        return replace(after, sessions=kept), (*handles, *gone)

    wrap(caches, "expire", expire)


@mutant("binding-wants-a-session", "DEST-1")
def _():
    """A binding to an endpoint that has no session is not kept."""

    def save_dest(right, cache, binding):
        return right(cache, binding) if any(s.endpoint == binding.endpoint for s in cache.sessions) else cache

    wrap(caches, "save_dest", save_dest)


# Lifetime.


@mutant("session-ttl-uncapped", "TTL-1")
def _():
    """Sessions live as long as their ttl says."""
    with_expiry(Action.PARK, expiry_without_cap)


@mutant("binding-ttl-uncapped", "TTL-1")
def _():
    """Bindings live as long as their ttl says."""
    with_expiry(Action.BIND, expiry_without_cap)


@mutant("expires-a-second-early", "TTL-1", "TTL-2")
def _():
    """Sessions live a second less than they may."""
    right = caches.expiry_ns
    with_expiry(Action.PARK, lambda ttl_s, limit_s, now_ns: right(ttl_s, limit_s, now_ns) - NS_PER_S)


@mutant("binding-expires-a-second-early", "TTL-1", "TTL-2")
def _():
    """Bindings live a second less than they may."""
    right = caches.expiry_ns
    with_expiry(Action.BIND, lambda ttl_s, limit_s, now_ns: right(ttl_s, limit_s, now_ns) - NS_PER_S)


@mutant("expires-a-second-late", "TTL-1", "TTL-2", "TTL-3", "TTL-6")
def _():
    """Sessions live a second longer than they may."""
    right = caches.expiry_ns
    with_expiry(Action.PARK, lambda ttl_s, limit_s, now_ns: right(ttl_s, limit_s, now_ns) + NS_PER_S)


@mutant("binding-expires-a-second-late", "TTL-1", "TTL-2", "TTL-4")
def _():
    """Bindings live a second longer than they may."""
    right = caches.expiry_ns
    with_expiry(Action.BIND, lambda ttl_s, limit_s, now_ns: right(ttl_s, limit_s, now_ns) + NS_PER_S)


@mutant("sessions-never-expire", "TTL-1", "TTL-2", "TTL-3", "TTL-5", "TTL-6")
def _():
    """Sessions stay until they are found."""
    with_expiry(Action.PARK, lambda ttl_s, limit_s, now_ns: now_ns + 10**9 * NS_PER_S)


@mutant("bindings-never-expire", "TTL-1", "TTL-2", "TTL-4")
def _():
    """Bindings stay."""
    with_expiry(Action.BIND, lambda ttl_s, limit_s, now_ns: now_ns + 10**9 * NS_PER_S)


@mutant("expired-descriptor-stays-open", "TTL-3")
def _():
    """A session that expires can no more be found, but its descriptor is never closed."""
    wrap(caches, "expire", lambda right, cache, now_ns: (right(cache, now_ns)[0], ()))


@mutant("lives-from-the-request", "FD-3")
def _():
    """A session's ttl counts from the request, not from the descriptor."""
    asked: dict[int, int] = {}

    def invite(right, server, client, given):
        asked[client.id] = server.now_ns
        return right(server, client, given)

    def park(right, server, client, given):
        since_ns, now_ns = asked[client.id], server.now_ns
        server, effects = right(replace(server, now_ns=since_ns), client, given)
        return replace(server, now_ns=now_ns), effects

    wrap(ACTIONS, Action.INVITE, invite)
    wrap(ACTIONS, Action.PARK, park)


@mutant("requests-before-expiry", "TTL-5")
def _():
    """What is due expires only when the requests of that turn have been served."""
    due: list[int] = []

    def on_tick(right, server, now_ns):
        before_ns = due.pop() if due else now_ns
        due.append(now_ns)
        server, effects = right(server, before_ns)
        return replace(server, now_ns=now_ns), effects

    wrap(spec, "on_tick", on_tick)


# Limits.


@mutant("sessions-unlimited", "LIMIT-2")
def _():
    """There is no end to sessions."""
    wrap(
        caches,
        "limit_on_session",
        lambda right, cache, limits, session: right(cache, replace(limits, sessions_max=10**9), session),
    )


@mutant("sessions-per-endpoint-unlimited", "LIMIT-3")
def _():
    """There is no end to the sessions of one endpoint."""
    wrap(
        caches,
        "limit_on_session",
        lambda right, cache, limits, session: right(cache, replace(limits, sessions_per_endpoint_max=10**9), session),
    )


@mutant("bindings-unlimited", "LIMIT-4")
def _():
    """There is no end to bindings."""
    wrap(caches, "limit_on_binding", lambda right, cache, limits, binding: None)


@mutant("renewal-needs-room", "LIMIT-4")
def _():
    """With as many bindings as there may be, none can be renewed."""

    def limit_on_binding(right, cache, limits, binding):
        return right(
            replace(cache, bindings=tuple(replace(b, properties=b"\0") for b in cache.bindings)), limits, binding
        )

    wrap(caches, "limit_on_binding", limit_on_binding)


# Statistics.


@mutant("destination-hit-counts-twice", "STAT-2")
def _():
    """A find_dest that hits is an address lookup, too."""

    def count_find(right, counters, request, *, hit):
        counters = right(counters, request, hit=hit)
        return replace(counters, endp_hits=counters.endp_hits + (hit and request == FIND_DEST))

    wrap(statistics, "count_find", count_find)


@mutant("misses-are-hits", "STAT-2", "STAT-6")
def _():
    """Every find counts as a hit."""
    wrap(statistics, "count_find", lambda right, counters, request, *, hit: right(counters, request, hit=True))


@mutant("peaks-are-of-now", "STAT-4")
def _():
    """Peaks follow what there is, downwards as well."""

    def count_save(right, counters, request, after):
        return right(replace(counters, endpoints_max=0, sessions_max=0), request, after)

    wrap(statistics, "count_save", count_save)


@mutant("statistics-go-on", "STAT-5")
def _():
    """Printing statistics does not begin a new count."""

    def on_statistics(right, server):
        after, effects = right(server)
        return replace(after, counters=server.counters), effects

    wrap(spec, "on_statistics", on_statistics)


@mutant("success-is-rounded-up", "STAT-6")
def _():
    """The success percentage is rounded up."""

    def lines(right, counters, interval_start):
        def up(line):
            before, mark, percent = line.rpartition("success=")
            return f"{before}{mark}{int(percent[:-1]) + 1}%" if mark and percent not in ("0%", "100%") else line

        return tuple(up(line) for line in right(counters, interval_start))

    wrap(statistics, "lines", lines)
