"""The specification as the oracle of generated runs: the right outcome of every step.

A step becomes the events of scache_spec.events that it causes. The effects become what can be seen of them from
outside, over sockets that take all bytes at once. The state is a value of the specification, so any number of
continuations can be tried from it. The number of a session is its handle.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import assert_never

from scache_conformance.generated.steps import (
    Connect,
    Descriptor,
    End,
    FindDest,
    FindEndp,
    Found,
    HangUp,
    Item,
    Outcome,
    SaveDest,
    SaveEndp,
    Send,
    Step,
    Tick,
)
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DUMMY_LIST
from scache_spec import cache as caches
from scache_spec import effects as spec_effects
from scache_spec import events as spec
from scache_spec import vocabulary
from scache_spec.cache import Binding, Session
from scache_spec.effects import Effects
from scache_spec.server import Server
from scache_spec.vocabulary import ClientId, Handle, Label, Limits, Properties, Status


def start(limits: Limits) -> Server:
    """Return a server without any client."""
    return spec.start(limits, 0)


def client_id(name: str) -> ClientId:
    """Return what stands for a client in the specification: any number will do, if no other name has it."""
    return ClientId(int.from_bytes(name.encode()))


def perform(server: Server, step: Step) -> tuple[Server, Outcome]:
    """Take one step; return the server after it and what must be seen.

    Of the four verbs only what they do to the cache is followed, ten times faster than a dance byte by byte and the
    same for a client at rest; `as_dance` gives the bytes. KeyError if the client of another step is not connected.
    """
    match step:
        case SaveEndp():
            return _save_endp(server, step)
        case SaveDest():
            return _save_dest(server, step)
        case FindEndp(_, endpoint):
            cache, session = caches.find_endp(server.cache, Label(endpoint))
            found = Found(session.handle, (session.properties,)) if session else None
            return replace(server, cache=cache), Outcome(found=found)
        case FindDest(_, destination):
            cache, pair = caches.find_dest(server.cache, Label(destination))
            found = Found(pair[1].handle, (pair[0].properties, pair[1].properties)) if pair else None
            return replace(server, cache=cache), Outcome(found=found)
        case Connect(client):
            return _closed_by(*spec.on_connect(server, client_id(client)))
        case HangUp(client):
            return _closed_by(*spec.on_gone(server, client_id(client)))
        case Tick(seconds):
            return _tick(server, seconds)
        case Send():
            return _send(server, step)
        case _:
            assert_never(step)


def as_dance(step: SaveEndp | SaveDest | FindEndp | FindDest) -> tuple[Send, ...]:
    """Return the writes that a verb consists of; a find that misses ends after the first."""
    match step:
        case SaveEndp(client, ttl_s, endpoint, properties, session):
            return Send(client, lists.save_endp(ttl_s, endpoint, properties)), Send(client, b"\0", (session,))
        case SaveDest(client, ttl_s, destination, properties, endpoint):
            return (Send(client, lists.save_dest(ttl_s, destination, properties, endpoint)),)
        case FindEndp(client, endpoint):
            return Send(client, lists.find_endp(endpoint)), *(Send(client, DUMMY_LIST),) * 2
        case FindDest(client, destination):
            return Send(client, lists.find_dest(destination)), *(Send(client, DUMMY_LIST),) * 2
        case _:
            assert_never(step)


def _closed_by(server: Server, effects: Effects) -> tuple[Server, Outcome]:
    seen = _Seen(None)
    return seen.follow(server, effects), Outcome(closed=seen.closed())


def _send(server: Server, step: Send) -> tuple[Server, Outcome]:
    client = client_id(step.client)
    seen = _Seen(client)
    data, handles = step.data, tuple(Handle(session) for session in step.sessions)
    if data and spec.reading(server, client) is spec.Reading.DESCRIPTOR:
        server = seen.follow(*spec.on_descriptors(server, client, handles))
        data, handles = data[1:], ()
    server = seen.follow(*spec.on_unsolicited(server, handles))
    if data and client in server.clients:
        server = seen.follow(*spec.on_bytes(server, client, data))
    return server, Outcome(received=tuple(seen.items), closed=seen.closed())


def _tick(server: Server, seconds: int) -> tuple[Server, Outcome]:
    """Let time pass in which nothing comes from a client."""
    server, effects = spec.on_tick(server, server.now_ns + seconds * vocabulary.NS_PER_S)
    server, more = spec.on_timeouts(server)
    return _closed_by(server, (*effects, *more))


def _save_endp(server: Server, step: SaveEndp) -> tuple[Server, Outcome]:
    expiry_ns = caches.expiry_ns(step.ttl_s, server.limits.ttl_limit_s, server.now_ns)
    session = Session(Label(step.endpoint), Properties(step.properties), Handle(step.session), expiry_ns)
    if caches.limit_on_session(server.cache, server.limits, session) is not None:
        return server, Outcome(status=Status.FAILED, closed=(step.session,))
    return replace(server, cache=caches.save_endp(server.cache, session)), Outcome(status=Status.DONE)


def _save_dest(server: Server, step: SaveDest) -> tuple[Server, Outcome]:
    expiry_ns = caches.expiry_ns(step.ttl_s, server.limits.ttl_limit_s, server.now_ns)
    binding = Binding(Label(step.destination), Properties(step.properties), Label(step.endpoint), expiry_ns)
    if caches.limit_on_binding(server.cache, server.limits, binding) is not None:
        return server, Outcome(status=Status.FAILED)
    return replace(server, cache=caches.save_dest(server.cache, binding)), Outcome(status=Status.DONE)


@dataclass(slots=True)
class _Seen:
    """What one client sees of effects, and which descriptors end."""

    client: ClientId | None
    items: list[Item] = field(default_factory=list)
    lost: set[Handle] = field(default_factory=set)
    handed: set[Handle] = field(default_factory=set)

    def follow(self, server: Server, effects: Effects) -> Server:
        """Carry out effects, and what follows from carrying them out."""
        queue = deque(effects)
        while queue:
            effect = queue.popleft()
            more: Effects = ()
            match effect:
                case spec_effects.Send(client, data):
                    self._receive(client, data)
                    server, more = spec.on_sent(server, client, len(data))
                case spec_effects.SendDescriptor(client, handle):
                    self._receive(client, Descriptor(handle))
                    self.handed.add(handle)
                    server, more = spec.on_descriptor_sent(server, client)
                    server, served = spec.on_descriptor_taken(server, client)
                    more += served
                case spec_effects.CloseDescriptor(handle):
                    self.lost.add(handle)
                case spec_effects.Disconnect(client):
                    self._receive(client, End())
                case spec_effects.PrintStatistics() | spec_effects.LimitHit() | spec_effects.Exit():
                    continue  # not seen over a socket
                case _:
                    assert_never(effect)
            queue.extendleft(reversed(more))
        return server

    def closed(self) -> tuple[int, ...]:
        """Return the sessions of which no copy is left: a session handed over lives on in its client."""
        return tuple(sorted(self.lost - self.handed))

    def _receive(self, client: ClientId, item: Item) -> None:
        if client != self.client:
            return
        if isinstance(item, bytes) and self.items and isinstance(last := self.items[-1], bytes):
            self.items[-1] = last + item
        else:
            self.items.append(item)
