"""Wrong rules: when sessions and bindings expire, and what goes with them."""

from dataclasses import replace

from tests.wrong.registry import wrong
from tests.wrong.rules.changes import expiring, off_by, uncapped
from tests.wrong.rules.escapes import NEXT_TURN, NO_DESCRIPTORS, NO_NANOSECONDS, NOT_GENERATED, REMEMBERS

from scache_spec import cache as caches
from scache_spec import events
from scache_spec.conversation import Action


@wrong("TTL-1", of=Action.PARK)
def session_ttl_uncapped(*given):
    """Sessions live as long as their ttl says."""
    return expiring(uncapped, *given)


@wrong("TTL-1", of=Action.BIND)
def binding_ttl_uncapped(*given):
    """Bindings live as long as their ttl says."""
    return expiring(uncapped, *given)


@wrong("TTL-1", "TTL-2", of=Action.PARK)
def expires_a_second_early(*given):
    """Sessions live a second less than they may."""
    return expiring(off_by(-1), *given)


@wrong("TTL-1", "TTL-2", of=Action.BIND)
def binding_expires_a_second_early(*given):
    """Bindings live a second less than they may."""
    return expiring(off_by(-1), *given)


@wrong("TTL-1", "TTL-2", "TTL-3", "TTL-6", of=Action.PARK)
def expires_a_second_late(*given):
    """Sessions live a second longer than they may."""
    return expiring(off_by(1), *given)


@wrong("TTL-1", "TTL-2", "TTL-4", of=Action.BIND)
def binding_expires_a_second_late(*given):
    """Bindings live a second longer than they may."""
    return expiring(off_by(1), *given)


@wrong("TTL-1", "TTL-2", "TTL-3", "TTL-5", "TTL-6", of=Action.PARK)
def sessions_never_expire(*given):
    """Sessions stay until they are found."""
    return expiring(off_by(10**9), *given)


@wrong("TTL-1", "TTL-2", "TTL-4", of=Action.BIND)
def bindings_never_expire(*given):
    """Bindings stay."""
    return expiring(off_by(10**9), *given)


@wrong("TTL-2", of=caches.expire)
def session_outlives_its_instant(right, cache, now_ns):
    """A session is still there at the very instant of its expiry."""
    late, handles = right(cache, now_ns - 1)
    return replace(right(cache, now_ns)[0], sessions=late.sessions), handles


@wrong("TTL-2", of=caches.expire)
def binding_outlives_its_instant(right, cache, now_ns):
    """A binding is still there at the very instant of its expiry."""
    after, handles = right(cache, now_ns)
    return replace(after, bindings=right(cache, now_ns - 1)[0].bindings), handles


@wrong("TTL-2", of=caches.expire, escapes=NO_NANOSECONDS)
def expires_a_nanosecond_early(right, cache, now_ns):
    """What is saved lives a nanosecond less than it may."""
    return right(cache, now_ns + 1)


@wrong("TTL-3", of=caches.expire, escapes=NEXT_TURN)
def one_expiry_at_a_time(right, cache, now_ns):
    """Of several sessions that are due at once, one expires."""
    after, handles = right(cache, now_ns)
    late = (each for each in cache.sessions if each.handle in handles[1:])
    return replace(after, sessions=(*late, *after.sessions)), handles[:1]


@wrong("TTL-3", of=caches.expire)
def expired_descriptor_stays_open(right, cache, now_ns):
    """A session that expires can no more be found, but its descriptor is never closed."""
    return right(cache, now_ns)[0], ()


@wrong("TTL-3", of=caches.expire)
def expired_descriptor_is_closed_twice(right, cache, now_ns):
    """The descriptor of a session that expires is closed twice."""
    after, handles = right(cache, now_ns)
    return after, handles * 2


@wrong("TTL-4", "DEST-1", of=caches.expire)
def session_goes_with_its_binding(right, cache, now_ns):
    """A binding that expires takes the sessions of its endpoint along."""
    after, handles = right(cache, now_ns)
    unbound = {each.endpoint for each in cache.bindings if each.expiry_ns <= now_ns}
    gone = tuple(each.handle for each in after.sessions if each.endpoint in unbound)
    kept = tuple(each for each in after.sessions if each.endpoint not in unbound)
    return replace(after, sessions=kept), (*handles, *gone)


@wrong("DEST-1", of=caches.expire)
def binding_expires_with_its_last_session(right, cache, now_ns):
    """An endpoint whose last session expires takes the bindings to it along."""
    after, handles = right(cache, now_ns)
    gone = {each.endpoint for each in cache.sessions} - {each.endpoint for each in after.sessions}
    return replace(after, bindings=tuple(each for each in after.bindings if each.endpoint not in gone)), handles


@wrong("FD-3", of=Action.PARK, escapes=NO_DESCRIPTORS)
def lives_from_the_request(right, server, client, given):
    """A session's ttl counts from the request, not from the descriptor."""
    after, effects = right(replace(server, now_ns=client.step_since_ns), client, given)
    return replace(after, now_ns=server.now_ns), effects


# When what is due is dropped.


@wrong("TTL-5", of=events.on_tick, escapes=NOT_GENERATED)
def requests_before_expiry(right, server, now_ns):
    """What is due expires only when the requests of that turn have been served."""
    server, effects = right(server, server.now_ns)
    return replace(server, now_ns=now_ns), effects


def tick_first(right, server, client_id, data):
    """Serve what has come once what is due has expired."""
    server, effects = RIGHT_ON_TICK(server, server.now_ns)
    server, more = right(server, client_id, data)
    return server, (*effects, *more)


RIGHT_ON_TICK = events.on_tick


@wrong("TTL-6", "TTL-3")
def expires_only_when_asked(instead):
    """What is due expires when the next request comes; a new connection is none."""
    instead(events.on_tick)(lambda right, server, now_ns: (replace(server, now_ns=now_ns), ()))
    instead(events.on_bytes)(tick_first)


@wrong("TTL-6", escapes=REMEMBERS)
def closes_one_by_itself(instead):
    """When one session has ended by itself, the others end when the next request comes; an empty cache begins anew."""
    closed: list[int] = []
    is_asked = [False]

    @instead(caches.expire)
    def expire(right, cache, now_ns):
        if closed and not is_asked[0]:
            return cache, ()
        cache, handles = right(cache, now_ns)
        closed.extend(handles)
        if not cache.sessions:
            closed.clear()
        return cache, handles

    @instead(events.on_bytes)
    def on_bytes(*given):
        is_asked[0] = True
        outcome = tick_first(*given)
        is_asked[0] = False
        return outcome


@wrong("TTL-2", escapes=REMEMBERS)
def put_back_keeps_those_behind(instead):
    """What is behind a session that was put back, at whatever endpoint, expires when that is gone."""
    back = []

    @instead(caches.put_back)
    def put_back(right, cache, session, now_ns):
        back.append(session)
        return right(cache, session, now_ns)

    @instead(caches.expire)
    def expire(right, cache, now_ns):
        first = next((at for at, each in enumerate(cache.sessions) if each in back and each.expiry_ns > now_ns), None)
        if first is None:
            return right(cache, now_ns)
        after, handles = right(replace(cache, sessions=cache.sessions[:first]), now_ns)
        return replace(after, sessions=(*after.sessions, *cache.sessions[first:])), handles
