"""Wrong rules: what counts, where, and when a new count begins."""

from dataclasses import replace

from tests.wrong.registry import wrong
from tests.wrong.rules.changes import peaked, what_expired, without
from tests.wrong.rules.escapes import NO_IDLE_EXIT, NO_INTERVALS, NO_LISTS, NO_PROCESS, NOT_GENERATED, REMEMBERS

from scache_reference.shell import Shell
from scache_spec import cache as caches
from scache_spec import events, statistics
from scache_spec.conversation import Action
from scache_spec.effects import Exit, PrintStatistics
from scache_spec.vocabulary import FIND_DEST, FIND_ENDP, SAVE_DEST, SAVE_ENDP

# Sizes.


@wrong("STAT-1", of=caches.sizes)
def labels_counted_together(right, cache):
    """A label that is both a destination's and an endpoint's counts once."""
    both = {each.endpoint for each in cache.sessions} & {each.destination for each in cache.bindings}
    sizes = right(cache)
    return replace(sizes, endpoints=sizes.endpoints - len(both))


@wrong("STAT-1", of=caches.sizes)
def bound_endpoint_counts(right, cache):
    """An endpoint counts while a binding leads to it."""
    return replace(right(cache), endpoints=len({each.endpoint for each in (*cache.sessions, *cache.bindings)}))


@wrong("STAT-1", escapes=REMEMBERS)
def expired_labels_count(instead):
    """Endpoints and destinations count in the peaks also when what was under them has expired."""
    sessions, bindings = what_expired(instead)

    @instead(caches.sizes)
    def sizes(right, cache):
        of_all = right(caches.Cache((*sessions, *cache.sessions), (*bindings, *cache.bindings)))
        return replace(right(cache), endpoints=of_all.endpoints, destinations=of_all.destinations)


# Finds.


@wrong("STAT-2", of=statistics.count_find)
def destination_hit_counts_twice(right, counters, request, *, hit):
    """A find_dest that hits is an address lookup, too."""
    counters = right(counters, request, hit=hit)
    return replace(counters, endp_hits=counters.endp_hits + (hit and request == FIND_DEST))


@wrong("STAT-2", "STAT-6", of=statistics.count_find)
def misses_are_hits(right, counters, request, *, hit):
    """Every find counts as a hit."""
    return right(counters, request, hit=True)


@wrong("STAT-3", of=Action.PUT_BACK)
def put_back_takes_a_hit_back(right, server, client, given):
    """A find_endp whose session is put back is no hit any more."""
    counters = replace(server.counters, endp_hits=max(0, server.counters.endp_hits - 1))
    return right(replace(server, counters=counters), client, given)


# Peaks.


@wrong("STAT-4", of=statistics.count_save)
def peaks_are_of_now(right, counters, request, after):
    """Peaks follow what there is, downwards as well."""
    return right(replace(counters, endpoints_max=0, sessions_max=0), request, after)


@wrong("STAT-4", of=statistics.count_save)
def save_dest_takes_no_addresses(right, counters, request, after):
    """A save_dest takes the peak of domains alone."""
    return right(counters, request, replace(after, endpoints=0) if request == SAVE_DEST else after)


@wrong("STAT-4", of=statistics.count_save)
def save_dest_takes_connections(right, counters, request, after):
    """A save_dest takes the peak of connections, too."""
    return right(right(counters, SAVE_ENDP, after), request, after)


@wrong("STAT-4", of=statistics.count_save)
def bindings_count_as_domains(right, counters, request, after):
    """The peak of domains is that of bindings."""
    return right(counters, request, replace(after, destinations=after.bindings))


@wrong("STAT-4", of=Action.PARK)
def peaks_before_the_save(right, server, client, given):
    """Peaks are taken of what the cache held before the save."""
    after, effects = right(server, client, given)
    return peaked(replace(after, counters=server.counters), server.cache), effects


@wrong("STAT-4", of=Action.PARK)
def held_counts_in_peaks(right, server, client, given):
    """Sessions that are held for a hand-over count in the peaks."""
    after, effects = right(server, client, given)
    held = (each.held for each in server.clients.values() if each.held)
    return peaked(after, replace(after.cache, sessions=(*after.cache.sessions, *held))), effects


@wrong("STAT-4", of=Action.PUT_BACK)
def put_back_takes_peaks(right, server, client, given):
    """A session that is put back counts in the peaks as if it were saved."""
    after, effects = right(server, client, given)
    return peaked(after, after.cache), effects


# Intervals.


@wrong("STAT-5", of=events.on_statistics, escapes=NO_INTERVALS)
def statistics_go_on(right, server):
    """Printing statistics does not begin a new count."""
    after, effects = right(server)
    return replace(after, counters=server.counters), effects


@wrong("STAT-5", of=events.on_statistics, escapes=NO_INTERVALS)
def peaks_go_on(right, server):
    """Printing statistics begins a new count of hits and misses, not new peaks."""
    after, effects = right(server)
    hits = dict.fromkeys(("dest_hits", "dest_misses", "endp_hits", "endp_misses"), 0)
    return replace(after, counters=replace(server.counters, **hits)), effects


@wrong("STAT-5", of=Shell._carry_out, escapes=NO_PROCESS | NOT_GENERATED)
def every_interval_begins_at_the_start(right, self, effect):
    """The line of the interval's start tells when the server started."""
    start = self._interval_start
    right(self, effect)
    self._interval_start = start


@wrong("STAT-6", of=statistics.lines, escapes=NO_INTERVALS)
def success_is_rounded_up(right, counters, interval_start):
    """The success percentage is rounded up."""

    def up(line):
        before, mark, percent = line.rpartition("success=")
        return f"{before}{mark}{int(percent[:-1]) + 1}%" if mark and percent not in ("0%", "100%") else line

    return tuple(up(line) for line in right(counters, interval_start))


@wrong("STAT-7", of=events.on_tick, escapes=NO_INTERVALS)
def statistics_only_at_exit(right, server, now_ns):
    """Statistics are printed at exit alone."""
    server, effects = right(server, now_ns)
    is_exit = any(isinstance(each, Exit) for each in effects)
    return server, effects if is_exit else without(PrintStatistics, effects)


@wrong("LIFE-4", "STAT-7", of=events.on_stop, escapes=NO_INTERVALS | NO_IDLE_EXIT)
def exits_without_statistics(right, server):
    """At exit no statistics are printed."""
    server, effects = right(server)
    return server, without(PrintStatistics, effects)


@wrong("STAT-3", of=Action.REPLY_MALFORMED, escapes=NO_LISTS)
def malformed_finds_are_misses(right, server, client, given):
    """A find that is malformed counts as a miss."""
    server, effects = right(server, client, given)
    if given.request_name in (FIND_ENDP, FIND_DEST):
        counters = statistics.count_find(server.counters, given.request_name, hit=False)
        server = replace(server, counters=counters)
    return server, effects
