"""The control socket of one takeover: whole messages, with the descriptors that belong to them, in both directions.

Nothing here waits without an end: sending and receiving have a deadline, and `receive_now` does not wait at all.
"""

import errno
import os
import select
import socket
import time
from collections import deque
from typing import Final, NamedTuple

from scache_fast.engine import wire
from scache_fast.takeover.snapshot import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Kind,
    SnapshotError,
    check,
    decode_header,
    encode_message,
)

_READ_BYTES: Final = 262_144


class ChannelError(Exception):
    """The other process is gone, or does not keep up; the text says which."""


class TooManyInFlightError(Exception):
    """The kernel lets this user have no more descriptors under way just now; nothing was sent."""


class Message(NamedTuple):
    """One message; its descriptors are the receiver's to close."""

    kind: Kind
    payload: bytes
    descriptors: list[int]


class Channel:
    """One end of a control socket, which it owns from now on.

    A message whose payload has more than `payload_bytes_max` is refused by its header: nothing of it is kept.
    """

    def __init__(self, sock: socket.socket, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        sock.setblocking(False)
        self._payload_bytes_max = payload_bytes_max
        self._sock = sock
        self._read = bytearray()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket, and descriptors of messages that are not whole."""
        self._sock.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def send(self, kind: Kind, payload: bytes, descriptors: list[int], deadline_s: float) -> None:
        """Send a message; our copies of the descriptors stay open. Raises ChannelError, TooManyInFlightError."""
        data = memoryview(encode_message(kind, payload, len(descriptors)))
        while data:
            try:
                if descriptors:
                    sent = socket.send_fds(self._sock, [data], descriptors, socket.MSG_NOSIGNAL)
                else:
                    sent = self._sock.send(data, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline_s)
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    raise TooManyInFlightError(error.strerror) from None
                raise ChannelError(f"the other process is gone: {error.strerror}") from None
            else:
                data = data[sent:]
                descriptors = []  # They went with the first byte.

    def receive(self, deadline_s: float) -> Message:
        """Return the next message; raises ChannelError and SnapshotError."""
        while True:
            message = self.receive_now()
            if message is not None:
                return message
            self._wait(select.POLLIN, deadline_s)

    def receive_now(self) -> Message | None:
        """Return the next message, None if it is not whole yet; raises ChannelError and SnapshotError."""
        while True:
            message = self._next_message()
            if message is not None:
                return message
            try:
                passed: list[int] = []
                data = wire.receive(self._sock, self._sock.fileno(), _READ_BYTES, passed)
            except BlockingIOError:
                return None
            except OSError as error:
                raise ChannelError(f"the other process is gone: {error.strerror}") from None
            self._descriptors += wire.descriptors_among(passed)
            if wire.DROPPED in passed:
                raise SnapshotError("descriptors got lost: this process may not have as many (ulimit -n)")
            if not data:
                raise ChannelError("the other process has closed the control socket")
            self._read += data

    def _next_message(self) -> Message | None:
        if len(self._read) < HEADER_BYTES:
            return None
        header = decode_header(bytes(self._read[:HEADER_BYTES]))
        if header.length > self._payload_bytes_max:
            raise SnapshotError(f"a message has {header.length} bytes, and {self._payload_bytes_max} at most here")
        end = HEADER_BYTES + header.length
        if len(self._read) < end:
            return None
        payload = bytes(self._read[HEADER_BYTES:end])
        check(header, payload)
        if len(self._descriptors) < header.descriptors:
            raise SnapshotError(f"{len(self._descriptors)} descriptors came with a message, not {header.descriptors}")
        del self._read[:end]
        return Message(header.kind, payload, [self._descriptors.popleft() for _ in range(header.descriptors)])

    def _wait(self, events: int, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        poll = select.poll()
        poll.register(self._sock, events)
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise ChannelError("the other process has not answered in time")
