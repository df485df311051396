"""Cases: what a server says to a new client."""

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, case
from scache_conformance.suite.requirements import require
from scache_conformance.suite.verdicts import Level
from scache_conformance.wire import lists
from scache_conformance.wire.lists import GREETING

SILENCE_S = 0.05
"""How long nothing must come where nothing is due. Arbitrary: servers that say too much say it at once."""


@case("greeting/speaks-first", "CONN-1", "WIRE-1")
def speaks_first(lab: Lab) -> None:
    """The server sends the greeting before the client has sent anything."""
    require("the greeting", lab.peer(greeted=False).receive("the greeting"), GREETING)


@case("greeting/once", "CONN-1")
def once(lab: Lab) -> None:
    """The server sends the greeting once: after it nothing comes until a request, and then only the reply."""
    peer = lab.peer()
    peer.insist_on_silence(SILENCE_S)
    peer.misses_endp()
    peer.insist_on_silence(SILENCE_S)


@case("greeting/every-client", "CONN-1")
def every_client(lab: Lab) -> None:
    """Each of several clients that are connected at once gets the greeting."""
    for peer in reversed([lab.peer(f"A{number}") for number in range(10)]):
        peer.misses_endp()


@case("greeting/request-before-it", "CONN-3", level=Level.SHOULD)
def request_before_it(lab: Lab) -> None:
    """A client that sends its request before the greeting has come gets the greeting, then the reply."""
    peer = lab.peer(greeted=False)
    peer.send_bytes(lists.find_endp(lab.label("nothing")))
    require("the first list", peer.receive("the greeting"), GREETING)
    peer.receives_status(1)


AT_ONCE = 6
"""So many clients connect while the server does not look. Arbitrary."""


@case("greeting/several-at-once", "CONN-1", "CONN-2", schedule=Schedule.OWN_SERVERS)
def several_at_once(lab: Lab) -> None:
    """Each of several clients that connected while the server was stopped is greeted and served."""
    with lab.server() as server:
        with server.stopped():
            peers = [lab.peer(f"C{number}", target=server, greeted=False) for number in range(AT_ONCE)]
        for peer in peers:
            peer.insist_on_greeting()
        for peer in peers:
            peer.misses_endp()
