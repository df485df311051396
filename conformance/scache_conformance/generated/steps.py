"""The steps of a generated run: what can be done to a server from outside, and what is seen of it.

Each step is written as JSON, which TRACES.md describes for other languages. There are two levels of steps: the four
verbs, each a whole conversation by one client, and `Send`, which sends bytes as they are. Bytes are JSON strings of
characters up to U+00FF, one for each byte.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, assert_never

Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Connect:
    """A client connects and is greeted."""

    client: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """A client ends its stream, and waits for the server to do the same."""

    client: str


@dataclass(frozen=True, slots=True)
class Tick:
    """So many seconds pass on the server's clock."""

    seconds: int


@dataclass(frozen=True, slots=True)
class SaveEndp:
    """A client parks a session. `session` is any number that no other session of the trace has."""

    client: str
    ttl_s: int
    endpoint: bytes
    properties: bytes
    session: int


@dataclass(frozen=True, slots=True)
class SaveDest:
    """A client binds a destination to an endpoint."""

    client: str
    ttl_s: int
    destination: bytes
    properties: bytes
    endpoint: bytes


@dataclass(frozen=True, slots=True)
class FindEndp:
    """A client asks for a session of an endpoint, and takes it if there is one."""

    client: str
    endpoint: bytes


@dataclass(frozen=True, slots=True)
class FindDest:
    """A client asks for a session that a destination leads to, and takes it if there is one."""

    client: str
    destination: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """A client writes bytes at once; the descriptors of new sessions ride on the first of them."""

    client: str
    data: bytes
    sessions: tuple[int, ...] = ()


Step = Connect | HangUp | Tick | SaveEndp | SaveDest | FindEndp | FindDest | Send


@dataclass(frozen=True, slots=True)
class Found:
    """What a find that hit gave."""

    session: int
    properties: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One NUL byte that carries the descriptor of a session."""

    session: int


@dataclass(frozen=True, slots=True)
class End:
    """The server closed the client's connection."""


