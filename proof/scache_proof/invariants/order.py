"""Order: which session a find takes, and which place a session or a binding has."""

from scache_proof.formulas import finds_nothing, is_first, leads_nowhere
from scache_proof.invariants.registry import Step, of_state, of_step
from scache_proof.logic import Term, Universe, both, choose, either, implies, negate
from scache_proof.world import (
    BINDING,
    CLIENT,
    FAILED,
    SESSION,
    World,
)
from scache_spec.conversation import Input


@of_state("The cached sessions of an endpoint are in turn one after the other: of two, one is before the other.")
def order_of_sessions(u: Universe, w: World) -> Term:
    return both(
        u.every(
            [SESSION, SESSION],
            lambda s, t: both(
                implies(
                    w.before(s, t),
                    both(w.cached(s) > 0, w.cached(t) > 0, w.endpoint(s) == w.endpoint(t), negate(w.before(t, s))),
                ),
                implies(
                    both(w.cached(s) > 0, w.cached(t) > 0, w.endpoint(s) == w.endpoint(t), s != t),
                    either(w.before(s, t), w.before(t, s)),
                ),
            ),
        ),
        u.every([SESSION] * 3, lambda s, t, r: implies(both(w.before(s, t), w.before(t, r)), w.before(s, r))),
    )


@of_state("The bindings of a destination are tried one after the other, and none of them is there twice.")
def order_of_bindings(u: Universe, w: World) -> Term:
    return both(
        u.every(
            [BINDING, BINDING],
            lambda a, b: both(
                w.bound(a) >= 0,
                w.bound(a) <= 1,
                implies(
                    w.tried_before(a, b),
                    both(
                        w.bound(a) > 0,
                        w.bound(b) > 0,
                        w.destination(a) == w.destination(b),
                        negate(w.tried_before(b, a)),
                    ),
                ),
                implies(
                    both(w.bound(a) > 0, w.bound(b) > 0, w.destination(a) == w.destination(b), a != b),
                    either(w.tried_before(a, b), w.tried_before(b, a)),
                ),
            ),
        ),
        u.every(
            [BINDING] * 3,
            lambda a, b, c: implies(both(w.tried_before(a, b), w.tried_before(b, c)), w.tried_before(a, c)),
        ),
    )


@of_step("A session that a find takes is the first in turn of its endpoint, and of the endpoint that was asked for.")
def order_first_in_turn(step: Step) -> Term:
    u, pre, post, given = step.universe, step.pre, step.post, step.given
    c = given.actor

    def is_right(s: Term) -> Term:
        by_dest = u.some(
            [BINDING],
            lambda b: both(
                pre.bound(b) > 0,
                pre.destination(b) == given.destination,
                pre.leads_to(b) == pre.endpoint(s),
                u.every([BINDING], lambda a: implies(pre.tried_before(a, b), leads_nowhere(u, pre, a))),
            ),
        )
        return both(is_first(u, pre, s), choose(given.by_dest, by_dest, pre.endpoint(s) == given.wanted))

    return u.every([SESSION], lambda s: implies(both(post.held(c, s), negate(pre.held(c, s))), is_right(s)))


@of_step("A find is answered with status 2 only where there is nothing to find.")
def order_finds_what_there_is(step: Step) -> Term:
    if step.what not in (Input.FIND_HIT, Input.FIND_MISS):
        return True
    is_miss = step.post.said(step.given.actor) == FAILED
    return implies(is_miss, finds_nothing(step.universe, step.pre, step.given))


@of_step("A session that is saved goes last in turn at its endpoint; one that is put back goes first.")
def order_last_and_first(step: Step) -> Term:
    pre, post = step.pre, step.post

    def is_right(s: Term, t: Term) -> Term:
        comes = both(pre.cached(s) == 0, post.cached(s) > 0)
        other = both(s != t, post.cached(t) > 0, post.endpoint(s) == post.endpoint(t))
        return implies(both(comes, other), choose(pre.kept(s), post.before(s, t), post.before(t, s)))

    return step.universe.every([SESSION, SESSION], is_right)


