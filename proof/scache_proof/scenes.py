"""Concrete states of the specification: made up at random, pictured as the proof sees them, and taken one step further.

A scene is a server of `scache_spec` and what an observer wrote down about it. `act` has the program itself do a step.
Nothing here knows a formula.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, TypeVar

from scache_proof.happenings import COUNTERS
from scache_spec import events, operation
from scache_spec.attributes import encode
from scache_spec.cache import Binding, Cache, Session
from scache_spec.conversation import TRANSITIONS, Input, SaveEndp, State, Transition
from scache_spec.server import Client, Outcome, Server
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
)

T = TypeVar("T")
NOW_NS: Final = 5000 * NS_PER_S
ACTOR: Final = ClientId(1)
"""The client whose step it is."""

NO_BINDING: Final = (b"", b"", b"")
ENDPOINTS: Final = (Label(b"a"), Label(b"b"))
DESTINATIONS: Final = (Label(b"a"), Label(b"d"))
# A destination and an endpoint have the same name on purpose.


@dataclass(frozen=True, slots=True)
class Notes:
    """What an observer wrote down."""

    connected: frozenset[ClientId] = frozenset()
    said: tuple[tuple[ClientId, int], ...] = ()
    owed: tuple[tuple[ClientId, int], ...] = ()
    unconfirmed: frozenset[ClientId] = frozenset()
    sending: frozenset[tuple[ClientId, Handle]] = frozenset()
    came: frozenset[Handle] = frozenset()
    closes: tuple[Handle, ...] = ()
    passes: tuple[Handle, ...] = ()
    deadline: tuple[tuple[Handle, int], ...] = ()
    dest_found: int = 0
    dest_missed: int = 0
    endp_found: int = 0
    endp_missed: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """A server and the notes about it."""

    server: Server
    notes: Notes


@dataclass(frozen=True, slots=True)
class Stimulus:
    """What comes: a client's input, or something else by its name."""

    what: Input | None
    client: ClientId = ACTOR
    attributes: tuple[Attribute, ...] = ()
    handles: tuple[Handle, ...] = ()
    happening: str = ""
    now_ns: int = 0
    limits: Limits = field(default_factory=Limits)
    flushed: frozenset[Label] = frozenset()
    """The labels that a flush names."""

    def call(self) -> tuple[str, tuple[object, ...]]:
        """Return the name of the event in `scache_spec.events`, and its arguments after the server."""
        match self.what:
            case Input.ONE_DESCRIPTOR | Input.NOT_ONE_DESCRIPTOR:
                return "on_descriptors", (self.client, self.handles)
            case Input.SENT:
                return "on_descriptor_sent", (self.client,)
            case Input.GONE:
                return "on_gone", (self.client,)
            case None:
                return {
                    "a client connects": ("on_connect", (self.client,)),
                    "a client has read its descriptor": ("on_descriptor_taken", (self.client,)),
                    "time passes": ("on_tick", (self.now_ns,)),
                    "statistics are printed": ("on_statistics", ()),
                    "exit": ("on_stop", ()),
                }[self.happening]
            case _:
                return "on_bytes", (self.client, encode(self.attributes))

    def carry_out(self, server: Server) -> Outcome:
        """Have the program do it."""
        if self.happening == "reload":
            return operation.on_limits(server, self.limits)
        if self.happening == "flush":
            return operation.on_flush(server, self.flushed.__contains__)
        name, arguments = self.call()
        outcome: Outcome = getattr(events, name)(server, *arguments)
        return outcome


def bytes_of(cache: Cache) -> int:
    """Return how many bytes of labels and properties there are. Counted apart from the specification."""
    sessions = sum(len(each.endpoint) + len(each.properties) for each in cache.sessions)
    return sessions + sum(len(each.destination + each.properties + each.endpoint) for each in cache.bindings)


# Making scenes up.


def made_up(random: Random, state: State, *, handles: Sequence[int] = range(12)) -> Scene:
    """Return a scene in which client 1 is in this state; handles are taken from those given."""
    free = list(map(Handle, handles))
    random.shuffle(free)
    limit_s = random.randint(1, 3)

    def some_session(least_ns: int) -> Session:
        expiry_ns = NOW_NS + random.choice([least_ns, NS_PER_S, random.randint(least_ns, limit_s * NS_PER_S)])
        return Session(random.choice(ENDPOINTS), Properties(random.choice([b"", b"p", b"qq"])), free.pop(), expiry_ns)

    cached = tuple(some_session(1) for _ in range(random.randint(0, 3)))
    bindings = {
        (d, p, e): Binding(d, p, e, NOW_NS + random.choice([NS_PER_S, random.randint(1, limit_s * NS_PER_S)]))
        for d, p, e in (
            (random.choice(DESTINATIONS), Properties(random.choice([b"", b"p"])), random.choice(ENDPOINTS))
            for _ in range(random.randint(0, 3))
        )
    }
    clients: dict[ClientId, Client] = {}
    for number in range(1, random.randint(2, 4)):
        now = state if number == 1 else random.choice(list(State))
        if now is not State.CLOSED:
            client = _made_up_client(random, ClientId(number), now, limit_s, some_session)
            clients[client.id] = client
    cache = Cache(cached, tuple(bindings.values()))
    held = {client.id: client.held for client in clients.values() if client.held is not None}
    owned = [*cached, *held.values()]
    gone = [free.pop() for _ in range(random.randint(0, 2))]
    counters = {name: random.randint(0, 3) for name in COUNTERS}
    few = [0, 1, 2, 3, 99, 99, 99]
    limits = Limits(
        ttl_limit_s=limit_s,
        sessions_max=random.choice(few),
        sessions_per_endpoint_max=random.choice(few),
        bindings_max=random.choice(few),
        bindings_per_destination_max=random.choice(few),
        cached_bytes_max=bytes_of(cache) + random.choice([-1, 0, 1, 2, 3, 4, 99, 99, 99]),
    )
    server = Server(limits, NOW_NS, NOW_NS, NOW_NS, cache, Counters(**counters), clients)
    notes = Notes(
        connected=frozenset(clients),
        owed=tuple((id_, int(client.state is State.DESCRIPTOR)) for id_, client in clients.items()),
        unconfirmed=frozenset(id_ for id_, client in clients.items() if client.state is State.RECEIVED),
        sending=frozenset((id_, held[id_].handle) for id_ in held if clients[id_].state is State.SENDING),
        came=frozenset([*(session.handle for session in owned), *gone]),
        closes=tuple(gone),
        passes=tuple(handle for handle in gone if random.random() < 0.5),
        deadline=tuple((session.handle, session.expiry_ns + random.randint(0, 2)) for session in owned),
        dest_found=counters["dest_hits"],
        dest_missed=counters["dest_misses"],
        endp_found=counters["endp_hits"],
        endp_missed=counters["endp_misses"],
    )
    return Scene(server, notes)


