"""Cases: a client that stops in the middle of something: everybody else is served as if it were not there."""

from collections.abc import Callable

from scache_conformance.suite import places
from scache_conformance.suite.client import Client
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import add


def _stall(slug: str, where: str, stall: Callable[[Client], None]) -> None:
    def function(lab: Lab) -> None:
        stalled, other = lab.peer("S"), lab.peer("B", deadline_s=lab.patience_s)
        stall(stalled)
        stalled.wait_until_taken()
        line = other.park("e", b"p")
        other.bind("d", "e", b"q")
        other.finds_dest("d", b"q", b"p", line=line)
        lab.peer("C", deadline_s=lab.patience_s).misses_endp("e")

    add(f"stalls/{slug}", f"A client that stalls {where} delays no other client.", ("CONN-2",), function)


_stall("at-rest", "at rest", places.at_rest)
_stall("mid-name", "in the middle of a name", places.mid_name)
_stall("mid-value", "in the middle of a value", places.mid_value)
_stall("mid-list", "before the end of a list", places.mid_list)
_stall("descriptor-awaited", "before it sends its descriptor", places.descriptor_awaited)
_stall("ready-awaited", 'before it sends "ready"', places.ready_awaited)
_stall("mid-ready", 'in the middle of "ready"', places.mid_ready)
_stall("received-awaited", 'before it sends "received"', places.received_awaited)
_stall("not-reading", "with its replies unread", places.not_reading)
