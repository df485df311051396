"""Exhaustive comparison of two tables: every reachable pair of states, every operation, every outcome.

How far a scope reaches, what is compared on each edge, and how a difference is shown. Which of the two tables is right
is not known here.

Time enters a state only as the time that is left to each entry, so that the space of states is finite: within a scope
the comparison is exhaustive. Beyond a scope it says nothing.
"""

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.side_by_side.exploration.breadth_first import reachable
from tests.side_by_side.exploration.operations import (
    ComparedTable,
    HandOver,
    NextExpiry,
    Operation,
    PutBack,
    Tick,
    apply,
    call,
    instant_after,
    new_handle,
)

from scache_spec.conversation import FindDest, FindEndp, SaveDest, SaveEndp
from scache_spec.statistics import Counters
from scache_spec.vocabulary import Handle, Label, Limits, Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How far an exploration reaches: the values that operations are built of, and the limits of the tables."""

    limits: Limits
    endpoints: tuple[bytes, ...]
    bindings: tuple[tuple[bytes, bytes, bytes], ...]
    """Destination, properties and endpoint of each binding that is ever saved."""

    endpoint_properties: tuple[bytes, ...] = (b"p",)
    ttls_s: tuple[int, ...]
    ticks_s: tuple[int, ...] = (1,)
    handles_max: int
    """No session is saved while this many handles are open, parked or held."""

    held_max: int = 1
    """Nothing is found while this many sessions are held."""

    remember_peaks: bool = False
    """Let a state include its peaks. Otherwise each edge counts from zero, which leaves fewer states."""

    def saves_and_finds(self) -> tuple[Operation, ...]:
        """Return the operations that need no handle that is held."""
        endpoints = [Label(label) for label in self.endpoints]
        return (
            *(
                SaveEndp(ttl, e, Properties(p))
                for e in endpoints
                for p in self.endpoint_properties
                for ttl in self.ttls_s
            ),
            *(SaveDest(ttl, Label(d), Properties(p), Label(e)) for d, p, e in self.bindings for ttl in self.ttls_s),
            *(FindEndp(endpoint) for endpoint in endpoints),
            *(FindDest(Label(destination)) for destination in dict.fromkeys(each[0] for each in self.bindings)),
        )


NO_COUNTERS: Final = Counters()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tables that went through the same operations."""

    now_ns: int
    left: ComparedTable
    right: ComparedTable


Copiers = tuple[Callable[[], ComparedTable], Callable[[], ComparedTable]]


class DifferenceFound(Exception):  # noqa: N818 - it is what a search looks for
    """The two tables do not agree on the last operation."""

    def __init__(self, operation: Operation, left: object, right: object) -> None:
        super().__init__(operation, left, right)
        self.operation, self.left, self.right = operation, left, right


@dataclass(frozen=True, slots=True)
class Explored:
    """What an exploration went through, and where it ended."""

    states: int
    transitions: int
    depth: int
    difference: DifferenceFound | None = None
    operations: tuple[Operation, ...] = ()
    """The shortest way to the difference, the operation that shows it included."""


def explore(scope: Scope, left: ComparedTable, right: ComparedTable, transitions_max: float = math.inf) -> Explored:
    """Compare two fresh tables all over a scope; stop at the first difference, or after so many transitions."""
    choices = scope.saves_and_finds()
    states = transitions = depth = 0

    def successors(pair: Pair) -> Iterator[tuple[Operation, Pair]]:
        nonlocal transitions
        copiers = pair.left.copier(), pair.right.copier()
        for operation in enabled(scope, choices, pair.left):
            transitions += 1
            yield operation, step(scope, pair, copiers, operation)

    way: tuple[Operation, ...] = ()
    try:
        for _, trail in reachable(Pair(0, left, right), successors, lambda pair: pair_key(scope, pair)):
            states += 1
            way = trail.operations() if trail is not None else ()
            depth = len(way)
            if transitions >= transitions_max:
                break
    except DifferenceFound as difference:
        return Explored(states, transitions, depth, difference, (*way, difference.operation))
    return Explored(states, transitions, depth)


