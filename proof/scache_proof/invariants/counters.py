"""Counters: what is counted is what happened."""

from scache_proof.invariants.registry import Step, of_state, of_step
from scache_proof.logic import Term, Universe, both, choose, either, larger
from scache_proof.world import (
    DONE,
    World,
)
from scache_spec.conversation import Input


@of_state("Hits and misses together are the finds that were answered, for find_dest and for find_endp, hit by hit.")
def counters_finds(u: Universe, w: World) -> Term:
    return both(
        w.dest_hits() == w.dest_found(),
        w.dest_misses() == w.dest_missed(),
        w.endp_hits() == w.endp_found(),
        w.endp_misses() == w.endp_missed(),
    )


@of_step("A counter falls only when statistics are printed or at the exit.")
def counters_only_grow(step: Step) -> Term:
    pre, post = step.pre, step.post
    names = ("dest_hits", "dest_misses", "endp_hits", "endp_misses", "sessions_peak", "endpoints_peak",
             "destinations_peak")  # fmt: skip
    printed = step.happening in ("statistics are printed", "exit")
    return both(*((getattr(post, n)() == 0) if printed else (getattr(post, n)() >= getattr(pre, n)()) for n in names))


@of_step("A peak is raised by a save that is done, and then to what the cache holds after it.")
def counters_peaks(step: Step) -> Term:
    pre, post = step.pre, step.post
    if step.happening in ("statistics are printed", "exit"):
        return True
    is_done = post.said(step.given.actor) == DONE
    is_save_endp = both(step.what is Input.ONE_DESCRIPTOR, is_done)
    is_save_dest = both(step.what is Input.SAVE_DEST, is_done)

    def raised(peak: str, count: str, when: Term) -> Term:
        old, new = getattr(pre, peak)(), getattr(post, peak)()
        return new == choose(when, larger(old, getattr(post, count)()), old)

    return both(
        raised("sessions_peak", "sessions_count", is_save_endp),
        raised("endpoints_peak", "endpoints_count", either(is_save_endp, is_save_dest)),
        raised("destinations_peak", "destinations_count", is_save_dest),
    )
