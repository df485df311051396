"""Cases: the statistics that a server logs, as far as the suite can read its log. Each case has a server of its own."""

import re
from collections.abc import Callable

from scache_conformance.lab import Lab, Skipped, require
from scache_conformance.peer import DONE, MALFORMED, Peer, Unmet
from scache_conformance.registry import add, case
from scache_conformance.target import Target
from scache_conformance.verdicts import Level

_LINE = re.compile(r"statistics: .*")
_START = re.compile(r"statistics: start interval [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}")

DOMAIN = "statistics: domain lookup "
ADDRESS = "statistics: address lookup "
PEAKS = "statistics: max simultaneous "


def statistics_of(lab: Lab, use: Callable[[Lab, Target, Peer], None]) -> list[str]:
    """Start a server, use it, have it exit, and return the lines of statistics in its log."""
    with lab.server() as server:
        with lab.peer(target=server) as peer:
            use(lab, server, peer)
        server.ask_to_exit()
        log = server.log()
        lab.transcript.note("", f"its log: {log!r}")
        return [line.rstrip() for line in _LINE.findall(log)]


def _a_miss(lab: Lab, server: Target, peer: Peer) -> None:
    peer.find_endp(lab.label("nothing"))


@case("stats/printed-at-exit", "STAT-7", "LIFE-4", apart=True)
def printed_at_exit(lab: Lab) -> None:
    """Statistics are in the log when the server has exited."""
    lines = statistics_of(lab, _a_miss)
    if not lines:
        raise Unmet("lines of statistics in the log at exit", "none")


@case("stats/start-line", "STAT-5", apart=True)
def start_line(lab: Lab) -> None:
    """The first line says when the interval began."""
    lines = _require_some(lab, statistics_of(lab, _a_miss))
    if not _START.fullmatch(lines[0]):
        raise Unmet("statistics: start interval Mon dd hh:mm:ss", lines[0])


@case("stats/nothing-to-say", "STAT-5", apart=True)
def nothing_to_say(lab: Lab) -> None:
    """A server that was not used prints none of the lines."""
    _require_some(lab, statistics_of(lab, _a_miss))
    require("lines of statistics", statistics_of(lab, lambda lab, server, peer: None), [])


def _require_some(lab: Lab, lines: list[str]) -> list[str]:
    if not lines:
        raise Skipped("no statistics in the log: have the server print them to its standard error")
    return lines


def _counted(
    slug: str, title: str, clauses: tuple[str, ...], use: Callable[[Lab, Target, Peer], None], *expected: str
) -> None:
    def function(lab: Lab) -> None:
        lines = _require_some(lab, statistics_of(lab, use))
        require("the lines after the first", lines[1:], list(expected))

    add(f"stats/{slug}", title, clauses, Level.MUST, function, apart=True)


def _endp_lookups(lab: Lab, server: Target, peer: Peer) -> None:
    for _ in range(2):
        lab.park(peer, lab.label("e"))
    for _ in range(3):
        peer.find_endp(lab.label("e"))


def _dest_lookups(lab: Lab, server: Target, peer: Peer) -> None:
    lab.bind(peer, lab.label("d"), lab.label("e"))
    lab.park(peer, lab.label("e"))
    for _ in range(3):
        peer.find_dest(lab.label("d"))


def _malformed(lab: Lab, server: Target, peer: Peer) -> None:
    for name, count in ((b"find_endp", 1), (b"find_dest", 2), (b"save_endp", 0), (b"save_dest", 0), (b"other", 0)):
        peer.request(name)
        require("status", peer.receive_reply(count).status, MALFORMED)
    peer.find_endp(lab.label("nothing"))


def _held(lab: Lab, server: Target, peer: Peer) -> None:
    other = lab.peer("B", target=server)
    lab.park(peer, lab.label("e"))
    require("status", other.begin_find_endp(lab.label("e")).status, DONE)
    other.hang_up()


def _peaks(lab: Lab, server: Target, peer: Peer) -> None:
    for number in range(3):
        lab.bind(peer, lab.label(f"d{number % 2}"), lab.label("e"), b"%d" % number)
    for number in range(5):
        lab.park(peer, lab.label(f"e{number % 3}"))
    for _ in range(2):
        peer.find_endp(lab.label("e0"))
    lab.park(peer, lab.label("e1"))


def _bindings_alone(lab: Lab, server: Target, peer: Peer) -> None:
    lab.bind(peer, lab.label("d"), lab.label("e"))


_counted(
    "address-lookups", "find_endp counts as address lookup, hit or miss; success is rounded down.",
    ("STAT-2", "STAT-6"),
    _endp_lookups, ADDRESS + "hits=2 miss=1 success=66%", PEAKS + "domains=0 addresses=1 connection=2",
)  # fmt: skip
_counted(
    "domain-lookups", "find_dest counts as domain lookup alone.", ("STAT-2", "STAT-6"),
    _dest_lookups, DOMAIN + "hits=1 miss=2 success=33%", PEAKS + "domains=1 addresses=1 connection=1",
)  # fmt: skip
_counted(
    "malformed-count-nowhere", "Malformed requests count nowhere.", ("STAT-3", "STAT-5"),
    _malformed, ADDRESS + "hits=0 miss=1 success=0%",
)  # fmt: skip
_counted(
    "hit-though-not-handed-over", "A find counts as a hit though its client goes away before it has it.", ("STAT-3",),
    _held, ADDRESS + "hits=1 miss=0 success=100%", PEAKS + "domains=0 addresses=1 connection=1",
)  # fmt: skip
_counted(
    "peaks", "Peaks are what was cached at the fullest; labels count while something is under them.",
    ("STAT-4", "STAT-1"),
    _peaks, ADDRESS + "hits=2 miss=0 success=100%", PEAKS + "domains=2 addresses=3 connection=5",
)  # fmt: skip
_counted(
    "binding-is-no-endpoint", "An endpoint that is only bound to does not count.", ("STAT-1", "STAT-4"),
    _bindings_alone, PEAKS + "domains=1 addresses=0 connection=0",
)  # fmt: skip


@case("stats/printed-regularly", "STAT-7", "STAT-5", apart=True)
def printed_regularly(lab: Lab) -> None:
    """Statistics are printed every status_update_time_s, each time from zero."""
    with lab.server(status_update_time_s=1) as server, lab.peer(target=server) as peer:
        for turn in range(2):
            peer.find_endp(lab.label("nothing"))
            if server.has_clock:
                server.advance(1)
            _await_lines(lab, server, ADDRESS + "hits=0 miss=1 success=0%", turn + 1)


def _await_lines(lab: Lab, server: Target, line: str, count: int) -> None:
    for _ in range(100):
        if server.log().count(line) >= count:
            return
        lab.sleep(0.03)
    raise Unmet(f"{count} times in the log: {line}", server.log())
