"""Wrong rules: which session a find hands out, and what becomes of one that is put back."""

import os
from dataclasses import replace
from operator import attrgetter

from tests.wrong.registry import wrong
from tests.wrong.rules.changes import changed, closing, more, too_slow, with_sessions
from tests.wrong.rules.escapes import NEXT_TURN, NO_PROCESS

from scache_spec import cache as caches
from scache_spec.conversation import Action
from scache_spec.vocabulary import NS_PER_S, Handle, Properties


def backwards(cache):
    return replace(cache, sessions=cache.sessions[::-1])


def twin(session):
    return replace(session, handle=Handle(os.dup(session.handle)))


@wrong("ENDP-3", "DEST-4", of=caches.find_endp)
def newest_first(right, cache, endpoint):
    """A find hands out the youngest session of its endpoint."""
    cache, found = right(backwards(cache), endpoint)
    return backwards(cache), found


@wrong("DEST-4", of=caches.find_dest)
def newest_by_destination(right, cache, destination):
    """A find_dest hands out the youngest session of its endpoint, a find_endp the oldest."""
    cache, pair = right(backwards(cache), destination)
    return backwards(cache), pair


@wrong("ENDP-3", of=caches.find_endp)
def another_endpoints_session(right, cache, endpoint):
    """A find hands out the session of another endpoint rather than none."""
    endpoints = [each.endpoint for each in cache.sessions]
    return right(cache, endpoint if endpoint in endpoints or not endpoints else endpoints[0])


@wrong("ENDP-4", "DEST-5", of=caches.find_endp)
def hands_out_twice(right, cache, endpoint):
    """A find leaves the session where it was."""
    _, found = right(cache, endpoint)
    return cache, found and twin(found)


@wrong("ENDP-4", "DEST-5", of=caches.find_dest)
def hands_out_twice_by_destination(right, cache, destination):
    """A find_dest leaves the session where it was; a find_endp takes it."""
    _, pair = right(cache, destination)
    return cache, pair and (pair[0], twin(pair[1]))


@wrong("ENDP-3", "FD-13", of=caches.find_endp)
def hands_out_a_neighbours_descriptor(right, cache, endpoint):
    """With the properties of one session comes the descriptor of the one parked before it, under whatever label."""
    cache, found = right(cache, endpoint)
    if found is None or not cache.sessions:
        return cache, found
    *others, last = cache.sessions
    sessions = (*others, replace(last, handle=found.handle))
    return replace(cache, sessions=sessions), replace(found, handle=last.handle)


@wrong("ENDP-2", of=caches.save_endp)
def saved_session_goes_first(right, cache, session):
    """A session that is saved goes before the others of its endpoint."""
    return replace(cache, sessions=(session, *cache.sessions))


@wrong("ENDP-2", of=caches.find_endp)
def find_forgets_equal_sessions(right, cache, endpoint):
    """A find that hits forgets the other sessions with the same label and properties."""
    cache, found = right(cache, endpoint)
    kept = (each for each in cache.sessions if not found or same(each) != same(found))
    return replace(cache, sessions=tuple(kept)), found


same = attrgetter("endpoint", "properties")


def parks_alone(key, right, server, client, given):
    """Park a session and close those that have the same key."""
    gone = [each for each in server.cache.sessions if key(each) == key(client.saving)]
    kept = (each for each in server.cache.sessions if each not in gone)
    server, effects = right(with_sessions(server, kept), client, given)
    return server, (*closing(gone), *effects)


@wrong("ENDP-2", of=Action.PARK)
def equal_session_replaces(*given):
    """A session with the label and the properties of another takes its place."""
    return parks_alone(same, *given)


@wrong("ENDP-2", of=Action.PARK)
def one_session_per_endpoint(*given):
    """Parking a session closes those that the endpoint had."""
    return parks_alone(attrgetter("endpoint"), *given)


@wrong("ENDP-1", of=caches.find_dest)
def destination_is_an_endpoint(right, cache, destination):
    """A find_dest also tries the endpoint of that name."""
    after, pair = right(cache, destination)
    if pair is None:
        after, session = caches.find_endp(cache, destination)
        pair = session and (caches.Binding(destination, Properties(b""), destination, 0), session)
    return after, pair


