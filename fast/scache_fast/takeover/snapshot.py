"""The snapshot: what one process tells another about everything that it hands over, as bytes.

A snapshot is a row of messages. A message is a header, which says its format, its kind, how many descriptors come with
it, how long it is, and its checksum; then rows of integers and bytes. Nothing else is ever read from it. Nothing here
touches a socket or a descriptor.

Guarantees: what `encode_…` made, `decode_…` returns equal. Any other bytes raise SnapshotError, with a reason.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, TypeVar

from scache_fast.engine.table import Binding, Session

FORMAT: Final = 1
"""Changes with every change of what is written here: two formats never understand each other."""

ROWS_MAX: Final = 253
"""How many rows a message has at most: the kernel's SCM_MAX_FD, as each may come with a descriptor."""

TEXT_BYTES_MAX: Final = 1_048_576
"""A message of more bytes than this has one row. Arbitrary."""

_MAGIC: Final = b"SCTO"
_HEADER: Final = struct.Struct("!4sHHIII")  # magic, format, kind, descriptors, length, checksum
HEADER_BYTES: Final = _HEADER.size
_COUNT: Final = struct.Struct("!I")
PAYLOAD_BYTES_MAX: Final = 1 << 30
"""Longest payload that is waited for. Arbitrary: a label can have as many bytes as limits allow."""

_NUMBER: Final = re.compile(rb"-?[0-9]{1,100}")


class SnapshotError(Exception):
    """Bytes are no message of a snapshot that is understood here; the text says why."""


class Kind(IntEnum):
    """What a message is about."""

    READY = 1
    """The new process can receive."""

    LISTENERS = 2
    SESSIONS = 3
    BINDINGS = 4
    CLIENTS = 5
    COUNTS = 6
    END = 7
    """How much was sent, as counts."""

    RECEIVED = 8
    """The new process has checked the message before, and has what came with it."""

    TAKEN = 9
    """The new process is in charge."""

    PUT_BACK = 10
    """Sessions that were held when the new process took over."""

    REFUSED = 11
    """Why the new process gives up, as a text."""

    VOLUME = 12
    """With a file that holds the messages of a volume (volume.py)."""


class Header(NamedTuple):
    """What the bytes before a payload say."""

    kind: Kind
    descriptors: int
    length: int
    checksum: int


class Listener(NamedTuple):
    """A listening socket."""

    path: bytes
    is_admin: bool
    has_file: bool
    """The descriptor of its file comes too: this process made the file, and removes it at the end."""


class Parked(NamedTuple):
    """A session, without its descriptor."""

    endpoint: bytes
    properties: bytes
    domain: int
    user: int
    pid: int
    saved_ns: int
    expiry_ns: int


class Bound(NamedTuple):
    """A binding."""

    destination: bytes
    properties: bytes
    endpoint: bytes
    saved_ns: int
    expiry_ns: int


class Connected(NamedTuple):
    """A client, without its descriptor."""

    user: int
    pid: int
    state: int
    step_since_ns: int
    """-1: nothing is unfinished."""

    is_in_flight: bool
    ttl_s: int
    """With the next two: the save_endp whose descriptor is awaited."""

    endpoint: bytes
    properties: bytes
    unserved: bytes
    """What was read from it and not served."""

    output: bytes
    """What was not sent to it."""


# Messages.


def encode_message(kind: Kind, payload: bytes = b"", descriptors: int = 0) -> bytes:
    """Return a message that comes with so many descriptors."""
    return (
        _HEADER.pack(_MAGIC, FORMAT, kind, descriptors, len(payload), _checksum(kind, descriptors, payload)) + payload
    )


def decode_header(data: bytes) -> Header:
    """Return what the first HEADER_BYTES of a message say; raises SnapshotError."""
    magic, version, kind, descriptors, length, checksum = _HEADER.unpack(data)
    if magic != _MAGIC:
        raise SnapshotError("this is no snapshot")
    if version != FORMAT:
        raise SnapshotError(f"the snapshot has format {version}, and only {FORMAT} is known here")
    try:
        header = Header(Kind(kind), descriptors, length, checksum)
    except ValueError:
        raise SnapshotError(f"messages of kind {kind} are not known here") from None
    if descriptors > ROWS_MAX or length > PAYLOAD_BYTES_MAX:
        raise SnapshotError("a message is longer than any can be")
    return header


