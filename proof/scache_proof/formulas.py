"""What each input means and what each action and event does, as formulas.

A formula of an action or event says of every part of the state what it is afterwards, computed from what there was
before: parts it does not name stay as they are. So it has one successor, which is compared with what the program makes
(`scache_proof.encoding`). Which action a row has is not known here: the table is the program's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scache_proof.logic import Term, Universe, both, choose, either, implies, larger, negate, number, smaller
from scache_proof.world import (
    BINDING,
    CODE,
    DONE,
    DUMMY,
    FAILED,
    MALFORMED,
    NOTHING,
    PARTS,
    SESSION,
    Given,
    World,
)
from scache_spec.conversation import INPUTS, Action, Input, State


@dataclass(frozen=True, slots=True)
class Within:
    """A value of which only bounds are known: how many of many are due, no formula can count."""

    least: Term
    most: Term


Successor = dict[str, Callable[..., Term]]
"""What each part is afterwards."""

REQUESTS: Final = {*INPUTS.values(), Input.FIND_HIT, Input.FIND_MISS, Input.UNKNOWN_REQUEST, Input.MALFORMED_REQUEST}
"""Inputs that are asked a status for."""

LISTS: Final = {*REQUESTS, Input.EMPTY_LIST, Input.NO_REQUEST, Input.DUMMY_LIST, Input.OTHER_LIST}


# What inputs mean.


def meaning(universe: Universe, pre: World, given: Given, state: State) -> Term:
    """Return what is true when this input comes in this state."""
    what = given.what
    assert what is not None
    # No list is read while a descriptor is in flight (FD-14).
    facts = [pre.state(given.actor) == CODE[state], either(what not in LISTS, negate(pre.in_flight(given.actor)))]
    facts.append(
        universe.every([SESSION], lambda s: implies(pre.held(given.actor, s), pre.held(given.actor, given.mine)))
    )
    facts.append(
        universe.every([SESSION], lambda s: implies(given.arrives(s), both(negate(pre.came(s)), pre.closes(s) == 0)))
    )
    if what is not Input.OTHER_LIST:
        facts.append(given.is_named == (what in REQUESTS))
    match what:
        case Input.FIND_HIT:
            facts.append(is_found(universe, pre, given))
        case Input.FIND_MISS:
            facts.append(finds_nothing(universe, pre, given))
        case Input.SAVE_ENDP:
            facts += [given.ttl > 0, given.size >= 0]
        case Input.SAVE_DEST:
            facts += [given.ttl > 0, pre.binding_size(given.binding) >= 0]
        case Input.SENT:
            facts.append(universe.some([SESSION], lambda s: pre.sending(given.actor, s)))
        case _:
            pass
    if what in (Input.FIND_HIT, Input.FIND_MISS, Input.OTHER_LIST, Input.MALFORMED_REQUEST):
        facts.append(implies(given.by_dest, given.is_named))
    else:
        facts.append(negate(given.by_dest))
    if what is Input.ONE_DESCRIPTOR:
        facts.append(universe.every([SESSION], lambda s: given.arrives(s) == (s == given.first)))
    elif what is Input.NOT_ONE_DESCRIPTOR:
        # None, or one that is not the first: which is never looked at.
        several = universe.some([SESSION], lambda s: both(given.arrives(s), s != given.first))
        none = universe.every([SESSION], lambda s: negate(given.arrives(s)))
        facts.append(either(none, both(given.arrives(given.first), several)))
    else:
        facts.append(universe.every([SESSION], lambda s: negate(given.arrives(s))))
    return both(*facts)


def is_first(universe: Universe, world: World, session: Term) -> Term:
    """Return that a session is first in turn at its endpoint."""
    return both(world.cached(session) > 0, universe.every([SESSION], lambda s: negate(world.before(s, session))))


def leads_nowhere(universe: Universe, world: World, binding: Term) -> Term:
    """Return that the endpoint of a binding has no session."""
    return universe.every(
        [SESSION], lambda s: implies(world.cached(s) > 0, world.endpoint(s) != world.leads_to(binding))
    )


def is_found(universe: Universe, pre: World, given: Given) -> Term:
    """Return that the find finds this session, for find_dest by this binding."""
    found, via = given.found, given.via
    by_dest = both(
        pre.bound(via) > 0,
        pre.destination(via) == given.destination,
        pre.leads_to(via) == pre.endpoint(found),
        universe.every([BINDING], lambda b: implies(pre.tried_before(b, via), leads_nowhere(universe, pre, b))),
    )
    return both(is_first(universe, pre, found), choose(given.by_dest, by_dest, pre.endpoint(found) == given.wanted))


def finds_nothing(universe: Universe, pre: World, given: Given) -> Term:
    """Return that the find finds no session."""
    by_dest = universe.every(
        [BINDING, SESSION],
        lambda b, s: negate(
            both(
                pre.bound(b) > 0,
                pre.destination(b) == given.destination,
                pre.cached(s) > 0,
                pre.endpoint(s) == pre.leads_to(b),
            )
        ),
    )
    by_endp = universe.every([SESSION], lambda s: implies(pre.cached(s) > 0, pre.endpoint(s) != given.wanted))
    return choose(given.by_dest, by_dest, by_endp)


# What every row does: the state changes, and the observer writes down what came.


def _every_row(pre: World, given: Given, after: State) -> Successor:
    c, what, is_here = given.actor, given.what, after is not State.CLOSED

    def if_here(name: str) -> Callable[..., Term]:
        part = getattr(pre, name)
        return lambda x, *more: both(part(x, *more), either(x != c, is_here))

    gone = what is Input.GONE
    return {
        "state": lambda x: choose(x == c, CODE[after], pre.state(x)),
        "saving": if_here("saving"),
        "in_flight": if_here("in_flight"),
        "held": if_here("held"),
        "sending": lambda x, s: both(pre.sending(x, s), either(x != c, is_here and what is not Input.SENT)),
        "connected": lambda x: both(pre.connected(x), either(x != c, not gone)),
        "said": lambda x: NOTHING,
        "owed": lambda x: choose(x == c, 0 if gone else pre.owed(x) + (what in REQUESTS), pre.owed(x)),
        "unconfirmed": lambda x: choose(
            x == c, what is Input.SENT or both(what not in LISTS and not gone, pre.unconfirmed(x)), pre.unconfirmed(x)
        ),
        "came": lambda s: either(pre.came(s), given.arrives(s)),
        "passes": lambda s: pre.passes(s) + (number(pre.sending(c, s)) if what is Input.SENT else 0),
        "deadline": lambda s: choose(
            both(what is Input.ONE_DESCRIPTOR, s == given.first), pre.now() + pre.ttl_limit(), pre.deadline(s)
        ),
    }


def row_successor(pre: World, given: Given, action: Action, after: State) -> Successor:
    """Return what each part is after a row with this action and this next state."""
    changed = _every_row(pre, given, after)
    c = given.actor
    changed |= ACTIONS[action](pre, given, World({**{name: getattr(pre, name) for name in PARTS}, **changed}))
    said, held, owed = changed["said"], changed["held"], changed["owed"]
    changed["owed"] = lambda x: owed(x) - number(either(*(said(x) == status for status in (DONE, MALFORMED, FAILED))))
    is_find = given.what in (Input.FIND_HIT, Input.FIND_MISS)

    def answered(seen: str, status: int, by_dest: bool) -> Callable[..., Term]:
        return lambda: getattr(pre, seen)() + number(both(is_find, given.by_dest == by_dest, said(c) == status))

    changed |= {
        "dest_found": answered("dest_found", DONE, True),
        "dest_missed": answered("dest_missed", FAILED, True),
        "endp_found": answered("endp_found", DONE, False),
        "endp_missed": answered("endp_missed", FAILED, False),
    }
    changed["kept"] = lambda s: either(both(pre.kept(s), negate(pre.held(c, s))), held(c, s))
    return completed(pre, changed)


def completed(pre: World, changed: Successor) -> Successor:
    """Return it with every part that does not change."""
    return {name: changed.get(name, getattr(pre, name)) for name in PARTS}


# What actions need: where it is not there, the program fails.

_SENDS: Final = {
    Action.REPLY_MALFORMED, Action.REPLY_FAILED, Action.INVITE, Action.BIND, Action.HOLD, Action.PARK, Action.REFUSE,
    Action.LET_GO,
}  # fmt: skip
"""Actions that look their client up in the server."""

_HANDS: Final = {Action.SEND, Action.LET_GO, Action.PUT_BACK}
"""Actions on the session that is held."""


def needs(pre: World, given: Given, action: Action, after: State) -> Term:
    """Return that the action can be carried out."""
    facts: list[Term] = [action not in _SENDS or after is not State.CLOSED]
    if action in _HANDS:
        facts.append(pre.held(given.actor, given.mine))
    match action:
        case Action.REPLY_FAILED:
            facts.append(given.is_named)
        case Action.INVITE:
            facts.append(given.what is Input.SAVE_ENDP)
        case Action.BIND:
            facts.append(given.what is Input.SAVE_DEST)
        case Action.HOLD:
            facts.append(given.what is Input.FIND_HIT)
        case Action.PARK:
            facts += [pre.saving(given.actor), given.arrives(given.first)]
        case _:
            pass
    return both(*facts)


# What actions do.


def _ignore(pre: World, given: Given, row: World) -> Successor:
    return {}


def _says(given: Given, what: Term) -> Callable[..., Term]:
    return lambda x: choose(x == given.actor, what, NOTHING)


def _reply_malformed(pre: World, given: Given, row: World) -> Successor:
    return {"said": _says(given, MALFORMED)}


def _reply_failed(pre: World, given: Given, row: World) -> Successor:
    return {
        "said": _says(given, FAILED),
        "dest_misses": lambda: pre.dest_misses() + number(given.by_dest),
        "endp_misses": lambda: pre.endp_misses() + number(negate(given.by_dest)),
    }


def _invite(pre: World, given: Given, row: World) -> Successor:
    c = given.actor
    return {
        "said": _says(given, DUMMY),
        "saving": lambda x: either(row.saving(x), x == c),
        "saving_endpoint": lambda x: choose(x == c, given.wanted, pre.saving_endpoint(x)),
        "saving_ttl": lambda x: choose(x == c, given.ttl, pre.saving_ttl(x)),
        "saving_size": lambda x: choose(x == c, given.size, pre.saving_size(x)),
    }


def _bind(pre: World, given: Given, row: World) -> Successor:
    new = given.binding
    destination = pre.destination(new)
    is_known = pre.bound(new) > 0
    is_done = either(
        is_known,
        both(
            pre.bindings_count() < pre.bindings_limit(),
            pre.destination_count(destination) < pre.destination_limit(),
            pre.bytes_count() + pre.binding_size(new) <= pre.bytes_limit(),
        ),
    )
    is_added = both(is_done, negate(is_known))
    destinations = pre.destinations_count() + number(both(is_added, pre.destination_count(destination) == 0))
    return {
        "said": _says(given, choose(is_done, DONE, FAILED)),
        "bound": lambda b: pre.bound(b) + number(both(is_added, b == new)),
        "binding_expiry": lambda b: choose(
            both(is_done, b == new), pre.now() + smaller(given.ttl, pre.ttl_limit()), pre.binding_expiry(b)
        ),
        "tried_before": lambda a, b: either(
            pre.tried_before(a, b),
            both(is_added, b == new, a != new, pre.bound(a) > 0, pre.destination(a) == destination),
        ),
        "bindings_count": lambda: pre.bindings_count() + number(is_added),
        "destination_count": lambda d: pre.destination_count(d) + number(both(is_added, d == destination)),
        "destinations_count": lambda: destinations,
        "bytes_count": lambda: pre.bytes_count() + choose(is_added, pre.binding_size(new), 0),
        "destinations_peak": lambda: choose(
            is_done, larger(pre.destinations_peak(), destinations), pre.destinations_peak()
        ),
        "endpoints_peak": lambda: choose(
            is_done, larger(pre.endpoints_peak(), pre.endpoints_count()), pre.endpoints_peak()
        ),
    }


def _hold(pre: World, given: Given, row: World) -> Successor:
    c, found = given.actor, given.found
    at = pre.endpoint(found)
    return {
        "said": _says(given, DONE),
        "cached": lambda s: pre.cached(s) - number(s == found),
        "before": lambda a, b: both(pre.before(a, b), a != found, b != found),
        "held": lambda x, s: choose(x == c, s == found, pre.held(x, s)),
        "sessions_count": lambda: pre.sessions_count() - 1,
        "endpoint_count": lambda e: pre.endpoint_count(e) - number(e == at),
        "endpoints_count": lambda: pre.endpoints_count() - number(pre.endpoint_count(at) == 1),
        "bytes_count": lambda: pre.bytes_count() - pre.size(found),
        "dest_hits": lambda: pre.dest_hits() + number(given.by_dest),
        "endp_hits": lambda: pre.endp_hits() + number(negate(given.by_dest)),
    }


def _park(pre: World, given: Given, row: World) -> Successor:
    c, new = given.actor, given.first
    at, size = pre.saving_endpoint(c), pre.saving_size(c)
    is_done = both(
        pre.sessions_count() < pre.sessions_limit(),
        pre.endpoint_count(at) < pre.endpoint_limit(),
        pre.bytes_count() + size <= pre.bytes_limit(),
    )
    endpoints = pre.endpoints_count() + number(pre.endpoint_count(at) == 0)
    return {
        "said": _says(given, choose(is_done, DONE, FAILED)),
        "saving": lambda x: both(row.saving(x), x != c),
        "closes": lambda s: pre.closes(s) + number(both(negate(is_done), given.arrives(s))),
        "cached": lambda s: pre.cached(s) + number(both(is_done, s == new)),
        "endpoint": lambda s: choose(both(is_done, s == new), at, pre.endpoint(s)),
        "size": lambda s: choose(both(is_done, s == new), size, pre.size(s)),
        "expiry": lambda s: choose(
            both(is_done, s == new), pre.now() + smaller(pre.saving_ttl(c), pre.ttl_limit()), pre.expiry(s)
        ),
        "before": lambda a, b: either(
            pre.before(a, b), both(is_done, b == new, a != new, pre.cached(a) > 0, pre.endpoint(a) == at)
        ),
        "sessions_count": lambda: pre.sessions_count() + number(is_done),
        "endpoint_count": lambda e: pre.endpoint_count(e) + number(both(is_done, e == at)),
        "endpoints_count": lambda: choose(is_done, endpoints, pre.endpoints_count()),
        "bytes_count": lambda: pre.bytes_count() + choose(is_done, size, 0),
        "sessions_peak": lambda: choose(
            is_done, larger(pre.sessions_peak(), pre.sessions_count() + 1), pre.sessions_peak()
        ),
        "endpoints_peak": lambda: choose(is_done, larger(pre.endpoints_peak(), endpoints), pre.endpoints_peak()),
    }


def _refuse(pre: World, given: Given, row: World) -> Successor:
    return {
        "said": _says(given, FAILED),
        "saving": lambda x: both(row.saving(x), x != given.actor),
        "closes": lambda s: pre.closes(s) + number(given.arrives(s)),
    }


def _send(pre: World, given: Given, row: World) -> Successor:
    c = given.actor
    return {"sending": lambda x, s: either(row.sending(x, s), both(x == c, row.held(x, s)))}


def _let_go(pre: World, given: Given, row: World) -> Successor:
    c = given.actor
    return {
        "held": lambda x, s: both(x != c, pre.held(x, s)),
        "in_flight": lambda x: either(x == c, pre.in_flight(x)),
        "closes": lambda s: pre.closes(s) + number(pre.held(c, s)),
    }


def _put_back(pre: World, given: Given, row: World) -> Successor:
    c, mine = given.actor, given.mine
    at = pre.endpoint(mine)
    is_back = pre.expiry(mine) > pre.now()
    return {
        "held": lambda x, s: both(x != c, pre.held(x, s)),
        "cached": lambda s: pre.cached(s) + number(both(is_back, s == mine)),
        "closes": lambda s: pre.closes(s) + number(both(negate(is_back), s == mine)),
        "before": lambda a, b: either(
            pre.before(a, b), both(is_back, a == mine, b != mine, pre.cached(b) > 0, pre.endpoint(b) == at)
        ),
        "sessions_count": lambda: pre.sessions_count() + number(is_back),
        "endpoint_count": lambda e: pre.endpoint_count(e) + number(both(is_back, e == at)),
        "endpoints_count": lambda: pre.endpoints_count() + number(both(is_back, pre.endpoint_count(at) == 0)),
        "bytes_count": lambda: pre.bytes_count() + choose(is_back, pre.size(mine), 0),
    }


ACTIONS: Final[dict[Action, Callable[[World, Given, World], Successor]]] = {
    Action.IGNORE: _ignore,
    Action.REPLY_MALFORMED: _reply_malformed,
    Action.REPLY_FAILED: _reply_failed,
    Action.INVITE: _invite,
    Action.BIND: _bind,
    Action.HOLD: _hold,
    Action.PARK: _park,
    Action.REFUSE: _refuse,
    Action.SEND: _send,
    Action.LET_GO: _let_go,
    Action.PUT_BACK: _put_back,
    Action.FORGET: _ignore,
}
"""The formula of each action: the state before, what came, and the state as every row leaves it."""