def _made_up_client(
    random: Random, id_: ClientId, state: State, limit_s: int, some_session: Callable[[int], Session]
) -> Client:
    """Return a client in this state; `some_session` is given after how many nanoseconds a session may end."""
    since_ns = NOW_NS - random.choice([0, 1, limit_s * NS_PER_S, 3600 * NS_PER_S])
    client = Client(id_, state, step_since_ns=None if state is State.REQUEST else since_ns)
    if state is State.DESCRIPTOR:
        saving = SaveEndp(random.randint(1, 4), random.choice(ENDPOINTS), Properties(random.choice([b"", b"p"])))
        return replace(client, saving=saving)
    if state in (State.READY, State.SENDING):
        held = some_session(-1 if random.random() < 0.6 else -2 * NS_PER_S)
        return replace(client, held=replace(held, expiry_ns=NOW_NS) if random.random() < 0.2 else held)
    if state is State.RECEIVED:
        return replace(client, in_flight=random.random() < 0.5)
    return client


_MALFORMED: Final = (
    ((REQUEST, FIND_ENDP),),
    ((REQUEST, FIND_DEST), (PROPERTY, b"d")),
    ((REQUEST, SAVE_ENDP), (TTL, b"0"), (LABEL, b"a"), (PROPERTY, b"")),
)
_OTHER: Final = ((), ((LABEL, b"a"),), ((REQUEST, FIND_ENDP), (LABEL, b"a")), ((REQUEST, FIND_DEST), (LABEL, b"d")))


def stimulus(random: Random, scene: Scene, what: Input, *, handles: Sequence[int] = range(12)) -> Stimulus | None:
    """Return something that is this input in this scene, None if nothing made up is."""
    fresh = [Handle(handle) for handle in handles if handle not in scene.notes.came]
    label = random.choice(ENDPOINTS)
    destination = random.choice(DESTINATIONS)
    ttl = b"%d" % random.randint(1, 4)
    name = random.choice([FIND_ENDP, FIND_DEST])
    find = ((REQUEST, name), (LABEL, label if name == FIND_ENDP else destination))
    client = scene.server.clients[ClientId(1)]
    attributes: tuple[Attribute, ...] = ()
    match what:
        case Input.NO_REQUEST:
            attributes = ((LABEL, b"a"), (REQUEST, FIND_ENDP))
        case Input.UNKNOWN_REQUEST:
            attributes = ((REQUEST, b"nothing"), (LABEL, b"a"))
        case Input.MALFORMED_REQUEST:
            attributes = random.choice(_MALFORMED)
        case Input.SAVE_ENDP:
            attributes = ((REQUEST, SAVE_ENDP), (TTL, ttl), (LABEL, label), (PROPERTY, random.choice([b"", b"p"])))
        case Input.SAVE_DEST:
            known = [(each.destination, each.properties, each.endpoint) for each in scene.server.cache.bindings]
            new = (destination, Properties(random.choice([b"", b"p"])), label)
            d, p, e = random.choice([*known, new, new])
            attributes = ((REQUEST, SAVE_DEST), (TTL, ttl), (LABEL, d), (PROPERTY, p), (LABEL, e))
        case Input.FIND_HIT | Input.FIND_MISS:
            if hits(scene.server.cache, find) != (what is Input.FIND_HIT):
                return None
            attributes = find
        case Input.ONE_DESCRIPTOR:
            return Stimulus(what, handles=(fresh[0],))
        case Input.NOT_ONE_DESCRIPTOR:
            return Stimulus(what, handles=tuple(fresh[: random.choice([0, 2, 3])]))
        case Input.DUMMY_LIST:
            attributes = ((DUMMY, random.choice([b"", b"x"])),)
        case Input.OTHER_LIST:
            attributes = random.choice(_OTHER)
        case _:
            return Stimulus(what)
    return Stimulus(what, attributes=attributes) if not client.in_flight else None


def hits(cache: Cache, find: tuple[Attribute, ...]) -> bool:
    """Say whether a find has something to find. Written apart from the specification, which is on trial."""
    (_, name), (_, label) = find
    leads = [each.endpoint for each in cache.bindings if each.destination == label] if name == FIND_DEST else [label]
    return any(session.endpoint in leads for session in cache.sessions)


@contextmanager
def table_with(state: State, what: Input, row: Transition) -> Iterator[None]:
    """Let the program run on a table in which one row is another."""
    right = TRANSITIONS[state, what]
    TRANSITIONS[state, what] = row
    try:
        yield
    finally:
        TRANSITIONS[state, what] = right
