"""Cases: the statistics that a server logs, as far as the suite can read its log. Each case has a server of its own."""

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab, Skipped
from scache_conformance.suite.registry import Schedule, add, case
from scache_conformance.suite.requirements import require
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import FAILED, MALFORMED
from scache_conformance.wire.unmet import Unmet

_case = partial(case, schedule=Schedule.OWN_SERVERS)

_LINE = re.compile(r"statistics: .*")
_START = re.compile(r"statistics: start interval [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}")

_ADDRESS_HITS = re.compile(r"address lookup hits=([0-9]+)")

PRINTED_WITHIN_S = 5.0
"""How long a line may take that is due within two seconds. Arbitrary, for slow machines."""

_NONE_LOGGED = (
    'no line "statistics: start interval …" in the log:'
    " have the server print its statistics, worded as in STAT-5, to its standard output or standard error"
)

DOMAIN = "statistics: domain lookup "
ADDRESS = "statistics: address lookup "
PEAKS = "statistics: max simultaneous "

Use = Callable[[Lab, Target, Client], None]
"""What one client of a server does, before the server exits and its log is read."""


def _statistics_of(lab: Lab, use: Use) -> list[str]:
    """Start a server, use it, have it exit, and return the lines of statistics in its log."""
    with lab.server() as server:
        with lab.peer(target=server) as peer:
            use(lab, server, peer)
        server.ask_to_exit()
        return _logged(lab, server)


def _logged(lab: Lab, server: Target) -> list[str]:
    log = server.log()
    lab.transcript.note("", f"its log: {log!r}")
    return [line.rstrip() for line in _LINE.findall(log)]


def _a_miss(lab: Lab, server: Target, peer: Client) -> None:
    peer.misses_endp()


def _require_some(lab: Lab, use: Use = _a_miss) -> list[str]:
    """Return the lines of statistics after that use. Raises Skipped if there is none."""
    if not (lines := _statistics_of(lab, use)):
        raise Skipped(_NONE_LOGGED)
    return lines


@_case("stats/printed-at-exit", "STAT-7", "LIFE-4")
def printed_at_exit(lab: Lab) -> None:
    """The log has the statistics when the server has exited."""
    if not _statistics_of(lab, _a_miss):
        if not _printed_while_it_runs(lab):
            raise Skipped(_NONE_LOGGED)
        raise Unmet("lines of statistics in the log at exit", "none, though others are printed while the server runs")


def _printed_while_it_runs(lab: Lab) -> bool:
    try:
        with lab.server(status_update_time_s=1) as server, lab.peer(target=server) as peer:
            peer.misses_endp()
            lab.let_pass(server, 1)
            return _in_the_log_before_long(lab, server, lambda log: bool(_LINE.search(log)))
    except Unavailable:
        return False


@_case("stats/start-line", "STAT-5")
def start_line(lab: Lab) -> None:
    """The first line of the statistics says when the interval began."""
    lines = _require_some(lab)
    if not _START.fullmatch(lines[0]):
        raise Unmet("statistics: start interval Mon dd hh:mm:ss", lines[0])


ZONES = Path("/usr/share/zoneinfo")
HOUR_S = 3600
DAY_S = 24 * HOUR_S


