"""The client's side of the four requests, written once for every way to wait.

What is said and what is expected, step by step, and which steps may be repeated on another connection. There are no
sockets, deadlines and event loops here: a dialogue is a generator that yields the step it wants done and is sent what
arrived. End of file, errors and timeouts never get here.

The steps follow the rule that makes passing descriptors work: never send ahead of the server. A plain read that runs
over the byte with the descriptor loses the descriptor, and Linux glues plain bytes and that byte into one read; hence
the `dummy` each side waits for before the other passes one.

What is safe to repeat after the connection has gone:
* Everything of save_dest. Saving the same binding again renews it, so twice is the same as once.
* Everything of a find, up to the arrival of the descriptor. Until then nobody has the session but the server, which
  either puts it back or closes it: asking again can find it, or the next one, or nothing, and each is a true answer.
  At worst one parked connection is lost, and repeating neither causes nor prevents that. After the arrival the find is
  done, and a connection that breaks now (`Farewell`) does not undo it.
* save_endp up to and including the step that sends the descriptor: if that fails, it was not sent (one byte goes whole
  or not at all). Not after it: the server may have parked the descriptor and lost us before its status came. Saving
  again would park one connection twice, two programs would take it up and talk across each other. So the steps after
  it are marked `maybe_parked`, and the caller learns it from the exception.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from scache_client import quantities
from scache_client.attributes import Decoder, encode, shown
from scache_client.errors import ProtocolError, Refused
from scache_client.found import Found, FoundDest
from scache_spec.vocabulary import (
    DUMMY,
    FIND_DEST,
    FIND_ENDP,
    PROPERTY,
    PROTOCOL,
    PROTOCOL_NAME,
    REPLY_PROPERTIES,
    REQUEST,
    REQUEST_ATTRIBUTES,
    SAVE_DEST,
    SAVE_ENDP,
    STATUS,
    TTL_S_MAX,
    Attribute,
    Properties,
    Status,
)

T = TypeVar("T")

_REASONS = {
    Status.MALFORMED: "the server regards the request as malformed; it may use another version of the protocol",
    Status.FAILED: "the server refused it; usually one of its limits is reached: see its log",
}


@dataclass(frozen=True, slots=True)
class Send:
    """Send all of these bytes."""

    data: bytes
    purpose: str
    maybe_parked: bool = False


@dataclass(frozen=True, slots=True)
class SendDescriptor:
    """Send one byte with this descriptor, which stays open and the caller's."""

    fd: int
    purpose: str
    maybe_parked: bool = False


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive some bytes, at least one."""

    purpose: str
    maybe_parked: bool = False


@dataclass(frozen=True, slots=True)
class ReceiveDescriptor:
    """Receive exactly one byte with exactly one descriptor."""

    purpose: str
    maybe_parked: bool = False


@dataclass(frozen=True, slots=True)
class Farewell:
    """Send these bytes if they go at once; if not, give up the connection. Never wait and never fail."""

    data: bytes


Step: TypeAlias = Send | SendDescriptor | Receive | ReceiveDescriptor | Farewell


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a step brought: bytes after `Receive`, a descriptor after `ReceiveDescriptor`, otherwise nothing."""

    data: bytes = b""
    fd: int = -1


Dialogue: TypeAlias = Generator[Step, Arrival, T]
Dance: TypeAlias = Callable[[], Dialogue[T]]
"""A dialogue that can be begun more than once; what it says was checked and encoded before."""

_READY_OR_RECEIVED = encode(((DUMMY, b""),))


def greet() -> Dialogue[None]:
    """Receive the server's greeting; ProtocolError when it is another's."""
    attributes = yield from _receive_list("the greeting")
    if attributes != ((PROTOCOL, PROTOCOL_NAME),):
        raise ProtocolError(
            f"the greeting is {_shown_list(attributes)}: this is not a connection cache; give another path"
        )


def check_save(label: bytes, properties: bytes, ttl_s: int) -> None:
    """Raise the TypeError or ValueError that a save with these values would raise."""
    _encode_request(SAVE_ENDP, _ttl(ttl_s), label, properties)


def save_endp(endpoint: bytes, properties: bytes, ttl_s: int, fd: int) -> Dance[None]:
    """Park descriptor `fd` under an endpoint for `ttl_s` seconds."""
    return partial(_save_endp, _encode_request(SAVE_ENDP, _ttl(ttl_s), endpoint, properties), fd)


def find_endp(endpoint: bytes) -> Dance[Found | None]:
    """Take up the oldest session of an endpoint."""
    return partial(_find_endp, _encode_request(FIND_ENDP, endpoint))


def save_dest(destination: bytes, properties: bytes, endpoint: bytes, ttl_s: int) -> Dance[None]:
    """Bind a destination to an endpoint for `ttl_s` seconds."""
    return partial(_save_dest, _encode_request(SAVE_DEST, _ttl(ttl_s), destination, properties, endpoint))


