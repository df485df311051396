"""Whether a parked connection is still alive. A find closes a dead one and tries the next.

Off by default. Postfix's scache(8) hands out what it has, and its clients find out for themselves. The check costs one
system call for each find.
"""

import select
import socket
from enum import Enum
from typing import Final

from scache_fast.engine.table import Session


class Liveness(Enum):
    """Which connections are not handed out."""

    OFF = "off"
    """None: all are handed out."""

    HUP = "hup"
    """Those closed in both directions, or broken."""

    RDHUP = "rdhup"
    """Also those whose peer sends no more: it has closed, or half-closed, its end."""


_ASKED: Final = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})
"""Sockets that answer poll(2) at once. A file of a FUSE server may take for ever, and takes no signal meanwhile."""


class HealthCheck:
    """Checks sessions that are about to be handed out. `dropped` counts those that were hung up."""

    def __init__(self, liveness: Liveness) -> None:
        self._events = select.POLLRDHUP if liveness is Liveness.RDHUP else 0
        self.dropped = 0

    def is_alive(self, session: Session) -> bool:
        """Say whether a session can be handed out. What cannot be asked without waiting counts as alive."""
        if session.domain not in _ASKED:
            return True
        poll = select.poll()
        poll.register(session.descriptor, self._events)  # POLLHUP and POLLERR are reported without being asked for
        if poll.poll(0):
            self.dropped += 1
            return False
        return True
