"""Cases in real time: timers of a server, when the other cases run on a virtual clock.

A server with a virtual clock reads that clock again and again, so its real timers are never tried. Each case here is
another case, or a longer form of it, on a server that uses the machine's clock.
"""

from scache_conformance.cases import life, pipelining, stats
from scache_conformance.cases.deaths import gone
from scache_conformance.cases.limits import timeouts
from scache_conformance.cases.ttl import sessions
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Function, Schedule, add


def _in_real_time(slug: str, title: str, clauses: tuple[str, ...], function: Function) -> None:
    def try_in_real_time(lab: Lab) -> str | None:
        return function(lab)

    add(f"timers/{slug}", title, clauses, try_in_real_time, schedule=Schedule.REAL_TIME)


_in_real_time(
    "session", "In real time, a session is closed at its expiry without any request.",
    ("TTL-3", "TTL-6"), sessions.session_closed_at_its_end,
)  # fmt: skip
_in_real_time(
    "two-sessions", "In real time, each of two sessions that expire one after the other is closed at its own expiry.",
    ("TTL-3", "TTL-6"), sessions.each_closed_at_its_end,
)  # fmt: skip
_in_real_time(
    "sooner-saved-later", "In real time, a session that is saved later and expires sooner is closed at its own expiry.",
    ("TTL-3", "TTL-6"), sessions.sooner_saved_later,
)  # fmt: skip
_in_real_time(
    "put-back", "In real time, a session that was put back is closed at the expiry that it had before.",
    ("ENDP-5", "TTL-6"), gone.put_back_ends_by_itself,
)  # fmt: skip
_in_real_time(
    "unfinished-list", "In real time, a client that leaves a list unfinished for ipc_timeout_s is disconnected.",
    ("LIMIT-7",), timeouts.unfinished_list,
)  # fmt: skip
_in_real_time(
    "unfinished-find", 'In real time, a client that does not send "ready" for ipc_timeout_s is disconnected.',
    ("LIMIT-7",), timeouts.unfinished_find,
)  # fmt: skip
_in_real_time(
    "two-unfinished", "In real time, two clients that stop one after the other are each disconnected.",
    ("LIMIT-7",), timeouts.two_unfinished,
)  # fmt: skip
_in_real_time(
    "idle-exit", "In real time, a server without a client exits when max_idle_s is over.",
    ("LIFE-2",), life.idle_exit,
)  # fmt: skip
_in_real_time(
    "idle-exit-after-a-session",
    "In real time, a server without a client exits when its last session has expired and max_idle_s is over.",
    ("LIFE-2", "LIFE-3"), life.idle_exit_after_a_session,
)  # fmt: skip
_in_real_time(
    "statistics", "In real time, statistics are printed every status_update_time_s.",
    ("STAT-7",), stats.printed_regularly,
)  # fmt: skip
_in_real_time(
    "session-among-requests",
    "In real time, a session is closed at its expiry, and not found after it, while another client sends requests.",
    ("TTL-5", "TTL-6"), sessions.session_among_requests,
)  # fmt: skip
_in_real_time(
    "much-without-replies",
    "In real time, a request behind 60 KB of lists that get no reply is served, though nothing comes after it.",
    ("CONN-3", "CONN-5"), pipelining.much_without_replies,
)  # fmt: skip
