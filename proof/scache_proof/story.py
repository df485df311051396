"""A counterexample, told: which step, who was there, before and after, what breaks, and a script that shows it.

The example is not z3's own but a small concrete one: the specification itself takes the wrong step in it.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from random import Random
from textwrap import indent
from typing import Final

from scache_proof.encoding import broken, row_scenes
from scache_proof.invariants import INVARIANTS
from scache_proof.pictures import act
from scache_proof.scenes import Scene, Stimulus, table_with
from scache_spec.conversation import Input, State, Transition
from scache_spec.vocabulary import NS_PER_S, Limits

TRIED: Final = 3000
"""Concrete states that are looked through for a small example. Arbitrary: a second's work."""


def tell(state: State, what: Input, row: Transition, invariant: str) -> str:
    """Return the story of how a row breaks an invariant."""
    example = _smallest(state, what, row, invariant)
    title = f"The row {state.name} on {what.name}: {row.action.name}, then {row.next.name}"
    text = f"breaks {invariant}: {INVARIANTS[invariant].text}"
    if example is None:
        return f"{title}\n{text}\nNone of {TRIED} concrete states shows it; z3 has an example that is larger or rarer."
    scene, came, others = example
    lines = [title, text, *(f"and {name}: {INVARIANTS[name].text}" for name in others), "", "Before:"]
    lines += _described(scene)
    lines += ["", f"Client {came.client}: {what.value}. The server: {row.action.value}.", "", "After:"]
    with table_with(state, what, row):
        try:
            lines += _described(act(scene, came))
        except (AssertionError, KeyError, IndexError) as error:
            lines.append(f"  nothing: the program fails with {type(error).__name__}, as the action lacks what it needs")
    lines += ["", "This script shows it:", "", indent(script(scene, came, state, what, row), "    ")]
    return "\n".join(lines)


def _smallest(state: State, what: Input, row: Transition, invariant: str) -> tuple[Scene, Stimulus, list[str]] | None:
    best: tuple[int, Scene, Stimulus, list[str]] | None = None
    scenes = row_scenes(Random(1), [(state, what)])
    with table_with(state, what, row):
        for _ in range(TRIED):
            *_, scene, came = next(scenes)
            size = _size(scene)
            if (best is None or size < best[0]) and invariant in (names := broken(scene, came, row)):
                best = size, scene, came, [name for name in names if name != invariant]
    return best and best[1:]


def _size(scene: Scene) -> int:
    cache = scene.server.cache
    return 3 * len(scene.server.clients) + len(cache.sessions) + len(cache.bindings) + len(scene.notes.came)


def _described(scene: Scene) -> Iterator[str]:
    server, notes = scene.server, scene.notes
    said = {0: "nothing", 1: "status 0", 2: "status 1", 3: "status 2", 4: "`dummy`", 5: "the greeting", 6: "too much"}
    for client in server.clients.values():
        held = f", session {client.held.handle} is held for it" if client.held else ""
        saving = ", its save_endp awaits the descriptor" if client.saving else ""
        heard = dict(notes.said).get(client.id, 0)
        yield f"  client {client.id} is in {client.state.name}{held}{saving}" + (
            f"; it was told {said[heard]}" if heard else ""
        )
    if not server.clients:
        yield "  no client is connected"
    for session in server.cache.sessions:
        left_s = (session.expiry_ns - server.now_ns) / NS_PER_S
        yield f"  session {session.handle} is cached at endpoint {session.endpoint.decode()!r}, {left_s:.3g} s left"
    for binding in server.cache.bindings:
        yield f"  destination {binding.destination.decode()!r} is bound to endpoint {binding.endpoint.decode()!r}"
    held_ones = {client.held.handle for client in server.clients.values() if client.held}
    cached = {session.handle for session in server.cache.sessions}
    for handle in sorted(notes.came):
        closes = notes.closes.count(handle)
        if closes:
            handed = " after it was handed out" if handle in notes.passes else ""
            yield f"  session {handle} is closed{handed}" + (f", {closes} times" if closes > 1 else "")
        elif handle not in held_ones | cached:
            yield f"  session {handle} is nowhere: its descriptor stays open, and nobody can find it"


def script(scene: Scene, came: Stimulus, state: State, what: Input, row: Transition) -> str:
    """Return a program that has the specification take the step."""
    name, arguments = came.call()
    given = "".join(f", {source(each)}" for each in arguments)
    return f"""\
from scache_spec import events
from scache_spec.cache import Binding, Cache, Session
from scache_spec.conversation import TRANSITIONS, Action, Input, SaveEndp, State, Transition
from scache_spec.server import Client, Server
from scache_spec.statistics import Counters
from scache_spec.vocabulary import Limits

TRANSITIONS[{source(state)}, {source(what)}] = {source(row)}
before = {source(scene.server)}
after, effects = events.{name}(before{given})
print("effects:", *effects, sep="\\n  ")
print("clients:", *after.clients.values(), sep="\\n  ")
print("sessions:", *after.cache.sessions, sep="\\n  ")"""


def source(value: object) -> str:
    """Return the Python source of a value of the specification."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if is_dataclass(value):
        named = (f"{each.name}={source(getattr(value, each.name))}" for each in fields(value))
        return f"{type(value).__name__}({', '.join(named)})"
    if isinstance(value, Limits):
        return f"Limits({', '.join(f'{name}={limit}' for name, limit in value._asdict().items())})"
    if isinstance(value, tuple):
        return "(" + "".join(f"{source(each)}, " for each in value) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{source(key)}: {source(each)}" for key, each in value.items()) + "}"
    return repr(value)