@_case("stats/start-line-tells-when", "STAT-5")
def start_line_tells_when(lab: Lab) -> None:
    """The first line tells the local time at which the interval began: in 24 hours, a day below 10 with a blank."""
    # An hour of the afternoon, to tell 24 hours from 12, in a zone that is not UTC.
    began_s = int(time.time())
    ahead_h = 14 - time.gmtime(began_s).tm_hour or 1
    named = f"Etc/GMT{-ahead_h:+}"  # some runtimes know no zone that is not in the database
    zone = named if (ZONES / named).exists() else f"LOC{-ahead_h:+}"
    with lab.target.in_zone(zone) as server:
        with lab.peer(target=server) as peer:
            clock_s = 0
            if server.has_clock:
                # A server that asks its clock for the date begins an interval on the 2nd of a month.
                days = next(day for day in range(1, 40) if time.gmtime(began_s + day * DAY_S).tm_mday == 2)
                server.advance(days * DAY_S)
                clock_s = days * DAY_S
            peer.misses_endp()
        server.ask_to_exit()
        starts = [line for line in _logged(lab, server) if line.startswith("statistics: start interval ")]
        if not starts:
            raise Skipped(_NONE_LOGGED)
    instants = range(began_s - 1, int(time.time()) + 2)
    told = {
        time.asctime(time.gmtime(instant_s + later_s + ahead_h * HOUR_S))[4:19]
        for instant_s in instants
        for later_s in (0, clock_s)
    }
    require("whether the interval began between the server's start and its end", starts[-1][-15:] in told, True)


@_case("stats/nothing-to-say", "STAT-5")
def nothing_to_say(lab: Lab) -> None:
    """A server that was not used prints no statistics."""
    _require_some(lab)
    require("lines of statistics", _statistics_of(lab, lambda lab, server, peer: None), [])


def _counted(slug: str, title: str, clauses: tuple[str, ...], *expected: str) -> Callable[[Use], Use]:
    """Register a case: after the decorated use, and the line of the start, the log has exactly these lines."""

    def register(use: Use) -> Use:
        def function(lab: Lab) -> None:
            require("the lines after the first", _require_some(lab, use)[1:], list(expected))

        add(f"stats/{slug}", title, clauses, function, schedule=Schedule.OWN_SERVERS)
        return use

    return register


@_counted(
    "address-lookups", "Each find_endp counts as an address lookup; the success percentage is rounded down.",
    ("STAT-2", "STAT-6"),
    ADDRESS + "hits=2 miss=1 success=66%", PEAKS + "domains=0 addresses=1 connection=2",
)  # fmt: skip
def _address_lookups(lab: Lab, server: Target, peer: Client) -> None:
    for _ in range(2):
        peer.park("e")
    for _ in range(2):
        peer.finds_endp("e")
    peer.misses_endp("e")


@_counted(
    "domain-lookups", "Each find_dest counts as a domain lookup and not as an address lookup.",
    ("STAT-2", "STAT-3", "STAT-5", "STAT-6"),
    DOMAIN + "hits=1 miss=2 success=33%", PEAKS + "domains=1 addresses=1 connection=1",
)  # fmt: skip
def _domain_lookups(lab: Lab, server: Target, peer: Client) -> None:
    peer.bind("d", "e")
    peer.park("e")
    peer.finds_dest("d", b"", b"")
    for _ in range(2):
        peer.misses_dest("d")


@_counted(
    "malformed-count-nowhere", "Malformed requests count in no line.", ("STAT-3", "STAT-5"),
    ADDRESS + "hits=0 miss=1 success=0%",
)  # fmt: skip
def _malformed(lab: Lab, server: Target, peer: Client) -> None:
    for name, count in ((b"find_endp", 1), (b"find_dest", 2), (b"save_endp", 0), (b"save_dest", 0), (b"other", 0)):
        peer.request(name)
        peer.receives_status(count, MALFORMED)
    peer.misses_endp()


@_counted(
    "hit-though-not-handed-over", "A find counts as a hit even if its client goes away before the hand-over.",
    ("STAT-3",),
    ADDRESS + "hits=1 miss=0 success=100%", PEAKS + "domains=0 addresses=1 connection=1",
)  # fmt: skip
def _held(lab: Lab, server: Target, peer: Client) -> None:
    other = lab.peer("B", target=server)
    peer.park("e")
    other.holds_endp("e", b"")
    other.hang_up()
    peer.request(b"other")
    peer.receives_status(0, MALFORMED)  # By now the server knows that the other client has gone.


