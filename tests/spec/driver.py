"""A specified server and somebody who plays its surroundings.

How a test talks to the specification: whole lists in, bytes and other effects out; every socket takes what it is given
unless the test says otherwise. No rule of the server is known here.
"""

from collections.abc import Sequence

from tests.support.messages import DUMMY, save_endp

from scache_spec import events
from scache_spec.effects import CloseDescriptor, Disconnect, Effect, Effects, LimitHit, Send, SendDescriptor
from scache_spec.server import Outcome
from scache_spec.vocabulary import (
    NS_PER_S,
    ClientId,
    Handle,
    Limits,
    UserId,
)


class Driver:
    """One server, driven event by event."""

    def __init__(self, limits: Limits | None = None, now_ns: int = 0) -> None:
        self.server = events.start(limits if limits is not None else Limits(), now_ns)
        self.sockets_take = True
        self.clients_read = True

    def do(self, outcome: Outcome) -> Effects:
        """Take over an outcome; let the sockets take what is sent, and whatever that leads to."""
        self.server, effects = outcome
        if self.sockets_take:
            for effect in effects:
                if isinstance(effect, Send) and effect.client in self.server.clients:
                    effects += self.do(events.on_sent(self.server, effect.client, len(effect.data)))
                elif isinstance(effect, SendDescriptor) and effect.client in self.server.clients:
                    effects += self.do(events.on_descriptor_sent(self.server, effect.client))
                    if self.clients_read:
                        effects += self.taken(effect.client)
        return effects

    def connect(self, client: int = 1, user: int | None = None) -> Effects:
        return self.do(events.on_connect(self.server, ClientId(client), None if user is None else UserId(user)))

    def feed(self, data: bytes, client: int = 1) -> Effects:
        return self.do(events.on_bytes(self.server, ClientId(client), data))

    def taken(self, client: int = 1) -> Effects:
        """Let a client read everything that was sent to it."""
        return self.do(events.on_descriptor_taken(self.server, ClientId(client)))

    def say(self, data: bytes, client: int = 1) -> bytes:
        """Feed bytes; return what is sent to the same client."""
        return sent(self.feed(data, client), client)

    def descriptors(self, *handles: int, client: int = 1, truncated: bool = False) -> Effects:
        given = tuple(Handle(handle) for handle in handles)
        return self.do(events.on_descriptors(self.server, ClientId(client), given, truncated=truncated))

    def gone(self, client: int = 1) -> Effects:
        return self.do(events.on_gone(self.server, ClientId(client)))

    def tick(self, now_ns: int) -> Effects:
        """Let time pass in which nothing comes."""
        effects = self.do(events.on_tick(self.server, now_ns))
        return (*effects, *self.do(events.on_timeouts(self.server)))

    def tick_s(self, now_s: int) -> Effects:
        return self.tick(now_s * NS_PER_S)

    def park(
        self, handle: int, endpoint: bytes = b"e", properties: bytes = b"p", ttl: bytes = b"600", client: int = 1
    ) -> bytes:
        """Go through the dance of a save; return the status line."""
        assert self.say(save_endp(endpoint, properties, ttl), client) == DUMMY
        return sent(self.descriptors(handle, client=client), client)

    def take(self, request: bytes, client: int = 1) -> tuple[bytes, int | None]:
        """Go through the dance of a find; return the reply and the descriptor handed over."""
        reply = self.say(request, client)
        if not reply.startswith(b"status\x000\0"):
            return reply, None
        effects = self.feed(DUMMY, client)
        assert self.say(DUMMY, client) == b""
        return reply, next(effect.handle for effect in effects if isinstance(effect, SendDescriptor))

    def parked(self) -> list[int]:
        """Return the handles of the sessions, first in turn first."""
        return [session.handle for session in self.server.cache.sessions]


def sent(effects: Sequence[Effect], client: int = 1) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, Send) and effect.client == client)


def closed(effects: Sequence[Effect]) -> list[int]:
    return [effect.handle for effect in effects if isinstance(effect, CloseDescriptor)]


def disconnected(effects: Sequence[Effect]) -> list[int]:
    return [effect.client for effect in effects if isinstance(effect, Disconnect)]


def limits_hit(effects: Sequence[Effect]) -> list[str]:
    return [effect.limit.value for effect in effects if isinstance(effect, LimitHit)]
