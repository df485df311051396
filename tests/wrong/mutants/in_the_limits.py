"""Wrong servers: what takes up room under a limit, which step has how long, how long lives what is put back."""

from collections import Counter
from dataclasses import replace

from tests.wrong.mutants.registry import mutant, wrap

from scache_spec import actions
from scache_spec import cache as caches
from scache_spec import events as spec
from scache_spec import server as servers
from scache_spec.conversation import TRANSITIONS, Action, State
from scache_spec.effects import CloseDescriptor
from scache_spec.vocabulary import NS_PER_S

ACTIONS = actions.ACTIONS

# Room.


@mutant("expired-sessions-take-room", "LIMIT-2")
def _():
    """Sessions that expired count against sessions_max for ever."""
    gone = []

    def expire(right, cache, now_ns):
        after, handles = right(cache, now_ns)
        gone.extend(handles)
        return after, handles

    def limit_on_session(right, cache, limits, session):
        return right(cache, replace(limits, sessions_max=limits.sessions_max - len(gone)), session)

    wrap(caches, "expire", expire)
    wrap(caches, "limit_on_session", limit_on_session)


@mutant("expired-sessions-take-room-at-their-endpoint", "LIMIT-3")
def _():
    """Sessions that expired count against their endpoint's sessions_per_endpoint_max for ever."""
    gone: Counter[bytes] = Counter()

    def expire(right, cache, now_ns):
        gone.update(each.endpoint for each in cache.sessions if each.expiry_ns <= now_ns)
        return right(cache, now_ns)

    def limit_on_session(right, cache, limits, session):
        left = limits.sessions_per_endpoint_max - gone[session.endpoint]
        return right(cache, replace(limits, sessions_per_endpoint_max=left), session)

    wrap(caches, "expire", expire)
    wrap(caches, "limit_on_session", limit_on_session)


@mutant("expired-bindings-take-room", "LIMIT-4")
def _():
    """Bindings that expired count against bindings_max for ever."""
    gone = []

    def expire(right, cache, now_ns):
        gone.extend(each for each in cache.bindings if each.expiry_ns <= now_ns)
        return right(cache, now_ns)

    def limit_on_binding(right, cache, limits, binding):
        return right(cache, replace(limits, bindings_max=limits.bindings_max - len(gone)), binding)

    wrap(caches, "expire", expire)
    wrap(caches, "limit_on_binding", limit_on_binding)


def lost_clients_take_room(is_lost):
    """Have clients count against clients_max for ever that go away when this is true of them and the time's passing."""
    lost = []
    ticking = [False]

    def on_timeouts(right, server):
        ticking[0] = True
        outcome = right(server)
        ticking[0] = False
        return outcome

    def take(right, server, client, what, *given):
        if TRANSITIONS[client.state, what].next is State.CLOSED and is_lost(client, ticking[0]):
            lost.append(client.id)
        return right(server, client, what, *given)

    def on_connect(right, server, *given):
        limits = replace(server.limits, clients_max=server.limits.clients_max - len(lost))
        after, effects = right(replace(server, limits=limits), *given)
        return replace(after, limits=server.limits), effects

    wrap(spec, "on_timeouts", on_timeouts)
    wrap(spec, "_take", take)
    wrap(spec, "on_connect", on_connect)


@mutant("clients-that-die-in-a-dance-take-room", "LIMIT-5")
def _():
    """A client that hangs up in the middle of a dance counts against clients_max for ever."""
    lost_clients_take_room(lambda client, ticking: not ticking and client.state is not State.REQUEST)


@mutant("clients-that-are-too-slow-take-room", "LIMIT-5")
def _():
    """A client that was disconnected for taking too long counts against clients_max for ever."""
    lost_clients_take_room(lambda client, ticking: ticking)


def put_back_needs_room(limits_that_apply):
    """Have a session closed where it could not be saved under these limits."""

    def put_back(right, server, client, given):
        if caches.limit_on_session(server.cache, limits_that_apply(server.limits), client.held) is None:
            return right(server, client, given)
        if client.id in server.clients:
            server = servers.with_client(server, replace(server.clients[client.id], held=None))
        return server, (CloseDescriptor(client.held.handle),)

    wrap(ACTIONS, Action.PUT_BACK, put_back)


@mutant("put-back-needs-room", "ENDP-5", "LIMIT-2")
def _():
    """A session is not put back where there are sessions_max without it."""
    put_back_needs_room(lambda limits: replace(limits, sessions_per_endpoint_max=10**9))


@mutant("put-back-needs-room-at-its-endpoint", "ENDP-5", "LIMIT-3")
def _():
    """A session is not put back where its endpoint has sessions_per_endpoint_max without it."""
    put_back_needs_room(lambda limits: replace(limits, sessions_max=10**9))


@mutant("held-sessions-take-room", "LIMIT-2", "LIMIT-3")
def _():
    """A session that is held counts against sessions_max and its endpoint's sessions_per_endpoint_max."""

    def park(right, server, client, given):
        held = [each.held.endpoint for each in server.clients.values() if each.held]
        limits = replace(
            server.limits,
            sessions_max=server.limits.sessions_max - len(held),
            sessions_per_endpoint_max=server.limits.sessions_per_endpoint_max - held.count(client.saving.endpoint),
        )
        after, effects = right(replace(server, limits=limits), client, given)
        return replace(after, limits=server.limits), effects

    wrap(ACTIONS, Action.PARK, park)


