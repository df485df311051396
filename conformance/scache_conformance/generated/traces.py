"""Traces: each operation in each state of a small cache, with the expected result, as data.

The oracle supplies every result. TRACES.md describes the file for other languages.

Scope: two endpoints, a destination that has the label of one of them, three possible bindings, and two ttls, one of
them above the limit of two seconds. A state has at most two sessions and two bindings. An operation that leads to
more is tried, but nothing after it. A state is the remaining time of each session and binding, in order. So there are
finitely many states.

A reply alone says little about what an operation did. Therefore a probe follows each operation, once for each number of
seconds from 0 to the ttl limit: let these seconds pass, find everything, then park a session at each endpoint and see
where the destination leads.
"""

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, TextIO

from scache_conformance.generated import oracle
from scache_conformance.generated.driver import Divergence, drive
from scache_conformance.generated.steps import (
    Connect,
    Fields,
    FindDest,
    FindEndp,
    HangUp,
    Json,
    SaveDest,
    SaveEndp,
    Send,
    Step,
    Tick,
    Trace,
    TraceStep,
    trace_from_json,
    trace_to_json,
)
from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_spec.cache import Session
from scache_spec.server import Server
from scache_spec.vocabulary import Handle, Limits

FORMAT: Final = "scache-traces"
VERSION: Final = 1
TTL_LIMIT_S: Final = 2

CLIENT: Final = "A"
ENDPOINTS: Final = (b"a", b"b")
DESTINATION: Final = b"a"
BINDINGS: Final = ((b"p", b"a"), (b"q", b"a"), (b"p", b"b"))
TTLS_S: Final = (1, 2 * TTL_LIMIT_S)
SESSIONS_MAX: Final = 2
BINDINGS_MAX: Final = 2

ROUNDS: Final = TTL_LIMIT_S + 1

FIRST_PROBE_SESSION: Final = 101
"""The number of a probe's first session. Sessions before the probe are numbered from 1."""

STALLED_S: Final = 0.5
"""A trace that took this long in real time may have met an expiry: the shortest ttl is 1 s."""

TRIES_MAX: Final = 5

Key = tuple[tuple[tuple[bytes, int], ...], tuple[tuple[bytes, bytes, int], ...]]


@dataclass(frozen=True, slots=True)
class Space:
    """The size of what was explored."""

    states: int
    transitions: int


@dataclass(frozen=True, slots=True)
class Place:
    """A state, the number of the next session, and a shortest trace that leads to the state."""

    server: Server
    next_session: int
    way: tuple[TraceStep, ...]


def operations(session: int) -> tuple[Step, ...]:
    """Return everything that can be done in a state; a save parks the session of that number."""
    return (
        *(SaveEndp(CLIENT, ttl_s, endpoint, b"x", session) for endpoint in ENDPOINTS for ttl_s in TTLS_S),
        *(SaveDest(CLIENT, ttl_s, DESTINATION, *binding) for binding in BINDINGS for ttl_s in TTLS_S),
        *(FindEndp(CLIENT, endpoint) for endpoint in ENDPOINTS),
        FindDest(CLIENT, DESTINATION),
        Tick(1),
    )


def transitions() -> Iterator[tuple[Place, Place]]:
    """Yield each operation in each state, in a fixed order: where it was done, and where it led."""
    connected = Place(oracle.start(Limits(ttl_limit_s=TTL_LIMIT_S)), 1, ())
    first = _after(connected, Connect(CLIENT))
    seen = {_key(first.server)}
    queue = deque([first])
    while queue:
        place = queue.popleft()
        for operation in operations(place.next_session):
            reached = _after(place, operation)
            yield place, reached
            key = _key(reached.server)
            if key not in seen and _is_within(reached.server):
                seen.add(key)
                queue.append(reached)


def space() -> Space:
    """Count the states and the transitions between them."""
    states: set[Key] = set()
    transition_count = 0
    for before, _ in transitions():
        states.add(_key(before.server))
        transition_count += 1
    return Space(len(states), transition_count)


