"""The effects that events return: what the loop of a server has to do. An effect is a value."""

from dataclasses import dataclass

from scache_spec.statistics import Counters
from scache_spec.vocabulary import ClientId, Handle, Limit


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes to the client, after everything that earlier effects send to it."""

    client: ClientId
    data: bytes


@dataclass(frozen=True, slots=True)
class SendDescriptor:
    """Send the client one byte that carries the descriptor, after everything that earlier effects send to it."""

    client: ClientId
    handle: Handle


@dataclass(frozen=True, slots=True)
class CloseDescriptor:
    """Close the server's copy of the descriptor.

    FD-15  No passed file makes the server wait: not when the file is closed, not when the kernel is asked what kind of
    file it is, not when a farewell is sent on it. Closing the connection to a client may also wait, because the kernel
    closes with it each descriptor that was sent over it and not read. While descriptors that a user passed are not
    closed yet, the server may refuse saves of that user with status 2, and may let clients of that user wait. [BEYOND]
    """

    handle: Handle


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection to the client. Output that its socket does not take before that is discarded."""

    client: ClientId


@dataclass(frozen=True, slots=True)
class PrintStatistics:
    """Print the statistics of these counters. A new interval begins."""

    counters: Counters


@dataclass(frozen=True, slots=True)
class LimitHit:
    """Report that a limit was hit, and by which client; None if by none in particular."""

    limit: Limit
    client: ClientId | None


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process with status 0."""


Effect = Send | SendDescriptor | CloseDescriptor | Disconnect | PrintStatistics | LimitHit | Exit
Effects = tuple[Effect, ...]
"""What the loop of a server has to do, in this order."""
