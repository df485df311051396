"""Threads that close what clients and servers passed: closing may wait, and the relay's loop must not."""

import os
import queue
import threading
from typing import Final

CLOSING_THREADS: Final = 4
"""Closing a descriptor may wait for its peer or its file system, so the loop leaves it to threads. Arbitrary."""


class Closing:
    """Closes descriptors in threads: a passed one may be the last copy, whose close may wait for whoever it leads to.

    The threads do not outlive the process, in whose end no close waits.
    """

    def __init__(self) -> None:
        self._queue: Final[queue.SimpleQueue[int]] = queue.SimpleQueue()
        for number in range(CLOSING_THREADS):
            threading.Thread(target=self._close_all, name=f"closing-{number}", daemon=True).start()

    def close(self, fd: int) -> None:
        """Close a descriptor soon."""
        self._queue.put(fd)

    def _close_all(self) -> None:
        while True:
            fd = self._queue.get()
            try:
                os.close(fd)
            except OSError:
                continue  # an error of what it led to; the descriptor is gone all the same