def enabled(scope: Scope, choices: tuple[Operation, ...], table: ComparedTable) -> Iterator[Operation]:
    """Yield what can be done next."""
    held = table.held_handles()
    may_save = len(table.handles()) < scope.handles_max
    may_find = len(held) < scope.held_max
    for operation in choices:
        if isinstance(operation, SaveEndp):
            if may_save:
                yield operation
        elif may_find or isinstance(operation, SaveDest):
            yield operation
    for handle in held:
        yield PutBack(handle)
        yield HandOver(handle)
    for seconds in scope.ticks_s:
        yield Tick(seconds)
    yield NextExpiry()


def step(scope: Scope, pair: Pair, copiers: Copiers, operation: Operation) -> Pair:
    """Do one operation to copies of both tables; DifferenceFound unless they agree on all that can be seen."""
    now_ns, handle = instant_after(operation, pair.now_ns), new_handle(pair.left)
    left, right = copiers[0](), copiers[1]()
    if not scope.remember_peaks:
        left.counters = right.counters = NO_COUNTERS
    seen_left, seen_right = (observe(table, operation, now_ns, handle) for table in (left, right))
    if seen_left != seen_right:
        raise DifferenceFound(operation, seen_left, seen_right)
    return Pair(now_ns, left, right)


CRASHES: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What a table that is wrong may raise; it then differs from one that answers."""


def observe(table: ComparedTable, operation: Operation, now_ns: int, handle: Handle) -> tuple[Hashable, ...]:
    """Do one operation; return the reply with the handles closed, the sizes and the counters after it."""
    try:
        reply = apply(table, operation, now_ns, handle)
    except CRASHES as crash:
        return (repr(crash),)
    return reply, table.sizes(), table.counters


def pair_key(scope: Scope, pair: Pair) -> Hashable:
    """Return what tells this pair from others: equal keys, equal futures."""
    names = {handle: number for number, handle in enumerate(pair.left.handles())}
    peaks = peaks_of(pair.left.counters) if scope.remember_peaks else None
    return pair.left.key(pair.now_ns, names), pair.right.key(pair.now_ns, names), peaks


def peaks_of(counters: Counters) -> tuple[int, int, int]:
    """Return the counters that saturate; hits and misses go on for ever and have no effect."""
    return counters.destinations_max, counters.endpoints_max, counters.sessions_max


def script(
    scope: Scope, left: type, right: type | str, operations: tuple[Operation, ...], setup: tuple[str, ...] = ()
) -> str:
    """Return a program that does the operations to both tables and prints what each of them shows.

    A table that is given by its name is one that the lines of `setup` make.
    """
    settings = ", ".join(f"{name}={getattr(scope.limits, name)!r}" for name in SHOWN_LIMITS)
    *way, last = (f"    print(table.{line}, table.sizes(), table.counters)" for line in calls(scope, left, operations))
    lines = [
        "from scache_spec.statistics import Counters\nfrom scache_spec.vocabulary import Limits",
        *sorted(f"from {each.__module__} import {each.__name__}" for each in {left, right} if isinstance(each, type)),
        *setup,
        "",
        f"limits = Limits({settings})",
        f"for table in ({left.__name__}(limits), {right if isinstance(right, str) else right.__name__}(limits)):",
        '    print(f"# {type(table).__name__}")',
        *way,
        *(() if scope.remember_peaks else ("    table.counters = Counters()",)),
        last,
    ]
    return "\n".join(lines) + "\n"


SHOWN_LIMITS: Final = ("ttl_limit_s", "sessions_max", "sessions_per_endpoint_max", "bindings_max")


def calls(scope: Scope, table_type: type, operations: tuple[Operation, ...]) -> Iterator[str]:
    """Yield each operation as a call; handles and instants are those that the table is given."""
    table, now_ns = table_type(scope.limits), 0
    for operation in operations:
        now_ns, handle = instant_after(operation, now_ns), new_handle(table)
        yield call(operation, now_ns, handle)
        apply(table, operation, now_ns, handle)
