"""How the loop waits for events: epoll, with busy polling before it blocks.

Busy polling. Blocking is expensive: being woken takes 20 µs and more, and costs the CPU more than some polls do. With
one or two clients, whose next bytes are on the way whenever the loop waits, it was more than half of every dance. So,
before it blocks, the loop polls up to `polls_before_blocking` times. When these polls find nothing, the next 1, 3, 7 …
`WAITS_WITHOUT_POLLS_MAX` waits block at once; a poll that finds something makes the loop poll again the next time.
Between two polls the loop keeps the CPU: yielding it lets whoever else computes there have it for milliseconds, and all
polls of one wait take 40 µs.
"""

import errno
import select
from typing import Final

from scache_fast.engine.calls import Calls
from scache_fast.engine.faults import Faults

# Plain numbers: these are combined for each client.
IN: Final = int(select.EPOLLIN)
OUT: Final = int(select.EPOLLOUT)
READ_ON: Final = int(select.EPOLLOUT | select.EPOLLET)
"""An event each time that the peer reads something: the kernel then says once more that there is room."""

_EVENTS_PER_TURN_MAX: Final = 64
"""How many events a turn handles; epoll goes round the others in the next. Room for so many (768 bytes, for each wait
anew) comes from malloc's small bins; twice as many made no difference to anything else."""

_WAIT_FAILURES: Final = frozenset({errno.EINTR, errno.ENOMEM})
"""What waiting may report without anything being wrong."""

_WAITS_FAILED_MAX: Final = 100
"""How many waits in a row may fail in any other way. After that there is no loop any more: EBADF, EFAULT, EINVAL."""

WAITS_WITHOUT_POLLS_MAX: Final = 63
"""How many waits block at once before polling is tried again: polling in vain then costs 1 µs a wait."""


class Poller:
    """An epoll, and whether polling before blocking is worth it just now."""

    def __init__(self, polls_before_blocking: int, faults: Faults, calls: Calls) -> None:
        self._epoll = select.epoll()
        self._poll = calls.poller(self._epoll)
        self._polls_before_blocking = polls_before_blocking
        self._faults = faults
        self._waits_without_polls = 0  # as decided after the last polls that found nothing
        self._waits_without_polls_left = 0
        self._waits_failed = 0
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.close = self._epoll.close

    def wait(self, wait_s: float) -> list[tuple[int, int]]:
        """Return the events that there are, or those that come first within so many seconds."""
        poll = self._poll
        try:
            if self._waits_without_polls_left:
                self._waits_without_polls_left -= 1
            elif self._polls_before_blocking and wait_s > 0:
                for _ in range(self._polls_before_blocking):
                    events = poll(0, _EVENTS_PER_TURN_MAX)
                    if events:
                        self._waits_without_polls = 0
                        return events
                waits = self._waits_without_polls = min(2 * self._waits_without_polls + 1, WAITS_WITHOUT_POLLS_MAX)
                self._waits_without_polls_left = waits
            events = poll(wait_s, _EVENTS_PER_TURN_MAX)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _WAIT_FAILURES:
                return []
            self._waits_failed += 1
            if self._waits_failed > _WAITS_FAILED_MAX:
                raise
            self._faults.contain("waiting goes on", error)
            return []
        self._waits_failed = 0
        return events
