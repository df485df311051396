"""Lifetime: when what is saved ends."""

from scache_proof.invariants.registry import Step, of_state, of_step
from scache_proof.logic import Term, Universe, both, choose, either, implies, negate, smaller
from scache_proof.world import (
    BINDING,
    CLIENT,
    DONE,
    SESSION,
    World,
)
from scache_spec.conversation import Input


@of_state("Nothing that is due is in the cache: so nothing due is handed out.")
def lifetime_nothing_due(u: Universe, w: World) -> Term:
    return both(
        w.ttl_limit() > 0,
        u.every([SESSION], lambda s: implies(w.cached(s) > 0, w.expiry(s) > w.now())),
        u.every([BINDING], lambda b: implies(w.bound(b) > 0, w.binding_expiry(b) > w.now())),
    )


@of_state("What is cached or held expires no later than the ttl limit allowed when it was saved.")
def lifetime_within_the_limit(u: Universe, w: World) -> Term:
    return u.every([SESSION], lambda s: implies(either(w.cached(s) > 0, w.kept(s)), w.expiry(s) <= w.deadline(s)))


@of_step("A held session does not expire: while time passes it stays held.")
def lifetime_held_stays(step: Step) -> Term:
    pre, post = step.pre, step.post
    if step.happening not in ("time passes", "flush", "reload", "statistics are printed"):
        return True
    return both(
        step.universe.every([CLIENT, SESSION], lambda c, s: post.held(c, s) == pre.held(c, s)),
        step.universe.every([CLIENT], lambda c: post.state(c) == pre.state(c)),
    )


@of_step(
    "A session's expiry is fixed when it is saved: then plus its ttl, or plus the ttl limit if that is less. Only a "
    "flush that names a held session makes it due."
)
def lifetime_fixed(step: Step) -> Term:
    u, pre, post, given, c = step.universe, step.pre, step.post, step.given, step.given.actor

    def flushed(s: Term) -> Term:
        return both(
            step.happening == "flush",
            given.flushes(pre.endpoint(s)),
            pre.kept(s),
            post.expiry(s) == smaller(pre.expiry(s), pre.now()),
        )

    new = pre.now() + smaller(pre.saving_ttl(c), pre.ttl_limit())
    return u.every(
        [SESSION],
        lambda s: both(
            implies(
                both(pre.came(s), either(post.cached(s) > 0, post.kept(s))),
                both(
                    either(post.expiry(s) == pre.expiry(s), flushed(s)),
                    post.deadline(s) == pre.deadline(s),
                ),
            ),
            implies(both(negate(pre.came(s)), post.cached(s) > 0), post.expiry(s) == new),
        ),
    )


@of_step(
    "A binding's expiry changes only when it is saved: to then plus its ttl, or plus the ttl limit if that is less."
)
def lifetime_of_bindings(step: Step) -> Term:
    pre, post, given = step.pre, step.post, step.given
    new = pre.now() + smaller(given.ttl, pre.ttl_limit())
    return step.universe.every(
        [BINDING],
        lambda b: implies(
            post.bound(b) > 0,
            choose(
                both(step.what is Input.SAVE_DEST, b == given.binding, post.said(given.actor) == DONE),
                post.binding_expiry(b) == new,
                post.binding_expiry(b) == pre.binding_expiry(b),
            ),
        ),
    )


@of_step("What is due when time passes leaves the cache and is closed; nothing else is; the clock does not run back.")
def lifetime_due_goes(step: Step) -> Term:
    pre, post = step.pre, step.post
    if step.happening != "time passes":
        return post.now() == pre.now()
    return both(
        post.now() == step.given.now,
        step.universe.every(
            [SESSION],
            lambda s: (
                post.closes(s) == pre.closes(s) + choose(both(pre.cached(s) > 0, pre.expiry(s) <= post.now()), 1, 0)
            ),
        ),
    )