@of_step("What stays in the cache keeps its endpoint and its place among what stays.")
def order_kept(step: Step) -> Term:
    u, pre, post = step.universe, step.pre, step.post
    return both(
        u.every(
            [SESSION, SESSION],
            lambda s, t: implies(
                both(pre.cached(s) > 0, pre.cached(t) > 0, post.cached(s) > 0, post.cached(t) > 0),
                both(post.before(s, t) == pre.before(s, t), post.endpoint(s) == pre.endpoint(s)),
            ),
        ),
        u.every(
            [BINDING, BINDING],
            lambda a, b: both(
                implies(
                    both(pre.bound(a) > 0, pre.bound(b) > 0, post.bound(a) > 0, post.bound(b) > 0),
                    post.tried_before(a, b) == pre.tried_before(a, b),
                ),
                implies(
                    both(pre.bound(a) == 0, pre.bound(b) > 0, post.bound(a) > 0, post.bound(b) > 0),
                    negate(post.tried_before(a, b)),
                ),
            ),
        ),
    )


@of_step("A held session keeps its endpoint, and is put back in the cache, or handed out, or closed after its expiry.")
def order_put_back(step: Step) -> Term:
    u, pre, post = step.universe, step.pre, step.post
    is_exit = step.happening == "exit"
    return u.every(
        [SESSION],
        lambda s: implies(
            pre.kept(s),
            both(
                implies(either(post.kept(s), post.cached(s) > 0), post.endpoint(s) == pre.endpoint(s)),
                either(
                    is_exit,
                    post.kept(s),
                    post.cached(s) > 0,
                    post.passes(s) > pre.passes(s),
                    pre.expiry(s) <= pre.now(),
                ),
            ),
        ),
    )


@of_step("Only a find, an expiry, a flush and the exit take a session out of the cache.")
def order_saved_stays(step: Step) -> Term:
    pre, post, given = step.pre, step.post, step.given
    may = step.what is Input.FIND_HIT or step.happening == "exit"
    return step.universe.every(
        [SESSION],
        lambda s: implies(
            both(pre.cached(s) > 0, post.cached(s) == 0),
            either(
                both(may, either(step.row is None, post.held(given.actor, s))),
                both(step.happening == "time passes", pre.expiry(s) <= post.now()),
                both(step.happening == "flush", given.flushes(pre.endpoint(s))),
            ),
        ),
    )


@of_step("Only save_dest adds a binding, the one it names; only expiry, a flush and the exit take one away.")
def order_bindings_stay(step: Step) -> Term:
    pre, post, given = step.pre, step.post, step.given
    return step.universe.every(
        [BINDING],
        lambda b: either(
            post.bound(b) == pre.bound(b),
            both(step.what is Input.SAVE_DEST, b == given.binding, pre.bound(b) == 0),
            both(step.happening == "time passes", pre.binding_expiry(b) <= post.now(), post.bound(b) == 0),
            both(step.happening == "flush", given.flushes_destination(pre.destination(b)), post.bound(b) == 0),
            step.happening == "exit",
        ),
    )


@of_step("A session is parked under the endpoint that its save_endp named; what a binding is never changes.")
def order_as_asked(step: Step) -> Term:
    u, pre, post, given = step.universe, step.pre, step.post, step.given
    if step.happening == "exit":
        return True

    def kept_or_asked(c: Term) -> Term:
        is_new = both(step.what is Input.SAVE_ENDP, c == given.actor)
        return implies(
            post.saving(c),
            both(
                post.saving_endpoint(c) == choose(is_new, given.wanted, pre.saving_endpoint(c)),
                post.saving_ttl(c) == choose(is_new, given.ttl, pre.saving_ttl(c)),
                post.saving_size(c) == choose(is_new, given.size, pre.saving_size(c)),
            ),
        )

    return both(
        u.every([CLIENT], kept_or_asked),
        u.every(
            [SESSION],
            lambda s: implies(
                both(negate(pre.came(s)), post.cached(s) > 0),
                both(
                    post.endpoint(s) == pre.saving_endpoint(given.actor),
                    post.size(s) == pre.saving_size(given.actor),
                ),
            ),
        ),
        u.every(
            [BINDING],
            lambda b: both(post.destination(b) == pre.destination(b), post.leads_to(b) == pre.leads_to(b)),
        ),
    )
