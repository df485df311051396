"""A connection to park, both of whose ends are ours until one is sent away, and how it is recognized."""

import os
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from scache_conformance.wire import processes
from scache_conformance.wire.unmet import Silence

CARRIED_WITHIN_S: Final = 2.0
"""How long a byte may take from one end to the other. Arbitrary: it takes microseconds."""

_READ_BYTES: Final = 65_536


def readable(files: Iterable[int], within_s: float) -> list[int]:
    """Return which of the files have something to read, or have ended, as soon as one has. Not select: it ends at 1024.

    Rounds up to milliseconds.
    """
    poll = select.poll()
    for fd in files:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(max(0.0, within_s) * 1000)]


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two descriptors refer to the same open socket, pipe or file."""

    device: int
    inode: int


def identity(fd: int) -> Identity:
    """Return the identity of what a descriptor refers to."""
    status = os.fstat(fd)
    return Identity(status.st_dev, status.st_ino)


class Line:
    """A connection to park: a socket pair. Its `far` end goes to the server, its `near` end is kept and watched."""

    def __init__(self) -> None:
        """Open both ends."""
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.near.setblocking(False)
        self.identity: Final = identity(self.far.fileno())

    def let_go(self) -> None:
        """Close our copy of the far end: only what was sent to the server keeps it open."""
        processes.close(self.far)

    def is_other_end_of(self, fd: int) -> bool:
        """Tell whether the descriptor is the far end: by identity, and by a byte written to it that arrives here."""
        if identity(fd) != self.identity:
            return False
        mark = os.urandom(4)
        os.write(fd, mark)
        received = b""
        while readable([self.near.fileno()], CARRIED_WITHIN_S):
            more = self.near.recv(len(mark) - len(received))
            received += more
            if not more or len(received) == len(mark):
                break
        return received == mark

    def hung_up(self, within_s: float) -> bool:
        """Tell whether every copy of the far end gets closed within so many seconds: the near end reads its end."""
        deadline_s = time.monotonic() + within_s
        while readable([self.near.fileno()], deadline_s - time.monotonic()):
            if not self.near.recv(_READ_BYTES):
                return True
        return False

    def insist_on_hangup(self, what: str, within_s: float) -> None:
        """Raise Silence unless every copy of the far end gets closed within so many seconds."""
        if not self.hung_up(within_s):
            raise Silence(f"{what} closed by the server", f"it is open {within_s} s later")

    def close(self) -> None:
        """Close what is still open of it here."""
        processes.close(self.near, self.far)
