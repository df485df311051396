"""The admin socket of a process: what is behind its verbs, beyond the loop."""

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from scache_fast.admin.connections import LOOK_S, AdminSocket
from scache_fast.admin.protocol import RequestError
from scache_fast.admin.reading import Reading
from scache_fast.admin.steering import Steering, state_of
from scache_fast.admin.verbs import verbs
from scache_fast.engine import wire
from scache_fast.engine.server import Server
from scache_fast.process.closing import ClosingThreads
from scache_fast.process.logger import Logger
from scache_fast.process.reloading import Reloading

_WAIT_S: Final = 0.0005
"""How long a turn waits for a reload that an operator asked for: part of what operators get of each turn."""


class Administration:
    """Serves operators on a listening socket, which it owns from now on; raises OSError."""

    def __init__(
        self,
        listener: socket.socket,
        server: Server,
        closing: ClosingThreads,
        reloading: Reloading,
        descriptors: int,
        log: Logger,
        clock: Callable[[], int],
    ) -> None:
        self._listener = listener
        self._closing = closing
        self._descriptors = descriptors
        self._log = log
        self._reloading = reloading
        self._server = server
        self._steering = Steering(server, log, reloading.set_verbose, self._reload)
        self._socket = AdminSocket(listener, server, verbs(Reading(server, self._stats, clock), self._steering), log)
        self.close = self._socket.close
        self.turn_s_max: float = LOOK_S

    def after_turn(self, server: Server) -> None:
        """Serve operators; the loop calls it after each turn."""
        self._socket.after_turn(server)
        self._steering.end_if_drained()

    def _reload(self) -> Iterator[dict[str, object]]:
        outcome = self._reloading.reload()
        # Without a wait the loop would be busy until the settings are read: it takes turns while an answer is made.
        while not outcome.is_known.wait(_WAIT_S):
            yield {}
        if outcome.error is not None:
            raise RequestError(f"the settings stay as they are: {outcome.error}")
        yield dict(outcome.answer)

    def _stats(self) -> Mapping[str, object]:
        reloading = self._reloading
        return {
            "state": state_of(self._server),
            "reload": {"ok": reloading.was_last_ok, "last_s": reloading.last_s, "succeeded": reloading.succeeded,
                       "failed": reloading.failed},
            "descriptors": {"used": self._used(), "max": self._descriptors},
            "closing": {"stuck": self._closing.stuck, "refused_users": len(self._closing.refused_users)},
            "log": {"suppressed": self._log.suppressed},
        }  # fmt: skip

    def _used(self) -> int:
        """Return how many descriptors are in use, or a little less: the kernel gives out the lowest that is free."""
        try:
            return wire.lowest_free(self._listener)
        except OSError:
            return self._descriptors
