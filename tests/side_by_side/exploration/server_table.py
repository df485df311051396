"""The specified server, as a whole, behind the verbs of a table.

For each verb a client of its own connects, asks, and goes. This table shows that the specification's parts, called one
after the other for the exploration, behave as the server they belong to.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Self

from scache_spec import cache as caches
from scache_spec import events
from scache_spec.attributes import Decoded, decode, encode
from scache_spec.cache import Cache, Session, Sizes
from scache_spec.effects import CloseDescriptor, Effects, Send, SendDescriptor
from scache_spec.server import Outcome, Server
from scache_spec.statistics import Counters
from scache_spec.vocabulary import (
    DUMMY,
    FIND_DEST,
    FIND_ENDP,
    LABEL,
    NS_PER_S,
    PROPERTY,
    REQUEST,
    SAVE_DEST,
    SAVE_ENDP,
    TTL,
    Attribute,
    ClientId,
    Handle,
    Label,
    Limits,
    Properties,
    Status,
)

SAVER = ClientId(0)


class ServerTable:
    """A specified server, one client for each verb; a find that hits keeps its client until the end of the dance."""

    def __init__(self, limits: Limits) -> None:
        self.server = events.start(limits, now_ns=0)
        self.holding: tuple[Handle, ...] = ()

    def save_endp(
        self, endpoint: Label, properties: Properties, handle: Handle, ttl_s: int, now_ns: int
    ) -> tuple[Status, tuple[Handle, ...]]:
        self._connect(SAVER)
        request = (REQUEST, SAVE_ENDP), (TTL, b"%d" % ttl_s), (LABEL, endpoint), (PROPERTY, properties)
        assert self._ask(SAVER, request) == ((DUMMY, b""),)
        effects = self._do(events.on_descriptors(self.server, SAVER, (handle,)))
        reply = self._taken(effects, SAVER)
        return _status(reply), self._leave(SAVER) + _closed(effects)

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        found = self._find(((REQUEST, FIND_ENDP), (LABEL, endpoint)))
        return (found[0][0], found[1]) if found is not None else None

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        self._connect(SAVER)
        name, ttl = (REQUEST, SAVE_DEST), (TTL, b"%d" % ttl_s)
        reply = self._ask(SAVER, (name, ttl, (LABEL, destination), (PROPERTY, properties), (LABEL, endpoint)))
        assert not self._leave(SAVER)
        return _status(reply)

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        found = self._find(((REQUEST, FIND_DEST), (LABEL, destination)))
        return (found[0][0], found[0][1], found[1]) if found is not None else None

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        self.holding = tuple(each for each in self.holding if each != handle)
        client = _holder(handle)
        if handle % 2:  # There are two ways to not take what was found; either will do.
            return self._leave(client)
        effects = self._do(events.on_bytes(self.server, client, encode(())))
        return _closed(effects) + self._leave(client)

    def hand_over(self, handle: Handle) -> None:
        self.holding = tuple(each for each in self.holding if each != handle)
        client = _holder(handle)
        dummy = encode(((DUMMY, b""),))
        assert self._do(events.on_bytes(self.server, client, dummy)) == (SendDescriptor(client, handle),)
        assert self._do(events.on_descriptor_sent(self.server, client)) == (CloseDescriptor(handle),)
        assert self._do(events.on_descriptor_taken(self.server, client)) == ()
        assert self._do(events.on_bytes(self.server, client, dummy)) == ()
        assert not self._leave(client)

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        return tuple(sorted(_closed(self._do(events.on_tick(self.server, now_ns)))))

    def next_expiry_ns(self) -> int | None:
        due_ns = events.next_tick_ns(self.server)
        statistics_ns = self.server.statistics_since_ns + self.server.limits.status_update_time_s * NS_PER_S
        return due_ns if due_ns < statistics_ns else None

    def sizes(self) -> Sizes:
        return caches.sizes(self.server.cache)

    @property
    def cache(self) -> Cache:
        return self.server.cache

    @property
    def held(self) -> tuple[Session, ...]:
        holders = (self.server.clients[_holder(handle)] for handle in self.holding)
        return tuple(client.held for client in holders if client.held is not None)

    @property
    def counters(self) -> Counters:
        return self.server.counters

    @counters.setter
    def counters(self, counters: Counters) -> None:
        self.server = replace(self.server, counters=counters)

    # One client's events.

    def _do(self, outcome: Outcome) -> Effects:
        self.server, effects = outcome
        return effects

    def _connect(self, client: ClientId) -> None:
        self._taken(self._do(events.on_connect(self.server, client)), client)

    def _ask(self, client: ClientId, request: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
        return self._taken(self._do(events.on_bytes(self.server, client, encode(request))), client)

    def _taken(self, effects: Effects, client: ClientId) -> tuple[Attribute, ...]:
        """Let the client's socket take what is to be sent; return it."""
        data = b"".join(effect.data for effect in effects if isinstance(effect, Send))
        assert self._do(events.on_sent(self.server, client, len(data))) == ()
        decoded = decode(data, list_bytes_max=len(data), attributes_max=len(data))
        assert isinstance(decoded, Decoded)
        assert decoded.rest == b""
        return decoded.attributes

    def _leave(self, client: ClientId) -> tuple[Handle, ...]:
        return _closed(self._do(events.on_gone(self.server, client)))

    def _find(self, request: tuple[Attribute, ...]) -> tuple[list[Properties], Handle] | None:
        seeker = ClientId(-1)
        self._connect(seeker)
        reply = self._ask(seeker, request)
        session = self.server.clients[seeker].held
        if session is None:
            assert _status(reply) is Status.FAILED
            assert not self._leave(seeker)
            return None
        self._rename(seeker, _holder(session.handle))
        self.holding = (*self.holding, session.handle)
        return [Properties(value) for name, value in reply if name == PROPERTY], session.handle

    def _rename(self, old: ClientId, new: ClientId) -> None:
        """Name the client that holds a session after its handle: whom it belongs to has no effect."""
        clients = dict(self.server.clients)
        clients[new] = replace(clients.pop(old), id=new)
        self.server = replace(self.server, clients=clients)

    # What the exploration needs besides.

    def held_handles(self) -> tuple[Handle, ...]:
        return self.holding

    def handles(self) -> tuple[Handle, ...]:
        return (*(session.handle for session in self.server.cache.sessions), *self.holding)

    def key(self, now_ns: int, names: Mapping[Handle, int]) -> Hashable:
        def seen(session: Session) -> Hashable:
            remaining_ns = max(0, session.expiry_ns - now_ns)
            return session.endpoint, session.properties, names[session.handle], remaining_ns

        cache = self.server.cache
        by_endpoint = sorted(cache.sessions, key=lambda session: session.endpoint)
        by_destination = sorted(cache.bindings, key=lambda binding: binding.destination)
        return (
            tuple(map(seen, by_endpoint)),
            tuple((b.destination, b.properties, b.endpoint, b.expiry_ns - now_ns) for b in by_destination),
            tuple(map(seen, self.held)),
        )

    def copier(self) -> Callable[[], Self]:
        server, held = self.server, self.holding
        return lambda: self._holding(server, held)

    def _holding(self, server: Server, held: tuple[Handle, ...]) -> Self:
        twin = type(self).__new__(type(self))
        twin.server, twin.holding = server, held
        return twin


def _holder(handle: Handle) -> ClientId:
    return ClientId(handle)


def _status(reply: tuple[Attribute, ...]) -> Status:
    return Status(int(reply[0][1]))


def _closed(effects: Effects) -> tuple[Handle, ...]:
    return tuple(effect.handle for effect in effects if isinstance(effect, CloseDescriptor))
