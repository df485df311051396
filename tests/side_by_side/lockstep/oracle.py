"""The specification with a kernel around it that exists on paper alone: what every server must do, and when.

How sockets behave: which bytes one read returns, what happens to descriptors that nobody asked for, what a client that
has gone still gets. The rules of the protocol are scache_spec's.

The kernel on paper is generous: a client's socket takes whatever is sent to it. Full sockets have tests of their own.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final, assert_never

from scache_spec import events as spec
from scache_spec import statistics
from scache_spec.cache import Cache
from scache_spec.effects import (
    CloseDescriptor,
    Disconnect,
    Effect,
    Exit,
    LimitHit,
    PrintStatistics,
    Send,
    SendDescriptor,
)
from scache_spec.server import Client, Outcome
from scache_spec.vocabulary import ClientId, Handle, Limit, Limits

READ_BYTES_MAX: Final = 16_384
"""The least that any of the servers reads at once. What is in flight at one time stays below it."""


@dataclass(slots=True)
class Wire:
    """What a client wrote and the server has not read, and what the server must send."""

    written: deque[tuple[bytes, tuple[Handle, ...]]] = field(default_factory=deque)
    outbox: deque[bytes | Handle] = field(default_factory=deque)
    ended: bool = False
    """The client will write no more."""
    deaf: bool = False
    """The client has closed its socket: sending to it fails."""


@dataclass(slots=True)
class Expected:
    """What must have been seen outside since the last look."""

    heard: dict[ClientId, list[bytes | Handle]] = field(default_factory=dict)
    """What each client must have received, in order: bytes, and descriptors on a byte of their own."""
    disconnected: list[ClientId] = field(default_factory=list)
    closed: list[Handle] = field(default_factory=list)
    statistics: list[str] = field(default_factory=list)
    limits: Counter[Limit] = field(default_factory=Counter)
    turns: int = 1
    """How many turns of a loop that reads once from each client in a turn this takes, at most."""


class Oracle:
    """A server made of the specification alone."""

    def __init__(self, limits: Limits, now_ns: int) -> None:
        self.server = spec.start(limits, now_ns)
        self.running = True
        self._wires: dict[ClientId, Wire] = {}
        self._expected = Expected()

    @property
    def cache(self) -> Cache:
        """Return what is in the cache."""
        return self.server.cache

    def client(self, client: ClientId) -> Client:
        """Return what the server knows of a client."""
        return self.server.clients[client]

    def open_handles(self) -> int:
        """Return how many descriptors the server has."""
        return len(self.cache.sessions) + sum(each.held is not None for each in self.server.clients.values())

    def connect(self, client: ClientId) -> None:
        """Let a client connect."""
        self._wires[client] = Wire()
        self._apply(spec.on_connect(self.server, client))
        self._flush(client)

    def write(self, client: ClientId, data: bytes, handles: tuple[Handle, ...] = ()) -> None:
        """Let a client write; nothing reads it before `settle`."""
        self._wires[client].written.append((data, handles))

    def shut(self, client: ClientId) -> None:
        """Let a client say that it will write no more."""
        self._wires[client].ended = True

    def close(self, client: ClientId) -> None:
        """Let a client close its socket; the server may have closed its own already."""
        if (wire := self._wires.get(client)) is not None:
            wire.ended = wire.deaf = True

    def advance(self, now_ns: int) -> None:
        """Let time pass in which nothing comes from a client."""
        self._apply(spec.on_tick(self.server, now_ns))
        self._apply(spec.on_timeouts(self.server))

    def print_statistics(self) -> None:
        """Have statistics printed."""
        self._apply(spec.on_statistics(self.server))

    def settle(self) -> Expected:
        """Serve everything that was written; return what must have been seen since the last call."""
        for client in list(self._wires):
            turns = 1
            while self._read(client):
                turns += 1
            self._expected.turns = max(self._expected.turns, turns)
        expected, self._expected = self._expected, Expected()
        return expected

    def _read(self, client: ClientId) -> bool:
        """Read once, as the specification wants it read; False: there is nothing to read."""
        wire = self._wires.get(client)
        if wire is None or (not wire.written and not wire.ended):
            return False
        how = spec.reading(self.server, client)
        assert how is not spec.Reading.NOTHING, "a socket that takes everything leaves nothing unsent"
        if not wire.written:
            self._apply(spec.on_gone(self.server, client))
        elif how is spec.Reading.DESCRIPTOR:
            data, handles = wire.written.popleft()
            if data[1:]:  # Descriptors ride on the first byte of what was written.
                wire.written.appendleft((data[1:], ()))
            self._apply(spec.on_descriptors(self.server, client, handles))
        else:
            data, handles = self._take_bytes(wire)
            self._apply(spec.on_unsolicited(self.server, handles))
            self._apply(spec.on_bytes(self.server, client, data))
        self._flush(client)
        return True

    def _take_bytes(self, wire: Wire) -> tuple[bytes, tuple[Handle, ...]]:
        """Return what one read returns, and its descriptors: it ends after a write that carried some."""
        taken = b""
        handles: tuple[Handle, ...] = ()
        while wire.written and not handles:
            data, handles = wire.written.popleft()
            taken += data
        assert len(taken) < READ_BYTES_MAX, f"{len(taken)} bytes in flight: servers may read them in pieces"
        return taken, handles

    def _flush(self, client: ClientId) -> None:
        while (wire := self._wires.get(client)) is not None and wire.outbox:
            if wire.deaf:
                self._apply(spec.on_gone(self.server, client))
                return
            item = wire.outbox.popleft()
            self._expected.heard.setdefault(client, []).append(item)
            if isinstance(item, bytes):
                self._apply(spec.on_sent(self.server, client, len(item)))
            else:
                self._apply(spec.on_descriptor_sent(self.server, client))
                self._apply(spec.on_descriptor_taken(self.server, client))

    def _say_last(self, client: ClientId, wire: Wire) -> None:
        """Send what was to be sent before the connection is closed; a descriptor among it is the cache's again."""
        while wire.outbox and not wire.deaf and isinstance(item := wire.outbox.popleft(), bytes):
            self._expected.heard.setdefault(client, []).append(item)

    def _apply(self, outcome: Outcome) -> None:
        self.server, effects = outcome
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._wires[effect.client].outbox.append(effect.data)
            case SendDescriptor():
                self._wires[effect.client].outbox.append(effect.handle)
            case CloseDescriptor():
                self._expected.closed.append(effect.handle)
            case Disconnect():
                wire = self._wires.pop(effect.client)
                self._say_last(effect.client, wire)
                self._expected.closed += (handle for _, handles in wire.written for handle in handles)
                self._expected.disconnected.append(effect.client)
            case PrintStatistics():
                self._expected.statistics += statistics.lines(effect.counters, "...")
            case LimitHit():
                self._expected.limits[effect.limit] += 1
            case Exit():
                self.running = False
            case _:
                assert_never(effect)
