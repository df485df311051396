"""What a child of master(8) says without being asked: log records and status messages.

Both are always taken at once, on a thread of its own: both channels block the child when nobody reads them, which
master(8) and postlogd(8) never let happen.

Sources: Postfix's master_proto.h (MASTER_STATUS) and msg_logger(3) (one datagram a record, no newline).
"""

import selectors
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATUS_MESSAGE: Final = struct.Struct("@iIi")
"""pid, generation, and 1 for available or 0 for taken: twelve bytes in native order."""

STATUS_BYTES_KEPT_MAX: Final = 200_000 * STATUS_MESSAGE.size
"""Older status messages are forgotten, so that a benchmark does not fill the memory. Arbitrary."""

PAUSE_S: Final = 0.005
"""Between two looks at the channels. The buffers hold some 250 messages, so a child may do 50 000 a second
before it has to wait, and the thread wakes 200 times a second at most."""

_RECORD_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """One message of a child to its master."""

    pid: int
    generation: int
    available: bool


class Channels:
    """Master's ends of the two channels."""

    def __init__(self, log_path: Path) -> None:
        """Listen for log records on a datagram socket at `log_path`."""
        self._log_socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._log_socket.bind(str(log_path))
        self._log_socket.setblocking(False)
        log_path.chmod(0o666)
        self._status_socket: socket.socket | None = None
        self._records: Final[list[str]] = []
        self._status_bytes = bytearray()
        self._lock: Final = threading.Lock()
        self._closing: Final = threading.Event()
        self._selector: Final = selectors.DefaultSelector()
        self._selector.register(self._log_socket, selectors.EVENT_READ)
        self._thread: Final = threading.Thread(target=self._attend, name="master-channels", daemon=True)
        self._thread.start()

    def open_status(self) -> socket.socket:
        """Replace the status channel by a new one and hand out the child's end of it."""
        self.close_status()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with self._lock:
            self._status_socket = ours
            self._selector.register(ours, selectors.EVENT_READ)
        return theirs

    def close_status(self) -> None:
        """Close the status channel: to the child its master has died, or reloads."""
        with self._lock:
            self._drain()
            if self._status_socket is not None:
                self._selector.unregister(self._status_socket)
                self._status_socket.close()
                self._status_socket = None

    def log_records(self) -> list[str]:
        """List every record so far, also those that were sent just before the call."""
        with self._lock:
            self._drain()
            return list(self._records)

    def take_status_messages(self) -> list[StatusMessage]:
        """Hand out the status messages since the last call, oldest first."""
        with self._lock:
            self._drain()
            whole = len(self._status_bytes) // STATUS_MESSAGE.size * STATUS_MESSAGE.size
            taken, self._status_bytes = self._status_bytes[:whole], self._status_bytes[whole:]
        return [StatusMessage(pid, generation, bool(up)) for pid, generation, up in STATUS_MESSAGE.iter_unpack(taken)]

    def close(self) -> None:
        """Stop listening and end the thread."""
        self.close_status()
        self._closing.set()
        self._log_socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._selector.close()
        self._log_socket.close()

    def _attend(self) -> None:
        while not self._closing.wait(PAUSE_S):
            self._selector.select()
            with self._lock:
                self._drain()

    def _drain(self) -> None:
        while (record := _receive(self._log_socket)) is not None:
            if self._closing.is_set() or not record:
                break
            self._records.append(record.decode(errors="backslashreplace"))
        while self._status_socket is not None and (message := _receive(self._status_socket)) is not None:
            if not message:  # the child is gone
                self._selector.unregister(self._status_socket)
                self._status_socket.close()
                self._status_socket = None
            self._status_bytes += message
        if len(self._status_bytes) > 2 * STATUS_BYTES_KEPT_MAX:
            del self._status_bytes[:STATUS_BYTES_KEPT_MAX]  # whole messages: it is a multiple of their size


def _receive(source: socket.socket) -> bytes | None:
    try:
        return source.recv(_RECORD_BYTES_MAX)
    except BlockingIOError:
        return None
    except ConnectionResetError:  # a child that was killed with bytes in its buffer
        return b""
