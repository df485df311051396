"""One client's conversation: its states, what may come in each, and what is done about it.

The dance: who speaks when, what is answered, where a descriptor may pass. The whole of it is the table TRANSITIONS;
every picture and every list of it elsewhere is drawn from the table. The cache is not known here: that a find hits or
misses is an input, and that a session is parked is an action that `scache_spec.actions` carries out.

Rules for changing it: what cannot be written as a row does not belong here; a pair of state and input that has no row
cannot happen, and code that brings it about has a bug (KeyError); below each row stands the clause that asks for it.

CONN-14  Which of several clients that spoke at the same time is served first is left to the server. [FREE]

FD-13  What a find hands out is the open file description that was saved: the same file, offset, status flags and
options. The server never reads from it, writes to it or changes it, but for a farewell (TTL-3), after which nobody can
find it.

Sources: scache(8) and scache_clnt(3), the two sides of the dance.
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
    READY = "the list that says the client is ready for its descriptor"
    SENDING = "the socket to take the byte that carries the descriptor"
    RECEIVED = "the list that says the client has its descriptor"
    CLOSED = "nothing: the client is gone"


class Input(Enum):
    """What can come."""

    EMPTY_LIST = "an empty list"
    NO_REQUEST = "a list that does not begin with `request`"
    UNKNOWN_REQUEST = "a request of another name"
    MALFORMED_REQUEST = "a request of which something is missing or wrong"
    SAVE_ENDP = "save_endp"
    SAVE_DEST = "save_dest"
    FIND_HIT = "find_endp or find_dest that finds a session"
    FIND_MISS = "find_endp or find_dest that finds none"
    ONE_DESCRIPTOR = "a byte with exactly one descriptor"
    NOT_ONE_DESCRIPTOR = "a byte with no descriptor, or with several"
    DUMMY_LIST = "a list that begins with `dummy`"
    OTHER_LIST = "any other list, an empty one too"
    SENT = "the socket took the byte"
    GONE = "the client closed, failed, hit a limit, or took too long"


class Action(Enum):
    """What is done about it. `scache_spec.actions` carries it out."""

    IGNORE = "nothing"
    REPLY_MALFORMED = "reply status 1"
    REPLY_FAILED = "reply status 2"
    INVITE = "reply `dummy`"
    BIND = "save or renew the binding, reply status 0 (2 at a limit)"
    HOLD = "take the session out of the cache, reply status 0 with the properties"
    PARK = "park the session, reply status 0 (2 at a limit)"
    REFUSE = "close every descriptor that came, reply status 2"
    SEND = "send the descriptor"
    LET_GO = "close the server's copy of the descriptor"
    PUT_BACK = "put the session back at the front of its endpoint"
    FORGET = "drop what was unfinished"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table."""

    next: State
    action: Action
    clause: str


TRANSITIONS: Final[dict[tuple[State, Input], Transition]] = {}
"""The conversation: every row, and below it the clause that asks for it."""

TRANSITIONS[State.REQUEST, Input.EMPTY_LIST] = Transition(State.REQUEST, Action.IGNORE, "CONN-4")
"""CONN-4  An empty list is skipped without a reply. [OBSERVED]"""

TRANSITIONS[State.REQUEST, Input.NO_REQUEST] = Transition(State.REQUEST, Action.IGNORE, "CONN-5")
"""CONN-5  A list whose first attribute is not `request` is swallowed without a reply. A Postfix server does so too, but
looks behind the wrong name for another list, and serves a request that happens to begin there. [OBSERVED]
"""

TRANSITIONS[State.REQUEST, Input.UNKNOWN_REQUEST] = Transition(State.REQUEST, Action.REPLY_MALFORMED, "CONN-6")
"""CONN-6  A request of an unknown name is answered with `status=1` alone, whatever else it holds."""

TRANSITIONS[State.REQUEST, Input.MALFORMED_REQUEST] = Transition(State.REQUEST, Action.REPLY_MALFORMED, "CONN-7")
"""CONN-7  A request of which an attribute is missing, or whose ttl is not one (WIRE-8), is answered with status 1 and
has no effect; a save_endp then gets no invitation and no descriptor is awaited.
"""

TRANSITIONS[State.REQUEST, Input.SAVE_DEST] = Transition(State.REQUEST, Action.BIND, "CONN-8")
"""CONN-8  save_dest is carried out and answered at once."""

TRANSITIONS[State.REQUEST, Input.FIND_MISS] = Transition(State.REQUEST, Action.REPLY_FAILED, "CONN-9")
"""CONN-9  A find that finds nothing is answered with status 2."""

TRANSITIONS[State.REQUEST, Input.FIND_HIT] = Transition(State.READY, Action.HOLD, "CONN-10")
"""CONN-10  A find that finds a session is answered with status 0 and its properties; the session is then held for this
client, and nobody else can find it. It does not expire while it is held.
"""

