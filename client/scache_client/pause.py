"""A circuit breaker: after a failure the cache is left alone for a while.

A server that is stopped costs every request its whole timeout. Programs that lease go on without the cache, so the
first failure is reported and the cache is not asked again until the pause is over; then one caller tries it.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

from scache_client import quantities
from scache_client.errors import CacheError, Refused, RequestTooLong

PAUSE_S: Final = 30.0
"""How long the cache is left alone after a failure. Arbitrary: six times the default timeout."""

_log = logging.getLogger("scache_client")


def boot_time_s() -> float:
    """Return the seconds since the machine started: a clock that never jumps and that all processes share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Pause:
    """Says whether to ask the cache now, from what came of asking it before.

    Guarantees:
    * While the cache fails, it is asked once in `pause_s` seconds. Threads that come at the same
      instant may each try; the others are told no.
    * A failure is logged once, as a warning, until the cache has worked again.
    * A refusal, a request that is too long and this process's own trouble (an OSError) cost no time and say nothing
      about the next request: these begin no pause.
    """

    def __init__(self, pause_s: float = PAUSE_S, *, clock: Callable[[], float] = boot_time_s) -> None:
        self.pause_s = quantities.pause(pause_s)
        self._clock = clock
        self._until_s = -math.inf
        self._reported = False

    def is_over(self) -> bool:
        """Say whether the cache may be asked. Who is told yes after a failure tries it for all others."""
        now_s = self._clock()
        if now_s < self._until_s:
            return False
        if self._until_s > -math.inf:
            self._until_s = now_s + self.pause_s
        return True

    def note_success(self) -> None:
        """Note that the cache has answered."""
        if self._reported:
            _log.info("the connection cache works again")
        self._until_s = -math.inf
        self._reported = False

    def note_failure(self, what: str, error: CacheError | OSError) -> None:
        """Note that the cache could not be used; say so if that is news."""
        begins = isinstance(error, CacheError) and not isinstance(error, Refused | RequestTooLong)
        if begins:
            self._until_s = self._clock() + self.pause_s
        elif isinstance(error, Refused):
            self._until_s = -math.inf  # it answered
        consequence = f"; the cache is not used for {self.pause_s:g} s" if begins else ""
        level = logging.DEBUG if self._reported else logging.WARNING
        self._reported = True
        _log.log(level, "cannot %s: %s%s", what, error, consequence)
