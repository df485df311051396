"""Cases: descriptors that come with bytes that carry none: each is closed, and the bytes are served."""

from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import add, case
from scache_conformance.wire import lists
from scache_conformance.wire.lists import DONE, DUMMY_LIST


def _smuggled(slug: str, what: str) -> None:
    def function(lab: Lab) -> None:
        peer, line = lab.peer(), lab.line()
        parked, find, fds = peer.park("e", b"p"), lists.find_endp(lab.label("e")), [line.far.fileno()]
        if slug == "with-the-end-of-a-request":
            peer.send_bytes(find[:-1])
            find = find[-1:]
        peer.send_bytes(find, fds if slug.endswith("a-request") else [])
        peer.receives(DONE, b"p")
        peer.send_bytes(DUMMY_LIST, fds if slug == "with-ready" else [])
        peer.receives_end_of(parked)
        peer.send_bytes(DUMMY_LIST, fds if slug == "with-received" else [])
        line.let_go()
        peer.misses_endp("e")
        line.insist_on_hangup("the descriptor that rode along", peer.deadline_s)

    title = f"A descriptor that comes with {what} is closed, and the find goes on."
    add(f"fd/smuggled-{slug}", title, ("FD-1",), function)


_smuggled("with-a-request", "a find_endp")
_smuggled("with-the-end-of-a-request", "the last byte of a find_endp")
_smuggled("with-ready", 'the list "ready"')
_smuggled("with-received", 'the list "received"')


@case("fd/smuggled-several", "FD-1")
def smuggled_several(lab: Lab) -> None:
    """Each of several descriptors that come with a request is closed."""
    peer, passed = lab.peer(), [lab.line() for _ in range(3)]
    peer.send_bytes(lists.find_endp(lab.label("nothing")), [each.far.fileno() for each in passed])
    peer.receives_status(1)
    for each in passed:
        each.let_go()
        each.insist_on_hangup("each of the three", peer.deadline_s)


@case("fd/smuggled-with-save-endp", "FD-1", "FD-2")
def smuggled_with_save_endp(lab: Lab) -> None:
    """A descriptor that comes with a save_endp is closed; the one to park comes after the invitation."""
    peer, smuggled, line = lab.peer(), lab.line(), lab.line()
    peer.send_bytes(lists.save_endp(lab.ttl_s, lab.label("e"), b"p"), [smuggled.far.fileno()])
    smuggled.let_go()
    peer.insist_on_invitation()
    peer.sends_descriptors([line.far.fileno()])
    smuggled.insist_on_hangup("the descriptor that rode along", peer.deadline_s)
    peer.finds_endp("e", b"p", line)
