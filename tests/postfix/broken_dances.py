"""Dances around a descriptor that go wrong, and what comes back: a table, the same for every server.

Decides what is sent while a descriptor, a "ready" or a "received" is awaited. Lists sent while a request is awaited
are in malformed_lists.
"""

from collections.abc import Iterator
from typing import Final

from tests.postfix.cases import (
    CLOSES,
    DESTINATION,
    ENDPOINT,
    PARK,
    PROPERTIES,
    PURGES,
    SAVE,
    SMUGGLED,
    STOPS_EARLY,
    TO_READY,
    TO_RECEIVED,
    Case,
    Expect,
    Held,
    Leave,
    Send,
    Silence,
    Steps,
    Take,
)
from tests.postfix.peer import (
    DONE,
    DUMMY,
    FAILED,
    attributes,
    find_dest,
    find_endp,
    found,
    missed,
    request,
    save_endp,
)

DESCRIPTOR_CASES: Final = (
    Case("byte without a descriptor", "FD-4", (*SAVE, Send(b"\0"), Expect(FAILED), Silence(), Held(0))),
    Case("descriptor on a byte of another value", "FD-3", (*SAVE, Send(b"\xff", 1), Expect(DONE), Silence(), Held(1))),
    Case(
        "two descriptors",
        "FD-4",
        (*SAVE, Send(b"\0", 2), Expect(FAILED), Silence(), Held(0)),
        because="it leaks both",
        postfix_leaks=True,
    ),
    Case(
        "three descriptors",
        "FD-4 FD-5",
        (*SAVE, Send(b"\0", 3), Expect(FAILED), Silence(), Held(0)),
        because="it leaks the two that it has room for",
        postfix_leaks=True,
    ),
    Case(
        "as many descriptors as a message may carry",
        "FD-4 FD-5",
        (*SAVE, Send(b"\0", 253), Expect(FAILED), Silence(), Held(0)),
        because="it leaks the two that it has room for",
        postfix_leaks=True,
    ),
    Case(
        "descriptor on the second byte",
        "FD-4",
        (*SAVE, Send(b"x"), Send(b"\0", 1), Expect(FAILED), Silence(), Held(0)),
    ),
    Case("list instead of the byte", "FD-4", (*SAVE, Send(DUMMY), Expect(FAILED), Silence(), Held(0))),
    Case(
        "request instead of the byte",
        "FD-4",
        (*SAVE, Send(find_endp(b"x")), Expect(FAILED), Silence(), Held(0)),
    ),
    Case(
        "byte without a descriptor and a request in one write",
        "FD-4 CONN-3",
        (*SAVE, Send(b"\0" + find_endp(b"x")), Expect(FAILED + missed()), Silence(), Held(0)),
    ),
    Case(
        "byte with a descriptor and a request in one write",
        "FD-3 CONN-3",
        (*SAVE, Send(b"\0" + find_endp(b"x"), 1), Expect(DONE + missed()), Silence(), Held(1)),
    ),
    Case(
        "save and its byte in one write",
        "FD-12 CONN-3",
        (Send(save_endp(5, ENDPOINT, PROPERTIES) + b"\0"), Expect(DUMMY + FAILED), Silence(), Held(0)),
        (
            Send(save_endp(5, ENDPOINT, PROPERTIES) + b"\0"),
            Expect(DUMMY), Send(b"\0", 1), Expect(DONE), Silence(), Held(1),
        ),
        PURGES,
    ),
    Case(
        "save and its descriptor in one write",
        "FD-12",
        (Send(save_endp(5, ENDPOINT, PROPERTIES) + b"\0", 1), Expect(DUMMY + FAILED), Silence(), Held(0)),
        (
            Send(save_endp(5, ENDPOINT, PROPERTIES) + b"\0", 1),
            Expect(DUMMY), Send(b"\0", 1), Expect(DONE), Silence(), Held(1),
        ),
        PURGES,
    ),
    Case("client leaves instead of sending the byte", "CONN-11", (*SAVE, Leave(), Silence(), Held(0))),
    Case("client leaves before it has read the last status", "CONN-11", (*SAVE, Send(b"\0", 1), Leave(), Held(1))),
)  # fmt: skip

READY_LISTS: Final = {
    "dummy with a value": attributes((b"dummy", b"value")),
    "dummy with an odd value": attributes((b"dummy", b"\xff\n\x80")),
}
NOT_READY_LISTS: Final = {
    "a list": attributes((b"x", b"y")),
    "DUMMY": attributes((b"DUMMY", b"")),
    "dumm": attributes((b"dumm", b"")),
    "dummy2": attributes((b"dummy2", b"")),
    "a list with dummy second": attributes((b"x", b"y"), (b"dummy", b"")),
    "a list with an odd name": attributes((b"\xffdummy\n", b"")),
    "find_endp": find_endp(ENDPOINT),
    "find_dest": find_dest(DESTINATION),
    "save_endp": save_endp(5, ENDPOINT, PROPERTIES),
    "an unknown request": request(b"bogus"),
    "a request of no name": request(b""),
}


