"""Settings that are read again while the server runs: all of them are read and checked, then those that can change do.

Nothing that is parked or connected is touched. What cannot change without a restart is named. If anything is wrong, no
setting changes. Reading is done in a thread of its own: the file may be on a slow disk, and users and groups are looked
up by name, which may ask a server elsewhere.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping

from scache_fast.engine.closing import Farewell
from scache_fast.engine.faults import described
from scache_fast.engine.server import Server
from scache_fast.engine.table import Session
from scache_fast.policy.access import Access, Doorkeeper
from scache_fast.policy.farewell import Farewells
from scache_fast.policy.liveness import HealthCheck, Liveness
from scache_fast.process.closing import ClosingThreads
from scache_fast.process.logger import Logger
from scache_fast.settings.sources import ConfigurationError
from scache_fast.settings.table import Settings, by_name


class Outcome:
    """What came of one reload: `answer` or `error`, once `is_known` is set."""

    def __init__(self) -> None:
        self.is_known = threading.Event()
        self.answer: Mapping[str, object] = {}
        """What changed, and what would need a restart."""
        self.error: ConfigurationError | None = None


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
        self._asked: Outcome | None = None
        """That of the settings that are being read."""
        self._wanted: Outcome | None = None
        """That of the reading after it, for everybody who has asked since it began."""
        self._found: Settings | ConfigurationError = settings
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        server.watch(self._wake, self._read_is_done)

    def hang_up(self) -> None:
        """Reload because of a SIGHUP: whatever comes of it is in the log."""
        self.reload()

    def reload(self) -> Outcome:
        """Read the settings again, in a thread that begins no earlier than now."""
        if self._asked is None:
            outcome = self._asked = Outcome()
            self._begin()
            return outcome
        if self._wanted is None:
            self._wanted = Outcome()
        return self._wanted

    def _begin(self) -> None:
        self.last_s = time.time()
        thread = threading.Thread(target=self._read_aside, name="reload", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # RLIMIT_NPROC
            self._found = ConfigurationError(f"no thread can be started that reads them: {error}")
            os.eventfd_write(self._wake, 1)

    def _read_aside(self) -> None:
        try:
            self._found = self._read()
        except ConfigurationError as error:
            self._found = error
        except Exception as error:
            self._found = ConfigurationError(f"unexpected {described(error)}")
        os.eventfd_write(self._wake, 1)

    def _read_is_done(self) -> None:
        """Bring into force what was read; the loop calls it."""
        os.eventfd_read(self._wake)
        outcome = self._asked
        assert outcome is not None
        answer: Mapping[str, object] = {}
        error = None
        if isinstance(self._found, ConfigurationError):
            error = self._found
            self.was_last_ok = False
            self.failed += 1
            self._log.warning(f"the settings stay as they are: {error}")
        else:
            answer = self._apply(self._found)
        outcome.answer, outcome.error = answer, error
        outcome.is_known.set()
        self._asked, self._wanted = self._wanted, None
        if self._asked is not None:
            self._begin()

    def _apply(self, wanted: Settings) -> Mapping[str, object]:
        old = self._settings
        new = old._replace(
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

    def set_verbose(self, verbose: bool) -> None:
        """Have each request logged, or no more."""
        self._settings = self._settings._replace(verbose=verbose)
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
    """Return what sends farewells, None if there are none."""
    return Farewells(settings.farewells).say if settings.farewells else None


def _different(one: Settings, other: Settings) -> list[str]:
    theirs = by_name(other)
    return [name for name, value in by_name(one).items() if theirs[name] != value]