@_counted(
    "peaks", "Peaks are the most that was cached; a label counts while it has a session or a binding.",
    ("STAT-4", "STAT-1"),
    ADDRESS + "hits=2 miss=0 success=100%", PEAKS + "domains=2 addresses=3 connection=5",
)  # fmt: skip
def _peaks(lab: Lab, server: Target, peer: Client) -> None:
    for number in range(3):
        peer.bind(f"d{number % 2}", "e", b"%d" % number)
    for number in range(5):
        peer.park(("d0", "e1", "e2")[number % 3])  # An endpoint may have the label of a destination.
    for _ in range(2):
        peer.finds_endp("d0")
    peer.park("e1")


@_counted(
    "binding-is-no-endpoint", "An endpoint that has bindings and no session does not count.",
    ("STAT-1", "STAT-4", "STAT-5"),
    PEAKS + "domains=1 addresses=0 connection=0",
)  # fmt: skip
def _bindings_alone(lab: Lab, server: Target, peer: Client) -> None:
    peer.bind("d", "e")


@_counted(
    "expired-count-no-more", "What has expired does not count in peaks.", ("STAT-1", "STAT-4"),
    PEAKS + "domains=1 addresses=1 connection=1",
)  # fmt: skip
def _expired(lab: Lab, server: Target, peer: Client) -> None:
    peer.park("e1", b"", 1)
    peer.bind("d1", "e1", b"", 1)
    lab.let_pass(server, 1)
    peer.park("e2")
    peer.bind("d2", "e2")


@_case("stats/held-is-not-cached", "STAT-4", "CONN-2", level=Level.SHOULD)
def held_is_not_cached(lab: Lab) -> None:
    """A held session does not count in peaks, and putting it back takes no peak."""

    def use(lab: Lab, server: Target, peer: Client) -> None:
        peer.park("e1")
        other = lab.peer("B", target=server)
        other.holds_endp("e1", b"")
        peer.park("e2")
        other.hang_up()
        peer.request(b"other")
        peer.receives_status(0, MALFORMED)  # By now what was held is back, or gone.

    require("the last line", _require_some(lab, use)[-1], PEAKS + "domains=0 addresses=1 connection=1")


@_case("stats/printed-regularly", "STAT-7", "STAT-5")
def printed_regularly(lab: Lab) -> None:
    """Statistics are printed every status_update_time_s, and each time the counters begin at zero."""
    line = ADDRESS + "hits=0 miss=1 success=0%"
    with lab.server(status_update_time_s=1) as server, lab.peer(target=server) as peer:
        for times in (1, 2):
            peer.misses_endp()
            if server.has_clock:
                server.advance(1)
            _insist_on_printing(lab, server, f"{times} times {line}", partial(_has_times, line, times))


@_case("stats/peaks-begin-anew", "STAT-5", "STAT-4")
def peaks_begin_anew(lab: Lab) -> None:
    """After statistics were printed, peaks begin anew."""
    with lab.server(status_update_time_s=1) as server:
        with lab.peer(target=server) as peer:
            for number in range(3):
                peer.park(f"e{number}")
            for number in range(3):
                peer.finds_endp(f"e{number}")
            _pass_an_interval(lab, server)
            _insist_on_printing(lab, server, "3 hits", lambda log: sum(map(int, _ADDRESS_HITS.findall(log))) == 3)
            peer.park("e")
        _require_last_peaks(lab, server, "domains=0 addresses=1 connection=1")


@_case("stats/save-dest-takes-addresses", "STAT-4")
def save_dest_takes_addresses(lab: Lab) -> None:
    """In an interval of save_dest alone, addresses peak at the endpoints then cached, connections at 0."""
    with lab.server(status_update_time_s=1, ttl_limit_s=60) as server:
        with lab.peer(target=server) as peer:
            for number in range(2):
                peer.park(f"e{number}", b"", 60)
            _pass_an_interval(lab, server)
            _insist_on_printing(lab, server, "2 connections", lambda log: "connection=2" in log)
            peer.bind("d", "e", b"", 60)
        _require_last_peaks(lab, server, "domains=1 addresses=2 connection=0")


