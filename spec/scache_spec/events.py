"""What can happen to a server, and what must be done then: `on_…(server, …) -> (server, effects)`.

Nothing is done here: sending, closing and exiting are effects. The surroundings carry effects out in order and report
what became of them. A real server is a loop that turns system calls into these events and these effects into system
calls; scache_reference is one.

What the surroundings owe:

* a Handle for each descriptor received, from then until its CloseDescriptor;
* on_tick before the events of each turn of the loop, with an instant that never runs backwards, taken before
  what it judges is read;
* on_timeouts after the events of a turn, once what had come by that instant from each client in `overdue` was read;
* reading as `reading` says: nothing, bytes, or one byte alone, the two with the descriptors that they carry. In SENDING
  a client that is gone shows when a send fails, or by its hangup; while a descriptor is in flight, no hangup is an end;
* on_sent and on_descriptor_sent for what a client's socket took, in the order of the effects; on_gone if it never will;
* on_descriptor_taken when a client has read everything that was sent to it, the descriptor last;
* CloseDescriptor carried out without waiting (FD-15). The reference server does wait: it closes within its loop, and is
  held up by a file that is slow to close.

Sources: multi_server(3), the loop that scache(8) runs in. Limits are this specification's own.
"""

from dataclasses import replace
from enum import Enum
from typing import Final

from scache_spec import cache as caches
from scache_spec.actions import ACTIONS, Found, Given
from scache_spec.attributes import TooLong, Unfinished, decode, encode
from scache_spec.cache import Cache
from scache_spec.conversation import (
    INPUTS,
    TRANSITIONS,
    FindDest,
    FindEndp,
    Input,
    State,
    classify_list,
    request_name,
)
from scache_spec.effects import CloseDescriptor, Disconnect, Effects, Exit, LimitHit, PrintStatistics
from scache_spec.server import Client, Outcome, Server, send, with_client, without_client
from scache_spec.statistics import Counters
from scache_spec.vocabulary import NS_PER_S, PROTOCOL, PROTOCOL_NAME, Attribute, ClientId, Handle, Limit, Limits, UserId

GREETING: Final = encode(((PROTOCOL, PROTOCOL_NAME),))
NOTHING_GIVEN: Final = Given()


class Reading(Enum):
    """How the surroundings are to read from a client."""

    NOTHING = "not at all"
    BYTES = "any number of bytes, with whatever descriptors they carry"
    DESCRIPTOR = "exactly one byte, with whatever descriptors it carries"


def start(limits: Limits, now_ns: int) -> Server:
    """Return a server that begins now.

    LIFE-1  A server begins with an empty cache: nothing outlives a process.
    """
    return Server(limits, now_ns, statistics_since_ns=now_ns, idle_since_ns=now_ns)


# Events.


def on_connect(server: Server, client_id: ClientId, user: UserId | None = None) -> Outcome:
    """Greet a new client. `user` is who runs it, None for one who may have any number of clients.

    CONN-1  The server speaks first, once, at connect: `protocol=connection_cache_protocol`.

    LIMIT-5  There are at most `clients_max` clients: one more is disconnected at once, without a greeting.
    A client counts from the moment it is let in until the server has disconnected it or has read its end. [BEYOND]

    LIMIT-12  A user has at most `clients_per_user_max` clients: one more is disconnected at once, without a greeting.
    Which users may have any number of clients is left to the server. [BEYOND] [FREE]
    """
    if len(server.clients) >= server.limits.clients_max:
        return server, (LimitHit(Limit.CLIENTS, client_id), Disconnect(client_id))
    per_user = server.limits.clients_per_user_max
    if user is not None and per_user is not None and _clients_of(server, user) >= per_user:
        return server, (LimitHit(Limit.CLIENTS_PER_USER, client_id), Disconnect(client_id))
    client = Client(client_id, user=user)
    server, effects = send(with_client(server, client), client, GREETING)
    return _settle(server, client_id), effects


def on_bytes(server: Server, client_id: ClientId, data: bytes) -> Outcome:
    """Serve what has come from a client."""
    client = server.clients[client_id]
    return _serve(with_client(server, replace(client, unread=client.unread + data)), (), client_id)


def on_unsolicited(server: Server, handles: tuple[Handle, ...]) -> Outcome:
    """Close descriptors that came where none was awaited.

    FD-1  A descriptor passes only on the two bytes made for it: the client's after `dummy`, the server's after "ready".
    One that rides on any other byte is closed. Control data of another kind is ignored and leaves nothing open.
    """
    return server, tuple(CloseDescriptor(handle) for handle in handles)


def on_descriptors(
    server: Server, client_id: ClientId, handles: tuple[Handle, ...], *, truncated: bool = False
) -> Outcome:
    """Serve the one byte that a client was invited to send, with the descriptors it carried.

    FD-5  Control data that the kernel cut short, because it was too long or the server had no descriptor left, counts
    as not exactly one descriptor. [BEYOND]

    LIMIT-8  A server that has no descriptor left, or keeps its last ones in reserve, refuses saves with status 2, once
    the descriptor was invited and sent, and goes on: finds are served, and clients are let in again when there is room.
    How many it keeps is left to it, but for a server that is to wait for no passed file (FD-15): it keeps at least 261,
    the 253 that one message can carry, which the kernel would else close within the server's call, and 8 for its own
    use. [BEYOND] [FREE]
    """
    what = Input.ONE_DESCRIPTOR if len(handles) == 1 and not truncated else Input.NOT_ONE_DESCRIPTOR
    return _serve(*_take(server, server.clients[client_id], what, Given(handles=handles)), client_id)


