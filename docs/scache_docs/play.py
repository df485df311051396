"""The specification as something to play with: steps go in, and what happened comes out, with the row that fired.

It runs in the page as well as here: nothing but the specification and the standard library is imported.

Sources: none beyond `scache_spec`, which does all of the work.
"""

import json
from dataclasses import dataclass
from typing import Final
from unittest.mock import patch

from scache_spec import events
from scache_spec.attributes import Decoded, decode, encode
from scache_spec.conversation import TRANSITIONS, Input, State, Transition
from scache_spec.dances import EXAMPLES, Deed, Descriptors, Leaves, Waits
from scache_spec.effects import CloseDescriptor, Disconnect, Effects, LimitHit, Send, SendDescriptor
from scache_spec.server import Server
from scache_spec.vocabulary import (
    DUMMY,
    LABEL,
    NS_PER_S,
    PROPERTY,
    REQUEST,
    REQUEST_ATTRIBUTES,
    TTL,
    ClientId,
    Handle,
    Limits,
)

SHOWN: Final = str.maketrans({0: r"\0", 10: r"\n"})
"""Written as in a program: not every font has signs for them."""

TTL_LIMIT_S: Final = 60
"""Longer than a server's 2 s: whoever reads takes that long between two steps, but time passes only when told to."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of the log: who, what, and the clause that it follows from."""

    who: str
    what: str
    clause: str = ""


class _Rows(dict[tuple[State, Input], Transition]):
    """The table, which notes each row that is looked up."""

    def __init__(self, log: list[Happened]) -> None:
        super().__init__(TRANSITIONS)
        self._log: Final = log

    def __getitem__(self, key: tuple[State, Input]) -> Transition:
        row = super().__getitem__(key)
        state, what = key
        shown = f"{state.name}: {what.value} → {row.action.value} → {row.next.name}".replace("`", '"')
        self._log.append(Happened("row", shown, row.clause))
        return row


Steps = tuple[tuple[str, Deed], ...]
"""What the clients of an example do, each by its name."""


class Play:
    """A server of the specification, and clients by name."""

    def __init__(self, ttl_limit_s: int = TTL_LIMIT_S) -> None:
        """Start a server with an empty cache."""
        self.log: Final[list[Happened]] = []
        self._server = events.start(Limits(ttl_limit_s=ttl_limit_s, max_idle_s=None), 0)
        self._clients: Final[dict[str, ClientId]] = {}
        self._handles = 0
        self._passed: Final[dict[Handle, str]] = {}

    def connect(self, name: str) -> None:
        """Let a client of this name connect; nothing happens if it is there."""
        if name not in self._clients:
            self._clients[name] = ClientId(max(self._clients.values(), default=0) + 1)
            self.log.append(Happened(name, "connects"))
            self._follow(*events.on_connect(self._server, self._clients[name]))

    def do(self, name: str, deed: Deed) -> None:
        """Let a client do one thing; ValueError if it is gone, or cannot do that now."""
        if isinstance(deed, Waits):
            self.log.append(Happened("time", f"{deed.seconds} s pass"))
            self._follow(*events.on_tick(self._server, self._server.now_ns + deed.seconds * NS_PER_S))
            self._follow(*events.on_timeouts(self._server))
            return
        self.connect(name)
        client = self._clients[name]
        match deed:
            case bytes():
                self.log.append(Happened(name, readable(deed)))
                if deed:
                    self._row(client, deed)
            case Descriptors(count=count):
                self._give(name, client, count)
            case Leaves():
                self.log.append(Happened(name, "closes its end"))
                with patch.object(events, "TRANSITIONS", _Rows(self.log)):
                    outcome = events.on_gone(self._server, client)
                del self._clients[name]
                self._follow(*outcome)

    def _give(self, name: str, client: ClientId, count: int) -> None:
        handles = tuple(Handle(self._handles + number) for number in range(1, count + 1))
        self._handles += count
        self._passed.update((handle, f"#{handle} of {name}") for handle in handles)
        passed = "".join(f" {self._passed[handle]}" for handle in handles)
        self.log.append(Happened(name, f"one byte, with{passed or 'out a descriptor'}"))
        if self._server.clients[client].state is State.DESCRIPTOR:
            with patch.object(events, "TRANSITIONS", _Rows(self.log)):
                outcome = events.on_descriptors(self._server, client, handles)
            self._follow(*outcome)
        else:
            self._follow(*events.on_unsolicited(self._server, handles))
            self._row(client, b"\0")

    def _row(self, client: ClientId, data: bytes) -> None:
        with patch.object(events, "TRANSITIONS", _Rows(self.log)):
            outcome = events.on_bytes(self._server, client, data)
        self._follow(*outcome)

    def _follow(self, server: Server, effects: Effects) -> None:
        """Carry out what the server wants done; the clients take what they are sent at once."""
        self._server = server
        names = {client: name for name, client in self._clients.items()}
        for effect in effects:
            match effect:
                case Send(client=client, data=data):
                    self.log.append(Happened("cache", f"to {names[client]}: {readable(data)}"))
                    self._follow(*events.on_sent(self._server, client, len(data)))
                case SendDescriptor(client=client, handle=handle):
                    self.log.append(
                        Happened("cache", f"to {names[client]}: one byte, with descriptor {self._passed[handle]}")
                    )
                    with patch.object(events, "TRANSITIONS", _Rows(self.log)):
                        outcome = events.on_descriptor_sent(self._server, client)
                    self._follow(*outcome)
                    self._follow(*events.on_descriptor_taken(self._server, client))
                case CloseDescriptor(handle=handle):
                    self.log.append(Happened("inside", f"the cache closes its copy of {self._passed[handle]}"))
                case LimitHit(limit=limit):
                    self.log.append(Happened("inside", f"a limit is hit: {limit.value}"))
                case Disconnect(client=client) if client in names:
                    self.log.append(Happened("cache", f"closes the connection of {names[client]}"))
                    self._clients.pop(names[client], None)
                case _:
                    pass  # statistics and exit are no client's business

    def shown(self) -> dict[str, list[dict[str, str]]]:
        """Return clients, sessions and bindings, as words."""
        now_ns = self._server.now_ns
        names = {client: name for name, client in self._clients.items()}
        return {
            "clients": [
                {
                    "name": names[client.id],
                    "waits for": f"{client.state.name}: {client.state.value}",
                    "holds": self._passed[client.held.handle] if client.held else "",
                }
                for client in self._server.clients.values()
            ],
            "sessions": [
                {
                    "endpoint": _text(session.endpoint),
                    "properties": _text(session.properties),
                    "descriptor": self._passed[session.handle],
                    "ends in": f"{(session.expiry_ns - now_ns) // NS_PER_S} s",
                }
                for session in self._server.cache.sessions
            ],
            "bindings": [
                {
                    "destination": _text(binding.destination),
                    "properties": _text(binding.properties),
                    "endpoint": _text(binding.endpoint),
                    "ends in": f"{(binding.expiry_ns - now_ns) // NS_PER_S} s",
                }
                for binding in self._server.cache.bindings
            ],
        }


