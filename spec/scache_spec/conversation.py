"""One client's conversation: its states, the inputs of each state, and the action on each input.

The whole conversation is the table TRANSITIONS. Every diagram and every list of it elsewhere is drawn from the table.
Nothing here knows the cache: whether a find hits is an input, and `scache_spec.actions` carries out the actions.

Rules for a change: What cannot be written as a row does not belong here. A pair of state and input without a row cannot
happen; code that brings such a pair about has a bug (KeyError). Below each row stands the clause that asks for it.

CONN-14  When several clients have sent something at the same time, the server may serve them in any order. [FREE]

FD-13  A find hands out the open file description that was saved: the same file, with its offset, status flags and
options. The server never reads from that file, writes to it or changes it. The one exception is a farewell (TTL-3),
after which no client can find the session.

Sources: scache(8) and scache_clnt(3), the two sides of the conversation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from scache_spec.attributes import match_in_order, parse_ttl
from scache_spec.vocabulary import (
    DUMMY,
    FIND_DEST,
    FIND_ENDP,
    PROPERTY,
    REPLY_PROPERTIES,
    REQUEST,
    REQUEST_ATTRIBUTES,
    SAVE_DEST,
    SAVE_ENDP,
    STATUS,
    TTL,
    Attribute,
    Label,
    Properties,
    Status,
)


class State(Enum):
    """What the server waits for."""

    REQUEST = "a request"
    DESCRIPTOR = "the byte that carries the descriptor to park"
    READY = 'the list "ready", by which the client asks for its descriptor'
    SENDING = "the client's socket to take the byte that carries the descriptor"
    RECEIVED = 'the list "received", by which the client says that it has its descriptor'
    CLOSED = "nothing: the client is gone"


class Input(Enum):
    """What can come from a client, or happen to its connection."""

    EMPTY_LIST = "an empty list"
    NO_REQUEST = "a list that does not begin with `request`"
    UNKNOWN_REQUEST = "a request of an unknown name"
    MALFORMED_REQUEST = "a malformed request (an attribute is missing, or the ttl is wrong)"
    SAVE_ENDP = "a well-formed save_endp"
    SAVE_DEST = "a well-formed save_dest"
    FIND_HIT = "a find_endp or find_dest that finds a session"
    FIND_MISS = "a find_endp or find_dest that finds no session"
    ONE_DESCRIPTOR = "a byte with exactly one descriptor"
    NOT_ONE_DESCRIPTOR = "a byte with no descriptor, or with more than one"
    DUMMY_LIST = "a list that begins with `dummy`"
    OTHER_LIST = "any other list, even an empty one"
    SENT = "the client's socket has taken the byte"
    GONE = "the client closed its end, hit a limit or took too long, or its connection failed"


class Action(Enum):
    """What the server does on an input. `scache_spec.actions` carries it out."""

    IGNORE = "discard the list, without a reply"
    REPLY_MALFORMED = "reply status 1"
    REPLY_FAILED = "reply status 2"
    INVITE = "send the invitation, the list `dummy`"
    BIND = "save or renew the binding, reply status 0 (status 2 at a limit)"
    HOLD = "take the session out of the cache and hold it, reply status 0 with the properties"
    PARK = "park the session, reply status 0 (at a limit close the descriptor, reply status 2)"
    REFUSE = "close every descriptor that came, reply status 2"
    SEND = "send one byte that carries the descriptor"
    LET_GO = "close the server's copy of the descriptor"
    PUT_BACK = "put the session back, as the first of its endpoint (close it if it is due)"
    FORGET = "discard what was unfinished"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table."""

    next: State
    action: Action
    clause: str


TRANSITIONS: Final[dict[tuple[State, Input], Transition]] = {}
"""The conversation: every row, and below it the clause that asks for it."""

TRANSITIONS[State.REQUEST, Input.EMPTY_LIST] = Transition(State.REQUEST, Action.IGNORE, "CONN-4")
"""CONN-4  Where a request is awaited, an empty list is discarded without a reply. [OBSERVED]"""

TRANSITIONS[State.REQUEST, Input.NO_REQUEST] = Transition(State.REQUEST, Action.IGNORE, "CONN-5")
"""CONN-5  Where a request is awaited, a list whose first attribute is not `request` is discarded without a reply. A
Postfix server discards only the wrong name, reads what follows as a new list, and serves a request that begins there.
[BEYOND]
"""

TRANSITIONS[State.REQUEST, Input.UNKNOWN_REQUEST] = Transition(State.REQUEST, Action.REPLY_MALFORMED, "CONN-6")
"""CONN-6  A request of an unknown name is answered with `status=1` alone, whatever other attributes the request has."""

