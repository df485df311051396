"""Cases: a client that goes away and leaves something unread, or that was put off before it went."""

import time

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import case
from scache_conformance.suite.requirements import require, require_found
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DUMMY_LIST


@case("deaths/reply-unread-and-a-request", "CONN-11")
def reply_unread_and_a_request(lab: Lab) -> None:
    """A request is served though its client is gone and has left the reply before it unread."""
    other = lab.peer("B")
    for turn in lab.tries_beside_a_late_server:
        peer, destination, endpoint = lab.peer(), lab.label(f"d{turn}"), f"e{turn}"
        line = other.park(endpoint, b"p")
        peer.send_bytes(lists.find_endp(lab.label("nothing")))
        require("whether the reply comes", peer.has_something_to_read(), True)
        with lab.late_server():
            peer.send_bytes(lists.save_dest(lab.ttl_s, destination, b"q", lab.label(endpoint)))
            peer.hang_up()
        # In which order it serves several clients is left to the server.
        deadline_s = time.monotonic() + peer.deadline_s
        while (found := other.find_dest(destination)) is None and time.monotonic() < deadline_s:
            lab.sleep(0.02)
        require_found("find_dest", found, b"q", b"p", line=line)


@case("deaths/descriptor-unread-and-a-request", "FD-14", "CONN-11", level=Level.INFO)
def descriptor_unread_and_a_request(lab: Lab) -> str:
    """Whether a request is served whose client goes away before it has read the descriptor before it."""
    peer, other = lab.peer(), lab.peer("B")
    peer.parks_and_holds()
    peer.send_bytes(DUMMY_LIST)
    require("whether the descriptor comes", peer.has_something_to_read(), True)
    peer.send_bytes(DUMMY_LIST + lists.save_dest(lab.ttl_s, lab.label("d"), b"q", lab.label("f")))
    lab.target.come_to_rest()
    peer.hang_up()
    lab.target.come_to_rest()
    other.park("f", b"p")
    return "it is not served" if other.find_dest(lab.label("d")) is None else "it is served"


@case("deaths/gone-after-not-ready", "ENDP-4", "FD-7")
def gone_after_not_ready(lab: Lab) -> None:
    """A session that was put back because its finder did not send "ready" is put back once, also if the finder goes."""
    peer, other = lab.peer(), lab.peer("B")
    lines = [peer.park("e", properties) for properties in (b"1", b"2")]
    peer.holds_endp("e", b"1")
    peer.send((b"label", b"not ready"))
    peer.misses_endp()
    peer.hang_up()
    for _ in range(2):
        other.misses_endp()
        lab.target.come_to_rest()
    for line, properties in zip(lines, (b"1", b"2"), strict=True):
        other.finds_endp("e", properties, line)
    other.misses_endp("e")
