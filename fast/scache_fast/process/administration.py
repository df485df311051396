"""The admin socket of a process: what is behind its verbs, beyond the loop."""

import os
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
from scache_fast.engine.steering import DRAINING, PAUSED
from scache_fast.process.closing import ClosingThreads
from scache_fast.process.holdings import Holdings
from scache_fast.process.listening import SocketFile
from scache_fast.process.logger import Logger
from scache_fast.process.main_process import NO_TAKEOVER, is_in_our_control_group
from scache_fast.process.reloading import Reloading
from scache_fast.takeover.predecessor import Place, Predecessor

_WAIT_S: Final = 0.0005
"""How long a turn waits for a reload that an operator asked for: part of what operators get of each turn."""

LEAVING_TURN_S_MAX: Final = 0.25
"""How long a turn waits at most after a takeover: what was begun for clients has a time limit."""


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
        holdings: Holdings,
    ) -> None:
        self._listener = listener
        self._closing = closing
        self._descriptors = descriptors
        self._log = log
        self._reloading = reloading
        self._server = server
        self._steering = Steering(server, log, reloading.set_verbose, self._reload)
        self._holdings = holdings
        self._predecessor = Predecessor(server, self, descriptors, log)
        reading = Reading(server, self._stats, clock)
        known = verbs(reading, self._steering, self._predecessor.takeover)
        self._socket = AdminSocket(listener, server, known, log)
        self._is_left = False
        self.turn_s_max: float = LOOK_S

    def after_turn(self, server: Server) -> None:
        """Serve operators; the loop calls it after each turn."""
        self._socket.after_turn(server)
        if not self._holdings.is_inheriting and not server.exchange.is_left:  # LIFE-11
            self._steering.end_if_drained()
        self._predecessor.after_turn(server)

    def close(self) -> None:
        """Close the admin socket, and end a takeover that goes on."""
        self._predecessor.close()
        if not self._is_left:
            self._socket.close()

    # What the next process gets (takeover/).

    def refusal(self, pid: int, is_of_service: bool) -> str:
        """Say why a process cannot take over; nothing: it can. It may be one that systemd has started."""
        holdings = self._holdings
        if (holdings.is_service or is_of_service) and not (holdings.is_service and is_in_our_control_group(pid)):
            return NO_TAKEOVER
        if self._holdings.is_inheriting:  # LIFE-11
            return "the process before this one still finishes what it began for clients: wait until it has ended"
        return self._holdings.refusal

    def place_of(self, listener: socket.socket) -> Place:
        """Return what is known about a listening socket for clients."""
        return _place(listener, self._holdings.files)

    @property
    def admin(self) -> Place:
        """Return the listening socket for operators."""
        return _place(self._listener, self._holdings.admin_files)

    def counts(self) -> dict[str, int]:
        """Return what the process counts itself."""
        state = state_of(self._server)
        return {
            "reloads_succeeded": self._reloading.succeeded,
            "reloads_failed": self._reloading.failed,
            "log_suppressed": self._log.suppressed,
            "paused": int(state == "paused"),
            "draining": int(state == "draining"),
        }

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """Add what another process counted, and go on as it did about saves."""
        self._reloading.succeeded += counts.get("reloads_succeeded", 0)
        self._reloading.failed += counts.get("reloads_failed", 0)
        self._log.suppressed += counts.get("log_suppressed", 0)
        refusal = PAUSED if counts.get("paused") else DRAINING if counts.get("draining") else ""
        self._server.steering.refuse_saves(refusal)

    def rest(self) -> None:
        """Take the listening socket out of epoll."""
        self._socket.rest()

    def wake(self) -> None:
        """Let operators in again."""
        self._socket.wake()

    @property
    def notices(self) -> tuple[int, int] | None:
        """Return the connection to systemd, and after how many ns of silence it ends the service, 0: never."""
        notices = self._holdings.notices
        return None if notices.sock is None else (notices.sock.fileno(), notices.watchdog_ns or 0)

    def leave(self, pid: int) -> None:
        """Close everything, and remove no file: all of it is the next process's, which has this number."""
        self._is_left = True
        self._holdings.notices.name(pid)
        self._socket.leave()
        for file in (*self._holdings.files, *self._holdings.admin_files):
            file.close()
        self._holdings.files.clear()
        self._holdings.admin_files.clear()
        self._holdings.turn_s_max = LEAVING_TURN_S_MAX

    def may_end(self) -> bool:
        """Say whether systemd knows that another process is the main one of the service; may wait for 5 s."""
        return self._holdings.notices.is_known()

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
        """Return how many descriptors are in use, or a little less.

        The kernel gives out the lowest number that is free, and numbers above it may be in use.
        """
        server = self._server
        known = server.table.sessions + len(server.steering.held) + server.clients + server.listeners
        try:
            return max(known, wire.lowest_free(self._listener))
        except OSError:
            return self._descriptors


def _place(sock: socket.socket, files: list[SocketFile]) -> Place:
    for file in files:
        if file.sock is sock:
            return Place(sock, os.fsencode(file.path), file.file)
    name: object = sock.getsockname()
    return Place(sock, os.fsencode(name) if isinstance(name, str) else b"", None)
