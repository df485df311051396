"""What can be done to a table of parked sessions, as values, and what is seen when it is done.

The operations of the exploration, and the outcomes that two tables are compared by. Which outcome is the right one is
not known here.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Final, Protocol, Self

from scache_spec.cache import Sizes
from scache_spec.conversation import REQUESTS, Request
from scache_spec.statistics import Counters
from scache_spec.vocabulary import NS_PER_S, Handle, Label, Properties, Status


class ComparedTable(Protocol):
    """A table, and the sessions that were found in it and not handed over yet.

    Handles stand for descriptors. A find that hits holds the session until put_back or hand_over.
    """

    counters: Counters

    def save_endp(
        self, endpoint: Label, properties: Properties, handle: Handle, ttl_s: int, now_ns: int
    ) -> tuple[Status, tuple[Handle, ...]]:
        """Park a session; return the status and the handles closed."""
        ...

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        """Take up a session and hold it."""
        ...

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        """Bind a destination to an endpoint."""
        ...

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        """Take up a session that the destination leads to and hold it."""
        ...

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        """Park a held session again; return the handles closed."""
        ...

    def hand_over(self, handle: Handle) -> None:
        """Let go of a held session."""
        ...

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        """Drop what is due; return the handles closed, in ascending order."""
        ...

    def next_expiry_ns(self) -> int | None:
        """Return the first instant at which something is due."""
        ...

    def sizes(self) -> Sizes:
        """Return how many there are of each."""
        ...

    def held_handles(self) -> tuple[Handle, ...]:
        """Return the handles held, in the order of their finding."""
        ...

    def handles(self) -> tuple[Handle, ...]:
        """Return every handle that is open, in an order that only depends on what the table holds."""
        ...

    def key(self, now_ns: int, names: Mapping[Handle, int]) -> Hashable:
        """Return all that can matter later, with expiry as remaining time and handles renamed."""
        ...

    def copier(self) -> Callable[[], Self]:
        """Return a maker of tables that equal this one as it is now and share nothing with it that changes."""
        ...


@dataclass(frozen=True, slots=True)
class PutBack:
    handle: Handle


@dataclass(frozen=True, slots=True)
class HandOver:
    handle: Handle


@dataclass(frozen=True, slots=True)
class Tick:
    seconds: int


@dataclass(frozen=True, slots=True)
class NextExpiry:
    """A question, but one that makes a lazy heap tidy up."""


Operation = Request | PutBack | HandOver | Tick | NextExpiry

_VERBS: Final[dict[type[Operation], str]] = {
    **{made: name.decode() for name, made in REQUESTS.items() if isinstance(made, type)},
    PutBack: "put_back",
    HandOver: "hand_over",
    Tick: "expire",
    NextExpiry: "next_expiry_ns",
}
"""The method of a table that does each operation. Its parameters are fields of the operation, `handle` and `now_ns`."""

_PARAMETERS: Final = {verb: tuple(signature(getattr(ComparedTable, verb)).parameters)[1:] for verb in _VERBS.values()}


def new_handle(table: ComparedTable) -> Handle:
    """Return the lowest handle that is not open, as a kernel would."""
    taken = set(table.handles())
    return Handle(next(number for number in range(1, len(taken) + 2) if number not in taken))


def instant_after(operation: Operation, now_ns: int) -> int:
    """Return the instant at which the operation is done."""
    return now_ns + operation.seconds * NS_PER_S if isinstance(operation, Tick) else now_ns


def apply(table: ComparedTable, operation: Operation, now_ns: int, handle: Handle) -> Hashable:
    """Do one operation to a table at an instant; return its reply and the handles it closed."""
    verb, given = _call(operation, now_ns, handle)
    outcome: Hashable = getattr(table, verb)(**given)
    return outcome


def call(operation: Operation, now_ns: int, handle: Handle) -> str:
    """Return the operation as a line of Python that calls a table."""
    verb, given = _call(operation, now_ns, handle)
    return f"{verb}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _call(operation: Operation, now_ns: int, handle: Handle) -> tuple[str, dict[str, object]]:
    verb = _VERBS[type(operation)]
    known = {"handle": handle, "now_ns": now_ns}
    return verb, {name: getattr(operation, name, known.get(name)) for name in _PARAMETERS[verb]}