def on_sent(server: Server, client_id: ClientId, byte_count: int) -> Outcome:
    """Note that a client's socket has taken so many bytes; that may let the client be served again.

    LIMIT-6  A server keeps at most `output_bytes_max` bytes plus one reply for a client, beyond what the client's
    socket holds: while more waits, nothing which that client sends is served. A server may stop serving that client
    sooner. [BEYOND]

    There is no LimitHit for it: only the surroundings see that a socket takes no more.
    """
    client = server.clients[client_id]
    return _serve(with_client(server, replace(client, unsent_bytes=client.unsent_bytes - byte_count)), (), client_id)


def on_descriptor_sent(server: Server, client_id: ClientId) -> Outcome:
    """Note that a client's socket has taken the byte with the descriptor."""
    return _serve(*_take(server, server.clients[client_id], Input.SENT), client_id)


def on_descriptor_taken(server: Server, client_id: ClientId) -> Outcome:
    """Note that a client has read the descriptor that was sent to it; serve what has come meanwhile.

    FD-14  While a client has not read a descriptor that was sent to it, nothing which that client sends is served: at
    most one descriptor is in flight to a client. It counts as read when the kernel holds nothing of what was sent to
    the client. [BEYOND]
    """
    return _serve(with_client(server, replace(server.clients[client_id], in_flight=False)), (), client_id)


def on_gone(server: Server, client_id: ClientId) -> Outcome:
    """Forget a client that closed its end, to which sending failed, or with which something went wrong.

    LIFE-5  An error that nobody foresaw ends at most the client or the session at which it happened: the server logs it
    and goes on. [BEYOND]
    """
    return _take(server, server.clients[client_id], Input.GONE)


def on_tick(server: Server, now_ns: int) -> Outcome:
    """Let time pass.

    TTL-5  What is due at the instant by which a request is judged cannot be found by it, and takes no room from it: a
    save that only due sessions and bindings would refuse is done.

    TTL-6  What is due is removed, and its descriptor closed, even if nothing else happens. How much later than its
    expiry is left to the server: a timer that does not count the time for which the machine sleeps may be late. [FREE]

    TTL-7  A server may remove what is due in shares, over several turns of its loop. Until it is removed, it may count
    in the peaks, and keep an idle server from exiting. [FREE]

    STAT-7  Statistics are printed every `status_update_time_s`, and when the server exits.

    LIFE-2  A server exits, status 0, when for `max_idle_s` no client has been connected, counted from its start or the
    last client's leaving.

    LIFE-3  It does not exit so while a session is parked: it would be lost. Bindings alone do not keep it. [BEYOND]
    """
    limits = server.limits
    cache, expired = caches.expire(server.cache, now_ns)
    server = replace(server, now_ns=now_ns, cache=cache)
    effects: Effects = tuple(CloseDescriptor(handle) for handle in expired)
    if server.statistics_since_ns + limits.status_update_time_s * NS_PER_S <= now_ns:
        server, more = on_statistics(server)
        effects += more
    if (idle_exit_ns := _idle_exit_ns(server)) is not None and idle_exit_ns <= now_ns:
        server, more = on_stop(server)
        effects += more
    return server, effects


def on_timeouts(server: Server) -> Outcome:
    """Disconnect who has left a step unfinished for too long, now that what had come in time was read.

    LIMIT-7  A client that leaves a step unfinished for `ipc_timeout_s` is disconnected. A step is a list from its first
    byte to its last, a descriptor awaited, a "ready" or "received" awaited, output not taken; each that ends begins
    the next. A client at rest between two requests may stay for ever. What has come from a client is read before that
    client is disconnected, also when the server itself was stopped for longer than `ipc_timeout_s`. [BEYOND]
    """
    effects: Effects = ()
    for client in overdue(server):
        server, more = _take(server, client, Input.GONE)
        effects += (LimitHit(Limit.IPC_TIMEOUT, client.id), *more)
    return server, effects


def on_statistics(server: Server) -> Outcome:
    """Print statistics now and begin a new interval."""
    printed = PrintStatistics(server.counters)
    return replace(server, counters=Counters(), statistics_since_ns=server.now_ns), (printed,)


def on_stop(server: Server) -> Outcome:
    """Exit, as the server's operator or its idleness asks.

    LIFE-4  At exit every client is disconnected, every descriptor closed, and the statistics are printed.
    A server that is asked to exit, under Postfix by its master and elsewhere by SIGTERM, exits so with status 0.
    """
    held = tuple(client.held for client in server.clients.values() if client.held is not None)
    stopped, printed = on_statistics(server)
    return replace(stopped, clients={}, cache=Cache()), (
        *printed,
        *(Disconnect(client_id) for client_id in server.clients),
        *(CloseDescriptor(session.handle) for session in (*held, *server.cache.sessions)),
        Exit(),
    )


