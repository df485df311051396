"""Wrong rules: how much there is room for, and what takes it up."""

from dataclasses import replace

from tests.wrong.registry import wrong
from tests.wrong.rules.changes import limited, more, too_slow, what_expired, without
from tests.wrong.rules.escapes import NO_PROCESS, NO_SUCH_SCOPE, NOT_GENERATED, REMEMBERS

from scache_spec import cache as caches
from scache_spec import events
from scache_spec.conversation import TRANSITIONS, Action, State
from scache_spec.effects import CloseDescriptor


@wrong("LIMIT-2", of=caches.limit_on_session)
def sessions_unlimited(right, cache, limits, session):
    """There is no end to sessions."""
    return right(cache, more(limits, sessions_max=10**9), session)


@wrong("LIMIT-3", of=caches.limit_on_session)
def sessions_per_endpoint_unlimited(right, cache, limits, session):
    """There is no end to the sessions of one endpoint."""
    return right(cache, more(limits, sessions_per_endpoint_max=10**9), session)


@wrong("LIMIT-4", of=caches.limit_on_binding)
def bindings_unlimited(right, cache, limits, binding):
    """There is no end to bindings."""


@wrong("LIMIT-10", of=caches.limit_on_binding, escapes=NO_SUCH_SCOPE)
def bindings_per_destination_unlimited(right, cache, limits, binding):
    """There is no end to the bindings of one destination."""
    return right(cache, more(limits, bindings_per_destination_max=10**9), binding)


@wrong("LIMIT-11", of=caches.limit_on_session, escapes=NO_SUCH_SCOPE)
def bytes_of_sessions_unlimited(right, cache, limits, session):
    """There is no end to the bytes of labels and properties that sessions bring."""
    return right(cache, more(limits, cached_bytes_max=10**12), session)


@wrong("LIMIT-11", of=caches.limit_on_binding, escapes=NO_SUCH_SCOPE)
def bytes_of_bindings_unlimited(right, cache, limits, binding):
    """There is no end to the bytes of labels and properties that bindings bring."""
    return right(cache, more(limits, cached_bytes_max=10**12), binding)


@wrong("LIMIT-12", of=events.on_connect, escapes=NO_PROCESS | NOT_GENERATED)
def clients_of_a_user_unlimited(right, server, client_id, user=None):
    """There is no end to the clients of one user."""
    return right(server, client_id)


@wrong("LIMIT-2", of=caches.limit_on_session)
def one_session_too_few(right, cache, limits, session):
    """The last session that there is room for is refused."""
    return right(cache, more(limits, sessions_max=-1), session)


@wrong("LIMIT-2", of=caches.limit_on_session)
def one_session_too_many(right, cache, limits, session):
    """There may be one session more than the limit says."""
    return right(cache, more(limits, sessions_max=1), session)


@wrong("LIMIT-3", of=caches.limit_on_session)
def one_session_too_few_at_an_endpoint(right, cache, limits, session):
    """The last session that an endpoint has room for is refused."""
    return right(cache, more(limits, sessions_per_endpoint_max=-1), session)


@wrong("LIMIT-3", of=caches.limit_on_session)
def one_session_too_many_at_an_endpoint(right, cache, limits, session):
    """An endpoint may have one session more than the limit says."""
    return right(cache, more(limits, sessions_per_endpoint_max=1), session)


@wrong("LIMIT-4", of=caches.limit_on_binding)
def one_binding_too_few(right, cache, limits, binding):
    """The last binding that there is room for is refused."""
    return right(cache, more(limits, bindings_max=-1), binding)


@wrong("LIMIT-4", of=caches.limit_on_binding)
def one_binding_too_many(right, cache, limits, binding):
    """There may be one binding more than the limit says."""
    return right(cache, more(limits, bindings_max=1), binding)


@wrong("LIMIT-4", of=caches.limit_on_binding)
def renewal_needs_room(right, cache, limits, binding):
    """With as many bindings as there may be, none can be renewed."""
    unlike = tuple(replace(each, properties=b"\0") for each in cache.bindings)
    return right(replace(cache, bindings=unlike), limits, binding)