def find_dest(destination: bytes) -> Dance[FoundDest | None]:
    """Take up the oldest session of the first endpoint of a destination that has one."""
    return partial(_find_dest, _encode_request(FIND_DEST, destination))


def _save_endp(request: bytes, fd: int) -> Dialogue[None]:
    yield Send(request, "the request to park")
    attributes = yield from _receive_list("the invitation to send the descriptor")
    if attributes != ((DUMMY, b""),):
        _refuse_unless_done(SAVE_ENDP, attributes)
        raise ProtocolError("the server confirmed the connection before it was sent; it is not parked")
    yield SendDescriptor(fd, "the descriptor")
    _refuse_unless_done(SAVE_ENDP, (yield from _receive_list("the status", maybe_parked=True)), maybe_parked=True)


def _save_dest(request: bytes) -> Dialogue[None]:
    yield Send(request, "the request to bind")
    _refuse_unless_done(SAVE_DEST, (yield from _receive_list("the status")))


def _find_endp(request: bytes) -> Dialogue[Found | None]:
    properties = yield from _find(FIND_ENDP, request)
    if properties is None:
        return None
    found = Found((yield ReceiveDescriptor("the descriptor")).fd, *properties)
    yield Farewell(_READY_OR_RECEIVED)
    return found


def _find_dest(request: bytes) -> Dialogue[FoundDest | None]:
    properties = yield from _find(FIND_DEST, request)
    if properties is None:
        return None
    destination_properties, endpoint_properties = properties
    found = FoundDest((yield ReceiveDescriptor("the descriptor")).fd, endpoint_properties, destination_properties)
    yield Farewell(_READY_OR_RECEIVED)
    return found


def _find(request_name: bytes, request: bytes) -> Dialogue[tuple[Properties, ...] | None]:
    """Ask, and say "ready" on a hit; return the properties, or None on a miss."""
    yield Send(request, "the request to find")
    attributes = yield from _receive_list("the status and the properties")
    # On a find, status 2 is the ordinary answer "nothing there" and no refusal.
    if _status(request_name, attributes, maybe_parked=False) is Status.FAILED:
        return None
    _refuse_unless_done(request_name, attributes)
    yield Send(_READY_OR_RECEIVED, "the message 'ready'")
    return tuple(Properties(value) for _, value in attributes[1:])


def _receive_list(purpose: str, *, maybe_parked: bool = False) -> Dialogue[tuple[Attribute, ...]]:
    decoder = Decoder()
    try:
        while not decoder.feed((yield Receive(purpose, maybe_parked)).data):
            pass  # the list goes on in the next piece
    except ProtocolError as error:
        error.maybe_parked = maybe_parked
        raise
    if decoder.tail:
        # The server speaks when it is spoken to. What follows a reply unasked would be taken for the next one.
        raise ProtocolError(
            f"the server sent {shown(decoder.tail)} after {purpose}, without a request", maybe_parked=maybe_parked
        )
    return decoder.attributes


def _status(request_name: bytes, attributes: tuple[Attribute, ...], *, maybe_parked: bool) -> Status:
    """Check that a list is a reply to the request and return its status."""
    wanted = (STATUS, *(PROPERTY,) * REPLY_PROPERTIES[request_name])
    names = tuple(name for name, _ in attributes)
    value = attributes[0][1] if attributes else b""
    status = next((status for status in Status if b"%d" % status == value), None)
    # A server that does not know the request answers with status 1 alone.
    complete = names == wanted or (names == (STATUS,) and status is Status.MALFORMED)
    if status is None or not complete:
        raise ProtocolError(
            f"the reply to {request_name.decode()} is {_shown_list(attributes)}, not {b', '.join(wanted).decode()}",
            maybe_parked=maybe_parked,
        )
    return status


def _refuse_unless_done(request_name: bytes, attributes: tuple[Attribute, ...], *, maybe_parked: bool = False) -> None:
    status = _status(request_name, attributes, maybe_parked=maybe_parked)
    if status is Status.DONE:
        return
    what = f"{request_name.decode()}: status {status:d}: {_REASONS[status]}"
    raise Refused(what, request=request_name, status=status)


def _encode_request(request_name: bytes, *values: bytes) -> bytes:
    names = REQUEST_ATTRIBUTES[request_name]
    return encode(((REQUEST, request_name), *zip(names, values, strict=True)))


def _ttl(ttl_s: int) -> bytes:
    if not 1 <= quantities.whole("ttl_s", ttl_s) <= TTL_S_MAX:
        raise ValueError(f"ttl_s is {ttl_s}; it must be from 1 to {TTL_S_MAX} seconds")
    return b"%d" % ttl_s


def _shown_list(attributes: tuple[Attribute, ...]) -> str:
    return shown(b", ".join(b"%b=%b" % attribute for attribute in attributes))
