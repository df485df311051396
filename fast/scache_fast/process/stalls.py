"""A turn of the loop that hangs in the kernel is interrupted.

Decides how long a turn may hang in one system call. Refuses to know what it does there.

The loop's descriptors do not block, and still one thing can hold it up: the last close of a TCP socket with SO_LINGER
set waits inside close(2) until the peer has acknowledged everything, for as long as that option says, whatever
O_NONBLOCK says. What is parked was made by others. The server resets the option before it closes a session
(descriptors.py), but a descriptor that nobody asked for is closed by the kernel, inside the recv or the close that
drops it, with no chance to look at it: measured with Linux 6, one message of a hostile client held up a plain recv for
its whole SO_LINGER time, which can be hours.

A signal ends that wait; the connection is then closed in the background, as without the option. So a thread looks at
the loop every `LOOK_S`, and if it is in the same turn as last time, sends it one. Python's own waits are taken up again
after a signal (PEP 475), and a turn that is merely busy does not notice. A turn is held up for two looks at most.
"""

import signal
import threading
from types import TracebackType
from typing import Final

from scache_fast.engine.log import Log
from scache_fast.engine.server import Server

LOOK_S: Final = 0.1
"""Arbitrary: ten looks a second cost nothing that could be measured, and smtp(8) waits for 5 s."""


class StallBreaker:
    """While entered, from the thread that runs a server's loop: signals that thread when a turn hangs.

    SIGUSR2 is taken for that; its handler does nothing.
    """

    def __init__(self, server: Server, log: Log, look_s: float = LOOK_S) -> None:
        self._server = server
        self._log = log
        self._look_s = look_s
        self._loop = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="stalls", daemon=True)

    def __enter__(self) -> "StallBreaker":
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
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def _look_on(self) -> None:
        before = None
        while not self._ended.wait(self._look_s):
            turn = self._server.turn
            if turn is not None and turn == before:
                signal.pthread_kill(self._loop, signal.SIGUSR2)
            before = turn
