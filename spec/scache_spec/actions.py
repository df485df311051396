"""What a row of the conversation's table asks for, carried out on the server's state.

What each `Action` does to the cache, the counters and the client, and which effects that has. Which action an event
leads to is not decided here.

Each action gets the server as it is after the change of state, the client as it was before, and what came with the
input.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from scache_spec import cache as caches
from scache_spec import statistics
from scache_spec.attributes import encode
from scache_spec.cache import Binding, Cache, Session
from scache_spec.conversation import Action, Request, SaveDest, SaveEndp, reply
from scache_spec.effects import CloseDescriptor, LimitHit, SendDescriptor
from scache_spec.server import Client, Outcome, Server, send, with_client
from scache_spec.vocabulary import DUMMY, SAVE_DEST, SAVE_ENDP, Handle, Status

INVITATION: Final = encode(((DUMMY, b""),))


@dataclass(frozen=True, slots=True)
class Found:
    """A session that a find hit, what to tell of it, and the cache without it."""

    session: Session
    properties: tuple[bytes, ...]
    cache: Cache


@dataclass(frozen=True, slots=True)
class Given:
    """What an action works with, besides the client: whatever came with the input."""

    request_name: bytes | None = None
    request: Request | None = None
    found: Found | None = None
    handles: tuple[Handle, ...] = ()


def _ignore(server: Server, client: Client, given: Given) -> Outcome:
    return server, ()


def _reply_malformed(server: Server, client: Client, given: Given) -> Outcome:
    return send(server, client, encode(reply(given.request_name, Status.MALFORMED)))


def _reply_failed(server: Server, client: Client, given: Given) -> Outcome:
    assert given.request_name is not None
    counters = statistics.count_find(server.counters, given.request_name, hit=False)
    return send(replace(server, counters=counters), client, encode(reply(given.request_name, Status.FAILED)))


def _invite(server: Server, client: Client, given: Given) -> Outcome:
    assert isinstance(given.request, SaveEndp)
    server = with_client(server, replace(server.clients[client.id], saving=given.request))
    return send(server, client, INVITATION)


def _bind(server: Server, client: Client, given: Given) -> Outcome:
    save = given.request
    assert isinstance(save, SaveDest)
    expiry_ns = caches.expiry_ns(save.ttl_s, server.limits.ttl_limit_s, server.now_ns)
    binding = Binding(save.destination, save.properties, save.endpoint, expiry_ns)
    if (limit := caches.limit_on_binding(server.cache, server.limits, binding)) is not None:
        server, sent = send(server, client, encode(reply(SAVE_DEST, Status.FAILED)))
        return server, (LimitHit(limit, client.id), *sent)
    cache = caches.save_dest(server.cache, binding)
    counters = statistics.count_save(server.counters, SAVE_DEST, caches.sizes(cache))
    return send(replace(server, cache=cache, counters=counters), client, encode(reply(SAVE_DEST, Status.DONE)))


def _hold(server: Server, client: Client, given: Given) -> Outcome:
    assert given.found is not None
    assert given.request_name is not None
    counters = statistics.count_find(server.counters, given.request_name, hit=True)
    server = with_client(server, replace(server.clients[client.id], held=given.found.session))
    data = encode(reply(given.request_name, Status.DONE, *given.found.properties))
    return send(replace(server, cache=given.found.cache, counters=counters), client, data)


def _park(server: Server, client: Client, given: Given) -> Outcome:
    save = client.saving
    assert save is not None
    server = with_client(server, replace(server.clients[client.id], saving=None))
    expiry_ns = caches.expiry_ns(save.ttl_s, server.limits.ttl_limit_s, server.now_ns)
    session = Session(save.endpoint, save.properties, given.handles[0], expiry_ns)
    if (limit := caches.limit_on_session(server.cache, server.limits, session)) is not None:
        server, refused = _refuse(server, client, given)
        return server, (LimitHit(limit, client.id), *refused)
    cache = caches.save_endp(server.cache, session)
    counters = statistics.count_save(server.counters, SAVE_ENDP, caches.sizes(cache))
    return send(replace(server, cache=cache, counters=counters), client, encode(reply(SAVE_ENDP, Status.DONE)))


def _refuse(server: Server, client: Client, given: Given) -> Outcome:
    server = with_client(server, replace(server.clients[client.id], saving=None))
    server, sent = send(server, client, encode(reply(SAVE_ENDP, Status.FAILED)))
    return server, (*(CloseDescriptor(handle) for handle in given.handles), *sent)


def _send_descriptor(server: Server, client: Client, given: Given) -> Outcome:
    assert client.held is not None
    return server, (SendDescriptor(client.id, client.held.handle),)


def _let_go(server: Server, client: Client, given: Given) -> Outcome:
    assert client.held is not None
    server = with_client(server, replace(server.clients[client.id], held=None, in_flight=True))
    return server, (CloseDescriptor(client.held.handle),)


def _put_back(server: Server, client: Client, given: Given) -> Outcome:
    assert client.held is not None
    if client.id in server.clients:
        server = with_client(server, replace(server.clients[client.id], held=None))
    cache = caches.put_back(server.cache, client.held, server.now_ns)
    if cache is None:
        return server, (CloseDescriptor(client.held.handle),)
    return replace(server, cache=cache), ()


ACTIONS: Final[dict[Action, Callable[[Server, Client, Given], Outcome]]] = {
    Action.IGNORE: _ignore,
    Action.REPLY_MALFORMED: _reply_malformed,
    Action.REPLY_FAILED: _reply_failed,
    Action.INVITE: _invite,
    Action.BIND: _bind,
    Action.HOLD: _hold,
    Action.PARK: _park,
    Action.REFUSE: _refuse,
    Action.SEND: _send_descriptor,
    Action.LET_GO: _let_go,
    Action.PUT_BACK: _put_back,
    Action.FORGET: _ignore,
}
