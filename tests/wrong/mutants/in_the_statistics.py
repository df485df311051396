"""Wrong servers: what counts as cached in the peaks, and what a new interval begins with."""

from dataclasses import replace

from tests.wrong.mutants.registry import mutant, wrap

from scache_reference.shell import Shell
from scache_spec import actions, statistics
from scache_spec import cache as caches
from scache_spec import events as spec
from scache_spec.conversation import Action
from scache_spec.vocabulary import SAVE_DEST


@mutant("peaks-go-on", "STAT-5")
def _():
    """Printing statistics begins a new count of hits and misses, not new peaks."""

    def on_statistics(right, server):
        after, effects = right(server)
        counted = server.counters
        peaks = replace(
            after.counters,
            destinations_max=counted.destinations_max,
            endpoints_max=counted.endpoints_max,
            sessions_max=counted.sessions_max,
        )
        return replace(after, counters=peaks), effects

    wrap(spec, "on_statistics", on_statistics)


@mutant("held-counts-in-peaks", "STAT-4")
def _():
    """Sessions that are held for a hand-over count in the peaks."""
    held = []

    def park(right, server, client, given):
        held[:] = [each.held for each in server.clients.values() if each.held is not None]
        return right(server, client, given)

    wrap(actions.ACTIONS, Action.PARK, park)
    wrap(caches, "sizes", lambda right, cache: right(replace(cache, sessions=(*cache.sessions, *held))))


@mutant("save-dest-takes-no-addresses", "STAT-4")
def _():
    """A save_dest takes the peak of domains alone."""

    def count_save(right, counters, request, after):
        return right(counters, request, replace(after, endpoints=0) if request == SAVE_DEST else after)

    wrap(statistics, "count_save", count_save)


@mutant("expired-labels-count", "STAT-1")
def _():
    """Endpoints and destinations count in the peaks also when what was under them has expired."""
    endpoints, destinations = set(), set()

    def expire(right, cache, now_ns):
        endpoints.update(each.endpoint for each in cache.sessions if each.expiry_ns <= now_ns)
        destinations.update(each.destination for each in cache.bindings if each.expiry_ns <= now_ns)
        return right(cache, now_ns)

    def sizes(right, cache):
        return replace(
            right(cache),
            endpoints=len(endpoints | {each.endpoint for each in cache.sessions}),
            destinations=len(destinations | {each.destination for each in cache.bindings}),
        )

    wrap(caches, "expire", expire)
    wrap(caches, "sizes", sizes)


@mutant("every-interval-begins-at-the-start", "STAT-5")
def _():
    """The line of the interval's start tells when the server started."""

    def carry_out(right, shell, effect):
        start = shell._interval_start
        right(shell, effect)
        shell._interval_start = start

    wrap(Shell, "_carry_out", carry_out)
