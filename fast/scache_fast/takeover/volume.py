"""A snapshot for a process that starts when this one has ended: volumes, each in the queue of a socket.

Somebody else keeps the reading end of that socket meanwhile, without reading. The first message of the queue brings a
file, in which are sessions and bindings as messages of snapshot.py. Each message about sessions has one of the queue
behind that, which brings their descriptors in the same order.

Guarantees:

* Reading takes descriptors out of the queue, however many copies of the socket there are. Whoever has read them is the
  only one who has them, so nothing is handed out twice, also if that process is killed at once.
* A volume is whole in itself. Volumes may come in any order, or twice; one that is missing harms no other.
* A queue ends with its kernel, as the clock of the expiries does: no volume comes from another boot.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

from scache_fast.engine import wire
from scache_fast.engine.table import Binding, Session
from scache_fast.takeover import snapshot
from scache_fast.takeover.snapshot import HEADER_BYTES, ROWS_MAX, TEXT_BYTES_MAX, Bound, Kind, SnapshotError

MESSAGES_MAX: Final = 16
"""How many messages about sessions or bindings a volume has at most. A queue of 212 992 bytes has room for 278, one of
32 768 bytes, a quarter of the least that Linux starts with, for 40."""

_PACKET_BYTES_MAX: Final = 1024


class Volume(NamedTuple):
    """A volume that is written; both ends of its socket are the receiver's."""

    reader: socket.socket
    writer: socket.socket
    """Hangs up when nobody has the reading end any more."""

    sessions: list[Session]


class Contents(NamedTuple):
    """What was in a volume; the descriptors are the receiver's."""

    number: int
    """The place of the volume in its snapshot."""

    left_ns: int
    """When the snapshot was made."""

    total: int
    """How many sessions the snapshot had in all volumes."""

    sessions: list[Session]
    bindings: list[Bound]


class _Part(NamedTuple):
    kind: Kind
    payload: bytes
    sessions: list[Session]


def volumes_max(sessions: int, bindings: int, text_bytes: int) -> int:
    """Return how many volumes so many sessions and bindings with so many bytes of text take at most."""
    # A message ends because of its rows, or because it and the next one have more text together than one may have.
    messages = sessions // ROWS_MAX + bindings // ROWS_MAX + 2 * text_bytes // TEXT_BYTES_MAX + 2
    return -(-messages // MESSAGES_MAX)


def write(sessions: Sequence[Session], bindings: Sequence[Binding], now_ns: int) -> Iterator[Volume]:
    """Yield volumes with everything; the sessions come in the order of `Table.parked`. Raises OSError."""
    parts = chain(
        (
            _Part(Kind.SESSIONS, snapshot.encode_sessions(some), some)
            for some in snapshot.cut(sessions, snapshot.session_bytes)
        ),
        (
            _Part(Kind.BINDINGS, snapshot.encode_bindings(bound), [])
            for bound in snapshot.cut(bindings, snapshot.binding_bytes)
        ),
    )
    number = 0
    while some := list(islice(parts, MESSAGES_MAX)):
        yield _volume({"number": number, "left_ns": now_ns, "total": len(sessions)}, some)
        number += 1


def _volume(about: dict[str, int], parts: list[_Part]) -> Volume:
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        writer.setblocking(False)
        with open(os.memfd_create("scached", os.MFD_CLOEXEC), "wb") as file:
            file.write(snapshot.encode_message(Kind.COUNTS, snapshot.encode_counts(about)))
            for part in parts:
                file.write(snapshot.encode_message(part.kind, part.payload, len(part.sessions)))
            file.write(snapshot.encode_message(Kind.END))
            file.flush()
            socket.send_fds(writer, [snapshot.encode_message(Kind.VOLUME, b"", 1)], [file.fileno()])
        for part in parts:
            if part.sessions:
                socket.send_fds(writer, [b"\0"], [each.descriptor for each in part.sessions])
    except OSError:
        reader.close()
        writer.close()
        raise
    return Volume(reader, writer, [session for part in parts for session in part.sessions])


def read(reader: socket.socket, room: int, now_ns: int, let_go: Callable[[list[int]], None]) -> Contents | None:
    """Take out what a volume has, up to `room` descriptors; None: somebody has taken it out before.

    Raises SnapshotError, and OSError if this is no socket. What was taken out is closed then, by `let_go`.
    """
    reader.setblocking(False)
    taken: list[int] = []
    try:
        packet = _receive(reader, taken)
        if not packet:
            return None
        header = snapshot.decode_header(packet[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0"))
        snapshot.check(header, packet[HEADER_BYTES:])
        if header.kind is not Kind.VOLUME or len(taken) != 1:
            raise SnapshotError("there is no file at the beginning of a volume")
        messages = _messages(_whole(taken[0]))
        let_go([taken.pop()])
        _, about = next(messages, (Kind.END, b""))
        counts = snapshot.decode_counts(about)
        number, left_ns, total = (counts.get(name, -1) for name in ("number", "left_ns", "total"))
        if not 0 <= left_ns <= now_ns:
            raise SnapshotError("a volume is of another boot")
        sessions: list[Session] = []
        bindings: list[Bound] = []
        for kind, payload in messages:
            if kind is Kind.BINDINGS:
                bindings += snapshot.decode_bindings(payload)
            elif kind is Kind.SESSIONS:
                parked = snapshot.decode_sessions(payload)
                if len(taken) + len(parked) > room:
                    room = 0  # Nothing behind it is taken out either: rows and descriptors would not match.
                    continue
                _receive(reader, taken)
                if len(taken) != len(sessions) + len(parked):
                    raise SnapshotError("there are not as many descriptors as sessions")
                sessions += snapshot.sessions_of(parked, taken[len(sessions) :])
            else:
                raise SnapshotError(f"a message of kind {kind.name} is out of turn")
    except (SnapshotError, OSError):
        let_go(taken)
        raise
    return Contents(number, left_ns, total, sessions, bindings)


def _receive(reader: socket.socket, taken: list[int]) -> bytes:
    """Read one message of the queue; raises SnapshotError if descriptors got lost, or nobody has written it."""
    passed: list[int] = []
    try:
        packet = wire.receive(reader, reader.fileno(), _PACKET_BYTES_MAX, passed)
    except BlockingIOError:
        raise SnapshotError("a volume is not finished") from None
    taken += wire.descriptors_among(passed)
    if wire.DROPPED in passed:
        raise SnapshotError("descriptors got lost")
    return packet


def _whole(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _messages(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    """Yield the messages of a file up to its end; raises SnapshotError."""
    at = 0
    while True:
        behind = at + HEADER_BYTES
        if behind > len(data):
            raise SnapshotError("a volume has no end")
        header = snapshot.decode_header(data[at:behind])
        at = behind + header.length
        payload = data[behind:at]
        snapshot.check(header, payload)
        if header.kind is Kind.END:
            return
        yield header.kind, payload