def check(header: Header, payload: bytes) -> None:
    """See that a payload is the one that the header was made for; raises SnapshotError."""
    if len(payload) != header.length or _checksum(header.kind, header.descriptors, payload) != header.checksum:
        raise SnapshotError("the checksum of a message is wrong")


def _checksum(kind: int, descriptors: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_HEADER.pack(_MAGIC, FORMAT, kind, descriptors, len(payload), 0)))


# Rows of so many integers of 64 bits and so many texts each.


def encode_rows(numbers: Sequence[int], texts: Sequence[bytes], rows: int) -> bytes:
    """Return the rows as bytes. `numbers` has the integers of all rows, row after row, and `texts` has their texts."""
    return b"".join(
        (
            _COUNT.pack(rows),
            struct.pack(f"!{len(numbers)}q", *numbers),
            struct.pack(f"!{len(texts)}I", *map(len, texts)),
            *texts,
        )
    )


def decode_rows(payload: bytes, numbers_a_row: int, texts_a_row: int) -> tuple[int, tuple[int, ...], list[bytes]]:
    """Return how many rows there are, the integers of all of them, and the texts; raises SnapshotError."""
    try:
        (rows,) = _COUNT.unpack_from(payload)
        if rows > ROWS_MAX:
            raise SnapshotError("a message has more rows than any can have")
        numbers = struct.unpack_from(f"!{rows * numbers_a_row}q", payload, _COUNT.size)
        at = _COUNT.size + 8 * len(numbers)
        lengths = struct.unpack_from(f"!{rows * texts_a_row}I", payload, at)
    except struct.error:
        raise SnapshotError("a message ends within its rows") from None
    bounds = list(accumulate(lengths, initial=at + 4 * len(lengths)))
    if bounds[-1] != len(payload):
        raise SnapshotError("a message has another length than its rows")
    return rows, numbers, [payload[start:end] for start, end in pairwise(bounds)]


# What rows are about.


def encode_listeners(listeners: Sequence[Listener]) -> bytes:
    """Return listening sockets as rows."""
    numbers = [int(flag) for each in listeners for flag in (each.is_admin, each.has_file)]
    return encode_rows(numbers, [each.path for each in listeners], len(listeners))


def decode_listeners(payload: bytes) -> list[Listener]:
    """Return what encode_listeners was given; raises SnapshotError."""
    rows, numbers, texts = decode_rows(payload, 2, 1)
    if not set(numbers) <= {0, 1}:
        raise SnapshotError("a flag is neither 0 nor 1")
    return [Listener(texts[row], bool(numbers[2 * row]), bool(numbers[2 * row + 1])) for row in range(rows)]


def encode_sessions(sessions: Sequence[Session]) -> bytes:
    """Return sessions as rows; their descriptors come with the message, in this order."""
    numbers = [
        number
        for each in sessions
        for number in (each.domain, each.user, each.pid, each.saved_ns, each.expiry_ns)
    ]  # fmt: skip
    return encode_rows(numbers, [text for each in sessions for text in (each.endpoint, each.properties)], len(sessions))


def decode_sessions(payload: bytes) -> list[Parked]:
    """Return what encode_sessions was given; raises SnapshotError."""
    _, numbers, texts = decode_rows(payload, 5, 2)
    labels: dict[bytes, bytes] = {}  # Sessions with the same label have one object for it, as in a table.
    endpoints = [labels.setdefault(endpoint, endpoint) for endpoint in texts[::2]]
    return list(map(Parked, endpoints, texts[1::2], *(numbers[column::5] for column in range(5))))


