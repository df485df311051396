"""Example conversations, obtained by running the specification.

Only what clients do is written here: every byte that the server sends comes from `scache_spec.events`.
"""

from dataclasses import dataclass
from typing import Final, assert_never

from scache_spec import events
from scache_spec.attributes import encode
from scache_spec.effects import Disconnect, Effects, Send, SendDescriptor
from scache_spec.server import Server
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
    ClientId,
    Handle,
    Limits,
)

DESTINATION: Final = b"smtp\n[127.0.0.1]:2600\n"
DESTINATION_PROPERTIES: Final = b"destination=[127.0.0.1]:2600\nhost_name=127.0.0.1\nhost_addr=127.0.0.1\n\n"
ENDPOINT: Final = b"smtp\n127.0.0.1\n2600\n0\n"
ENDPOINT_PROPERTIES: Final = b"tls_level=0\nreuse_count=2\nexpire_time=1795345680\n\n"

DUMMY_LIST: Final = encode([(DUMMY, b"")])
SAVE_ENDP_LIST: Final = encode(
    [(REQUEST, SAVE_ENDP), (TTL, b"2"), (LABEL, ENDPOINT), (PROPERTY, ENDPOINT_PROPERTIES)],
)
FIND_ENDP_LIST: Final = encode([(REQUEST, FIND_ENDP), (LABEL, ENDPOINT)])
SAVE_DEST_LIST: Final = encode(
    [
        (REQUEST, SAVE_DEST),
        (TTL, b"2"),
        (LABEL, DESTINATION),
        (PROPERTY, DESTINATION_PROPERTIES),
        (LABEL, ENDPOINT),
    ]
)
FIND_DEST_LIST: Final = encode([(REQUEST, FIND_DEST), (LABEL, DESTINATION)])


@dataclass(frozen=True, slots=True)
class Descriptors:
    """One byte that carries so many descriptors."""

    count: int


@dataclass(frozen=True, slots=True)
class Leaves:
    """The client closes its end."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Time passes."""

    seconds: int


Deed = bytes | Descriptors | Leaves | Waits
"""What a client of an example does."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that happened in an example: `by_server` or by the client of this name."""

    client: str
    by_server: bool
    what: Deed


SAVE: Final[tuple[tuple[str, Deed], ...]] = (("A", SAVE_ENDP_LIST), ("A", Descriptors(1)))
FIND: Final[tuple[tuple[str, Deed], ...]] = (("B", FIND_ENDP_LIST), ("B", DUMMY_LIST), ("B", DUMMY_LIST))

EXAMPLES: Final[dict[str, tuple[tuple[str, Deed], ...]]] = {
    "Parking a connection": SAVE,
    "Taking it up in another process": (*SAVE, *FIND),
    "By way of a destination": (
        ("A", SAVE_DEST_LIST),
        *SAVE,
        ("B", FIND_DEST_LIST),
        ("B", DUMMY_LIST),
        ("B", DUMMY_LIST + FIND_DEST_LIST),
    ),
    "A save whose byte carries nothing": (("A", SAVE_ENDP_LIST), ("A", Descriptors(0))),
    "A client that goes away before its descriptor was sent": (
        *SAVE,
        ("B", FIND_ENDP_LIST),
        ("B", Leaves()),
        ("C", FIND_ENDP_LIST),
    ),
    "Nothing there any more": (*SAVE, ("B", Waits(2)), ("B", FIND_ENDP_LIST)),
}


def run(example: tuple[tuple[str, Deed], ...]) -> list[Said]:
    """Return all that happens in an example, the greetings first."""
    state = events.start(Limits(), 0)
    said: list[Said] = []
    names = {name: ClientId(number) for number, name in enumerate(dict.fromkeys(name for name, _ in example), 1)}
    for client in names.values():
        state = _hear(names, said, *events.on_connect(state, client))
    for handle, (name, deed) in enumerate(example, 100):
        client = names[name]
        said.append(Said(name, by_server=False, what=deed))
        match deed:
            case bytes():
                outcome = events.on_bytes(state, client, deed)
            case Descriptors():
                handles = tuple(Handle(handle * 10 + number) for number in range(deed.count))
                outcome = events.on_descriptors(state, client, handles)
            case Leaves():
                outcome = events.on_gone(state, client)
            case Waits():
                outcome = events.on_tick(state, state.now_ns + deed.seconds * NS_PER_S)
            case _:
                assert_never(deed)
        state = _hear(names, said, *outcome)
    return said


def _hear(names: dict[str, ClientId], said: list[Said], state: Server, effects: Effects) -> Server:
    """Note what the server says, and let the client take it."""
    clients = {number: name for name, number in names.items()}
    for effect in effects:
        match effect:
            case Send():
                said.append(Said(clients[effect.client], by_server=True, what=effect.data))
                state = _hear(names, said, *events.on_sent(state, effect.client, len(effect.data)))
            case SendDescriptor():
                said.append(Said(clients[effect.client], by_server=True, what=Descriptors(1)))
                state = _hear(names, said, *events.on_descriptor_sent(state, effect.client))
                state = _hear(names, said, *events.on_descriptor_taken(state, effect.client))
            case Disconnect() if effect.client in state.clients:
                said.append(Said(clients[effect.client], by_server=True, what=Leaves()))
            case _:
                pass  # Inside the server: nothing that a client sees.
    return state
