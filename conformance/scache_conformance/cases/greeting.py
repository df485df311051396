"""Cases: what a server says to a new client."""

from scache_conformance.suite.lab import Lab, require
from scache_conformance.suite.registry import case
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire.lists import FAILED, GREETING

SILENCE_S = 0.05
"""How long nothing must come where nothing is due. Arbitrary: servers that say too much say it at once."""


@case("greeting/speaks-first", "CONN-1", "WIRE-1")
def speaks_first(lab: Lab) -> None:
    """The server greets without being spoken to."""
    peer = lab.peer(greeted=False)
    require("the greeting", peer.receive("the greeting"), GREETING)


@case("greeting/once", "CONN-1")
def once(lab: Lab) -> None:
    """After the greeting the server is silent until it is asked, and the first reply is no second greeting."""
    peer = lab.peer()
    peer.insist_on_silence(SILENCE_S)
    require("status of a find", peer.begin_find_endp(lab.label("nothing")).status, FAILED)
    peer.insist_on_silence(SILENCE_S)


@case("greeting/every-client", "CONN-1")
def every_client(lab: Lab) -> None:
    """Each of several clients that are connected at once is greeted."""
    peers = [lab.peer(name=f"A{number}") for number in range(10)]
    for peer in reversed(peers):
        require("status of a find", peer.begin_find_endp(lab.label("nothing")).status, FAILED)


@case("greeting/request-before-it", "CONN-3", level=Level.SHOULD)
def request_before_it(lab: Lab) -> None:
    """A client that does not wait for the greeting gets it all the same, then its reply."""
    peer = lab.peer(greeted=False)
    peer.request(b"find_endp", (b"label", lab.label("nothing")))
    require("the first list", peer.receive("the greeting"), GREETING)
    require("status of the find", peer.receive_reply(1).status, FAILED)