TRANSITIONS[State.REQUEST, Input.SAVE_ENDP] = Transition(State.DESCRIPTOR, Action.INVITE, "FD-2")
"""FD-2  save_endp is answered with `dummy`, empty: the invitation to send the descriptor. It keeps the byte that
carries it from being read together with plain bytes, which loses the descriptor.
"""

TRANSITIONS[State.DESCRIPTOR, Input.ONE_DESCRIPTOR] = Transition(State.REQUEST, Action.PARK, "FD-3")
"""FD-3  The next byte of the stream after save_endp carries exactly one descriptor; its value has no meaning. The
session is parked then, its ttl counts from then, and status 0 says so.
"""

TRANSITIONS[State.DESCRIPTOR, Input.NOT_ONE_DESCRIPTOR] = Transition(State.REQUEST, Action.REFUSE, "FD-4")
"""FD-4  If that byte carries no descriptor or more than one, every descriptor that came is closed and the reply is
status 2. A Postfix server parks nothing either, but leaks the descriptors. [OBSERVED]
"""

TRANSITIONS[State.READY, Input.DUMMY_LIST] = Transition(State.SENDING, Action.SEND, "FD-6")
"""FD-6  A list that begins with `dummy`, whatever its value and whatever follows, says the client is ready: the server
sends one byte that carries exactly one descriptor. The byte is NUL.
"""

TRANSITIONS[State.READY, Input.OTHER_LIST] = Transition(State.REQUEST, Action.PUT_BACK, "FD-7")
"""FD-7  Any other list instead of it is swallowed without a reply, and the session is put back: a Postfix server closes
it. [BEYOND]
"""

TRANSITIONS[State.SENDING, Input.SENT] = Transition(State.RECEIVED, Action.LET_GO, "FD-8")
"""FD-8  When the socket has taken the byte, the server closes its copy: the session is the client's, or lost with the
client, and is never put back. A Postfix server keeps its copy until the next list says "received".
"""

TRANSITIONS[State.RECEIVED, Input.DUMMY_LIST] = Transition(State.REQUEST, Action.IGNORE, "FD-9")
TRANSITIONS[State.RECEIVED, Input.OTHER_LIST] = Transition(State.REQUEST, Action.IGNORE, "FD-9")
"""FD-9  The next list says the client has received; it is swallowed, whatever it holds, a request too. A client may
send it together with its next request.
"""

TRANSITIONS[State.REQUEST, Input.GONE] = Transition(State.CLOSED, Action.FORGET, "CONN-11")
TRANSITIONS[State.DESCRIPTOR, Input.GONE] = Transition(State.CLOSED, Action.FORGET, "CONN-11")
"""CONN-11  A client that goes away takes its unfinished request with it and nothing else: what it saved stays. A
request whose last byte was sent before is not unfinished: it is served, and so is each of several, unless a descriptor
is in flight to the client (FD-14). A client that shut down sending gets the replies to what it had sent; it has gone
away when that is done.
"""

TRANSITIONS[State.READY, Input.GONE] = Transition(State.CLOSED, Action.PUT_BACK, "FD-10")
TRANSITIONS[State.SENDING, Input.GONE] = Transition(State.CLOSED, Action.PUT_BACK, "FD-10")
"""FD-10  If the client goes away, or sending fails, before the socket has taken the byte, the session is put back and
the client is disconnected. Sending fails also when the kernel takes no more descriptors from the server because too
many were sent and not read (ETOOMANYREFS). A Postfix server closes the session. [BEYOND]
"""

TRANSITIONS[State.RECEIVED, Input.GONE] = Transition(State.CLOSED, Action.FORGET, "FD-11")
"""FD-11  If it goes away after that, nothing is left to do."""


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
"""What makes each request of the values of its attributes, in their order."""

INPUTS: Final[dict[type[Request], Input]] = {SaveEndp: Input.SAVE_ENDP, SaveDest: Input.SAVE_DEST}
"""Which input a request is, unless it is a find: whether that hits, the cache knows."""


def parse_request(attributes: tuple[Attribute, ...]) -> Request | None:
    """Return the request that a list makes, None if it is malformed, unknown or none at all.

    CONN-12  A request is a list that begins with `request`, whose value is one of `save_endp`, `find_endp`, `save_dest`
    and `find_dest`, followed by the attributes wanted: save_endp ttl, label (endpoint), property; find_endp label
    (endpoint); save_dest ttl, label (destination), property, label (endpoint); find_dest label (destination).
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
    """Return which input a list is in this state; a well-formed request is returned itself, for the cache decides."""
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

    CONN-13  A reply is `status`, in decimal, then as many `property` as the request has coming: none for save_endp,
    save_dest and unknown requests; one for find_endp, the endpoint properties; two for find_dest, the destination
    properties, then the endpoint properties. On status 1 and 2 they are there, empty.
    """
    empty = (b"",) * (REPLY_PROPERTIES.get(request, 0) if request is not None else 0)
    return ((STATUS, b"%d" % status), *((PROPERTY, value) for value in properties or empty))