def sessions_of(rows: Sequence[Parked], descriptors: Sequence[int]) -> list[Session]:
    """Return the sessions that rows and as many descriptors are."""
    return [
        Session(endpoint, properties, descriptor, domain, user, pid, saved_ns, expiry_ns)
        for (endpoint, properties, domain, user, pid, saved_ns, expiry_ns), descriptor in zip(
            rows, descriptors, strict=True
        )
    ]


def encode_bindings(bindings: Sequence[Binding]) -> bytes:
    """Return bindings as rows."""
    numbers = [number for each in bindings for number in (each.saved_ns, each.expiry_ns)]
    texts = [text for each in bindings for text in (each.destination, each.properties, each.endpoint.label)]
    return encode_rows(numbers, texts, len(bindings))


def decode_bindings(payload: bytes) -> list[Bound]:
    """Return what encode_bindings was given; raises SnapshotError."""
    rows, numbers, texts = decode_rows(payload, 2, 3)
    bindings = []
    for row in range(rows):
        destination, properties, endpoint = texts[3 * row : 3 * row + 3]
        bindings.append(Bound(destination, properties, endpoint, numbers[2 * row], numbers[2 * row + 1]))
    return bindings


def encode_clients(clients: Sequence[Connected]) -> bytes:
    """Return clients as rows; their sockets come with the message, in this order."""
    numbers = [
        number
        for each in clients
        for number in (each.user, each.pid, each.state, each.step_since_ns, int(each.is_in_flight), each.ttl_s)
    ]
    return encode_rows(numbers, [text for each in clients for text in each[6:]], len(clients))


def decode_clients(payload: bytes, states: frozenset[int]) -> list[Connected]:
    """Return what encode_clients was given; raises SnapshotError, also for a state that no client can be in."""
    rows, numbers, texts = decode_rows(payload, 6, 4)
    clients = []
    for row in range(rows):
        user, pid, state, step_since_ns, is_in_flight, ttl_s = numbers[6 * row : 6 * row + 6]
        if state not in states or is_in_flight not in (0, 1):
            raise SnapshotError(f"a client is in state {state}, {is_in_flight}, which none can be in")
        endpoint, properties, unserved, output = texts[4 * row : 4 * row + 4]
        clients.append(
            Connected(
                user, pid, state, step_since_ns, bool(is_in_flight), ttl_s, endpoint, properties, unserved, output
            )
        )
    return clients


def encode_counts(counts: Mapping[str, int]) -> bytes:
    """Return counts as rows. They are written as text, as sums may grow beyond 64 bits."""
    texts = [text for name, count in counts.items() for text in (name.encode(), b"%d" % count)]
    return encode_rows((), texts, len(counts))


def decode_counts(payload: bytes) -> dict[str, int]:
    """Return what encode_counts was given; raises SnapshotError."""
    _, _, texts = decode_rows(payload, 0, 2)
    for text in texts[1::2]:
        if not _NUMBER.fullmatch(text):
            raise SnapshotError("a count is not a number")
    try:
        return {name.decode(): int(count) for name, count in zip(texts[::2], texts[1::2], strict=True)}
    except UnicodeDecodeError:
        raise SnapshotError("a name is not text") from None


def session_bytes(session: Session) -> int:
    """Return how many bytes of text a session has."""
    return len(session.endpoint) + len(session.properties)


def binding_bytes(binding: Binding) -> int:
    """Return how many bytes of text a binding has."""
    return len(binding.destination) + len(binding.properties) + len(binding.endpoint.label)


_Row = TypeVar("_Row")


def cut(rows: Sequence[_Row], size: Callable[[_Row], int], rows_max: int = ROWS_MAX) -> Iterator[list[_Row]]:
    """Yield rows in portions for one message each; `size` says how many bytes of text a row has."""
    portion: list[_Row] = []
    left = TEXT_BYTES_MAX
    for row in rows:
        left -= size(row)
        if portion and (left < 0 or len(portion) >= rows_max):
            yield portion
            portion = []
            left = TEXT_BYTES_MAX - size(row)
        portion.append(row)
    if portion:
        yield portion
