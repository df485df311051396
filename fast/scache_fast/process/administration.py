"""The admin socket of a process: what is behind its verbs, beyond the loop."""

import socket
from collections.abc import Callable, Mapping

from scache_fast.admin.connections import LOOK_S, AdminSocket
from scache_fast.admin.reading import Reading
from scache_fast.admin.verbs import verbs
from scache_fast.engine import wire
from scache_fast.engine.server import Server
from scache_fast.process.closing import ClosingThreads
from scache_fast.process.logger import Logger


class Administration:
    """Serves operators on a listening socket, which it owns from now on; raises OSError."""

    def __init__(
        self,
        listener: socket.socket,
        server: Server,
        closing: ClosingThreads,
        descriptors: int,
        log: Logger,
        clock: Callable[[], int],
    ) -> None:
        self._listener = listener
        self._closing = closing
        self._descriptors = descriptors
        self._log = log
        self._socket = AdminSocket(listener, server, verbs(Reading(server, self._stats, clock)), log)
        self.after_turn = self._socket.after_turn
        self.close = self._socket.close
        self.turn_s_max: float = LOOK_S

    def _stats(self) -> Mapping[str, object]:
        return {
            "descriptors": {"used": self._used(), "max": self._descriptors},
            "closing": {"stuck": self._closing.stuck, "refused_users": len(self._closing.refused_users)},
            "log": {"suppressed": self._log.suppressed},
        }

    def _used(self) -> int:
        """Return how many descriptors are in use, or a little less: the kernel gives out the lowest that is free."""
        try:
            return wire.lowest_free(self._listener)
        except OSError:
            return self._descriptors
