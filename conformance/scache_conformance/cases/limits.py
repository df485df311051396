"""Cases: every limit, on both of its sides. A server must be told them, or tell them: see --limit and --exec."""

from scache_conformance.lab import Lab, require, require_found, require_miss
from scache_conformance.peer import DONE, FAILED, Peer, Unmet, encode
from scache_conformance.registry import case
from scache_conformance.target import Target
from scache_conformance.verdicts import Level

SHOULD = Level.SHOULD


def _find_of(byte_count: int) -> bytes:
    """Return a find_endp of exactly so many bytes."""
    rest = len(encode((b"request", b"find_endp"), (b"label", b"")))
    return encode((b"request", b"find_endp"), (b"label", b"x" * (byte_count - rest)))


@case("limits/longest-list", "LIMIT-1", level=SHOULD)
def longest_list(lab: Lab) -> None:
    """A list of exactly attribute_list_bytes_max bytes is served."""
    peer, data = lab.peer(), _find_of(lab.target.limit("attribute_list_bytes_max"))
    peer.send_bytes(data)
    require("status", peer.receive_reply(1).status, FAILED)
    peer.send_bytes(data[:10])
    peer.wait_until_taken()
    peer.send_bytes(data[10:])
    require("status", peer.receive_reply(1).status, FAILED)


@case("limits/longest-list-and-more", "LIMIT-1", "CONN-3", level=SHOULD, apart=True)
def longest_list_and_more(lab: Lab) -> None:
    """What follows a list in the same write does not count against its length."""
    with lab.server(attribute_list_bytes_max=200) as server, lab.peer(target=server) as peer:
        peer.send_bytes(_find_of(200) + _find_of(200) + _find_of(100))
        for _ in range(3):
            require("status", peer.receive_reply(1).status, FAILED)


@case("limits/too-long-list", "LIMIT-1", level=SHOULD)
def too_long_list(lab: Lab) -> None:
    """A list of one byte more closes its client without a reply; others are served."""
    peer, data = lab.peer(), _find_of(lab.target.limit("attribute_list_bytes_max") + 1)
    peer.send_bytes(data)
    peer.insist_on_hangup()
    require_miss("another client's find", lab.peer("B").find_endp(lab.label("nothing")))


@case("limits/endless-list", "LIMIT-1", level=SHOULD)
def endless_list(lab: Lab) -> None:
    """A list without an end closes its client, and need not be sent whole for that."""
    peer = lab.peer()
    peer.send_as_much_as_is_taken(b"x" * 65_536, bytes_max=lab.target.limit("attribute_list_bytes_max") + 65_536)
    peer.insist_on_hangup()


@case("limits/sessions", "LIMIT-2", level=SHOULD, apart=True)
def sessions(lab: Lab) -> None:
    """One session more than sessions_max is refused with status 2 and closed; when one is found there is room again."""
    with lab.server(sessions_max=3) as server, lab.peer(target=server) as peer:
        for number in range(3):
            lab.park(peer, lab.label(f"e{number}"))
        _require_refused(lab, peer, lab.label("e3"))
        require_found("find_endp", peer.find_endp(lab.label("e1")), b"")
        lab.park(peer, lab.label("e3"))
        _require_refused(lab, peer, lab.label("e4"))


