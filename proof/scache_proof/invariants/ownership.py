"""Ownership: each descriptor has one owner, and is closed or handed out once."""

from scache_proof.invariants.registry import is_in, of_state
from scache_proof.logic import Term, Universe, both, either, implies, negate
from scache_proof.world import (
    CLIENT,
    SESSION,
    World,
)
from scache_spec.conversation import State


@of_state("A session is at one place: in the cache once, or held, or closed, and nowhere before it came.")
def ownership_one_place(u: Universe, w: World) -> Term:
    return u.every(
        [SESSION],
        lambda s: both(
            w.cached(s) >= 0,
            w.cached(s) <= 1,
            w.closes(s) >= 0,
            implies(w.cached(s) > 0, both(negate(w.kept(s)), w.closes(s) == 0)),
            implies(w.kept(s), w.closes(s) == 0),
            implies(either(w.cached(s) > 0, w.kept(s), w.closes(s) > 0), w.came(s)),
        ),
    )


@of_state("Every descriptor that came is in the cache, or held, or closed: none is left open and forgotten.")
def ownership_nothing_forgotten(u: Universe, w: World) -> Term:
    return u.every([SESSION], lambda s: implies(w.came(s), either(w.cached(s) > 0, w.kept(s), w.closes(s) > 0)))


@of_state("The server closes its copy of a descriptor at most once.")
def ownership_closed_once(u: Universe, w: World) -> Term:
    return u.every([SESSION], lambda s: w.closes(s) <= 1)


@of_state("A session is held for at most one client.")
def ownership_one_holder(u: Universe, w: World) -> Term:
    return u.every(
        [SESSION, CLIENT, CLIENT],
        lambda s, c, d: both(implies(w.held(c, s), w.kept(s)), implies(both(w.held(c, s), w.held(d, s)), c == d)),
    )


@of_state("At most one session is held for a client.")
def ownership_holds_one(u: Universe, w: World) -> Term:
    return u.every([CLIENT, SESSION, SESSION], lambda c, s, t: implies(both(w.held(c, s), w.held(c, t)), s == t))


@of_state("A client for which a session is held is in READY or SENDING.")
def ownership_holder_is_served(u: Universe, w: World) -> Term:
    return u.every([CLIENT, SESSION], lambda c, s: implies(w.held(c, s), is_in(w, c, State.READY, State.SENDING)))


@of_state("For a client in READY or SENDING a session is held.")
def ownership_served_holds(u: Universe, w: World) -> Term:
    return u.every(
        [CLIENT],
        lambda c: implies(is_in(w, c, State.READY, State.SENDING), u.some([SESSION], lambda s: w.held(c, s))),
    )


@of_state("A session is handed out at most once, and the server keeps no copy of what it handed out.")
def ownership_handed_out_once(u: Universe, w: World) -> Term:
    return u.every(
        [SESSION], lambda s: both(w.passes(s) >= 0, w.passes(s) <= 1, implies(w.passes(s) > 0, w.closes(s) == 1))
    )