def readable(data: bytes) -> str:
    """Return the lists in the bytes as `name=value, …`, and as they are what is no whole list."""
    lists = []
    while isinstance(decoded := decode(data, len(data) + 1, len(data) + 1), Decoded):
        lists.append(", ".join(f"{_text(name)}={_text(value)}" for name, value in decoded.attributes) or "empty list")
        data = decoded.rest
    return "  ·  ".join([*lists, *([f"unfinished: {_text(data)}"] if data else [])])


def _text(data: bytes) -> str:
    return data.decode("latin-1").translate(SHOWN)


def request(name: str, ttl: str, first: str, properties: str, second: str) -> bytes:
    """Return the bytes of a request made of the fields of a form; `dummy` for "ready" and "received"."""
    if name == DUMMY.decode():
        return encode([(DUMMY, b"")])
    labels = iter((first, second))
    values = {TTL: lambda: ttl, PROPERTY: lambda: properties, LABEL: lambda: next(labels)}
    wanted = REQUEST_ATTRIBUTES[name.encode()]
    return encode([(REQUEST, name.encode()), *((each, values[each]().encode()) for each in wanted)])


def unescaped(text: str) -> bytes:
    r"""Return the bytes that a text with escapes such as \0, \n and \xff stands for; ValueError if it is none."""
    try:
        return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
    except UnicodeError as error:
        raise ValueError(f"these are no bytes: {error}") from error


def deed(step: dict[str, str]) -> Deed:
    """Return what a step of the page stands for; ValueError if it makes no sense."""
    match step:
        case {"do": "request", "name": name, "ttl": ttl, "first": first, "properties": properties, "second": second}:
            return request(name, ttl, first, properties, second)
        case {"do": "bytes", "text": text}:
            return unescaped(text)
        case {"do": "descriptors", "count": count}:
            return Descriptors(int(count))
        case {"do": "leave"}:
            return Leaves()
        case {"do": "wait", "seconds": seconds}:
            return Waits(int(seconds))
        case _:
            raise ValueError(f"no step: {step}")


class Page:
    """What the page calls: text goes in and JSON comes out."""

    def __init__(self, more: dict[str, Steps] | None = None) -> None:
        """Begin with a new server, and with more examples than the specification's."""
        self.play = Play()
        self._more: Final = more or {}

    def begin(self) -> str:
        """Begin anew."""
        self.play = Play()
        return self._told(0)

    def examples(self) -> str:
        """Return the titles of the examples."""
        return json.dumps(list(EXAMPLES))

    def more(self) -> str:
        """Return the titles of what can be stepped through besides, one for each pair on the page of "what if"."""
        return json.dumps(list(self._more))

    def length(self, title: str) -> int:
        """Return how many steps an example has."""
        return len(self._steps(title))

    def _steps(self, title: str) -> Steps:
        return EXAMPLES[title] if title in EXAMPLES else self._more[title]

    def example(self, title: str, number: int) -> str:
        """Do one step of an example."""
        name, what = self._steps(title)[number]
        return self._do(name, what)

    def step(self, client: str, text: str) -> str:
        """Do one step that the page describes in JSON."""
        try:
            return self._do(client, deed(json.loads(text)))
        except ValueError as error:
            return json.dumps({"error": str(error)})

    def _do(self, client: str, what: Deed) -> str:
        before = len(self.play.log)
        self.play.do(client, what)
        return self._told(before)

    def _told(self, before: int) -> str:
        log = [{"who": each.who, "what": each.what, "clause": each.clause} for each in self.play.log[before:]]
        return json.dumps({"log": log, **self.play.shown()})