@mutant("full-only-to-the-point", "LIMIT-2", "LIMIT-3")
def _():
    """A save is refused where there are as many sessions as there may be, not where there are more."""

    def limit_on_session(right, cache, limits, session):
        most, most_here = limits.sessions_max, limits.sessions_per_endpoint_max
        here = sum(each.endpoint == session.endpoint for each in cache.sessions)
        return right(cache, limits, session) if len(cache.sessions) == most or here == most_here else None

    wrap(caches, "limit_on_session", limit_on_session)


def put_back_lives_anew(of_whom):
    """Have a session live ten seconds from when it is put back where this is true of the server without its finder."""

    def put_back(right, server, client, given):
        if of_whom(server, client):
            client = replace(client, held=replace(client.held, expiry_ns=server.now_ns + 10 * NS_PER_S))
        return right(server, client, given)

    wrap(ACTIONS, Action.PUT_BACK, put_back)


@mutant("put-back-by-a-list-lives-anew", "ENDP-5", "ENDP-6")
def _():
    """A session that a list other than ready puts back lives ten seconds from then."""
    put_back_lives_anew(lambda server, client: client.id in server.clients)


@mutant("put-back-by-a-list-though-expired", "ENDP-6")
def _():
    """A session that expired while it was held is put back all the same by a list other than ready."""
    put_back_lives_anew(lambda server, client: client.id in server.clients and client.held.expiry_ns <= server.now_ns)


@mutant("put-back-by-the-clock-though-expired", "ENDP-6")
def _():
    """A session that expired while it was held is put back all the same when its finder took too long."""
    ipc_timeouts = []

    def on_timeouts(right, server):
        ipc_timeouts.append(server.now_ns)
        outcome = right(server)
        ipc_timeouts.pop()
        return outcome

    wrap(spec, "on_timeouts", on_timeouts)
    put_back_lives_anew(lambda server, client: bool(ipc_timeouts) and client.held.expiry_ns <= server.now_ns)


@mutant("put-back-keeps-those-behind", "TTL-2")
def _():
    """What is behind a session that was put back, at whatever endpoint, expires when that is gone."""
    back = []

    def put_back(right, cache, session, now_ns):
        back.append(session)
        return right(cache, session, now_ns)

    def expire(right, cache, now_ns):
        first = next((at for at, each in enumerate(cache.sessions) if each in back and each.expiry_ns > now_ns), None)
        if first is None:
            return right(cache, now_ns)
        after, handles = right(replace(cache, sessions=cache.sessions[:first]), now_ns)
        return replace(after, sessions=(*after.sessions, *cache.sessions[first:])), handles

    wrap(caches, "put_back", put_back)
    wrap(caches, "expire", expire)


def lists_unlimited_in(state):
    """Forget attribute_list_bytes_max while a client is in this state."""
    now = []

    def reading(right, server, client_id):  # the last that is asked before a list is decoded
        now[:] = [server.clients[client_id].state]
        return right(server, client_id)

    wrap(spec, "reading", reading)
    wrap(
        spec, "decode", lambda right, data, bytes_max, *more: right(data, 10**9 if now == [state] else bytes_max, *more)
    )


@mutant("ready-is-of-any-length", "LIMIT-1")
def _():
    """The list that says ready may be longer than attribute_list_bytes_max."""
    lists_unlimited_in(State.READY)


@mutant("received-is-of-any-length", "LIMIT-1")
def _():
    """The list that says received may be longer than attribute_list_bytes_max."""
    lists_unlimited_in(State.RECEIVED)


# Steps.


def takes_its_time(may_take_it):
    """Have clients of which this is true never be too slow."""

    def settle(right, server, client_id):
        server = right(server, client_id)
        client = server.clients[client_id]
        return servers.with_client(server, replace(client, step_since_ns=None)) if may_take_it(client) else server

    wrap(spec, "_settle", settle)


@mutant("received-may-take-for-ever", "LIMIT-7")
def _():
    """A client may leave it open whether it has received."""
    takes_its_time(lambda client: client.state is State.RECEIVED)


@mutant("replies-may-wait-for-ever", "LIMIT-7")
def _():
    """A client may leave its replies untaken."""
    takes_its_time(lambda client: client.unsent_bytes > 0)


@mutant("every-byte-is-in-time", "LIMIT-7")
def _():
    """What comes of a list begins its time anew."""

    def on_bytes(right, server, client_id, data):
        client = replace(server.clients[client_id], step_since_ns=None)
        return right(servers.with_client(server, client), client_id, data)

    wrap(spec, "on_bytes", on_bytes)


def step_goes_on(goes_on):
    """Have a step that ends for another not begin its time anew where this is true of the client before and after."""

    def take(right, server, client, what, *given):
        server, effects = right(server, client, what, *given)
        after = server.clients.get(client.id)
        if after is not None and goes_on(client, after):
            server = servers.with_client(server, replace(after, step_since_ns=client.step_since_ns))
        return server, effects

    wrap(spec, "_take", take)


@mutant("one-time-for-the-dance", "LIMIT-7")
def _():
    """From the find to the received, a client has ipc_timeout_s as a whole."""
    dance = {State.READY, State.SENDING, State.RECEIVED}
    step_goes_on(lambda before, after: before.state in dance)


@mutant("one-time-for-lists-in-a-row", "LIMIT-7")
def _():
    """A list that begins in the write that ended another is as old as that."""
    step_goes_on(lambda before, after: before.state is after.state is State.REQUEST)