# Questions.


def reading(server: Server, client_id: ClientId) -> Reading:
    """Return how to read from a client now.

    FD-12  The byte that carries a descriptor is read alone; if it had been read already, with plain bytes, it carried
    none. A Postfix server discards a byte that was sent before the invitation. [BEYOND]
    """
    client = server.clients[client_id]
    if client.state is State.SENDING or client.in_flight or client.unsent_bytes > server.limits.output_bytes_max:
        return Reading.NOTHING
    return Reading.DESCRIPTOR if client.state is State.DESCRIPTOR else Reading.BYTES


def overdue(server: Server) -> tuple[Client, ...]:
    """Return the clients that have left a step unfinished for too long."""
    since_ns = server.now_ns - server.limits.ipc_timeout_s * NS_PER_S
    return tuple(
        client
        for client in server.clients.values()
        if client.step_since_ns is not None and client.step_since_ns <= since_ns
    )


def next_tick_ns(server: Server) -> int:
    """Return the first instant at which on_tick or on_timeouts would do something, if nothing comes before."""
    limits = server.limits
    due = [server.statistics_since_ns + limits.status_update_time_s * NS_PER_S]
    due += [session.expiry_ns for session in server.cache.sessions]
    due += [binding.expiry_ns for binding in server.cache.bindings]
    due += [
        client.step_since_ns + limits.ipc_timeout_s * NS_PER_S
        for client in server.clients.values()
        if client.step_since_ns is not None
    ]
    if (idle_exit_ns := _idle_exit_ns(server)) is not None:
        due.append(idle_exit_ns)
    return min(due)


def _idle_exit_ns(server: Server) -> int | None:
    if server.limits.max_idle_s is None or server.clients or server.cache.sessions:
        return None
    return server.idle_since_ns + server.limits.max_idle_s * NS_PER_S


def _clients_of(server: Server, user: UserId) -> int:
    return sum(client.user == user for client in server.clients.values())


# One client's steps.


def _take(server: Server, client: Client, what: Input, given: Given = NOTHING_GIVEN) -> Outcome:
    """Follow one row of the table: change the state, then act. The client's next step begins."""
    row = TRANSITIONS[client.state, what]
    act = ACTIONS[row.action]
    if row.next is State.CLOSED:
        server, effects = act(without_client(server, client), client, given)
        return server, (*effects, Disconnect(client.id))
    return act(with_client(server, replace(client, state=row.next, step_since_ns=None)), client, given)


def _serve(server: Server, effects: Effects, client_id: ClientId) -> Outcome:
    """Serve all that has come from a client and can be served now; add to the effects so far.

    CONN-3  What arrives together is served in order, as if each list had come alone after the reply to the one before.
    A Postfix server discards what a client sends before it has its reply. [BEYOND]
    """
    while (client := server.clients.get(client_id)) is not None:
        if reading(server, client_id) is Reading.NOTHING or not client.unread:
            return _settle(server, client_id), effects
        if client.state is State.DESCRIPTOR:  # FD-12: a byte that had been read already carried no descriptor.
            server, more = _take(server, replace(client, unread=client.unread[1:]), Input.NOT_ONE_DESCRIPTOR)
        else:
            limits = server.limits
            decoded = decode(client.unread, limits.attribute_list_bytes_max, limits.attributes_max)
            if isinstance(decoded, Unfinished):
                return _settle(server, client_id), effects
            if isinstance(decoded, TooLong):
                effects += (LimitHit(decoded.limit, client_id),)
                server, more = _take(server, client, Input.GONE)
            else:
                what, given = _look_up(server, client.state, decoded.attributes)
                server, more = _take(server, replace(client, unread=decoded.rest), what, given)
        effects += more
    return server, effects


def _look_up(server: Server, state: State, attributes: tuple[Attribute, ...]) -> tuple[Input, Given]:
    """Return which input a list is, and what comes with it; whether a find hits, the cache knows."""
    what = classify_list(state, attributes)
    if isinstance(what, Input):
        return what, Given(request_name(attributes))
    given = Given(request_name(attributes), what)
    match what:
        case FindEndp():
            cache, session = caches.find_endp(server.cache, what.endpoint)
            found = Found(session, (session.properties,), cache) if session else None
        case FindDest():
            cache, pair = caches.find_dest(server.cache, what.destination)
            found = Found(pair[1], (pair[0].properties, pair[1].properties), cache) if pair else None
        case _:
            return INPUTS[type(what)], given
    return (Input.FIND_HIT if found else Input.FIND_MISS), replace(given, found=found)


def _settle(server: Server, client_id: ClientId) -> Server:
    """Note when the client's unfinished step began, if it has one: a step that goes on keeps its age."""
    client = server.clients[client_id]
    if client.state is State.REQUEST and not client.unread and not client.unsent_bytes:
        return with_client(server, replace(client, step_since_ns=None))
    if client.step_since_ns is None:
        return with_client(server, replace(client, step_since_ns=server.now_ns))
    return server
