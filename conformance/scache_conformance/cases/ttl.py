"""Cases: how long sessions and bindings live.

On a virtual clock every case tries the last second of a lifetime and the first one after it. In real time what is tried
is any instant at which every server, also one that counts whole seconds, must give the same answer.
"""

import time

from scache_conformance.suite.lab import Inconclusive, Lab, Lifetime, Skipped, require, require_found, require_miss
from scache_conformance.suite.registry import case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DONE, MALFORMED
from scache_conformance.wire.unmet import Silence, Unmet

FOREVER_S = 2_147_483_647


@case("ttl/session-lives", "TTL-2", waits=True)
def session_lives(lab: Lab) -> None:
    """A session is found shortly before its ttl is over."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lab.park(peer, endpoint, b"p", ttl_s)
    life.reach_last_moment()
    life.require_alive("find_endp", peer.find_endp(endpoint), b"p")


@case("ttl/session-ends", "TTL-2", "TTL-3", waits=True)
def session_ends(lab: Lab) -> None:
    """A session is not found when its ttl is over."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lab.park(peer, endpoint, b"p", ttl_s)
    life.reach_end()
    require_miss("find_endp", peer.find_endp(endpoint))


@case("ttl/session-of-one-second", "TTL-2", waits=True)
def session_of_one_second(lab: Lab) -> None:
    """A session of one second is gone after it, though the ttl limit is longer."""
    peer, endpoint = lab.peer(), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(1) as life:
        line = lab.park(peer, endpoint, b"p", 1)
    life.reach_end()
    require_miss("find_endp", peer.find_endp(endpoint))
    line.insist_on_hangup("its connection", peer.deadline_s)


@case("ttl/session-lives-to-the-end", "TTL-2", level=Level.SHOULD, waits=True)
def session_lives_to_the_end(lab: Lab) -> None:
    """A session lives its whole ttl, whatever part of a second the clock showed when it was parked."""
    peer, ttl_s, lives = lab.peer(), lab.short_ttl_s(), []
    for number in range(4):
        with lab.lifetime(ttl_s) as life:
            lab.park(peer, lab.label(f"e{number}"), b"p", ttl_s)
        lives.append(life)
        if not lab.target.has_clock:
            lab.wait_until(life.before_s + 0.25)
    for number, life in enumerate(lives):
        life.reach_last_moment(exact=True)
        life.require_alive(f"find_endp {number}", peer.find_endp(lab.label(f"e{number}")), b"p", exact=True)


