"""Room: what there is room for, and how it is counted."""

from collections.abc import Callable

from scache_proof.invariants.registry import Step, of_state, of_step
from scache_proof.logic import Sort, Term, Universe, both, choose, either, implies, larger
from scache_proof.world import (
    BINDING,
    DESTINATION,
    ENDPOINT,
    FAILED,
    SESSION,
    World,
)
from scache_spec.conversation import Input


@of_state("What takes room has no negative size.")
def room_sizes(u: Universe, w: World) -> Term:
    return both(
        u.every([SESSION], lambda s: implies(either(w.cached(s) > 0, w.kept(s)), w.size(s) >= 0)),
        u.every([BINDING], lambda b: implies(w.bound(b) > 0, w.binding_size(b) >= 0)),
    )


@of_step(
    "A save raises no count above its limit: of sessions, of an endpoint's, of bindings, of a destination's, of bytes."
)
def room_not_exceeded(step: Step) -> Term:
    u, pre, post = step.universe, step.pre, step.post
    is_put_back = u.some([SESSION], lambda s: both(pre.kept(s), post.cached(s) > 0))

    def within(before: Term, after: Term, limit: Term) -> Term:
        return either(after <= before, after <= limit, after == 0, is_put_back)

    return both(
        within(pre.sessions_count(), post.sessions_count(), pre.sessions_limit()),
        within(pre.bindings_count(), post.bindings_count(), pre.bindings_limit()),
        within(pre.bytes_count(), post.bytes_count(), pre.bytes_limit()),
        u.every([ENDPOINT], lambda e: within(pre.endpoint_count(e), post.endpoint_count(e), pre.endpoint_limit())),
        u.every(
            [DESTINATION],
            lambda d: within(pre.destination_count(d), post.destination_count(d), pre.destination_limit()),
        ),
    )


@of_step("A save is refused only where a limit says so, and a renewal of a binding never is.")
def room_not_refused(step: Step) -> Term:
    pre, post, given, c = step.pre, step.post, step.given, step.given.actor
    is_refused = post.said(c) == FAILED
    if step.what is Input.ONE_DESCRIPTOR:
        return implies(
            is_refused,
            either(
                pre.sessions_count() >= pre.sessions_limit(),
                pre.endpoint_count(pre.saving_endpoint(c)) >= pre.endpoint_limit(),
                pre.bytes_count() + pre.saving_size(c) > pre.bytes_limit(),
            ),
        )
    if step.what is Input.SAVE_DEST:
        new = given.binding
        return implies(
            is_refused,
            both(
                pre.bound(new) == 0,
                either(
                    pre.bindings_count() >= pre.bindings_limit(),
                    pre.destination_count(pre.destination(new)) >= pre.destination_limit(),
                    pre.bytes_count() + pre.binding_size(new) > pre.bytes_limit(),
                ),
            ),
        )
    return True


@of_step("Counts follow what is cached: each session and binding that comes or goes is one.")
def room_counts_follow(step: Step) -> Term:
    u, pre, post, given = step.universe, step.pre, step.post, step.given
    if step.happening in ("time passes", "flush", "exit"):
        return both(
            *(
                getattr(post, count)() <= larger(getattr(pre, count)(), 0)
                for count in ("endpoints_count", "destinations_count")
            )
        )
    binds = both(step.what is Input.SAVE_DEST, post.bound(given.binding) > pre.bound(given.binding))

    def change(sort: Sort, went_up: Callable[[Term], Term], went_down: Callable[[Term], Term]) -> Term:
        return choose(u.some([sort], went_up), 1, 0) - choose(u.some([sort], went_down), 1, 0)

    def of_sessions(where: Callable[[Term], Term]) -> Term:
        return change(
            SESSION,
            lambda s: both(post.cached(s) > pre.cached(s), where(s)),
            lambda s: both(post.cached(s) < pre.cached(s), where(s)),
        )

    def of_labels(sort: Sort, count: str) -> Term:
        old, new = getattr(pre, count), getattr(post, count)
        return change(sort, lambda x: both(old(x) == 0, new(x) > 0), lambda x: both(old(x) > 0, new(x) == 0))

    return both(
        post.sessions_count() == pre.sessions_count() + of_sessions(lambda s: True),
        u.every(
            [ENDPOINT],
            lambda e: post.endpoint_count(e) == pre.endpoint_count(e) + of_sessions(lambda s: post.endpoint(s) == e),
        ),
        post.endpoints_count() == pre.endpoints_count() + of_labels(ENDPOINT, "endpoint_count"),
        post.bindings_count() == pre.bindings_count() + choose(binds, 1, 0),
        u.every(
            [DESTINATION],
            lambda d: (
                post.destination_count(d)
                == pre.destination_count(d) + choose(both(binds, post.destination(given.binding) == d), 1, 0)
            ),
        ),
        post.destinations_count() == pre.destinations_count() + of_labels(DESTINATION, "destination_count"),
    )


@of_step("A limit changes only by a reload, to what the reload says.")
def room_limits(step: Step) -> Term:
    return both(
        *(
            getattr(step.post, limit)() == (value if step.happening == "reload" else getattr(step.pre, limit)())
            for limit, value in step.given.limits.items()
        )
    )