@_case("stats/next-start-line", "STAT-5")
def next_start_line(lab: Lab) -> None:
    """The next interval begins when statistics were printed, and its first line says so."""
    with lab.server(status_update_time_s=2) as server:
        with lab.peer(target=server) as peer:
            peer.misses_endp()
            if server.has_clock:
                lab.sleep(1.2)  # the line may tell the time of the wall clock, in whole seconds
            _pass_an_interval(lab, server, 2)
            _insist_on_printing(lab, server, "1 miss", lambda log: "miss=1" in log)
            peer.misses_dest()
        server.ask_to_exit()
        starts = [line for line in _logged(lab, server) if _START.fullmatch(line)]
        require("how many lines of a start there are", len(starts), 2)
        if starts[0] == starts[1]:
            raise Unmet("two starts of intervals, at different times", starts[0])


@_case("stats/refused-save-takes-no-peak", "STAT-4", "LIMIT-2", level=Level.SHOULD)
def refused_save_takes_no_peak(lab: Lab) -> None:
    """A save of a session or a binding that is refused at a limit takes no peak."""
    with lab.server(status_update_time_s=1, ttl_limit_s=60, sessions_max=1, bindings_max=1) as server:
        with lab.peer(target=server) as peer:
            peer.park("e", b"", 60)
            peer.bind("d", "e", b"", 60)
            _pass_an_interval(lab, server)
            _insist_on_printing(lab, server, "1 connection", lambda log: "connection=1" in log)
            peer.begin_save("e", b"", 60)
            peer.sends_descriptors([lab.line().far.fileno()], FAILED)
            status = peer.save_dest(60, lab.label("d"), b"other", lab.label("e"))
            require("status of save_dest", status, FAILED)
            peer.misses_endp("nothing")
        server.ask_to_exit()
        peaks = [line for line in _logged(lab, server) if line.startswith(PEAKS)]
        require("the lines of peaks", peaks, [PEAKS + "domains=1 addresses=1 connection=1"])


@_case("stats/renewal-takes-peaks", "STAT-4", "DEST-2")
def renewal_takes_peaks(lab: Lab) -> None:
    """A save_dest that renews a binding takes the peaks of domains and addresses."""
    with lab.server(status_update_time_s=1, ttl_limit_s=60) as server:
        with lab.peer(target=server) as peer:
            peer.park("e", b"", 60)
            peer.bind("d", "e", b"", 60)
            _pass_an_interval(lab, server)
            _insist_on_printing(lab, server, "1 connection", lambda log: "connection=1" in log)
            peer.bind("d", "e", b"", 60)
        _require_last_peaks(lab, server, "domains=1 addresses=1 connection=0")


def _has_times(line: str, count: int, log: str) -> bool:
    return log.count(line) >= count


def _require_last_peaks(lab: Lab, server: Target, expected: str) -> None:
    server.ask_to_exit()
    last = next((line for line in reversed(_logged(lab, server)) if line.startswith(PEAKS)), "none")
    require("the last peaks", last, PEAKS + expected)


def _pass_an_interval(lab: Lab, server: Target, seconds: int = 1) -> None:
    """Have an interval end on a virtual clock; a real one ends by itself, and what it prints is waited for."""
    if server.has_clock:
        lab.let_pass(server, seconds)


def _insist_on_printing(lab: Lab, server: Target, what: str, is_there: Callable[[str], bool]) -> None:
    """Raise Unmet unless it is in the log before long, Skipped where a server does not even print at its exit."""
    if not _in_the_log_before_long(lab, server, is_there):
        if not _LINE.search(server.log()):
            _require_some(lab)
        raise Unmet(f"statistics in the log: {what}", server.log())


def _in_the_log_before_long(lab: Lab, server: Target, is_there: Callable[[str], bool]) -> bool:
    lab.transcript.note("", f"waits for its log, {PRINTED_WITHIN_S} s at most")
    deadline_s = time.monotonic() + PRINTED_WITHIN_S
    while not is_there(server.log()):
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(0.03)
    return True
