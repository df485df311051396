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

    `user` is the uid whose process passed them, or -1 for what is the server's own. `endpoint` is set for a session
    that expired or is flushed: its peer may be owed a farewell.
    """

    __slots__ = ("descriptors", "endpoint", "is_done", "is_unwanted", "user")

    def __init__(
        self, descriptors: list[int], user: int, endpoint: bytes | None = None, *, is_unwanted: bool = False
    ) -> None:
        self.descriptors = descriptors
        self.is_unwanted = is_unwanted
        """A client passed them for nothing, and waits until they are closed."""
        self.user = user
        self.endpoint = endpoint
        self.is_done = False
        """Set by the closer when nobody has to wait for it any more: all are closed, or stay open for good."""


class Closer(Protocol):
    """Takes jobs, and never waits in doing so."""

    @property
    def refused_users(self) -> frozenset[int]:
        """Return the users whose files never stopped closing: nothing more of theirs is parked."""

    @property
    def crowded_users(self) -> frozenset[int]:
        """Return the users of whom so many descriptors wait to be closed that nothing is read from them meanwhile."""

    def close(self, job: Job) -> None:
        """Close what the job names, at once or later. Never raises."""


Farewell = Callable[[int, bytes], None]
"""Says goodbye on a descriptor of an endpoint label, without waiting for room."""


class CloseAtOnce:
    """Closes in the caller's thread: for tests, and for a process that trusts its clients."""

    refused_users: Final[frozenset[int]] = frozenset()
    crowded_users: Final[frozenset[int]] = frozenset()

    def __init__(self, log: Log, farewell: Farewell | None = None) -> None:
        self._log = log
        self._farewell = farewell

    def close(self, job: Job) -> None:
        """Close what the job names."""
        for descriptor in job.descriptors:
            part_with(descriptor, job, self._farewell, self._log)
        job.is_done = True


def part_with(descriptor: int, job: Job, farewell: Farewell | None, log: Log) -> None:
    """Say the farewell that is due on one descriptor of a job, if any is, and close it. Never raises; may wait."""
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
