"""A watch over threads that hang in the kernel: the loop in a turn, or a thread that closes descriptors.

The loop's descriptors do not block, and other threads do what may block (closing.py). One call of the loop is left. The
loop closes our copy of a connection as soon as the connection was handed over, if it saw that closing cannot block
(plain.may_wait). Between the two, the process that received the connection may set SO_LINGER and close its own copy.
Our close is then the last one. It blocks until the peer has acknowledged everything, for as long as that option says,
even with O_NONBLOCK. A signal ends the wait, and the kernel then closes the connection in the background.

While the loop takes turns, this thread therefore looks at the loop every `LOOK_S`. If the loop is in a turn, this
thread looks again after `SECOND_LOOK_S`. If the loop is still in that turn, this thread sends it signals until the turn
is over. A turn may hang once for each connection that it hands over. A turn that is merely busy does not notice the
signals, because Python takes up its own waits again (PEP 475). While the loop serves nobody and nothing is being
closed, this thread waits too and costs nothing.
"""

import signal
import threading
import time
from types import TracebackType
from typing import Final

from scache_fast.engine.log import Log
from scache_fast.engine.server import Server
from scache_fast.process.closing import ClosingThreads

LOOK_S: Final = 0.1
SECOND_LOOK_S: Final = 0.02
"""A turn is interrupted after 0.12 s at most, and not before 0.02 s. With few requests a second, looks rarely find
the loop in a turn: this thread then wakes ten times a second. Arbitrary: no attack is to hold up others for 0.2 s."""

_AGAIN_S: Final = 0.001
"""How soon a turn that still hangs gets the next signal. Arbitrary: 64 hand-overs that all hang are over in 0.08 s."""


class Watch:
    """While entered, from the thread that runs a server's loop: interrupts turns and closes that hang.

    SIGUSR2 is taken for that; its handler does nothing.
    """

    def __init__(self, server: Server, closing: ClosingThreads, log: Log) -> None:
        self._server = server
        self._closing = closing
        self._log = log
        self._loop = threading.get_ident()
        self._is_ended = False
        self._wanted = closing.wake_watch
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        signal.signal(signal.SIGUSR2, lambda number, frame: None)
        try:
            self._thread.start()
        except RuntimeError as error:
            # RLIMIT_NPROC; a server that hostile clients could hold up is better than none.
            self._log.warning(f"turns that hang will not be interrupted: {error}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ended = True
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join()
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def _look_on(self) -> None:
        turns_before, suspect = -1, None
        while not self._is_ended:
            turns, turn = self._server.turns, self._server.turn
            again_s = self._closing.look(time.monotonic())
            if turn is not None and turn == suspect:
                signal.pthread_kill(self._loop, signal.SIGUSR2)
                wait_s = _AGAIN_S
            elif turn is not None and suspect is None:
                suspect = turn
                wait_s = SECOND_LOOK_S
            else:
                suspect = None
                wait_s = LOOK_S if turns != turns_before else 0.0
            turns_before = turns
            if again_s is not None:
                wait_s = min(wait_s, again_s) if wait_s else again_s
            if wait_s:
                time.sleep(wait_s)
            else:
                self._rest(turns)

    def _rest(self, turns: int) -> None:
        """Wait until the loop serves somebody or a descriptor is to be closed."""
        self._wanted.clear()
        self._server.on_turn = self._wanted.set
        if self._server.turns == turns and not self._is_ended and self._closing.look(time.monotonic()) is None:
            self._wanted.wait()
        self._server.on_turn = None
