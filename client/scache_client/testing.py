"""A cache for the tests of programs that use one: in memory, with a clock that the test moves.

Behind the clients that it makes is the specification itself, fed with the same bytes and descriptors as a server on a
socket. What is not here: time that passes by itself, waiting, and a server that is slow.
"""

import os
import threading
from collections import deque
from types import TracebackType
from typing import Final, Self, TypeVar, assert_never

from scache_client.aio import AsyncClient
from scache_client.client import Client
from scache_client.connection import Connection, Waiting
from scache_client.dialogue import (
    Arrival,
    Dance,
    Dialogue,
    Farewell,
    Receive,
    ReceiveDescriptor,
    Send,
    SendDescriptor,
    Step,
    greet,
)
from scache_client.pause import PAUSE_S, Pause
from scache_client.quantities import TIMEOUT_S
from scache_spec import effects, events
from scache_spec.server import Outcome
from scache_spec.vocabulary import DESCRIPTOR_BYTE, NS_PER_S, ClientId, Handle, Limits

__all__ = ["FakeCache", "Limits"]

T = TypeVar("T")

_CLIENT: Final = ClientId(1)
"""Requests come one at a time, each on a connection of its own."""


class FakeCache:
    """A connection cache inside a test.

    Guarantees:
    * A request ends as it would at a server that keeps every clause of the specification, limits and expiry included.
    * Parked connections are real descriptors: copies that the cache owns until they are found, expire, or the cache is
      closed. Use it as a context, or call `close`.
    * Nothing changes but by a request, by `advance` and by `close`. Threads may share a cache.

    >>> import socket
    >>> mine, far = socket.socketpair()
    >>> with far, FakeCache() as cache, cache.client() as client:
    ...     client.save_endp(b"db", b"user=web", 30, mine)
    ...     cache.advance(29)
    ...     print(cache.sessions)
    ...     cache.advance(1)
    ...     print(client.find_endp(b"db"))
    [(b'db', b'user=web')]
    None
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Make an empty cache; without `limits`, nothing is parked for longer than an hour."""
        self._clock_ns = 1_000 * NS_PER_S  # arbitrary, and not zero: programs must not depend on it
        self._server = events.start(limits or Limits(ttl_limit_s=3600), self._clock_ns)
        self._outbox: deque[bytes | Handle] = deque()
        self._failure: Exception | None = None
        self._turn = threading.Lock()

    def client(self, *, timeout_s: float = TIMEOUT_S, pause_s: float = PAUSE_S) -> Client:
        """Return a client of this cache; its pauses and the ages of its leases go by the cache's clock.

        >>> with FakeCache() as cache:
        ...     print(cache.client())
        <Client of FakeCache>
        """
        client = Client(type(self).__name__, timeout_s=timeout_s, pause_s=pause_s)
        self._take_over(client, pause_s)
        return client

    def async_client(self, *, timeout_s: float = TIMEOUT_S, pause_s: float = PAUSE_S) -> AsyncClient:
        """Return a client of this cache for an event loop.

        >>> import asyncio
        >>> with FakeCache() as cache:
        ...     print(asyncio.run(cache.async_client().find_endp(b"nothing")))
        None
        """
        client = AsyncClient(type(self).__name__, timeout_s=timeout_s, pause_s=pause_s)
        self._take_over(client, pause_s)
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass: what expires is closed. ValueError for a number of seconds below zero.

        >>> with FakeCache() as cache, cache.client() as client:
        ...     client.save_dest(b"mail", b"", b"smtp", 10)
        ...     cache.advance(10)
        ...     print(cache.bindings)
        []
        """
        if seconds < 0:
            raise ValueError(f"seconds is {seconds}; time does not go back")
        with self._turn:
            self._clock_ns += round(seconds * NS_PER_S)
            self._apply(events.on_tick(self._server, self._clock_ns))

    def fail(self, failure: Exception | None) -> None:
        """Let every request from now on raise this, None: work again.

        >>> from scache_client import ServerGone
        >>> with FakeCache() as cache, cache.client() as client:
        ...     cache.fail(ServerGone("the server was stopped"))
        ...     client.find_endp(b"db")
        Traceback (most recent call last):
        ...
        scache_client.errors.ServerGone: the server was stopped
        """
        self._failure = failure

    @property
    def sessions(self) -> list[tuple[bytes, bytes]]:
        """Return endpoint and properties of each parked connection, the one parked longest first.

        >>> import socket
        >>> mine, far = socket.socketpair()
        >>> with far, FakeCache() as cache:
        ...     cache.client().save_endp(b"db", b"user=web", 30, mine)
        ...     print(cache.sessions)
        [(b'db', b'user=web')]
        """
        return [(session.endpoint, session.properties) for session in self._server.cache.sessions]

    @property
    def bindings(self) -> list[tuple[bytes, bytes, bytes]]:
        """Return destination, properties and endpoint of each binding, in the order in which they were saved.

        >>> with FakeCache() as cache:
        ...     cache.client().save_dest(b"mail", b"weight=1", b"smtp", 30)
        ...     print(cache.bindings)
        [(b'mail', b'weight=1', b'smtp')]
        """
        return [(each.destination, each.properties, each.endpoint) for each in self._server.cache.bindings]

    def close(self) -> None:
        """Close every parked connection. The cache may be used again, and is empty.

        >>> import socket
        >>> mine, far = socket.socketpair()
        >>> cache = FakeCache()
        >>> cache.client().save_endp(b"db", b"", 30, mine)
        >>> cache.close()
        >>> with far:
        ...     print(far.recv(1), cache.sessions)
        b'' []
        """
        with self._turn:
            self._apply(events.on_stop(self._server))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take_over(self, client: Client | AsyncClient, pause_s: float) -> None:
        client._connection = _InMemory(self)
        client.clock = self._now_s
        client.pause = Pause(pause_s, clock=self._now_s)

    def _now_s(self) -> float:
        return self._clock_ns / NS_PER_S

    def _converse(self, dialogue: Dialogue[T], line: "_InMemory") -> T:
        with self._turn:
            if self._failure is not None:
                raise self._failure
            self._apply(events.on_connect(self._server, _CLIENT))
            try:
                self._play(greet(), line)
                return self._play(dialogue, line)
            finally:
                self._outbox.clear()
                if _CLIENT in self._server.clients:
                    self._apply(events.on_gone(self._server, _CLIENT))

    def _play(self, dialogue: Dialogue[T], line: "_InMemory") -> T:
        try:
            step = next(dialogue)
            while True:
                step = dialogue.send(self._perform(step, line))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _perform(self, step: Step, line: "_InMemory") -> Arrival:
        match step:
            case Send(data) | Farewell(data):
                line.note_sent(data)
                self._apply(events.on_bytes(self._server, _CLIENT, data))
            case SendDescriptor(fd):
                handle = Handle(os.dup(fd))
                self._apply(events.on_descriptors(self._server, _CLIENT, (handle,), truncated=False))
            case Receive():
                if not self._outbox:
                    raise line.gone(step)
                reply = self._outbox.popleft()
                assert isinstance(reply, bytes)
                if _CLIENT in self._server.clients:
                    self._apply(events.on_sent(self._server, _CLIENT, len(reply)))
                return Arrival(reply)
            case ReceiveDescriptor():
                if not self._outbox:
                    raise line.gone(step)
                parked = self._outbox.popleft()
                assert isinstance(parked, int)
                received = os.dup(parked)
                self._apply(events.on_descriptor_sent(self._server, _CLIENT))
                self._apply(events.on_descriptor_taken(self._server, _CLIENT))
                return Arrival(DESCRIPTOR_BYTE, received)
            case _:
                assert_never(step)
        return Arrival()

    def _apply(self, outcome: Outcome) -> None:
        self._server, wanted = outcome
        for effect in wanted:
            match effect:
                case effects.Send():
                    self._outbox.append(effect.data)
                case effects.SendDescriptor():
                    self._outbox.append(effect.handle)
                case effects.CloseDescriptor():
                    os.close(effect.handle)
                case effects.Disconnect() | effects.PrintStatistics() | effects.LimitHit() | effects.Exit():
                    pass  # what a client sees of these is that no answer comes
                case _:
                    assert_never(effect)


class _InMemory(Connection):
    """A client's connection to a cache in this process: it is never waited for."""

    def __init__(self, cache: FakeCache) -> None:
        super().__init__(type(cache).__name__)
        self._cache = cache

    def __str__(self) -> str:
        return f"of {type(self._cache).__name__}"

    def request(self, dance: Dance[T]) -> Waiting[T]:
        yield from ()
        return self._cache._converse(dance(), self)

    def note_sent(self, data: bytes) -> None:
        self._sent_bytes = len(data)

    def gone(self, step: Receive | ReceiveDescriptor) -> Exception:
        return self._gone(step)
