"""The state of a server, as values: `Server`, and one `Client` for each connection.

The functions here build the next state of a client. What happens at an event is in `scache_spec.events`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from scache_spec.cache import Cache, Session
from scache_spec.conversation import SaveEndp, State
from scache_spec.effects import Effects, Send
from scache_spec.statistics import Counters
from scache_spec.vocabulary import ClientId, Limits, UserId


@dataclass(frozen=True, slots=True)
class Client:
    """One connected client.

    `unread` came and was not served yet; `unsent_bytes` were to be sent and not taken yet. `saving` is the save_endp
    whose descriptor is awaited, `held` the session found and not handed over yet; `in_flight` says that a descriptor
    was sent and not read yet. `step_since_ns` is when the step that is unfinished began, None while the client is at
    rest. `user` is who runs the client, None if that does not matter.

    CONN-2  Each client has a conversation of its own. No client waits until another client sends bytes, sends a
    descriptor or reads. [BEYOND]
    """

    id: ClientId
    state: State = State.REQUEST
    unread: bytes = b""
    unsent_bytes: int = 0
    saving: SaveEndp | None = None
    held: Session | None = None
    in_flight: bool = False
    step_since_ns: int | None = None
    user: UserId | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """All there is to know about a server."""

    limits: Limits
    now_ns: int
    statistics_since_ns: int
    idle_since_ns: int
    cache: Cache = field(default_factory=Cache)
    counters: Counters = field(default_factory=Counters)
    clients: Mapping[ClientId, Client] = field(default_factory=lambda: MappingProxyType({}))


Outcome = tuple[Server, Effects]
"""What an event or an action leaves behind: the server after it, and what must be done."""


def send(server: Server, client: Client, data: bytes) -> Outcome:
    """Send bytes to a client that is connected, and count them as not taken yet."""
    now = server.clients[client.id]
    return with_client(server, replace(now, unsent_bytes=now.unsent_bytes + len(data))), (Send(client.id, data),)


def with_client(server: Server, client: Client) -> Server:
    """Return the server with a client that is new or changed."""
    return replace(server, clients=MappingProxyType({**server.clients, client.id: client}))


def without_client(server: Server, client: Client) -> Server:
    """Return the server without a client; the server may be idle from now on."""
    clients = {client_id: each for client_id, each in server.clients.items() if client_id != client.id}
    return replace(server, clients=MappingProxyType(clients), idle_since_ns=server.now_ns)