TRANSITIONS[State.REQUEST, Input.MALFORMED_REQUEST] = Transition(State.REQUEST, Action.REPLY_MALFORMED, "CONN-7")
"""CONN-7  A request is malformed if an attribute that it wants is missing (WIRE-6), or if its `ttl` is not a ttl
(WIRE-8 to WIRE-10). A malformed request is answered with status 1 and has no effect. After a malformed save_endp the
server sends no invitation and awaits no descriptor.
"""

TRANSITIONS[State.REQUEST, Input.SAVE_DEST] = Transition(State.REQUEST, Action.BIND, "CONN-8")
"""CONN-8  A well-formed save_dest is carried out and answered at once."""

TRANSITIONS[State.REQUEST, Input.FIND_MISS] = Transition(State.REQUEST, Action.REPLY_FAILED, "CONN-9")
"""CONN-9  A find that finds no session is answered with status 2."""

TRANSITIONS[State.REQUEST, Input.FIND_HIT] = Transition(State.READY, Action.HOLD, "CONN-10")
"""CONN-10  A find that finds a session is answered with status 0 and the properties. The server then holds the session
for the client that found it. No other client can find a held session. A session does not expire while it is held.
"""

TRANSITIONS[State.REQUEST, Input.SAVE_ENDP] = Transition(State.DESCRIPTOR, Action.INVITE, "FD-2")
"""FD-2  A well-formed save_endp is answered with the invitation to send the descriptor: the list `dummy` with an empty
value. If a client sent the descriptor earlier, the server could read the byte that carries it together with other
bytes, and the descriptor would be lost.
"""

TRANSITIONS[State.DESCRIPTOR, Input.ONE_DESCRIPTOR] = Transition(State.REQUEST, Action.PARK, "FD-3")
"""FD-3  The next byte that a client sends after its save_endp carries exactly one descriptor. The value of that byte
has no meaning. The server parks the session when that byte has come, and the ttl of the session counts from that
moment. Status 0 says that the session is parked.
"""

TRANSITIONS[State.DESCRIPTOR, Input.NOT_ONE_DESCRIPTOR] = Transition(State.REQUEST, Action.REFUSE, "FD-4")
"""FD-4  If the byte after a save_endp carries no descriptor, or more than one, the server closes every descriptor that
came and replies with status 2. A Postfix server also replies with status 2 and parks nothing, but it never closes the
descriptors. [BEYOND]
"""

TRANSITIONS[State.READY, Input.DUMMY_LIST] = Transition(State.SENDING, Action.SEND, "FD-6")
"""FD-6  After status 0 of a find, a list whose first attribute is `dummy` is "ready": it says that the client is ready
for its descriptor. The value of `dummy` and further attributes have no meaning. The server answers "ready" with one
byte that carries exactly one descriptor. The value of that byte is NUL.
"""

TRANSITIONS[State.READY, Input.OTHER_LIST] = Transition(State.REQUEST, Action.PUT_BACK, "FD-7")
"""FD-7  Where "ready" is awaited, any other list, even a request or an empty list, is discarded without a reply, and
the session is put back. A Postfix server closes the session. [BEYOND]
"""

TRANSITIONS[State.SENDING, Input.SENT] = Transition(State.RECEIVED, Action.LET_GO, "FD-8")
"""FD-8  When the client's socket has taken the byte that carries the descriptor, the server closes its own copy of the
descriptor. From then on the session belongs to the client and is never put back. If that client goes away, the session
is lost with it. A Postfix server keeps its copy until "received" has come. [BEYOND]
"""

TRANSITIONS[State.RECEIVED, Input.DUMMY_LIST] = Transition(State.REQUEST, Action.IGNORE, "FD-9")
TRANSITIONS[State.RECEIVED, Input.OTHER_LIST] = Transition(State.REQUEST, Action.IGNORE, "FD-9")
"""FD-9  The next list after "ready" is "received": it says that the client has the descriptor. The server discards
"received" without a reply, whatever it holds, even if it is a request. A client may send "received" together with its
next request.
"""

TRANSITIONS[State.REQUEST, Input.GONE] = Transition(State.CLOSED, Action.FORGET, "CONN-11")
TRANSITIONS[State.DESCRIPTOR, Input.GONE] = Transition(State.CLOSED, Action.FORGET, "CONN-11")
"""CONN-11  When a client goes away, its unfinished request has no effect, and everything that the client saved before
stays. A request is unfinished until its last byte is sent. A save_endp without its descriptor parks nothing. Each
finished request of a client that went away is served, unless the client left a descriptor unread (FD-14). A client that
only shuts down sending gets the replies to everything that it sent; after these replies the client counts as gone.
"""

