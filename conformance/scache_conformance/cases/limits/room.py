"""Cases: how many sessions and bindings there may be, of how many bytes, and when there is room again."""

from collections.abc import Callable
from functools import partial

from scache_conformance.servers.target import Target
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab, Skipped
from scache_conformance.suite.registry import Schedule, add, case
from scache_conformance.suite.requirements import require
from scache_conformance.wire.lists import FAILED

_case = partial(case, schedule=Schedule.OWN_SERVERS)


@_case("limits/sessions", "LIMIT-2")
def sessions(lab: Lab) -> None:
    """One session more than sessions_max is refused with status 2 and closed; after a find there is room again."""
    with lab.server(sessions_max=3) as server, lab.peer(target=server) as peer:
        for number in range(3):
            peer.park(f"e{number}")
        _require_refused(lab, peer, "e3")
        peer.finds_endp("e1")
        peer.park("e3")
        _require_refused(lab, peer, "e4")


@_case("limits/sessions-per-endpoint", "LIMIT-3")
def sessions_per_endpoint(lab: Lab) -> None:
    """One session more than sessions_per_endpoint_max is refused and closed; other endpoints have room."""
    with lab.server(sessions_per_endpoint_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            peer.park("e", b"%d" % number)
        _require_refused(lab, peer, "e")
        peer.park("other")
        peer.finds_endp("e", b"0")
        peer.park("e", b"2")
        _require_refused(lab, peer, "e")


def _require_refused(lab: Lab, peer: Client, endpoint: str, properties: bytes = b"one too many") -> None:
    line = lab.line()
    peer.begin_save(endpoint, properties)
    peer.sends_descriptors([line.far.fileno()], FAILED)
    line.let_go()
    line.insist_on_hangup("its descriptor", peer.deadline_s)


@_case("limits/ended-sessions-leave-room", "LIMIT-2", "LIMIT-3")
def ended_sessions_leave_room(lab: Lab) -> None:
    """Expired sessions do not count for sessions_max and sessions_per_endpoint_max."""
    with lab.server(sessions_max=4, sessions_per_endpoint_max=2) as server, lab.peer(target=server) as peer:
        for ttl_s in (1, None):
            for number in range(4):
                peer.park(f"e{number % 2}", b"", ttl_s)
            if ttl_s is not None:
                lab.let_pass(server, ttl_s)


@_case("limits/put-back-over-sessions", "LIMIT-2", "ENDP-5")
def put_back_over_sessions(lab: Lab) -> None:
    """A session is put back into a cache of sessions_max sessions; after that there is no room for another."""
    with lab.server(sessions_max=2) as server:
        _put_back_over_a_limit(lab, server, ("e", "e", "e2"))


@_case("limits/put-back-over-sessions-per-endpoint", "LIMIT-3", "ENDP-5")
def put_back_over_sessions_per_endpoint(lab: Lab) -> None:
    """A session is put back at an endpoint of sessions_per_endpoint_max sessions; then there is no room."""
    with lab.server(sessions_per_endpoint_max=2) as server:
        _put_back_over_a_limit(lab, server, ("e", "e", "e"))


def _put_back_over_a_limit(lab: Lab, server: Target, endpoints: tuple[str, str, str]) -> None:
    """Fill a server that has room for two while the first of them is held, and have that put back."""
    first, second, third = endpoints
    saver, finder = lab.peer("S", target=server), lab.peer("F", target=server)
    lines = [saver.park(first, b"1"), saver.park(second, b"2")]
    finder.holds_endp(first, b"1")
    lines.append(saver.park(third, b"3"))
    finder.send((b"label", b"not ready"))
    finder.misses_endp()
    _require_refused(lab, saver, third)
    for number, (endpoint, line) in enumerate(zip(endpoints, lines, strict=True), 1):
        saver.finds_endp(endpoint, b"%d" % number, line)


@_case("limits/bindings", "LIMIT-4")
def bindings(lab: Lab) -> None:
    """One binding more than bindings_max is refused with status 2; a renewal is not refused."""
    with lab.server(bindings_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            peer.bind("d", f"e{number}")
        _require_binding_refused(lab, peer, "d2", "e")
        peer.bind("d", "e0")
        peer.park("e")
        peer.misses_dest("d2")


@_case("limits/ended-bindings-leave-room", "LIMIT-4")
def ended_bindings_leave_room(lab: Lab) -> None:
    """Expired bindings do not count for bindings_max."""
    with lab.server(bindings_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            peer.bind("d", f"e{number}", b"", 1)
        lab.let_pass(server, 1)
        for number in range(2):
            peer.bind("d2", f"e{number}")


def _require_binding_refused(lab: Lab, peer: Client, destination: str, endpoint: str, properties: bytes = b"") -> None:
    status = peer.save_dest(lab.ttl_s, lab.label(destination), properties, lab.label(endpoint))
    require("status of one save_dest too many", status, FAILED)


@_case("limits/bindings-per-destination", "LIMIT-10")
def bindings_per_destination(lab: Lab) -> None:
    """One binding more than bindings_per_destination_max is refused; renewals and other destinations are not."""
    with lab.server(bindings_per_destination_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            peer.bind("d", f"e{number}")
        _require_binding_refused(lab, peer, "d", "e2")
        _require_binding_refused(lab, peer, "d", "e0", b"other properties")
        peer.bind("d", "e1")
        peer.bind("d2", "e2", b"q")
        peer.park("e2", b"p")
        peer.misses_dest("d")
        peer.finds_dest("d2", b"q", b"p")


@_case("limits/ended-bindings-leave-room-at-their-destination", "LIMIT-10")
def ended_bindings_leave_room_at_their_destination(lab: Lab) -> None:
    """Expired bindings do not count for bindings_per_destination_max."""
    with lab.server(bindings_per_destination_max=2) as server, lab.peer(target=server) as peer:
        for ttl_s in (1, None):
            for number in range(2):
                peer.bind("d", f"e{number}", b"", ttl_s)
            if ttl_s is not None:
                lab.let_pass(server, ttl_s)


# Bytes.


def _label_bytes(lab: Lab) -> int:
    """Return how long a label of one letter is."""
    return len(lab.label("e"))


@_case("limits/cached-bytes-of-sessions", "LIMIT-11")
def cached_bytes_of_sessions(lab: Lab) -> None:
    """Labels and properties of sessions may have exactly cached_bytes_max bytes; one byte more is refused."""
    label = _label_bytes(lab)
    with lab.server(cached_bytes_max=2 * label + 300) as server, lab.peer(target=server) as peer:
        _require_refused(lab, peer, "a", b"x" * (label + 301))
        peer.park("a", b"x" * 100)
        _require_refused(lab, peer, "b", b"x" * 201)
        peer.park("b", b"x" * 200)
        _require_refused(lab, peer, "c", b"")
        peer.finds_endp("a", b"x" * 100)
        peer.park("c", b"x" * 100)
        _require_refused(lab, peer, "d", b"")


@_case("limits/cached-bytes-of-bindings", "LIMIT-11")
def cached_bytes_of_bindings(lab: Lab) -> None:
    """Labels and properties of bindings count for cached_bytes_max; a renewal needs no room."""
    label = _label_bytes(lab)
    with lab.server(cached_bytes_max=3 * label + 20) as server, lab.peer(target=server) as peer:
        _require_binding_refused(lab, peer, "d", "e", b"x" * (label + 21))
        peer.bind("d", "e", b"x" * 10)
        _require_refused(lab, peer, "e", b"x" * 11)
        peer.park("e", b"x" * 10)
        _require_binding_refused(lab, peer, "f", "e")
        peer.bind("d", "e", b"x" * 10)
        peer.finds_dest("d", b"x" * 10, b"x" * 10)


@_case("limits/cached-bytes-count-each-time", "LIMIT-11")
def cached_bytes_count_each_time(lab: Lab) -> None:
    """Equal labels and properties of several sessions count each time for cached_bytes_max."""
    label = _label_bytes(lab)
    with lab.server(cached_bytes_max=2 * (label + 3)) as server, lab.peer(target=server) as peer:
        for _ in range(2):
            peer.park("e", b"xyz")
        _require_refused(lab, peer, "e", b"xyz")


@_case("limits/put-back-over-cached-bytes", "LIMIT-11", "ENDP-5")
def put_back_over_cached_bytes(lab: Lab) -> None:
    """A session is put back into a cache of cached_bytes_max bytes; after that there is no room for another."""
    label = _label_bytes(lab)
    with lab.server(cached_bytes_max=2 * (label + 1)) as server:
        _put_back_over_a_limit(lab, server, ("a", "b", "c"))


@_case("limits/put-back-bytes-count", "LIMIT-11", "ENDP-5")
def put_back_bytes_count(lab: Lab) -> None:
    """A session that was put back counts for cached_bytes_max again."""
    label = _label_bytes(lab)
    with lab.server(cached_bytes_max=2 * (label + 1)) as server, lab.peer(target=server) as peer:
        line = peer.parks_and_holds("a", b"1")
        peer.send((b"label", b"not ready"))
        peer.misses_endp()
        peer.park("b", b"2")
        _require_refused(lab, peer, "c", b"3")
        peer.finds_endp("a", b"1", line)


@_case("limits/renewals-take-no-bytes", "LIMIT-11", "DEST-2")
def renewals_take_no_bytes(lab: Lab) -> None:
    """A binding that was renewed counts for cached_bytes_max once."""
    label = _label_bytes(lab)
    with lab.server(cached_bytes_max=3 * label + 2) as server, lab.peer(target=server) as peer:
        for _ in range(3):
            peer.bind("d", "e", b"1")
        peer.park("e", b"2")


@_case("limits/ended-bytes-leave-room", "LIMIT-11")
def ended_bytes_leave_room(lab: Lab) -> None:
    """Expired sessions and bindings do not count for cached_bytes_max."""
    label = _label_bytes(lab)
    with lab.server(cached_bytes_max=3 * label + 2) as server, lab.peer(target=server) as peer:
        for ttl_s in (1, 1, None):
            peer.bind("d", "e", b"1", ttl_s)
            peer.park("e", b"2", ttl_s)
            _require_refused(lab, peer, "f", b"")
            if ttl_s is not None:
                lab.let_pass(server, ttl_s)


# What is due, at the instant of a save and before anything woke the server.


def _due(
    slug: str,
    what: str,
    clause: str,
    limit: Callable[[Lab], dict[str, int]],
    save: Callable[[Client, int | None], None],
) -> None:
    def function(lab: Lab) -> None:
        if not lab.target.has_clock:
            raise Skipped("needs a virtual clock: in real time a server is woken by the end itself")
        with lab.server(**limit(lab)) as server, lab.peer(target=server) as peer:
            save(peer, 1)
            server.set_clock_forward(1)
            save(peer, None)

    title = f"A save is done if nothing but due {what} leaves it no room."
    add(f"limits/due-{slug}", title, ("TTL-5", clause), function, schedule=Schedule.OWN_SERVERS)


def _save_sessions(peer: Client, ttl_s: int | None) -> None:
    for number in range(3):
        peer.park("e", b"%d" % number, ttl_s)


def _save_bindings(peer: Client, ttl_s: int | None) -> None:
    for number in range(3):
        peer.bind("d", f"{number}", b"", ttl_s)


_due("sessions", "sessions", "LIMIT-2", lambda lab: {"sessions_max": 3}, _save_sessions)
_due(
    "sessions-of-an-endpoint",
    "sessions of an endpoint",
    "LIMIT-3",
    lambda lab: {"sessions_per_endpoint_max": 3},
    _save_sessions,
)
_due("bindings", "bindings", "LIMIT-4", lambda lab: {"bindings_max": 3}, _save_bindings)
_due(
    "bindings-of-a-destination",
    "bindings of a destination",
    "LIMIT-10",
    lambda lab: {"bindings_per_destination_max": 3},
    _save_bindings,
)
_due(
    "bytes",
    "labels and properties",
    "LIMIT-11",
    lambda lab: {"cached_bytes_max": 3 * (_label_bytes(lab) + 1)},
    _save_sessions,
)