@wrong("LIMIT-2", "LIMIT-3", of=caches.limit_on_session, escapes=NO_SUCH_SCOPE)
def full_only_to_the_point(right, cache, limits, session):
    """A save is refused where there are as many sessions as there may be, not where there are more."""
    here = sum(each.endpoint == session.endpoint for each in cache.sessions)
    is_full = len(cache.sessions) == limits.sessions_max or here == limits.sessions_per_endpoint_max
    return right(cache, limits, session) if is_full else None


@wrong("LIMIT-2", "LIMIT-3", of=Action.PARK)
def held_sessions_take_room(right, server, client, given):
    """A session that is held counts against sessions_max and its endpoint's sessions_per_endpoint_max."""
    held = [each.held.endpoint for each in server.clients.values() if each.held]
    here = held.count(client.saving.endpoint)
    return limited(right, server, client, given, sessions_max=-len(held), sessions_per_endpoint_max=-here)


@wrong("LIMIT-2", of=Action.PARK)
def full_cache_leaks_a_descriptor(right, server, client, given):
    """The descriptor of a session that there is no room for stays open."""
    server, effects = right(server, client, given)
    return server, without(CloseDescriptor, effects)


@wrong("LIMIT-2", escapes=REMEMBERS)
def expired_sessions_take_room(instead):
    """Sessions that expired count against sessions_max for ever."""
    sessions, _ = what_expired(instead)

    @instead(caches.limit_on_session)
    def limit_on_session(right, cache, limits, session):
        return right(cache, more(limits, sessions_max=-len(sessions)), session)


@wrong("LIMIT-3", escapes=REMEMBERS)
def expired_sessions_take_room_at_their_endpoint(instead):
    """Sessions that expired count against their endpoint's sessions_per_endpoint_max for ever."""
    sessions, _ = what_expired(instead)

    @instead(caches.limit_on_session)
    def limit_on_session(right, cache, limits, session):
        here = sum(each.endpoint == session.endpoint for each in sessions)
        return right(cache, more(limits, sessions_per_endpoint_max=-here), session)


@wrong("LIMIT-4", escapes=REMEMBERS)
def expired_bindings_take_room(instead):
    """Bindings that expired count against bindings_max for ever."""
    _, bindings = what_expired(instead)

    @instead(caches.limit_on_binding)
    def limit_on_binding(right, cache, limits, binding):
        return right(cache, more(limits, bindings_max=-len(bindings)), binding)


# Clients.


@wrong("LIMIT-5", of=events.on_connect, escapes=NO_PROCESS)
def clients_unlimited(*given):
    """There is no end to clients."""
    return limited(*given, clients_max=10**9)


@wrong("LIMIT-5", of=events.on_connect, escapes=NO_PROCESS)
def one_client_too_few(*given):
    """There may be one client less than the limit says."""
    return limited(*given, clients_max=-1)


def lost_clients_take_room(instead, is_lost):
    """Count clients against clients_max for ever that go away when this is true of them."""
    lost = []

    @instead(events._take)
    def take(right, server, client, what, *given):
        if TRANSITIONS[client.state, what].next is State.CLOSED and is_lost(server, client):
            lost.append(client.id)
        return right(server, client, what, *given)

    @instead(events.on_connect)
    def on_connect(*given):
        return limited(*given, clients_max=-len(lost))


@wrong("LIMIT-5", escapes=NO_PROCESS)
def clients_that_die_in_a_dance_take_room(instead):
    """A client that hangs up in the middle of a dance counts against clients_max for ever."""
    lost_clients_take_room(
        instead, lambda server, client: client.state is not State.REQUEST and not too_slow(server, client)
    )


@wrong("LIMIT-5", escapes=NO_PROCESS)
def clients_that_are_too_slow_take_room(instead):
    """A client that was disconnected for taking too long counts against clients_max for ever."""
    lost_clients_take_room(instead, too_slow)