@case("limits/sessions-per-endpoint", "LIMIT-3", level=SHOULD, apart=True)
def sessions_per_endpoint(lab: Lab) -> None:
    """One session more than sessions_per_endpoint_max is refused likewise; other endpoints have room."""
    with lab.server(sessions_per_endpoint_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            lab.park(peer, lab.label("e"), b"%d" % number)
        _require_refused(lab, peer, lab.label("e"))
        lab.park(peer, lab.label("other"))
        require_found("find_endp", peer.find_endp(lab.label("e")), b"0")
        lab.park(peer, lab.label("e"), b"2")
        _require_refused(lab, peer, lab.label("e"))


def _require_refused(lab: Lab, peer: Peer, endpoint: bytes) -> None:
    line = lab.line()
    status = peer.save_endp(lab.ttl_s, endpoint, b"one too many", line.far.fileno())
    line.let_go()
    require("status of one save_endp too many", status, FAILED)
    if not line.hung_up(peer.deadline_s):
        raise Unmet("its descriptor closed", f"it is open {peer.deadline_s} s later")


@case("limits/bindings", "LIMIT-4", level=SHOULD, apart=True)
def bindings(lab: Lab) -> None:
    """One binding more than bindings_max is refused with status 2; a renewal is not."""
    with lab.server(bindings_max=2) as server, lab.peer(target=server) as peer:
        for number in range(2):
            lab.bind(peer, lab.label("d"), lab.label(f"e{number}"))
        status = peer.save_dest(lab.ttl_s, lab.label("d2"), b"", lab.label("e"))
        require("status of one save_dest too many", status, FAILED)
        lab.bind(peer, lab.label("d"), lab.label("e0"))
        lab.park(peer, lab.label("e"))
        require_miss("find_dest of the refused one", peer.find_dest(lab.label("d2")))


@case("limits/clients", "LIMIT-5", level=SHOULD, apart=True)
def clients(lab: Lab) -> None:
    """One client more than clients_max is disconnected without a greeting; when one leaves there is room again."""
    with lab.server(clients_max=3) as server:
        first, second, _ = (_connect_when_there_is_room(lab, server, name) for name in ("1", "2", "3"))
        lab.peer("4", target=server, greeted=False).insist_on_hangup()
        require_miss("find_endp", first.find_endp(lab.label("nothing")))
        second.hang_up()
        fifth = _connect_when_there_is_room(lab, server, "5")
        require_miss("find_endp", fifth.find_endp(lab.label("nothing")))


def _connect_when_there_is_room(lab: Lab, server: Target, name: str) -> Peer:
    """Connect, several times if need be: a server need not notice at once that somebody has left."""
    for _ in range(50):
        try:
            return lab.peer(name, target=server)
        except Unmet:
            lab.sleep(0.02)
    return lab.peer(name, target=server)


@case("limits/output", "LIMIT-6", "CONN-2", level=SHOULD)
def output(lab: Lab) -> None:
    """A server stops reading from a client that does not take its replies, and goes on when it does."""
    peer, request = lab.peer(), encode((b"request", b"find_dest"), (b"label", lab.label("nothing")))
    taken = peer.send_as_much_as_is_taken(request * 500, bytes_max=16_000_000)
    if taken >= 16_000_000:
        raise Unmet("the server to stop reading while its replies are not taken", "it read 16 000 000 bytes")
    whole, rest = divmod(taken, len(request))
    for number in range(whole):
        require(f"status of reply {number}", peer.receive_reply(2).status, FAILED)
    if rest:
        peer.send_bytes(request[rest:])
        require("status of the last reply", peer.receive_reply(2).status, FAILED)
    require_miss("find_endp", peer.find_endp(lab.label("nothing")))


@case("limits/unfinished-list", "LIMIT-7", level=SHOULD, apart=True)
def unfinished_list(lab: Lab) -> None:
    """A client that leaves a list unfinished for ipc_timeout_s is disconnected."""
    with lab.server(ipc_timeout_s=1) as server:
        peer = lab.peer(target=server)
        peer.send_bytes(b"request\0find")
        peer.wait_until_taken()  # the step begins when the server has read it
        _pass_a_second(server)
        peer.insist_on_hangup()


@case("limits/unfinished-save", "LIMIT-7", level=SHOULD, apart=True)
def unfinished_save(lab: Lab) -> None:
    """So is one that does not send its descriptor."""
    with lab.server(ipc_timeout_s=1) as server:
        peer = lab.peer(target=server)
        peer.begin_save_endp(lab.ttl_s, lab.label("e"), b"")
        _pass_a_second(server)
        peer.insist_on_hangup()


def _pass_a_second(server: Target) -> None:
    """Have a second pass on a virtual clock; a real one does so by itself, and the hangup is waited for."""
    if server.has_clock:
        server.advance(1)


@case("limits/unfinished-find", "LIMIT-7", "FD-10", level=SHOULD, apart=True)
def unfinished_find(lab: Lab) -> None:
    """So is one that does not say ready; its session is put back, or closed if it has ended."""
    with lab.server(ipc_timeout_s=1, ttl_limit_s=5) as server:
        finder = lab.peer("find", target=server)
        lab.park(finder, lab.label("e"), b"p", 5)
        require("status", finder.begin_find_endp(lab.label("e")).status, DONE)
        _pass_a_second(server)
        finder.insist_on_hangup()
        require_found("find_endp", lab.peer("B", target=server).find_endp(lab.label("e")), b"p")


@case("limits/at-rest", "LIMIT-7", level=SHOULD, apart=True)
def at_rest(lab: Lab) -> None:
    """A client at rest between two requests stays."""
    with lab.server(ipc_timeout_s=1) as server, lab.peer(target=server) as peer:
        for _ in range(2):
            require_miss("find_endp", peer.find_endp(lab.label("nothing")))
            _pass_more_than_half_of_two_seconds(lab, server)
        require_miss("find_endp", peer.find_endp(lab.label("nothing")))


def _pass_more_than_half_of_two_seconds(lab: Lab, server: Target) -> None:
    if server.has_clock:
        server.set_clock_forward(1)
    lab.sleep(1.2)  # on a virtual clock too: Postfix measures this one with poll(2)


@case("limits/each-step-anew", "LIMIT-7", level=SHOULD, apart=True)
def each_step_anew(lab: Lab) -> None:
    """Each step has its own ipc_timeout_s: a dance whose steps are in time may take longer as a whole."""
    with lab.server(ipc_timeout_s=2, ttl_limit_s=20) as server, lab.peer(target=server) as peer:
        line = lab.line()
        peer.begin_save_endp(20, lab.label("e"), b"p")
        _pass_more_than_half_of_two_seconds(lab, server)
        peer.send_bytes(b"\0", [line.far.fileno()])
        require("status of save_endp", peer.receive_reply(0).status, DONE)
        require("status of find_endp", peer.begin_find_endp(lab.label("e")).status, DONE)
        _pass_more_than_half_of_two_seconds(lab, server)
        require("that the descriptor is the parked one", line.is_other_end_of(peer.take()), True)