def ready_cases() -> Iterator[Case]:
    """Yield what may be said when "ready" is awaited."""
    for what, data in READY_LISTS.items():
        yield Case(f"ready: {what}", "FD-6", (*TO_READY, Send(data), Take(), Send(DUMMY), Silence(), Held(0)))
    longer = attributes((b"dummy", b""), (b"x", b"y"))
    yield Case("ready: dummy and more", "FD-6", (*TO_READY, Send(longer), Take(), Send(DUMMY), Silence(), Held(0)))
    yield Case("ready: dummy and more, then no received", "FD-6 FD-9",
        (*TO_READY, Send(longer), Take(), Send(find_endp(b"x")), Silence(), Held(0)),
        (*TO_READY, Send(longer), Take(), Send(find_endp(b"x")), Expect(missed()), Silence(), Held(0)),
        STOPS_EARLY,
    )  # fmt: skip
    twice = attributes((b"dummy", b""), (b"dummy", b""))
    yield Case("ready: dummy twice", "FD-6", (*TO_READY, Send(twice), Take(), Send(DUMMY), Silence(), Held(0)))
    for what, data in NOT_READY_LISTS.items():
        refused: Steps = (*TO_READY, Send(data), Silence())
        yield Case(f"ready: {what}", "FD-7", (*refused, Held(1)), (*refused, Held(0)), CLOSES)
    yield Case(
        "ready: empty list", "FD-7", (*TO_READY, Send(b"\0"), Silence(), Held(1)),
        (*TO_READY, Send(b"\0"), Silence(), Held(0)), CLOSES,
    )  # fmt: skip
    yield Case(
        "ready: in two writes", "WIRE-4", (*TO_READY, Send(b"dum"), Send(b"my\0\0\0"), Take(), Send(DUMMY), Silence())
    )
    yield Case("ready: with a descriptor", "FD-1", (*TO_READY, Send(DUMMY, 1), Take(), Send(DUMMY), Silence(), Held(0)))
    yield Case("ready: client leaves", "FD-10", (*TO_READY, Leave(), Held(1)), (*TO_READY, Leave(), Held(0)), CLOSES)
    half: Steps = (*TO_READY, Send(b"dummy\0\0"), Leave())
    yield Case("ready: client leaves in mid-list", "FD-10", (*half, Held(1)), (*half, Held(0)), CLOSES)
    yield Case("ready and received in one write", "FD-9", (*TO_READY, Send(DUMMY + DUMMY), Take(), Silence(), Held(0)))
    taken: Steps = (Take(), Send(DUMMY), Silence())
    early: Steps = (*PARK, Send(find_endp(ENDPOINT) + DUMMY), Expect(found(PROPERTIES)))
    yield Case("find and ready in one write", "CONN-3", (*early, *taken), (*early, Send(DUMMY), *taken), PURGES)
    at_once: Steps = (*PARK, Send(find_endp(ENDPOINT) + DUMMY + DUMMY), Expect(found(PROPERTIES)))
    yield Case(
        "find, ready and received in one write",
        "CONN-3",
        (*at_once, Take(), Silence()),
        (*at_once, Send(DUMMY + DUMMY), Take(), Silence()),
        PURGES,
    )


def received_cases() -> Iterator[Case]:
    """Yield what may be said when "received" is awaited."""
    lists = {
        **READY_LISTS,
        **NOT_READY_LISTS,
        "empty list": b"\0",
        "dummy and more": attributes((b"dummy", b""), (b"x", b"y")),
        "dummy twice": attributes((b"dummy", b""), (b"dummy", b"")),
    }
    for what, data in lists.items():
        yield Case(f"received: {what}", "FD-9", (*TO_RECEIVED, Send(data), Silence(), Held(0)))
    hidden = attributes((b"x", b"request"), (b"find_endp", b"label"), (b"smuggled", b""))
    yield Case(
        "received: request hidden in values", "FD-9", (*TO_RECEIVED, Send(hidden), Silence()),
        (*TO_RECEIVED, Send(hidden), Expect(missed()), Silence()), STOPS_EARLY,
    )  # fmt: skip
    after = attributes((b"dummy", b""), *SMUGGLED)
    yield Case("received: dummy, then the attributes of a request", "FD-9", (*TO_RECEIVED, Send(after), Silence()))
    yield Case("received: with a descriptor", "FD-1 FD-9", (*TO_RECEIVED, Send(DUMMY, 1), Silence()))
    yield Case(
        "received and a request in one write", "FD-9 CONN-3",
        (*TO_RECEIVED, Send(DUMMY + find_endp(b"x")), Expect(missed()), Silence()),
    )  # fmt: skip
    yield Case("received: client leaves", "FD-11", (*TO_RECEIVED, Leave(), Silence(), Held(0)))


DANCE_CASES: Final = (*DESCRIPTOR_CASES, *ready_cases(), *received_cases())