def traces() -> Iterator[Trace]:
    """Yield a trace for each transition and each time after it: its way, itself, a probe, and the cache empty again.

    They come in rounds. Each round holds every transition once, and each transition's times are spread over the rounds.
    """
    probes: dict[tuple[Key, tuple[Handle, ...], int], tuple[TraceStep, ...]] = {}
    numbers = count(1)
    places = [place for _, place in transitions()]
    for turn in range(ROUNDS):
        for number, place in enumerate(places):
            key, handles = _key(place.server), tuple(session.handle for session in _in_order(place.server))
            seconds = (number + turn) % ROUNDS
            if (key, handles, seconds) not in probes:
                probes[key, handles, seconds] = _probe(place.server, seconds)
            yield Trace(next(numbers), place.way + probes[key, handles, seconds])


def export(file: TextIO) -> int:
    """Write every trace and return their number."""
    size = space()
    return write(file, traces(), TTL_LIMIT_S, {"states": size.states, "transitions": size.transitions})


def write(file: TextIO, given: Iterable[Trace], ttl_limit_s: int, more: Mapping[str, Json] | None = None) -> int:
    """Write traces, one JSON value a line, and before them a line that describes them; return their number."""
    head: Json = {"format": FORMAT, "version": VERSION, "ttl_limit_s": ttl_limit_s, **(more or {})}
    print(json.dumps(head), file=file)
    number = 0
    for trace in given:
        print(json.dumps(trace_to_json(trace)), file=file)
        number += 1
    return number


@dataclass(frozen=True, slots=True)
class File:
    """The traces of a file, for a server of this ttl limit. They can be gone through once."""

    ttl_limit_s: int
    traces: Iterator[Trace]

    def __iter__(self) -> Iterator[Trace]:
        """Yield the traces. Raises ValueError, with the line's number, for a line that is none."""
        return self.traces


def read(lines: Iterable[str]) -> File:
    """Return what a file holds. Raises ValueError, with the line's number, for a file that is not of this kind."""
    numbered = enumerate(lines, 1)
    number, line = next(numbered, (1, ""))
    try:
        head = Fields(json.loads(line))
        if head.text("format") != FORMAT or head.number("version") != VERSION:
            raise ValueError(f"expected format {FORMAT!r} version {VERSION}, got {line[:200]!r}")
        return File(head.number("ttl_limit_s"), _read_traces(numbered))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}") from error


def _read_traces(numbered: Iterable[tuple[int, str]]) -> Iterator[Trace]:
    for number, line in numbered:
        try:
            trace = trace_from_json(json.loads(line))
            _insist_on_sense(trace)
            yield trace
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error


