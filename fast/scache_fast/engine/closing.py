"""How the engine gives away descriptors that are to be closed: jobs, and the interface of a closer.

Closing the last copy of a file may block for as long as the maker of the file likes: a TCP socket lingers, a file of a
FUSE server is flushed, and a UNIX socket may have such files unread in its queue. For that reason the engine itself
closes nothing that may block. It gives jobs to a closer. In a real process the closer is a few threads
(process/closing.py); `CloseAtOnce` is a closer without threads.
"""

from collections.abc import Callable
from typing import Final, Protocol

from scache_fast.engine import wire
from scache_fast.engine.faults import described
from scache_fast.engine.log import Log


class Job:
    """Descriptors to be closed.

    `user` is the uid whose process passed them, or -1 for descriptors of the server itself. `endpoint` is set for a
    session that expired or is flushed: its peer may get a farewell.
    """

    __slots__ = ("descriptors", "endpoint", "is_done", "is_unwanted", "user")

    def __init__(
        self, descriptors: list[int], user: int, endpoint: bytes | None = None, *, is_unwanted: bool = False
    ) -> None:
        self.descriptors = descriptors
        self.is_unwanted = is_unwanted
        """They came where none was awaited. The client that passed them is not read from until they are closed."""
        self.user = user
        self.endpoint = endpoint
        self.is_done = False
        """Set by the closer when no client has to wait any more: all are closed, or some stay open for good."""


class Closer(Protocol):
    """Takes jobs without waiting."""

    @property
    def refused_users(self) -> frozenset[int]:
        """Return the users whose saves are refused, because closing their files has not ended."""

    @property
    def crowded_users(self) -> frozenset[int]:
        """Return the users with so many descriptors to be closed that their clients are not read from meanwhile."""

    def close(self, job: Job) -> None:
        """Close the descriptors of the job, at once or later. Never raises."""


Farewell = Callable[[int, bytes], None]
"""Sends the farewell of an endpoint label on a descriptor, without waiting for room."""


class CloseAtOnce:
    """Closes in the caller's thread: for tests, and for a process that trusts its clients."""

    refused_users: Final[frozenset[int]] = frozenset()
    crowded_users: Final[frozenset[int]] = frozenset()

    def __init__(self, log: Log, farewell: Farewell | None = None) -> None:
        self._log = log
        self._farewell = farewell

    def close(self, job: Job) -> None:
        """Close the descriptors of the job."""
        for descriptor in job.descriptors:
            part_with(descriptor, job, self._farewell, self._log)
        job.is_done = True


def part_with(descriptor: int, job: Job, farewell: Farewell | None, log: Log) -> None:
    """Send the farewell of one descriptor of a job, if there is one, and close it. Never raises; may block."""
    try:
        try:
            if farewell is not None and job.endpoint is not None:
                farewell(descriptor, job.endpoint)
        finally:
            wire.close(descriptor, log)
    except Exception as error:
        try:
            log.warning(f"a farewell or a close failed: unexpected {described(error)}")
        except Exception:  # The log itself may be what fails.
            pass
