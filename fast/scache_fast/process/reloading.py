"""Settings that are read again while the server runs: all of them are read and checked, then those that can change do.

Nothing that is parked or connected is touched. What cannot change without a restart is named. If anything is wrong, no
setting changes.
"""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from scache_fast.engine.closing import Farewell
from scache_fast.engine.server import Server
from scache_fast.engine.table import Session
from scache_fast.policy.access import Access, Doorkeeper
from scache_fast.policy.farewell import Farewells
from scache_fast.policy.liveness import HealthCheck, Liveness
from scache_fast.process.closing import ClosingThreads
from scache_fast.process.logger import Logger
from scache_fast.settings.sources import ConfigurationError
from scache_fast.settings.table import Settings, by_name


class Reloading:
    """The settings in force, and how others come into force. `read` raises ConfigurationError."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        server: Server,
        closing: ClosingThreads,
        log: Logger,
    ) -> None:
        self._settings = settings
        self._read = read
        self._server = server
        self._closing = closing
        self._log = log
        self.succeeded = 0
        self.failed = 0
        self.last_s: float | None = None
        """When settings were last read again, in seconds since 1970."""
        self.was_last_ok = True

    def reload(self) -> Mapping[str, object]:
        """Read the settings again; return what changed and what would need a restart. Raises ConfigurationError."""
        self.last_s = time.time()
        try:
            wanted = self._read()
        except ConfigurationError as error:
            self.was_last_ok = False
            self.failed += 1
            self._log.warning(f"the settings stay as they are: {error}")
            raise
        old = self._settings
        new = replace(
            old,
            access=wanted.access,
            limits=wanted.limits,
            farewells=wanted.farewells,
            liveness=wanted.liveness,
            verbose=wanted.verbose,
        )
        self._bring_into_force(new)
        self._settings = new
        self.was_last_ok = True
        self.succeeded += 1
        changed, restart = _different(old, new), _different(new, wanted)
        self._log.info(
            f"settings read again: changed: {', '.join(changed) or 'nothing'}"
            + (f"; not changed before a restart: {', '.join(restart)}" if restart else "")
        )
        return {"changed": changed, "restart": restart}

    def hang_up(self) -> None:
        """Reload because of a SIGHUP: whatever comes of it is in the log."""
        try:
            self.reload()
        except ConfigurationError:
            return

    def set_verbose(self, verbose: bool) -> None:
        """Have each request logged, or no more."""
        self._settings = replace(self._settings, verbose=verbose)
        self._log.verbose = verbose
        self._server.steering.set_verbose(verbose)

    def _bring_into_force(self, new: Settings) -> None:
        steering = self._server.steering
        steering.change_limits(new.limits)
        steering.change_policy(doorkeeper(new, self._log), health_check(new))
        self._closing.farewell = farewell(new)
        if new.verbose != self._settings.verbose:
            self.set_verbose(new.verbose)


def doorkeeper(settings: Settings, log: Logger) -> Callable[[socket.socket], bool] | None:
    """Return who decides about clients, None if everybody may connect."""
    return Doorkeeper(settings.access, log).may_connect if settings.access != Access() else None


def health_check(settings: Settings) -> Callable[[Session], bool] | None:
    """Return who decides about sessions that are to be handed out, None if all are."""
    return HealthCheck(settings.liveness).is_alive if settings.liveness is not Liveness.OFF else None


def farewell(settings: Settings) -> Farewell | None:
    """Return who says the last bytes, None if nobody does."""
    return Farewells(settings.farewells).say if settings.farewells else None


def _different(one: Settings, other: Settings) -> list[str]:
    theirs = by_name(other)
    return [name for name, value in by_name(one).items() if theirs[name] != value]
