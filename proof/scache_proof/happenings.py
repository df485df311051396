"""What happens besides the rows of the table, as formulas: a client comes, time passes, the operator asks.

Each formula says of every part of the state what it is afterwards, as those of actions do.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from scache_proof.formulas import Successor, Within, completed
from scache_proof.logic import Term, Universe, both, choose, either, negate, number
from scache_proof.world import CODE, GREETING, NOTHING, PARTS, Given, World
from scache_spec.conversation import State
from scache_spec.statistics import Counters


@dataclass(frozen=True, slots=True)
class Happening:
    """One of them: what is true when it comes, and what each part is afterwards."""

    meaning: Callable[[Universe, World, Given], Term]
    successor: Callable[[World, Given], Successor]


COUNTERS: Final = {
    **{each.name: each.name for each in fields(Counters) if not each.name.endswith("_max")},
    "sessions_max": "sessions_peak",
    "endpoints_max": "endpoints_peak",
    "destinations_max": "destinations_peak",
}
"""The part that each counter of the program is."""

_SEEN: Final = ("dest_found", "dest_missed", "endp_found", "endp_missed")
_COUNTS: Final = ("sessions_count", "endpoints_count", "bindings_count", "destinations_count", "bytes_count")


def _quiet(pre: World, changed: Successor) -> Successor:
    return completed(pre, {"said": lambda x: NOTHING, **changed})


def _always(universe: Universe, pre: World, given: Given) -> Term:
    return True


def _connect(pre: World, given: Given) -> Successor:
    c = given.actor
    return completed(
        pre,
        {
            "state": lambda x: choose(x == c, CODE[State.REQUEST], pre.state(x)),
            "connected": lambda x: either(pre.connected(x), x == c),
            "said": lambda x: choose(x == c, GREETING, NOTHING),
        },
    )


def _taken(pre: World, given: Given) -> Successor:
    return _quiet(pre, {"in_flight": lambda x: both(pre.in_flight(x), x != given.actor)})


def _fewer(pre: World) -> Successor:
    """Return counts that did not grow."""
    return {
        **{name: (lambda name=name: Within(0, getattr(pre, name)())) for name in _COUNTS},
        "endpoint_count": lambda e: Within(0, pre.endpoint_count(e)),
        "destination_count": lambda d: Within(0, pre.destination_count(d)),
    }


def _removed(pre: World, stays: Callable[[Term], Term]) -> Successor:
    """Return a cache without some of its sessions, whose descriptors are closed."""
    return {
        **_fewer(pre),
        "cached": lambda s: choose(stays(s), pre.cached(s), 0),
        "closes": lambda s: pre.closes(s) + choose(stays(s), 0, pre.cached(s)),
        "before": lambda a, b: both(pre.before(a, b), stays(a), stays(b)),
    }


def _tick(pre: World, given: Given) -> Successor:
    def lives(b: Term) -> Term:
        return pre.binding_expiry(b) > given.now

    return _quiet(
        pre,
        {
            **_removed(pre, lambda s: pre.expiry(s) > given.now),
            "now": lambda: given.now,
            "bound": lambda b: choose(lives(b), pre.bound(b), 0),
            "tried_before": lambda a, b: both(pre.tried_before(a, b), lives(a), lives(b)),
        },
    )


def _flush(pre: World, given: Given) -> Successor:
    def stays(b: Term) -> Term:
        return negate(given.flushes_destination(pre.destination(b)))

    def ends(s: Term) -> Term:
        """Say whether a session that is held ends now, so that it does not come back."""
        return both(pre.kept(s), given.flushes(pre.endpoint(s)), pre.expiry(s) > pre.now())

    return _quiet(
        pre,
        {
            **_removed(pre, lambda s: negate(given.flushes(pre.endpoint(s)))),
            "expiry": lambda s: choose(ends(s), pre.now(), pre.expiry(s)),
            "bound": lambda b: choose(stays(b), pre.bound(b), 0),
            "tried_before": lambda a, b: both(pre.tried_before(a, b), stays(a), stays(b)),
        },
    )


def _statistics(pre: World, given: Given) -> Successor:
    return _quiet(pre, {name: lambda: 0 for name in (*COUNTERS.values(), *_SEEN)})


def _reload(pre: World, given: Given) -> Successor:
    return _quiet(pre, {name: (lambda value=value: value) for name, value in given.limits.items()})


def _exit(pre: World, given: Given) -> Successor:
    return _quiet(
        pre,
        {
            "state": lambda x: CODE[State.CLOSED],
            **{name: lambda x: False for name in ("saving", "in_flight", "connected", "unconfirmed")},
            **{name: lambda x, y: False for name in ("held", "sending", "before", "tried_before")},
            "owed": lambda x: 0,
            "kept": lambda s: False,
            "closes": lambda s: pre.closes(s) + pre.cached(s) + number(pre.kept(s)),
            **{name: lambda x: 0 for name in ("cached", "bound", "endpoint_count", "destination_count")},
            **{name: lambda: 0 for name in (*_COUNTS, *COUNTERS.values(), *_SEEN)},
        },
    )


HAPPENINGS: Final[dict[str, Happening]] = {
    "a client connects": Happening(lambda universe, pre, given: pre.state(given.actor) == CODE[State.CLOSED], _connect),
    "a client has read its descriptor": Happening(
        lambda universe, pre, given: pre.state(given.actor) != CODE[State.CLOSED], _taken
    ),
    "time passes": Happening(lambda universe, pre, given: given.now >= pre.now(), _tick),
    "statistics are printed": Happening(_always, _statistics),
    "flush": Happening(_always, _flush),
    "reload": Happening(lambda universe, pre, given: given.limits["ttl_limit"] > 0, _reload),
    "exit": Happening(_always, _exit),
}
"""Each by its name."""

assert {name for name in PARTS if name.endswith("_peak")} <= set(COUNTERS.values())
