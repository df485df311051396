"""A connection for the time of a lease, and its history: how often it was taken up, and when it was opened.

The history travels in the properties, as a first line of its own, because the programs that share a connection share
nothing else. A lease with a limit writes it, and every lease keeps it that finds it. A connection parked without a
history is taken for a new one. Finding, parking and waiting are in `lease` and `aio_lease`.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from scache_client import quantities
from scache_client.found import Found
from scache_client.parkable import descriptor_of

_HISTORY: Final = re.compile(rb"lease reuses=(\d{1,18}) opened=(\d{1,18})\n")


@dataclass(slots=True)
class Leased:
    """A connection for the time of a `with` block.

    >>> from scache_client.testing import FakeCache
    >>> from scache_client import lease
    >>> mine, far = socket.socketpair()
    >>> with far, FakeCache() as cache:
    ...     with lease(cache.client(), b"db", connect=lambda: mine, ttl_s=30) as leased:
    ...         leased.properties = b"user=web"
    ...     print(cache.sessions)
    [(b'db', b'user=web')]
    """

    connection: socket.socket
    """A blocking socket; in `lease_async`, a non-blocking one."""

    properties: bytes
    """What it was parked with; for a new one, what `lease` was given. They go with it when it is parked again."""

    reused: bool
    """Whether it was taken up; if not, it is new and has seen no greeting or handshake."""

    history: "History | None" = None
    """None where no lease with a limit has had the connection."""


@contextmanager
def closing(leased: Leased) -> Iterator[None]:
    """Close the connection at the end, also one that the user of the lease has put in its place."""
    try:
        yield
    finally:
        leased.connection.close()


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a connection's life."""

    reuses: int
    """How often it was taken up."""

    opened_s: int
    """When it was opened, in seconds since the machine started (CLOCK_BOOTTIME, which all processes share)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a connection is kept. Both limits hold where it is taken up, and again where it is parked."""

    reuses_max: int | None
    """Most times that it is taken up."""

    age_s_max: int | None
    """Most seconds from its opening to the last use of it."""

    clock: Callable[[], float]

    process: int = field(default_factory=os.getpid)
    """The process that leases. A child of it has a copy of the connection, which is not the child's to park."""

    def __post_init__(self) -> None:
        for name, value in (("reuses_max", self.reuses_max), ("age_s_max", self.age_s_max)):
            if value is not None and quantities.whole(name, value) < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1, or None for no limit")

    def opened(self, connection: socket.socket, properties: bytes) -> Leased:
        """Return a lease of a new connection; TypeError, with a socket closed, for one that cannot be parked."""
        try:
            descriptor_of(connection)
        except TypeError:
            if isinstance(connection, socket.socket):
                connection.close()
            raise
        if not isinstance(connection, socket.socket):
            raise TypeError(f"connect returned {connection!r}; it must return a socket")
        return Leased(connection, properties, reused=False, history=self._begun(reuses=0))

    def taken_up(self, found: Found) -> Leased | None:
        """Return a lease of what was found; None, with it closed, for what is no socket or beyond a limit."""
        with found:  # closes what is no socket
            try:
                connection = found.socket()
            except OSError:
                return None
        known = _HISTORY.match(found.properties)
        properties = found.properties[known.end() :] if known else found.properties
        history = History(int(known[1]) + 1, int(known[2])) if known else self._begun(reuses=1)
        leased = Leased(connection, properties, reused=True, history=history)
        if self._is_beyond(history, reuses_more=0):
            connection.close()
            return None
        return leased

    def properties_to_park(self, leased: Leased) -> bytes | None:
        """Return what to park a connection with.

        None for one that its user has closed, that is at a limit, or that belongs to the parent of this process.
        TypeError for properties that are not bytes.
        """
        history = leased.history
        if not isinstance(leased.properties, bytes):
            raise TypeError(f"leased.properties is {leased.properties!r}; properties are bytes: encode it first")
        if leased.connection.fileno() < 0 or self._is_beyond(history, reuses_more=1) or os.getpid() != self.process:
            return None
        if history is None:
            return leased.properties
        return b"lease reuses=%d opened=%d\n%b" % (history.reuses, history.opened_s, leased.properties)

    def _begun(self, reuses: int) -> History | None:
        return None if self.reuses_max is None and self.age_s_max is None else History(reuses, int(self.clock()))

    def _is_beyond(self, history: History | None, reuses_more: int) -> bool:
        if history is None:
            return False
        too_often = self.reuses_max is not None and history.reuses + reuses_more > self.reuses_max
        return too_often or (self.age_s_max is not None and int(self.clock()) - history.opened_s >= self.age_s_max)