def _insist_on_sense(trace: Trace) -> None:
    """Raise ValueError for a step of a client that is not connected, or a session that is parked twice."""
    connected: set[str] = set()
    parked: set[int] = set()
    for number, each in enumerate(trace.steps, 1):
        match each.step:
            case Tick():
                continue
            case Connect(client):
                if client in connected:
                    raise ValueError(f"trace {trace.id}, step {number}: client {client} is connected already")
                connected.add(client)
                continue
            case SaveEndp(session=session):
                new = [session]
            case Send(sessions=sessions):
                new = list(sessions)
            case _:
                new = []
        if each.step.client not in connected:
            raise ValueError(f"trace {trace.id}, step {number}: client {each.step.client} is not connected")
        if isinstance(each.step, HangUp):
            connected.remove(each.step.client)
        if twice := parked.intersection(new):
            raise ValueError(f"trace {trace.id}, step {number}: session {min(twice)} is parked twice")
        parked.update(new)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a file of traces."""

    replayed: int
    steps: int
    skipped: int
    skipped_because: str
    divergences: tuple[Divergence, ...]

    def __str__(self) -> str:
        """Say it in a line."""
        skipped = f", {self.skipped} skipped: {self.skipped_because}" if self.skipped else ""
        failed = f"{len(self.divergences)} failed" if self.divergences else "none failed"
        return f"{self.replayed} traces replayed, {self.steps} steps, {failed}{skipped}"


def replay(
    target: Target,
    given: Iterable[Trace],
    *,
    divergences_max: int = 10,
    progress: Callable[[int], None] = lambda done: None,
) -> Replayed:
    """Carry out traces on a server; stop after so many divergences; `progress` is told how many were carried out.

    Under a virtual clock the server's ttl limit must be that of the traces, else Unavailable. Without one only traces
    that need no time are carried out, each under labels of its own.
    """
    ttl_limit_s = given.ttl_limit_s if isinstance(given, File) else TTL_LIMIT_S
    if target.has_clock and target.declared.ttl_limit_s != ttl_limit_s:
        raise Unavailable(
            f"the traces are for a ttl limit of {ttl_limit_s} s, the server has {target.declared.ttl_limit_s}"
        )
    run_name = secrets.token_hex(4).encode()
    divergences: list[Divergence] = []
    replayed = steps = skipped = 0
    for trace in given:
        if trace.needs_time and not target.has_clock:
            skipped += 1
            continue
        divergence = _drive(target, trace, b"" if target.has_clock else b"%b.%d." % (run_name, trace.id))
        replayed += 1
        steps += len(trace.steps)
        progress(replayed)
        if divergence is not None:
            divergences.append(divergence)
            if len(divergences) == divergences_max:
                break
            _clean(target)
    return Replayed(replayed, steps, skipped, "they need a virtual clock", tuple(divergences))


def _drive(target: Target, trace: Trace, label_prefix: bytes) -> Divergence | None:
    for attempt in range(TRIES_MAX):
        prefix = label_prefix + b"%d." % attempt if label_prefix else b""
        begin_s = time.monotonic()
        try:
            drive(target, trace, label_prefix=prefix)
        except Divergence as divergence:
            # In real time a stall of this machine looks like a server that lets things expire.
            if target.has_clock or divergence.is_silence or time.monotonic() - begin_s < STALLED_S:
                return divergence
        else:
            return None
    raise Unavailable(f"this machine stalls: {TRIES_MAX} times a trace of a few milliseconds took over {STALLED_S} s")


def _clean(target: Target) -> None:
    """Have an empty cache again after a divergence left anything at all there."""
    if target.can_be_started:
        target.revive()
    elif target.has_clock:
        target.advance(target.declared.ttl_limit_s)


def _after(place: Place, step: Step) -> Place:
    server, outcome = oracle.perform(place.server, step)
    parked = isinstance(step, SaveEndp)
    return Place(server, place.next_session + parked, (*place.way, TraceStep(step, outcome)))


def _is_within(server: Server) -> bool:
    return len(server.cache.sessions) <= SESSIONS_MAX and len(server.cache.bindings) <= BINDINGS_MAX


def _probe(server: Server, seconds: int) -> tuple[TraceStep, ...]:
    """Return what shows everything there is in the cache after so many seconds, and then empties it."""
    place = Place(server, FIRST_PROBE_SESSION, ())
    if seconds:
        place = _after(place, Tick(seconds))
    for endpoint in ENDPOINTS:
        place = _drained(place, FindEndp(CLIENT, endpoint))
    for endpoint in ENDPOINTS:
        place = _after(place, SaveEndp(CLIENT, TTL_LIMIT_S, endpoint, b"y", place.next_session))
    place = _drained(place, FindDest(CLIENT, DESTINATION))
    return _after(place, Tick(TTL_LIMIT_S)).way


def _drained(place: Place, find: Step) -> Place:
    """Find until there is nothing more."""
    while True:
        place = _after(place, find)
        if place.way[-1].outcome.found is None:
            return place


def _key(server: Server) -> Key:
    """Return what makes two states the same."""
    now_ns = server.now_ns
    sessions = ((each.endpoint, each.expiry_ns - now_ns) for each in _in_order(server))
    bindings = ((each.properties, each.endpoint, each.expiry_ns - now_ns) for each in server.cache.bindings)
    return tuple(sessions), tuple(bindings)


def _in_order(server: Server) -> list[Session]:
    """Return the sessions by endpoint, those of one in their order: the order between two has no effect."""
    return sorted(server.cache.sessions, key=lambda session: session.endpoint)