@wrong("ENDP-1", of=caches.find_endp)
def endpoint_is_a_destination(right, cache, endpoint):
    """A find_endp that misses tries the first endpoint of the destination of that name."""
    after, found = right(cache, endpoint)
    bound = [each.endpoint for each in cache.bindings if each.destination == endpoint]
    return right(cache, bound[0]) if bound and found is None else (after, found)


# Putting back.


@wrong("ENDP-5", of=caches.put_back)
def put_back_goes_last(right, cache, session, now_ns):
    """A session that was not fetched goes to the end of its queue."""
    return right(cache, session, now_ns) and replace(cache, sessions=(*cache.sessions, session))


@wrong("ENDP-5", "FD-7", "FD-10", of=caches.put_back)
def put_back_is_lost(right, cache, session, now_ns):
    """A session that was not fetched is closed."""


def put_back_until(expiry_ns, right, cache, session, now_ns):
    return right(cache, replace(session, expiry_ns=expiry_ns), now_ns)


@wrong("ENDP-6", of=caches.put_back)
def held_session_never_expires(right, cache, session, now_ns):
    """A session that expired while it was held is put back all the same."""
    return put_back_until(max(session.expiry_ns, now_ns + NS_PER_S), right, cache, session, now_ns)


@wrong("ENDP-5", "ENDP-6", of=caches.put_back)
def put_back_lives_anew(right, cache, session, now_ns):
    """A session that is put back gets ten more seconds."""
    return put_back_until(now_ns + 10 * NS_PER_S, right, cache, session, now_ns)


@wrong("ENDP-6", of=caches.put_back, escapes=NEXT_TURN)
def put_back_at_its_expiry(right, cache, session, now_ns):
    """A session is put back at the very instant of its expiry."""
    return right(cache, session, now_ns - (session.expiry_ns == now_ns))


def put_back_needs(limits, right, server, client, given):
    """Close a session that could not be saved under these limits."""
    if caches.limit_on_session(server.cache, limits, client.held) is None:
        return right(server, client, given)
    return changed(server, client, held=None), closing([client.held])


@wrong("ENDP-5", "LIMIT-2", of=Action.PUT_BACK)
def put_back_needs_room(right, server, client, given):
    """A session is not put back where there are sessions_max without it."""
    return put_back_needs(more(server.limits, sessions_per_endpoint_max=10**9), right, server, client, given)


@wrong("ENDP-5", "LIMIT-3", of=Action.PUT_BACK)
def put_back_needs_room_at_its_endpoint(right, server, client, given):
    """A session is not put back where its endpoint has sessions_per_endpoint_max without it."""
    return put_back_needs(more(server.limits, sessions_max=10**9), right, server, client, given)


def lives_anew(is_so, right, server, client, given):
    """Let a session live ten seconds from when it is put back, if it is so."""
    anew = replace(client.held, expiry_ns=server.now_ns + 10 * NS_PER_S)
    return right(server, replace(client, held=anew) if is_so else client, given)


@wrong("ENDP-5", "ENDP-6", of=Action.PUT_BACK)
def put_back_by_a_list_lives_anew(right, server, client, given):
    """A session that a list other than ready puts back lives ten seconds from then."""
    return lives_anew(client.id in server.clients, right, server, client, given)


@wrong("ENDP-6", of=Action.PUT_BACK)
def put_back_by_a_list_though_expired(right, server, client, given):
    """A session that expired while it was held is put back all the same by a list other than ready."""
    is_late = client.held.expiry_ns <= server.now_ns
    return lives_anew(is_late and client.id in server.clients, right, server, client, given)


@wrong("ENDP-6", of=Action.PUT_BACK, escapes=NO_PROCESS)
def put_back_by_the_clock_though_expired(right, server, client, given):
    """A session that expired while it was held is put back all the same when its finder took too long."""
    is_late = client.held.expiry_ns <= server.now_ns
    return lives_anew(is_late and too_slow(server, client), right, server, client, given)
