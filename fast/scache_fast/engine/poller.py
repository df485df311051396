"""How the loop waits for events: epoll, with busy polling before it blocks.

Busy polling: before blocking, the loop polls for up to `busy_poll_us`. Blocking is expensive: a blocked process wakes
20 µs or more after the event, and that costs about as much CPU as 15 µs of polling. With one or two clients, whose next
bytes arrive soon after the loop begins to wait, blocking took more than half of the time of a whole conversation.

Polling that finds nothing is wasted CPU. Whether something will come soon depends on what came last: a client that was
invited to send a descriptor sends it at once, while a client at rest may be silent for hours. The caller of `wait` says
in which state the client is that was served last, and the poller keeps a record for each state. When polls after such a
client find nothing, the next 1, 3, 7 … `WAITS_WITHOUT_POLLS_MAX` waits after such a client block at once. A poll that
finds something makes the loop poll again after the next such client.

All of this pays while the loop is busy. A loop that takes few turns has CPU to spare between them, and to block costs
less of it than to poll. The loop polls only while its last turns were `_TURN_NS_MAX` apart on average, or less.

The loop does not yield the CPU between two polls: another process that computes could keep it for milliseconds.
"""

import errno
import select
import time
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

_TURNS_COUNTED: Final = 64
"""After how many turns the poller decides anew whether the loop is busy. With 16, a few milliseconds for which another
process had the CPU made a busy loop seem idle."""

_TURN_NS_MAX: Final = 400_000
"""How far apart the turns of a busy loop are, on average. One client that does nothing else makes a turn every 20 to 40
µs; a mail system with 800 requests a second makes one every 600 µs."""

_NS_PER_US: Final = 1_000

NOBODY: Final = 7
"""What came last when it was no client, and the highest number for what came last."""


class Poller:
    """An epoll, and whether polling before blocking is worth it just now."""

    def __init__(self, busy_poll_us: int, faults: Faults, calls: Calls) -> None:
        self._epoll = select.epoll()
        self._poll = calls.poller(self._epoll)
        self._busy_poll_ns = busy_poll_us * _NS_PER_US
        self._clock = time.perf_counter_ns  # The server's clock may stand still, in tests.
        self._turns = 0  # since the instant below
        self._since_ns = self._clock()
        self._is_busy = True
        self._faults = faults
        # For each state of the client that was served last: how many waits are to block at once, as decided after the
        # last polls that found nothing, and how many of them are left.
        self._waits_without_polls = [0] * (NOBODY + 1)
        self._waits_without_polls_left = [0] * (NOBODY + 1)
        self._waits_failed = 0
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.close = self._epoll.close

    def wait(self, wait_s: float, last: int = NOBODY) -> list[tuple[int, int]]:
        """Return the events that there are, or those that come first within so many seconds.

        `last` says what came last: the state of a client, or `NOBODY`.
        """
        poll = self._poll
        try:
            if self._busy_poll_ns and wait_s > 0 and self._takes_many_turns():
                if self._waits_without_polls_left[last]:
                    self._waits_without_polls_left[last] -= 1
                else:
                    until_ns = self._clock() + self._busy_poll_ns
                    while True:
                        events = poll(0, _EVENTS_PER_TURN_MAX)
                        if events:
                            self._waits_without_polls[last] = 0
                            return events
                        if self._clock() >= until_ns:
                            break
                    waits = min(2 * self._waits_without_polls[last] + 1, WAITS_WITHOUT_POLLS_MAX)
                    self._waits_without_polls[last] = self._waits_without_polls_left[last] = waits
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

    def ready(self) -> list[tuple[int, int]]:
        """Return the events that there are. A failure is left to the next wait, which reports it."""
        self._turns += 1
        try:
            return self._poll(0, _EVENTS_PER_TURN_MAX)
        except OSError:
            return []

    def _takes_many_turns(self) -> bool:
        self._turns += 1
        if self._turns >= _TURNS_COUNTED:
            now_ns = self._clock()
            self._is_busy = now_ns - self._since_ns < self._turns * _TURN_NS_MAX
            self._turns, self._since_ns = 0, now_ns
        return self._is_busy
