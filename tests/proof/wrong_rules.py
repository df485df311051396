"""The wrong rules of the registry that speak of the table or the cache, and which invariant each of them breaks.

The wrong program takes steps from concrete states that satisfy every invariant, until a step breaks one.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from random import Random
from types import ModuleType

from tests.wrong.registry import Layer, Rule, rules

from scache_proof.control import Tried
from scache_proof.encoding import broken, happening_scenes, row_scenes
from scache_proof.happenings import HAPPENINGS
from scache_proof.scenes import Scene, Stimulus
from scache_spec.actions import ACTIONS
from scache_spec.conversation import TRANSITIONS
from scache_spec.server import Outcome

SCENES_OF_A_ROW = 200
"""Concrete states in which each row comes, and each thing besides. Arbitrary: every rule that can breaks in fewer."""

FEW = 100
"""States in which a rule that is listed is tried: it is to be seen if it breaks something after all."""

SPEAK_OF = {f"scache_spec.{name}" for name in ("cache", "actions", "conversation", "operation", "statistics")}
SPEAK_OF_TIME = {"on_tick", "on_stop", "on_statistics", "on_descriptors", "on_gone", "on_timeouts"}
"""Events that the proof has in its picture."""


def speaks_of_the_table_or_the_cache(rule: Rule) -> bool:
    """Say whether all that the rule takes the place of is in the table, the cache, the actions or the counters."""
    replaced = [(holder, name) for holder, name, *_ in rule.instead()._changes]
    return bool(replaced) and all(_is_in_the_picture(holder, name) for holder, name in replaced)


def _is_in_the_picture(holder: object, name: object) -> bool:
    if isinstance(holder, ModuleType):
        is_event = holder.__name__ == "scache_spec.events" and name in SPEAK_OF_TIME
        return holder.__name__ in SPEAK_OF or is_event or holder.__name__.startswith("scache_reference")
    return holder is TRANSITIONS or holder is ACTIONS


@contextmanager
def descriptors(count: int) -> Iterator[list[int]]:
    """Open files for handles: some wrong rules duplicate a descriptor."""
    with ExitStack() as stack:
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
        for fd in opened:
            stack.callback(os.close, fd)
        yield opened


Made = tuple[Scene, Stimulus, Outcome]
"""A concrete state, what comes in it, and what the right program makes of it."""


def scenes(handles: list[int]) -> list[Made]:
    """Return concrete states with what comes in them: every row, and everything besides."""
    of_rows = ((scene, came) for *_, scene, came in row_scenes(Random(3), handles=handles))
    besides = (islice(happening_scenes(name, seed=4, handles=handles), SCENES_OF_A_ROW) for name in HAPPENINGS)
    all_of_them = chain(islice(of_rows, SCENES_OF_A_ROW * len(TRANSITIONS)), *besides)
    return [(scene, came, came.carry_out(scene.server)) for scene, came in all_of_them]


def try_rules() -> Iterator[Tried]:
    """Yield which invariant each wrong rule breaks."""
    with descriptors(12) as handles:
        made = scenes(handles)
        few = made[:: len(made) // FEW]
        for rule in rules().values():
            if speaks_of_the_table_or_the_cache(rule):
                yield Tried(
                    rule.slug, first_broken_by(rule, few if rule.slug in NOT_BROKEN else made), _reason(rule.slug)
                )


def _reason(slug: str) -> str:
    return f"{NOT_BROKEN[slug]}; caught by: {caught_elsewhere(slug)}" if slug in NOT_BROKEN else ""


def first_broken_by(rule: Rule, made: list[Made]) -> str | None:
    """Return the invariant that a wrong rule breaks first, None if it breaks none in these states."""
    for scene, came, right in made:
        before = _open()
        with rule.instead():
            try:
                is_same = came.carry_out(scene.server) == right
            except (AssertionError, KeyError, IndexError):
                is_same = False
            row = TRANSITIONS[scene.server.clients[came.client].state, came.what] if came.what else None
            found = [] if is_same else broken(scene, came, row)
        for fd in _open() - before:
            os.close(fd)
        if found:
            return found[0]
    return None


def _open() -> set[int]:
    """Return the descriptors that are open, but for the one that lists them."""
    listed = map(int, os.listdir("/proc/self/fd"))
    return {fd for fd in listed if os.path.exists(f"/proc/self/fd/{fd}")}


_TEXTS = "the picture has no texts of properties: it knows which session and binding, not what is told of them"
_WHOLE = "labels and properties are wholes in the picture, and their bytes are not looked into"
_REMEMBERS = "it remembers something from one step to the next, which no state of the specification does"
_FILES = "the picture has no files: what is done to a descriptor but handing out and closing is the loop's"
_PRINTED = "the picture has no printed lines: it knows the counters, not when and how they are shown"
_BYTES = "the picture has no bytes: which list is still unread, and what the kernel cut short, is the loop's"

NOT_BROKEN = {
    **dict.fromkeys(
        ("first-bindings-properties", "properties-swapped", "no-properties-on-failure", "no-properties-if-malformed",
         "unknown-gets-a-property"), _TEXTS,
    ),
    **dict.fromkeys(
        ("endpoint-and-properties-run-together", "properties-and-endpoint-run-together", "binding-is-known-by-lines",
         "destination-and-endpoint-run-together", "labels-end-at-a-newline", "properties-are-cut",
         "destinations-are-cut", "endpoints-are-cut", "long-endpoints-are-one"), _WHOLE,
    ),
    **dict.fromkeys(
        ("what-was-saved-dies-with-its-client", "save-outlives-its-client", "put-back-keeps-those-behind",
         "expired-sessions-take-room", "expired-sessions-take-room-at-their-endpoint", "expired-bindings-take-room",
         "expired-labels-count"), _REMEMBERS,
    ),
    **dict.fromkeys(
        ("reads-from-what-is-parked", "parked-descriptor-is-non-blocking", "shuts-down-what-expires",
         "shuts-down-what-is-refused"), _FILES,
    ),
    **dict.fromkeys(("success-is-rounded-up", "statistics-only-at-exit", "exits-without-statistics"), _PRINTED),
    **dict.fromkeys(
        ("cut-short-is-not-noticed", "full-table-ends-the-client", "sends-another-byte",
         "list-of-a-dead-client-is-served"), _BYTES,
    ),
}  # fmt: skip
"""The wrong rules that break no invariant, with the reason. Which layers catch each is the registry's to say."""


def caught_elsewhere(slug: str) -> str:
    """Return the layers that catch a wrong rule."""
    return ", ".join(layer.value for layer in Layer if layer not in rules()[slug].escapes)
