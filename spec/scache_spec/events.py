"""What can happen to a server, and what the server does then: `on_…(server, …) -> (server, effects)`.

Nothing is carried out here: sending, closing and exiting are effects. The loop of a server turns system calls into
these events, carries the effects out in order, and reports what became of them. scache_reference has such a loop.

What a server's loop owes:

* Descriptors: a descriptor that was received stays open until an effect closes it (a Handle, until its
  CloseDescriptor).
* Time: each turn of the loop first takes the time, which never runs backwards, and then reads. What is due by that
  time is removed before anything that was read is served (on_tick).
* Timeouts: at the end of a turn, the loop disconnects clients that took too long, after it has read what had come from
  these clients by then (overdue, on_timeouts).
* Reading: the state of a client says whether the loop reads nothing, any number of bytes, or exactly one byte
  (reading). The loop receives descriptors with every read. In SENDING, where nothing is read, a client is gone when a
  send fails or when its socket reports a hangup. While a descriptor is in flight, a hangup is not the end of a client.
* Sending: the loop reports what a client's socket has taken, in the order of the effects (on_sent,
  on_descriptor_sent). If the socket will never take it, the client is gone (on_gone).
* Descriptors in flight: the loop reports when a client has read everything that was sent to it, the descriptor last
  (on_descriptor_taken). On Linux the ioctl SIOCOUTQ on the server's end tells it. Nothing wakes the loop at that
  moment, so the loop asks again after some milliseconds, and before it reads from that client.
* Closing: the loop does not wait until a descriptor is closed (FD-15). The reference server does wait: it closes within
  its loop, and a file that is slow to close delays it.

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
    """How the loop is to read from a client."""

    NOTHING = "not at all"
    BYTES = "any number of bytes, with whatever descriptors they carry"
    DESCRIPTOR = "exactly one byte, with whatever descriptors it carries"


def start(limits: Limits, now_ns: int) -> Server:
    """Return a server that starts now.

    LIFE-1  A server begins with an empty cache: nothing outlives its process, but for a takeover (LIFE-10) or a
    restart (LIFE-13).
    """
    return Server(limits, now_ns, statistics_since_ns=now_ns, idle_since_ns=now_ns)


# Events.


def on_connect(server: Server, client_id: ClientId, user: UserId | None = None) -> Outcome:
    """Greet a new client of that user, or disconnect it at a limit. `user` is None for a user without a limit.

    CONN-1  When a client connects, the server sends the greeting, once, and does not wait for the client to send
    anything before. The greeting is the attribute list `protocol=connection_cache_protocol`.

    LIMIT-5  A server has at most `clients_max` clients. One client more is disconnected at once, without a greeting. A
    client counts from the moment at which the server accepts it until the server has disconnected it or has read the
    end of its stream. [BEYOND]

    LIMIT-12  A user has at most `clients_per_user_max` clients. One client more of that user is disconnected at once,
    without a greeting. The server may exempt users from this limit. [BEYOND] [FREE]
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
    """Close descriptors that came where no descriptor was awaited.

    FD-1  A descriptor passes only with two kinds of byte: the byte that a client sends after an invitation (FD-3), and
    the byte that the server sends after "ready" (FD-6). The server closes a descriptor that comes with any other byte.
    The server ignores control data of any other kind, and such data leaves no descriptor open in the server. A byte
    that a client sends out of band (MSG_OOB) may count as a byte of the stream or be discarded.
    """
    return server, tuple(CloseDescriptor(handle) for handle in handles)


def on_descriptors(
    server: Server, client_id: ClientId, handles: tuple[Handle, ...], *, truncated: bool = False
) -> Outcome:
    """Serve the one byte that a client was invited to send, with the descriptors that it carried.

    FD-5  If the kernel cut off a part of the control data, the byte counts as one that does not carry exactly one
    descriptor (FD-4), even if one descriptor came through. The kernel cuts control data off (MSG_CTRUNC) when that data
    is too long or when the server has no descriptor left. [BEYOND]

    LIMIT-8  A server may keep its last free descriptors in reserve. A server that has no other descriptor left answers
    a save_endp with status 2, after the descriptor was invited and sent. Such a server serves finds meanwhile, and lets
    clients in again when there is room. The size of the reserve is left to the server, but a server that waits for no
    passed file (FD-15) keeps at least 261: the 253 that one message can carry, which the kernel would otherwise close
    within the server's call, and 8 for the server's own use. [BEYOND] [FREE]
    """
    what = Input.ONE_DESCRIPTOR if len(handles) == 1 and not truncated else Input.NOT_ONE_DESCRIPTOR
    return _serve(*_take(server, server.clients[client_id], what, Given(handles=handles)), client_id)


def on_sent(server: Server, client_id: ClientId, byte_count: int) -> Outcome:
    """Note that a client's socket has taken so many bytes. The client may be served again after that.

    LIMIT-6  Output is pending while the server has bytes for a client that the client's socket has not taken. While
    more than `output_bytes_max` bytes are pending for a client, the server serves nothing that this client sends. A
    server keeps at most `output_bytes_max` bytes plus one reply for a client, beyond what the client's socket holds. A
    server may stop serving that client sooner. [BEYOND]

    This limit has no LimitHit: only the loop sees that a socket takes no more.
    """
    client = server.clients[client_id]
    return _serve(with_client(server, replace(client, unsent_bytes=client.unsent_bytes - byte_count)), (), client_id)


