"""What generated clients have done so far, the state of the specification after it, and what a client may do next.

Rules see the state of the specification, so that they can ask for sessions that are in the cache or were in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from scache_conformance.generated import oracle
from scache_conformance.generated.steps import (
    Connect,
    FindDest,
    FindEndp,
    HangUp,
    SaveDest,
    SaveEndp,
    Send,
    Step,
    Tick,
    Trace,
    TraceStep,
)
from scache_conformance.wire import lists
from scache_spec.cache import Cache
from scache_spec.conversation import State
from scache_spec.server import Server
from scache_spec.vocabulary import NS_PER_S, Limits

CLIENTS: Final = ("A", "B", "C")
LAST_CLIENT: Final = "Z"


@dataclass(frozen=True, slots=True)
class Names:
    """The labels and properties of a run. They are few, so that clients use the same. One label names an endpoint and a
    destination."""

    endpoints: tuple[bytes, ...]
    destinations: tuple[bytes, ...]
    nobodys: bytes
    properties: tuple[bytes, ...] = (b"", b"x=1\n\n", b"\xff y")

    @classmethod
    def tagged(cls, tag: bytes) -> "Names":
        """Return labels that no other tag has."""
        return cls((tag + b"e", tag + b"e\n", tag + b"f"), (tag + b"e", tag + b"d"), tag + b"nobody")


@dataclass(slots=True)
class Scenario:
    """All clients, what they did so far, and the state after it. All are connected at the start."""

    names: Names
    limits: Limits
    has_clock: bool
    steps: list[TraceStep] = field(default_factory=list)
    session_count: int = 0
    unwritten: dict[str, bytes] = field(default_factory=dict)
    """The rest of a list of which a client has written the beginning."""
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        """Connect all clients."""
        self.server = oracle.start(self.limits)
        for client in CLIENTS:
            self.take(Connect(client))

    def take(self, step: Step) -> None:
        """Take a step."""
        self.server, outcome = oracle.perform(self.server, step)
        self.steps.append(TraceStep(step, outcome))

    def is_in(self, client: str, state: State) -> bool:
        """Tell whether the server waits for a client in this state, with no list half written."""
        seen = self.server.clients[oracle.client_id(client)]
        return seen.state is state and not seen.unread

    def new_session(self) -> int:
        """Return the number of one more session."""
        self.session_count += 1
        return self.session_count

    def pass_time(self, seconds: int) -> None:
        """Let time pass, unless there is no clock, or a client would be disconnected for its slowness."""
        since = [each.step_since_ns for each in self.server.clients.values() if each.step_since_ns is not None]
        now_ns = self.server.now_ns + seconds * NS_PER_S
        if self.has_clock and all(each + self.limits.ipc_timeout_s * NS_PER_S > now_ns for each in since):
            self.take(Tick(seconds))

    def tear_down(self) -> None:
        """Hang up all clients, find every session that is left, and let all bindings expire."""
        for client in CLIENTS:
            self.take(HangUp(client))
        self.take(Connect(LAST_CLIENT))
        while self.server.cache.sessions:
            self.take(FindEndp(LAST_CLIENT, self.server.cache.sessions[0].endpoint))
        self.take(Tick(self.limits.ttl_limit_s))

    def trace(self, number: int) -> Trace:
        """Return what was done as a trace."""
        return Trace(number, tuple(self.steps))


T = TypeVar("T")


@dataclass(slots=True)
class Turn:
    """One client's turn in a scenario. Every choice in it is drawn from one number."""

    scenario: Scenario
    client: str
    number: int

    @property
    def cache(self) -> Cache:
        """Return what is cached."""
        return self.scenario.server.cache

    def drawn_from(self, choices: Sequence[T]) -> T:
        """Draw one of the choices: the first if the number is 0."""
        self.number, place = divmod(self.number, len(choices))
        return choices[place]

    def endpoint(self) -> bytes:
        """Draw an endpoint."""
        return self.drawn_from(self.scenario.names.endpoints)

    def destination(self) -> bytes:
        """Draw a destination."""
        return self.drawn_from(self.scenario.names.destinations)

    def ttl_s(self) -> int:
        """Draw a ttl: short, at the limit or above it. Without a clock it is the limit, so that nothing expires."""
        limit_s = self.scenario.limits.ttl_limit_s
        ttls_s = (1, limit_s, limit_s + 1, 2_147_483_647, max(1, limit_s - 1))
        return self.drawn_from(ttls_s) if self.scenario.has_clock else limit_s

    def save_endp(self, endpoint: bytes) -> None:
        """Park a session."""
        properties, ttl_s = self.drawn_from(self.scenario.names.properties), self.ttl_s()
        self.scenario.take(SaveEndp(self.client, ttl_s, endpoint, properties, self.scenario.new_session()))

    def save_dest(self, destination: bytes, properties: bytes, endpoint: bytes) -> None:
        """Bind a destination to an endpoint."""
        self.scenario.take(SaveDest(self.client, self.ttl_s(), destination, properties, endpoint))

    def find_endp(self, endpoint: bytes) -> None:
        """Find a session of an endpoint."""
        self.scenario.take(FindEndp(self.client, endpoint))

    def find_dest(self, destination: bytes) -> None:
        """Find a session that a destination leads to."""
        self.scenario.take(FindDest(self.client, destination))

    def send(self, data: bytes, descriptor_count: int = 0) -> None:
        """Send bytes in one write, and with the first byte so many descriptors of new sessions."""
        sessions = tuple(self.scenario.new_session() for _ in range(descriptor_count))
        self.scenario.take(Send(self.client, data, sessions))

    def send_in_two(self, data: bytes) -> None:
        """Write the beginning of a list, drawn, and keep the rest for later."""
        cut = 1 + self.number % (len(data) - 1)
        self.scenario.unwritten[self.client] = data[cut:]
        self.send(data[:cut])

    def send_the_rest(self) -> None:
        """Write what was kept for later."""
        self.send(self.scenario.unwritten.pop(self.client))

    def find_of_nothing(self) -> bytes:
        """Return a find that misses. Its reply says that everything before it was served."""
        return lists.find_endp(self.scenario.names.nobodys)

    def reconnect(self) -> None:
        """Hang up, whatever the client left unfinished, and connect again."""
        self.scenario.unwritten.pop(self.client, None)
        self.scenario.take(HangUp(self.client))
        self.scenario.take(Connect(self.client))