Item = bytes | Descriptor | End


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen of a step.

    `status` belongs to saves, `found` to finds (None: status 2), `received` to Send. `closed` are the sessions whose
    descriptor has no copy any more, in ascending order.
    """

    status: int | None = None
    found: Found | None = None
    received: tuple[Item, ...] = ()
    closed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceStep:
    """A step and its outcome."""

    step: Step
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Trace:
    """Steps on an empty cache, each with the outcome that the specification gives it."""

    id: int
    steps: tuple[TraceStep, ...]

    @property
    def needs_time(self) -> bool:
        """Tell whether more is asked of time than to empty the cache after everything else is done."""
        return any(isinstance(each.step, Tick) for each in self.steps[:-1])


VERBS: Final[dict[str, type[Step]]] = {
    "connect": Connect,
    "hang_up": HangUp,
    "tick": Tick,
    "save_endp": SaveEndp,
    "save_dest": SaveDest,
    "find_endp": FindEndp,
    "find_dest": FindDest,
    "send": Send,
}
"""The names of the steps in a file."""

_NAMES: Final = {verb: name for name, verb in VERBS.items()}


_KEYS: Final = {"data": "bytes"}
"""Fields of steps that have another name in a file."""


def trace_to_json(trace: Trace) -> Json:
    """Return what stands on one line of a file of traces."""
    return {"trace": trace.id, "needs_time": trace.needs_time, "steps": [_to_json(each) for each in trace.steps]}


def trace_from_json(value: Json) -> Trace:
    """Return the trace that a line holds. Raises ValueError for a line that is none."""
    given = Fields(value)
    return Trace(given.number("trace"), tuple(_from_json(Fields(each)) for each in given.sequence("steps")))


def _to_json(each: TraceStep) -> Json:
    step, outcome = each.step, each.outcome
    values = {_KEYS.get(field.name, field.name): getattr(step, field.name) for field in fields(step)}
    said: dict[str, Json] = {"do": _NAMES[type(step)]}
    said |= {key: _plain(value) for key, value in values.items() if value != ()}
    match step:
        case SaveEndp() | SaveDest():
            said["status"] = outcome.status
        case FindEndp() | FindDest():
            said["found"] = None if outcome.found is None else _found_to_json(outcome.found)
        case Send():
            said["receive"] = [_item_to_json(item) for item in outcome.received]
        case Connect() | HangUp() | Tick():
            pass
        case _:
            assert_never(step)
    return {**said, "closed": list(outcome.closed)} if outcome.closed else said


def _found_to_json(found: Found) -> Json:
    return {"session": found.session, "properties": [_text(each) for each in found.properties]}


def _plain(value: bytes | str | int | tuple[int, ...]) -> Json:
    return _text(value) if isinstance(value, bytes) else value


def _item_to_json(item: Item) -> Json:
    match item:
        case bytes():
            return {"bytes": _text(item)}
        case Descriptor(session):
            return {"session": session}
        case End():
            return {"end": True}
        case _:
            assert_never(item)


def _from_json(given: "Fields") -> TraceStep:
    verb = VERBS.get(given.text("do"))
    if verb is None:
        raise ValueError(f"there is no step {given.text('do')!r}, only {', '.join(VERBS)}")
    outcome = Outcome(
        given.number("status") if given.has("status") else None,
        _found_from_json(given.value("found")) if given.has("found") else None,
        tuple(_item_from_json(Fields(each)) for each in given.sequence("receive")) if given.has("receive") else (),
        given.numbers("closed") if given.has("closed") else (),
    )
    return TraceStep(_step_from_json(verb, given), outcome)


def _step_from_json(verb: type[Step], given: "Fields") -> Step:
    values: dict[str, Any] = {}  # which field takes which type is what the table of readers follows
    for field in fields(verb):
        key = _KEYS.get(field.name, field.name)
        if given.has(key) or field.default is MISSING:
            values[field.name] = _READERS[field.type](given, key)
    return verb(**values)


def _found_from_json(value: Json) -> Found | None:
    if value is None:
        return None
    given = Fields(value)
    return Found(given.number("session"), tuple(_bytes(each) for each in given.sequence("properties")))


def _item_from_json(given: "Fields") -> Item:
    if given.has("bytes"):
        return given.bytes("bytes")
    return Descriptor(given.number("session")) if given.has("session") else End()


class Fields:
    """A JSON object whose fields are asked for by type; ValueError says which is missing or of another type."""

    def __init__(self, value: Json) -> None:
        """Insist on an object."""
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a JSON object, got {value!r}")
        self._fields: Final = value

    def has(self, name: str) -> bool:
        """Tell whether there is such a field."""
        return name in self._fields

    def value(self, name: str) -> Json:
        """Return a field of any type."""
        if name not in self._fields:
            raise ValueError(f"the field {name!r} is missing in {dict(self._fields)!r}")
        return self._fields[name]

    def number(self, name: str) -> int:
        """Return a field that is a whole number."""
        return _number(self.value(name))

    def text(self, name: str) -> str:
        """Return a field that is a string."""
        if not isinstance(value := self.value(name), str):
            raise ValueError(f"the field {name!r} must be a string, not {value!r}")
        return value

    def bytes(self, name: str) -> bytes:
        """Return a field that is a string of bytes."""
        return _bytes(self.value(name))

    def sequence(self, name: str) -> Sequence[Json]:
        """Return a field that is an array."""
        value = self.value(name)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"the field {name!r} must be an array, not {value!r}")
        return value

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a field that is an array of whole numbers."""
        return tuple(_number(each) for each in self.sequence(name))


_READERS: Final[dict[object, Callable[[Fields, str], object]]] = {
    str: Fields.text,
    int: Fields.number,
    bytes: Fields.bytes,
    tuple[int, ...]: Fields.numbers,
}
"""How a field of each type is read."""


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(value: Json) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"bytes are written as a string, not as {value!r}")
    return value.encode("latin-1")


def _number(value: Json) -> int:
    if not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {value!r}")
    return value
