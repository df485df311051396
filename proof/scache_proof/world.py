"""What the proof speaks of: the parts of a server's state, and what comes with one step.

Each part is a relation or a function over clients, sessions, endpoints, destinations and bindings. The last group is no
memory of a server: it is what an observer writes down who sees what comes and what is sent, and the invariants compare
the two. What is left out of the picture is listed in `scache_proof.assumptions`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import z3

from scache_proof.logic import Sort, Term, z3_sort
from scache_spec.conversation import Input, State

CLIENT, SESSION = Sort.CLIENT, Sort.SESSION
ENDPOINT, DESTINATION, BINDING = Sort.ENDPOINT, Sort.DESTINATION, Sort.BINDING

CODE: Final[dict[State, int]] = {state: code for code, state in enumerate(State)}
"""A state as a number."""

NOTHING, DONE, MALFORMED, FAILED, DUMMY, GREETING, SOMETHING_ELSE = range(7)
"""What is said to a client within one step: three statuses, the invitation, the greeting."""


@dataclass(frozen=True, slots=True)
class Part:
    """One relation or function: what it is of, and what its values are."""

    of: tuple[Sort, ...]
    values: type[bool] | type[int] | Sort
    meaning: str


PARTS: Final[dict[str, Part]] = {
    # Clients, as the server knows them.
    "state": Part((CLIENT,), int, "what the server waits for"),
    "saving": Part((CLIENT,), bool, "a save_endp of the client awaits its descriptor"),
    "saving_endpoint": Part((CLIENT,), ENDPOINT, "the endpoint of that save_endp"),
    "saving_ttl": Part((CLIENT,), int, "the ttl of that save_endp"),
    "saving_size": Part((CLIENT,), int, "the bytes of its label and properties"),
    "held": Part((CLIENT, SESSION), bool, "the session is held for the client"),
    "in_flight": Part((CLIENT,), bool, "a descriptor was sent to the client and not read yet"),
    # Sessions.
    "cached": Part((SESSION,), int, "how often the session is in the cache"),
    "before": Part((SESSION, SESSION), bool, "the one is in turn before the other, at the same endpoint"),
    "endpoint": Part((SESSION,), ENDPOINT, "the endpoint of the session"),
    "expiry": Part((SESSION,), int, "the instant at which the session expires"),
    "size": Part((SESSION,), int, "the bytes of its label and properties"),
    # Bindings: what they are is fixed, whether they are there changes.
    "destination": Part((BINDING,), DESTINATION, "whose binding it is"),
    "leads_to": Part((BINDING,), ENDPOINT, "where it leads"),
    "binding_size": Part((BINDING,), int, "the bytes of its labels and properties"),
    "bound": Part((BINDING,), int, "how often the binding is in the cache"),
    "tried_before": Part((BINDING, BINDING), bool, "the one is tried before the other, at the same destination"),
    "binding_expiry": Part((BINDING,), int, "the instant at which the binding expires"),
    # Clock, limits, counts and counters.
    "now": Part((), int, "the instant by which the step is judged"),
    "ttl_limit": Part((), int, "ttl_limit_s"),
    "sessions_limit": Part((), int, "sessions_max"),
    "endpoint_limit": Part((), int, "sessions_per_endpoint_max"),
    "bindings_limit": Part((), int, "bindings_max"),
    "destination_limit": Part((), int, "bindings_per_destination_max"),
    "bytes_limit": Part((), int, "cached_bytes_max"),
    "sessions_count": Part((), int, "how many sessions are cached"),
    "endpoint_count": Part((ENDPOINT,), int, "how many of them at the endpoint"),
    "endpoints_count": Part((), int, "how many endpoints have a session"),
    "bindings_count": Part((), int, "how many bindings there are"),
    "destination_count": Part((DESTINATION,), int, "how many of them at the destination"),
    "destinations_count": Part((), int, "how many destinations have a binding"),
    "bytes_count": Part((), int, "the bytes of all labels and properties"),
    "dest_hits": Part((), int, "counter"),
    "dest_misses": Part((), int, "counter"),
    "endp_hits": Part((), int, "counter"),
    "endp_misses": Part((), int, "counter"),
    "sessions_peak": Part((), int, "counter"),
    "endpoints_peak": Part((), int, "counter"),
    "destinations_peak": Part((), int, "counter"),
    # What an observer sees.
    "connected": Part((CLIENT,), bool, "the client is there: it was let in and did not go"),
    "said": Part((CLIENT,), int, "what was said to the client in this step"),
    "owed": Part((CLIENT,), int, "requests of the client that have no status yet"),
    "unconfirmed": Part((CLIENT,), bool, "the client was sent a descriptor and has sent no list since"),
    "sending": Part((CLIENT, SESSION), bool, "the descriptor is on its way into the client's socket"),
    "kept": Part((SESSION,), bool, "some client holds the session"),
    "came": Part((SESSION,), bool, "the descriptor has come"),
    "closes": Part((SESSION,), int, "how often the server closed its copy"),
    "passes": Part((SESSION,), int, "how often the descriptor was handed out"),
    "deadline": Part((SESSION,), int, "the latest expiry that the ttl limit allowed when it was saved"),
    "dest_found": Part((), int, "find_dest answered with a session, since statistics were printed"),
    "dest_missed": Part((), int, "find_dest answered without"),
    "endp_found": Part((), int, "find_endp answered with a session, since statistics were printed"),
    "endp_missed": Part((), int, "find_endp answered without"),
}
"""Every part by its name."""


class World:
    """All parts at one instant: `world.cached(session)`."""

    def __init__(self, functions: Mapping[str, Callable[..., Term]]) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Callable[..., Term]:
        """Return a part."""
        return self._functions[name]

    def names(self) -> Iterable[str]:
        """Return the names of its parts."""
        return self._functions


def anything(suffix: str) -> World:
    """Return a world of which nothing is known."""
    return World({name: unknown(name, suffix) for name in PARTS})


def unknown(name: str, suffix: str) -> Callable[..., Term]:
    """Return a part of which nothing is known."""
    part = PARTS[name]
    made: Callable[..., Term] = z3.Function(f"{name}{suffix}", *map(z3_sort, part.of), _values(part.values))
    return made


def _values(values: type[bool] | type[int] | Sort) -> Any:
    if isinstance(values, Sort):
        return z3_sort(values)
    return z3.BoolSort() if values is bool else z3.IntSort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What comes with one step, and what is found by it."""

    what: Input | None = None
    """The input, if the step is a row of the table."""

    actor: Term
    """The client whose step it is."""

    is_named: Term
    """The list names a request."""

    by_dest: Term
    """It names find_dest."""

    wanted: Term
    """The endpoint that a save_endp or find_endp names."""

    destination: Term
    """The destination that a find_dest names."""

    binding: Term
    """The binding that a save_dest names."""

    ttl: Term
    """The ttl that a save names."""

    size: Term
    """The bytes of the label and the properties that a save_endp names."""

    arrives: Callable[[Term], Term]
    """Whether a session's descriptor comes with this step."""

    first: Term
    """The first of those."""

    found: Term
    """The session that a find finds."""

    via: Term
    """The binding that leads there, for find_dest."""

    mine: Term
    """The session that the actor holds, if there is one."""

    now: Term = 0
    """The instant that a tick brings."""

    flushes: Callable[[Term], Term] = lambda _: False
    """Whether a flush names an endpoint."""

    flushes_destination: Callable[[Term], Term] = lambda _: False
    """Whether it names a destination."""

    limits: Mapping[str, Term] = field(default_factory=dict)
    """The limits that a reload brings, by the name of their part."""


def given_anything(what: Input | None) -> Given:
    """Return what comes with a step of which nothing is known."""
    names = {
        "actor": CLIENT, "wanted": ENDPOINT, "destination": DESTINATION, "binding": BINDING, "first": SESSION,
        "found": SESSION, "via": BINDING, "mine": SESSION,
    }  # fmt: skip
    relations = {"arrives": SESSION, "flushes": ENDPOINT, "flushes_destination": DESTINATION}
    limits = [name for name in PARTS if name.endswith("_limit")]
    return Given(
        what=what,
        **{name: z3.Const(name, z3_sort(sort)) for name, sort in names.items()},
        **{name: z3.Int(name) for name in ("ttl", "size", "now")},
        **{name: z3.Bool(name) for name in ("is_named", "by_dest")},
        **{name: z3.Function(name, z3_sort(sort), z3.BoolSort()) for name, sort in relations.items()},
        limits={name: z3.Int(f"new_{name}") for name in limits},
    )
