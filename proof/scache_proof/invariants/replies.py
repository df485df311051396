"""Replies: who is told what, and who is sent a descriptor when."""

from scache_proof.formulas import REQUESTS, needs
from scache_proof.invariants.registry import Step, is_in, of_state, of_step
from scache_proof.logic import Term, Universe, both, choose, either, implies, negate, smaller
from scache_proof.world import (
    CLIENT,
    CODE,
    DONE,
    DUMMY,
    FAILED,
    GREETING,
    MALFORMED,
    NOTHING,
    SESSION,
    World,
)
from scache_spec.conversation import Input, State


@of_state("A client is owed one status while its save_endp awaits the descriptor, and none otherwise.")
def replies_one_status(u: Universe, w: World) -> Term:
    return u.every([CLIENT], lambda c: w.owed(c) == choose(is_in(w, c, State.DESCRIPTOR), 1, 0))


@of_step("Nothing is said unasked: a status to a request or its descriptor, the invitation to save_endp, the greeting.")
def replies_nothing_unasked(step: Step) -> Term:
    post, given = step.post, step.given
    c = given.actor
    is_asked = step.what in REQUESTS or step.what in (Input.ONE_DESCRIPTOR, Input.NOT_ONE_DESCRIPTOR)
    said = post.said(c)
    may = either(
        said == NOTHING,
        both(is_asked, either(*(said == status for status in (DONE, MALFORMED, FAILED)))),
        both(step.what is Input.SAVE_ENDP, said == DUMMY),
        both(step.happening == "a client connects", said == GREETING),
    )
    others = step.universe.every([CLIENT], lambda x: implies(x != c, post.said(x) == NOTHING))
    return (
        both(may, others)
        if step.row or step.happening == "a client connects"
        else step.universe.every([CLIENT], lambda x: post.said(x) == NOTHING)
    )


@of_step("Status 0 is said if and only if the session is parked, the binding saved or the session found is held.")
def replies_done_is_done(step: Step) -> Term:
    u, pre, post, given = step.universe, step.pre, step.post, step.given
    c = given.actor
    parked = u.some([SESSION], lambda s: both(given.arrives(s), post.cached(s) > 0))
    held = u.some([SESSION], lambda s: both(post.held(c, s), negate(pre.held(c, s))))
    bound = both(
        step.what is Input.SAVE_DEST,
        post.bound(given.binding) > 0,
        post.binding_expiry(given.binding) == pre.now() + smaller(given.ttl, pre.ttl_limit()),
        either(pre.bound(given.binding) > 0, post.bindings_count() == pre.bindings_count() + 1),
    )
    return implies(step.row is not None, (post.said(c) == DONE) == either(parked, held, bound))


@of_step("A save_endp that is well-formed is answered with the invitation, and nothing else is.")
def replies_invitation(step: Step) -> Term:
    return (step.post.said(step.given.actor) == DUMMY) == (step.what is Input.SAVE_ENDP)


@of_step("Status 1 is said to what is no well-formed request, and to nothing else.")
def replies_malformed(step: Step) -> Term:
    is_malformed = step.what in (Input.UNKNOWN_REQUEST, Input.MALFORMED_REQUEST)
    return implies(step.row is not None, (step.post.said(step.given.actor) == MALFORMED) == is_malformed)


@of_step("A descriptor is sent only to answer ready, it is the one that is held, and ready is always answered so.")
def replies_descriptor_when_ready(step: Step) -> Term:
    u, pre, post, c = step.universe, step.pre, step.post, step.given.actor
    is_ready = both(step.what is Input.DUMMY_LIST, is_in(pre, c, State.READY))
    return both(
        u.every(
            [CLIENT, SESSION],
            lambda x, s: implies(
                both(post.sending(x, s), negate(pre.sending(x, s))), both(x == c, is_ready, pre.held(c, s))
            ),
        ),
        u.every([SESSION], lambda s: implies(both(is_ready, pre.held(c, s)), post.sending(c, s))),
        u.every(
            [SESSION],
            lambda s: implies(post.passes(s) > pre.passes(s), both(step.what is Input.SENT, pre.sending(c, s))),
        ),
        u.every([SESSION], lambda s: implies(both(step.what is Input.SENT, pre.sending(c, s)), post.passes(s) == 1)),
    )


@of_state("The server waits for what the client is to do next; the client is connected unless it is in CLOSED.")
def replies_waits_for_the_right_thing(u: Universe, w: World) -> Term:
    return both(
        u.every(
            [CLIENT],
            lambda c: both(
                either(*(w.state(c) == code for code in CODE.values())),
                w.connected(c) == negate(is_in(w, c, State.CLOSED)),
                w.saving(c) == is_in(w, c, State.DESCRIPTOR),
                w.unconfirmed(c) == is_in(w, c, State.RECEIVED),
                implies(w.in_flight(c), is_in(w, c, State.RECEIVED)),
                implies(w.saving(c), both(w.saving_ttl(c) > 0, w.saving_size(c) >= 0)),
            ),
        ),
        u.every(
            [CLIENT, SESSION],
            lambda c, s: both(
                implies(w.held(c, s), w.sending(c, s) == is_in(w, c, State.SENDING)),
                implies(w.sending(c, s), w.held(c, s)),
            ),
        ),
    )


@of_step("After a descriptor was sent, nothing more is read from the client until the client has read the descriptor.")
def replies_one_in_flight(step: Step) -> Term:
    pre, post, c = step.pre, step.post, step.given.actor
    return step.universe.every(
        [CLIENT],
        lambda x: either(
            post.in_flight(x) == either(pre.in_flight(x), both(step.what is Input.SENT, x == c)),
            both(
                negate(post.in_flight(x)),
                either(
                    step.happening == "exit",
                    both(x == c, step.happening == "a client has read its descriptor"),
                    both(x == c, step.what is Input.GONE),
                ),
            ),
        ),
    )


@of_step("An action finds what it needs: the program does not fail.")
def replies_no_failure(step: Step) -> Term:
    if step.row is None:
        return True
    return needs(step.pre, step.given, step.row.action, step.row.next)