def on_descriptor_sent(server: Server, client_id: ClientId) -> Outcome:
    """Note that a client's socket has taken the byte with the descriptor."""
    return _serve(*_take(server, server.clients[client_id], Input.SENT), client_id)


def on_descriptor_taken(server: Server, client_id: ClientId) -> Outcome:
    """Note that a client has read the descriptor that was sent to it, and serve what has come meanwhile.

    FD-14  At most one descriptor is in flight to a client. A descriptor is in flight from the moment at which the
    client's socket has taken it until the client has read it. Meanwhile the server serves nothing that this client
    sends, and soon stops reading from it. The descriptor counts as read when the kernel holds no byte any more that was
    sent to the client. When the client goes away, nothing is in flight to it any more: what a client has sent that left
    its descriptor unread may be served or discarded. [BEYOND]
    """
    return _serve(with_client(server, replace(server.clients[client_id], in_flight=False)), (), client_id)


def on_gone(server: Server, client_id: ClientId) -> Outcome:
    """Forget a client that closed its end or whose connection failed.

    LIFE-5  An error that nobody foresaw ends at most the client or the session at which it happened. The server logs
    the error and goes on. [BEYOND]
    """
    return _take(server, server.clients[client_id], Input.GONE)


def on_tick(server: Server, now_ns: int) -> Outcome:
    """Note the time, and do what is due by then.

    TTL-5  A session or binding is due at its expiry and after it. What is due when the server judges a request cannot
    be found by that request. What is due takes no room from that request either: a save is done if nothing but due
    sessions and bindings stands against it.

    TTL-6  What is due is removed, and its descriptor is closed, even if no client sends anything. How long after its
    expiry this happens is left to the server: a timer may be late if it does not count the time for which the machine
    is suspended. [FREE]

    TTL-7  A server may remove what is due in shares, over several turns of its loop. What is due and not removed yet
    may count in the peaks (STAT-4), and may keep an idle server from exiting (LIFE-3). [FREE]

    STAT-7  Statistics are printed every `status_update_time_s` seconds, and when the server exits.

    LIFE-2  A server exits with status 0 when no client has been connected for `max_idle_s` seconds. This time counts
    from the start of the server, or from when the last client left.

    LIFE-3  A server does not exit for being idle (LIFE-2) while a session is parked, because that session would be
    lost. Bindings alone do not keep a server from exiting. [BEYOND]
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
    """Disconnect the clients that have left a step unfinished for too long. What came in time was read before.

    LIMIT-7  A client that leaves a step unfinished for `ipc_timeout_s` seconds is disconnected. There are four kinds of
    step: an attribute list, from its first byte to its last; the wait for the descriptor of a save_endp; the wait for
    "ready" or for "received"; and pending output (LIMIT-6). A further byte of a list, or a part of the output that the
    socket takes, does not begin the time of a step anew. When one step ends and another is unfinished, the time of the
    other begins. A client is at rest when no step is unfinished, and may stay at rest for ever. Before the server
    disconnects a client for its time, it reads what has come from that client, also when the server itself was stopped
    for longer than `ipc_timeout_s`. [BEYOND]
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
    """Exit, because the operator asked for it or the server is idle.

    LIFE-4  A server that exits disconnects every client, closes every descriptor and prints the statistics. A server
    that is asked to exit does so with status 0. Under Postfix, master(8) asks it; elsewhere SIGTERM does.
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

    FD-12  The server reads the byte that carries a descriptor alone. If that byte was read earlier, together with other
    bytes, it counts as a byte without a descriptor (FD-4). A Postfix server discards a byte that was sent before the
    invitation. [BEYOND]
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
    """Return the first instant at which on_tick or on_timeouts would do something, if nothing else happens."""
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
    """Follow one row of the table: change the state, then act. The next step of the client begins."""
    row = TRANSITIONS[client.state, what]
    act = ACTIONS[row.action]
    if row.next is State.CLOSED:
        server, effects = act(without_client(server, client), client, given)
        return server, (*effects, Disconnect(client.id))
    return act(with_client(server, replace(client, state=row.next, step_since_ns=None)), client, given)


def _serve(server: Server, effects: Effects, client_id: ClientId) -> Outcome:
    """Serve everything from a client that can be served now. Returns the effects so far and the new ones.

    CONN-3  Attribute lists that arrive together are served in order, each as if it had come alone after the reply to
    the list before it. A Postfix server discards what a client sends before the client has its reply. [BEYOND]
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
    """Return which input a list is, and the values that its action needs. A find is looked up in the cache."""
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
    """Note when the unfinished step of a client began, if it has one. A step that goes on keeps its begin."""
    client = server.clients[client_id]
    if client.state is State.REQUEST and not client.unread and not client.unsent_bytes:
        return with_client(server, replace(client, step_since_ns=None))
    if client.step_since_ns is None:
        return with_client(server, replace(client, step_since_ns=server.now_ns))
    return server