TRANSITIONS[State.READY, Input.GONE] = Transition(State.CLOSED, Action.PUT_BACK, "FD-10")
TRANSITIONS[State.SENDING, Input.GONE] = Transition(State.CLOSED, Action.PUT_BACK, "FD-10")
"""FD-10  If the client goes away, or if sending fails, before the client's socket has taken the byte that carries the
descriptor, the session is put back and the client is disconnected. Sending also fails when the kernel refuses the
descriptor because too many descriptors that the server sent are unread (ETOOMANYREFS). A Postfix server closes the
session. [BEYOND]
"""

TRANSITIONS[State.RECEIVED, Input.GONE] = Transition(State.CLOSED, Action.FORGET, "FD-11")
"""FD-11  If the client goes away after its socket has taken the byte that carries the descriptor, the server has
nothing left to do for that session.
"""


@dataclass(frozen=True, slots=True)
class SaveEndp:
    """A well-formed save_endp."""

    ttl_s: int
    endpoint: Label
    properties: Properties


@dataclass(frozen=True, slots=True)
class FindEndp:
    """A well-formed find_endp."""

    endpoint: Label


@dataclass(frozen=True, slots=True)
class SaveDest:
    """A well-formed save_dest."""

    ttl_s: int
    destination: Label
    properties: Properties
    endpoint: Label


@dataclass(frozen=True, slots=True)
class FindDest:
    """A well-formed find_dest."""

    destination: Label


Request = SaveEndp | FindEndp | SaveDest | FindDest

REQUESTS: Final[dict[bytes, Callable[..., Request]]] = {
    SAVE_ENDP: SaveEndp,
    FIND_ENDP: FindEndp,
    SAVE_DEST: SaveDest,
    FIND_DEST: FindDest,
}
"""The class of each request. Its arguments are the values of the wanted attributes, in their order."""

INPUTS: Final[dict[type[Request], Input]] = {SaveEndp: Input.SAVE_ENDP, SaveDest: Input.SAVE_DEST}
"""Which input a save is. Which input a find is depends on the cache."""


def parse_request(attributes: tuple[Attribute, ...]) -> Request | None:
    """Return the well-formed request that a list is, None if the list is not one.

    CONN-12  A request is an attribute list whose first attribute is `request`; the value of `request` is the name of
    the request. There are four names, and each wants these attributes next, in this order. `save_endp`: `ttl`, `label`
    (of the endpoint), `property`. `find_endp`: `label` (of the endpoint). `save_dest`: `ttl`, `label` (of the
    destination), `property`, `label` (of the endpoint). `find_dest`: `label` (of the destination).
    """
    name = request_name(attributes)
    if name is None or name not in REQUESTS:
        return None
    values = match_in_order(attributes[1:], wanted := REQUEST_ATTRIBUTES[name])
    if values is None:
        return None
    read = [parse_ttl(value) if each == TTL else value for each, value in zip(wanted, values, strict=True)]
    return None if None in read else REQUESTS[name](*read)


def request_name(attributes: tuple[Attribute, ...]) -> bytes | None:
    """Return the value of `request` if the list begins with it."""
    return attributes[0][1] if attributes and attributes[0][0] == REQUEST else None


def classify_list(state: State, attributes: tuple[Attribute, ...]) -> Input | Request:
    """Return which input a list is in this state, or the request that it is: whether a find hits, the cache says."""
    if state is not State.REQUEST:
        return Input.DUMMY_LIST if attributes and attributes[0][0] == DUMMY else Input.OTHER_LIST
    if not attributes:
        return Input.EMPTY_LIST
    name = request_name(attributes)
    if name is None:
        return Input.NO_REQUEST
    if name not in REQUESTS:
        return Input.UNKNOWN_REQUEST
    return parse_request(attributes) or Input.MALFORMED_REQUEST


def reply(request: bytes | None, status: Status, *properties: bytes) -> tuple[Attribute, ...]:
    """Return the reply to a request of this name.

    CONN-13  A reply is the attribute `status`, a decimal number, and then as many attributes `property` as belong to
    the request. No `property` belongs to save_endp, save_dest and unknown requests. One belongs to find_endp: the
    endpoint properties. Two belong to find_dest: the destination properties, then the endpoint properties. In a reply
    of status 1 or 2 they are there and empty.
    """
    empty = (b"",) * (REPLY_PROPERTIES.get(request, 0) if request is not None else 0)
    return ((STATUS, b"%d" % status), *((PROPERTY, value) for value in properties or empty))
