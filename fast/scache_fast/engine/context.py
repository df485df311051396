"""What all parts of one engine share: limits, log, counters, and the current turn."""

import os

from scache_fast.engine.calls import Calls
from scache_fast.engine.closing import Closer, Job, part_with
from scache_fast.engine.counters import Counters
from scache_fast.engine.faults import Faults
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.log import Log
from scache_fast.engine.statistics import Statistics
from scache_spec.vocabulary import Limits


class Turn:
    """The turn of the loop that is being taken."""

    __slots__ = ("now_ns", "work_left")

    def __init__(self) -> None:
        self.now_ns = 0
        """Its instant; the clock is read once a turn."""
        self.work_left = 0
        """How many pieces of work it has left for the client that is being served.

        A list is one piece, and so are a session that is found to be due or dead, and every few bindings passed over.
        """


class Context:
    """See above."""

    __slots__ = (
        "calls", "closer", "counters", "crowded_users", "faults", "hooks", "limits", "log", "privileged", "refusal",
        "statistics", "turn",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        log: Log,
        hooks: Hooks,
        faults: Faults,
        closer: Closer,
        statistics: Statistics,
        calls: Calls,
    ) -> None:
        self.limits = limits
        self.log = log
        self.hooks = hooks
        self.faults = faults
        self.closer = closer
        self.statistics = statistics
        self.counters = Counters()
        self.calls = calls
        self.turn = Turn()
        self.privileged = frozenset({0, os.geteuid()})
        """Users who can end this process by a signal: nothing has to be kept from them."""
        self.crowded_users: frozenset[int] = closer.crowded_users
        """The closer's, as of the last time that it took something or said that something is closed."""
        self.refusal = ""
        """Why saves are refused just now; nothing: they are not."""

    def let_go(self, job: Job) -> None:
        """Give descriptors to the closer. Never raises: if the closer fails, they are closed here."""
        try:
            self.closer.close(job)  # FD-15
            self.crowded_users = self.closer.crowded_users
        except Exception as error:
            self.faults.contain("closed in the loop's own thread", error)
            for descriptor in job.descriptors:
                part_with(descriptor, job, None, self.log)
            job.is_done = True