# Undisturbed, as other cases' requests would wake a server that does not wake by itself.
@case("ttl/session-closed-at-its-end", "TTL-3", "TTL-6", undisturbed=True)
def session_closed_at_its_end(lab: Lab) -> None:
    """When a session ends its connection is closed, without being asked for and without a byte written to it."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = lab.park(peer, endpoint, b"p", ttl_s)
    life.reach_last_moment()
    _require_open(life, line)
    life.reach_end()
    _require_closed_in_silence(line, peer.deadline_s)


@case("ttl/each-closed-at-its-end", "TTL-3", "TTL-6", undisturbed=True)
def each_closed_at_its_end(lab: Lab) -> None:
    """So is that of another session, which was parked after the first and ends after it."""
    peer, endpoint = lab.peer(), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(1) as short:
        first = lab.park(peer, endpoint, b"first", 1)
    with lab.lifetime(2) as long:
        second = lab.park(peer, endpoint, b"second", 2)
    for life, line in ((short, first), (long, second)):
        life.reach_end()
        _require_closed_in_silence(line, peer.deadline_s)


def _require_open(life: Lifetime, line: Line) -> None:
    if line.hung_up(0):
        life.insist_on_being_in_time("the connection")
        raise Unmet("the connection to be open before the session's end", "it is closed")


def _require_closed_in_silence(line: Line, deadline_s: float) -> None:
    line.near.settimeout(deadline_s)
    try:
        data = line.near.recv(100)
    except TimeoutError:
        raise Silence("the connection closed by the server", f"it is open {deadline_s} s later") from None
    require("what was written to the connection before it was closed", data, b"")


@case("ttl/binding-lives", "TTL-2", waits=True)
def binding_lives(lab: Lab) -> None:
    """A binding leads on shortly before its ttl is over."""
    peer, destination, endpoint, ttl_s = lab.peer(), lab.label("d"), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lab.bind(peer, destination, endpoint, b"q", ttl_s)
    life.reach_last_moment()
    lab.park(peer, endpoint, b"p")
    life.require_alive("find_dest", peer.find_dest(destination), b"q", b"p")


@case("ttl/binding-lives-to-the-end", "TTL-2", level=Level.SHOULD, waits=True)
def binding_lives_to_the_end(lab: Lab) -> None:
    """A binding lives its whole ttl, whatever part of a second the clock showed when it was saved."""
    peer, ttl_s, lives = lab.peer(), lab.short_ttl_s(), []
    for number in range(4):
        with lab.lifetime(ttl_s) as life:
            lab.bind(peer, lab.label(f"d{number}"), lab.label("e"), b"q", ttl_s)
        lives.append(life)
        if not lab.target.has_clock:
            lab.wait_until(life.before_s + 0.25)
    for number, life in enumerate(lives):
        life.reach_last_moment(exact=True)
        lab.park(peer, lab.label("e"), b"p")
        life.require_alive(f"find_dest {number}", peer.find_dest(lab.label(f"d{number}")), b"q", b"p", exact=True)


@case("ttl/binding-ends", "TTL-2", "TTL-4", "DEST-1", waits=True)
def binding_ends(lab: Lab) -> None:
    """A binding leads nowhere when its ttl is over; the session it led to is there still."""
    peer, destination, endpoint, ttl_s = lab.peer(), lab.label("d"), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lab.bind(peer, destination, endpoint, b"q", ttl_s)
    life.reach_end()
    line = lab.park(peer, endpoint, b"p")
    require_miss("find_dest", peer.find_dest(destination))
    require_found("find_endp", peer.find_endp(endpoint), b"p", line=line)


@case("ttl/session-outlives-binding", "TTL-4", "DEST-1", waits=True)
def session_outlives_binding(lab: Lab) -> None:
    """When a binding ends, sessions that were parked before stay."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(1) as binding_life:
        lab.bind(peer, destination, endpoint, b"q", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as session_life:
        line = lab.park(peer, endpoint, b"p", 2)
    binding_life.reach_end()
    require_miss("find_dest", peer.find_dest(destination))
    _require_open(session_life, line)
    session_life.require_alive("find_endp", peer.find_endp(endpoint), b"p")


@case("ttl/binding-outlives-session", "TTL-3", "DEST-1", waits=True)
def binding_outlives_session(lab: Lab) -> None:
    """When a session ends, the binding that leads to its endpoint stays."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(1) as session_life:
        lab.park(peer, endpoint, b"p", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as binding_life:
        lab.bind(peer, destination, endpoint, b"q", 2)
    session_life.reach_end()
    require_miss("find_endp", peer.find_endp(endpoint))
    lab.park(peer, endpoint, b"p2")
    binding_life.require_alive("find_dest", peer.find_dest(destination), b"q", b"p2")


@case("ttl/session-cap", "TTL-1", waits=True)
def session_cap(lab: Lab) -> None:
    """A session of a far longer ttl ends when the ttl limit is over, and not before."""
    peer, endpoint, limit_s = lab.peer(), lab.label("e"), lab.capped_ttl_s()
    with lab.lifetime(limit_s) as life:
        lab.park(peer, endpoint, b"1", FOREVER_S)
        lab.park(peer, endpoint, b"2", limit_s + 1)
        line = lab.park(peer, endpoint, b"3", FOREVER_S)
    life.reach_last_moment()
    life.require_alive("find_endp before it", peer.find_endp(endpoint), b"1")
    life.reach_end()
    require_miss("find_endp after it", peer.find_endp(endpoint))
    line.insist_on_hangup("the connection", peer.deadline_s)


@case("ttl/binding-cap", "TTL-1", waits=True)
def binding_cap(lab: Lab) -> None:
    """A binding of a far longer ttl ends when the ttl limit is over, and not before."""
    peer, destination, endpoint, limit_s = lab.peer(), lab.label("d"), lab.label("e"), lab.capped_ttl_s()
    with lab.lifetime(limit_s) as life:
        lab.bind(peer, destination, endpoint, b"1", FOREVER_S)
        lab.bind(peer, destination, endpoint, b"2", limit_s + 1)
    life.reach_last_moment()
    lab.park(peer, endpoint, b"p")
    life.require_alive("find_dest before it", peer.find_dest(destination), b"1", b"p")
    life.reach_end()
    lab.park(peer, endpoint, b"p")
    require_miss("find_dest after it", peer.find_dest(destination))


@case("ttl/renewal-extends", "DEST-2", waits=True)
def renewal_extends(lab: Lab) -> None:
    """A binding that is saved again lives from then on."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(1) as first:
        lab.bind(peer, destination, endpoint, b"q", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as second:
        lab.bind(peer, destination, endpoint, b"q", 2)
    first.reach_end()
    lab.park(peer, endpoint, b"p")
    second.require_alive("find_dest after the first ttl", peer.find_dest(destination), b"q", b"p")
    second.reach_end()
    lab.park(peer, endpoint, b"p")
    require_miss("find_dest after the second ttl", peer.find_dest(destination))


@case("ttl/renewal-shortens", "DEST-2", waits=True)
def renewal_shortens(lab: Lab) -> None:
    """A binding that is saved again with a shorter ttl ends sooner."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.short_ttl_s()
    lab.bind(peer, destination, endpoint, b"q", lab.ttl_s)
    with lab.lifetime(1) as life:
        lab.bind(peer, destination, endpoint, b"q", 1)
    life.reach_end()
    lab.park(peer, endpoint, b"p")
    require_miss("find_dest after the second ttl", peer.find_dest(destination))


@case("ttl/other-binding-does-not-renew", "DEST-3", waits=True)
def other_binding_does_not_renew(lab: Lab) -> None:
    """A binding of other properties does not renew: the first ends in its time, then the second leads on."""
    peer, destination, endpoint = lab.peer(), lab.label("d"), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(1) as first:
        lab.bind(peer, destination, endpoint, b"first", 1)
    lab.pass_half_a_second()
    with lab.lifetime(2) as second:
        lab.bind(peer, destination, endpoint, b"second", 2)
    first.reach_end()
    lab.park(peer, endpoint, b"p")
    second.require_alive("find_dest after the first's ttl", peer.find_dest(destination), b"second", b"p")


@case("ttl/finding-does-not-renew", "DEST-5", waits=True)
def finding_does_not_renew(lab: Lab) -> None:
    """A binding that is used all the time ends in its time."""
    peer, destination, endpoint, ttl_s = lab.peer(), lab.label("d"), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lab.bind(peer, destination, endpoint, b"q", ttl_s)
    life.reach_last_moment()
    lab.park(peer, endpoint, b"1")
    life.require_alive("find_dest before it", peer.find_dest(destination), b"q", b"1")
    life.reach_end()
    lab.park(peer, endpoint, b"2")
    require_miss("find_dest after it", peer.find_dest(destination))


@case("ttl/shorter-behind-longer", "TTL-2", "ENDP-2", waits=True)
def shorter_behind_longer(lab: Lab) -> None:
    """Sessions of one endpoint end each in its time; those that stay keep their order."""
    peer, endpoint = lab.peer(), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(1) as short:
        shorts = [lab.park(peer, endpoint, b"short", 1) for _ in range(2)]
    lab.pass_half_a_second()
    with lab.lifetime(2) as long:
        lab.park(peer, endpoint, b"1", 2)
        between = lab.park(peer, endpoint, b"2", 2)
    short.reach_end()
    long.require_alive("find_endp", peer.find_endp(endpoint), b"1")
    long.require_alive("find_endp", peer.find_endp(endpoint), b"2")
    for line in shorts:
        line.insist_on_hangup("a short one", peer.deadline_s)
    require_miss("find_endp of a short one", peer.find_endp(endpoint))
    between.close()


@case("ttl/short-in-the-middle", "TTL-2", "ENDP-3", waits=True)
def short_in_the_middle(lab: Lab) -> None:
    """A session that ends between two others leaves these where they are."""
    peer, endpoint = lab.peer(), lab.label("e")
    lab.short_ttl_s()
    with lab.lifetime(2) as long:
        lab.park(peer, endpoint, b"1", 2)
        with lab.lifetime(1) as short:
            lab.park(peer, endpoint, b"short", 1)
        lab.park(peer, endpoint, b"2", 2)
    short.reach_end()
    long.require_alive("find_endp", peer.find_endp(endpoint), b"1")
    long.require_alive("find_endp", peer.find_endp(endpoint), b"2")


@case("ttl/label-lives-again", "TTL-3", "TTL-4", waits=True)
def label_lives_again(lab: Lab) -> None:
    """Destination names come up again and again over time: what has ended leaves nothing behind for the next."""
    peer, destination, endpoint, ttl_s = lab.peer(), lab.label("d"), lab.label("e"), lab.short_ttl_s()
    for turn in range(2):
        with lab.lifetime(ttl_s) as life:
            lab.bind(peer, destination, endpoint, b"q%d" % turn, ttl_s)
            lab.bind(peer, destination, lab.label("other"), b"other", 1)
            lab.park(peer, endpoint, b"p%d" % turn, ttl_s)
            lab.park(peer, endpoint, b"p%d again" % turn, ttl_s)
        require_found("find_dest", peer.find_dest(destination), b"q%d" % turn, b"p%d" % turn)
        life.reach_end()
        require_miss("find_dest after its end", peer.find_dest(destination))
        require_miss("find_endp after its end", peer.find_endp(endpoint))


@case("ttl/found-is-not-closed", "TTL-3", "FD-8", waits=True)
def found_is_not_closed(lab: Lab) -> None:
    """A session that was found in time is its finder's: the end of its ttl does not touch it."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = lab.park(peer, endpoint, b"p", ttl_s)
    found = require_found("find_endp", peer.find_endp(endpoint), b"p", line=line)
    life.reach_end()
    require("that the connection is open still", line.hung_up(0.05), False)
    require("that it still works", line.is_other_end_of(found.fd), True)


@case("ttl/expiry-before-requests", "TTL-5")
def expiry_before_requests(lab: Lab) -> None:
    """What has ended by the time a request is served is not found by it, though nothing woke the server before."""
    if not lab.target.has_clock:
        raise Skipped("needs a virtual clock: in real time a server is woken by the end itself, before any request")
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        line = lab.park(peer, endpoint, b"p", ttl_s)
    lab.set_clock_forward(ttl_s)
    life.reach_end()
    require_miss("find_endp", peer.find_endp(endpoint))
    line.insist_on_hangup("the connection", peer.deadline_s)


@case("ttl/counts-from-the-descriptor", "FD-3", undisturbed=True)
def counts_from_the_descriptor(lab: Lab) -> None:
    """The ttl of a session counts from when its descriptor came, not from the request."""
    peer, line, endpoint, ttl_s = lab.peer(), lab.line(), lab.label("e"), lab.short_ttl_s()
    peer.begin_save_endp(ttl_s, endpoint, b"p")
    lab.set_clock_forward(ttl_s)
    with lab.lifetime(ttl_s) as life:
        peer.send_bytes(b"\0", [line.far.fileno()])
        require("status of save_endp", peer.receive_reply(0).status, DONE)
    life.require_alive("find_endp", peer.find_endp(endpoint), b"p")


@case("ttl/malformed-does-not-renew", "CONN-7", "DEST-2", waits=True)
def malformed_does_not_renew(lab: Lab) -> None:
    """A malformed save_dest does not renew the binding it would have renewed."""
    peer, destination, endpoint, ttl_s = lab.peer(), lab.label("d"), lab.label("e"), lab.short_ttl_s()
    with lab.lifetime(ttl_s) as life:
        lab.bind(peer, destination, endpoint, b"q", ttl_s)
    life.reach_last_moment()
    label, end = (b"label", destination), (b"label", endpoint)
    peer.request(b"save_dest", (b"ttl", b"5x"), label, (b"property", b"q"), end)
    require("status of the malformed save_dest", peer.receive_reply(0).status, MALFORMED)
    life.reach_end()
    lab.park(peer, endpoint, b"p")
    require_miss("find_dest", peer.find_dest(destination))


@case("ttl/leading-zero-is-decimal", "WIRE-8", apart=True)
def leading_zero_is_decimal(lab: Lab) -> None:
    """A ttl of 010 is ten seconds, not eight."""
    with lab.server(ttl_limit_s=20) as server, lab.peer(target=server) as peer:
        line, endpoint = lab.line(), lab.label("e")
        peer.request(b"save_endp", (b"ttl", b"010"), (b"label", endpoint), (b"property", b"p"))
        peer.insist_on_invitation()
        peer.send_bytes(b"\0", [line.far.fileno()])
        require("status of save_endp", peer.receive_reply(0).status, DONE)
        began_s = time.monotonic()
        if server.has_clock:
            server.advance(9)
        else:
            lab.sleep(8.5)
        found = peer.find_endp(endpoint)
        if found is None and not server.has_clock and time.monotonic() - began_s >= 9:
            raise Inconclusive("find_endp: looked too late, this machine is busy")
        require_found("find_endp after more than eight seconds", found, b"p")


@case("ttl/lifetime-measured", "TTL-6", level=Level.INFO, waits=True)
def lifetime_measured(lab: Lab) -> str:
    """How long a session lives that nobody finds."""
    peer, endpoint, ttl_s = lab.peer(), lab.label("e"), lab.short_ttl_s()
    if lab.target.has_clock:
        return "exactly its ttl: time is virtual here"
    line = lab.park(peer, endpoint, b"", ttl_s)
    began_s = time.monotonic()
    if not line.hung_up(ttl_s + 1):
        return f"of a ttl of {ttl_s} s: more than {ttl_s + 1} s"
    return f"of a ttl of {ttl_s} s: {time.monotonic() - began_s:.2f} s"
