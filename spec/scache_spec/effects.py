"""What the surroundings of a server must do: the effects that events return.

An effect is a value. Nothing here carries one out.
"""

from dataclasses import dataclass

from scache_spec.statistics import Counters
from scache_spec.vocabulary import ClientId, Handle, Limit


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes to the client, after all that was to be sent to it before."""

    client: ClientId
    data: bytes


@dataclass(frozen=True, slots=True)
class SendDescriptor:
    """Send the client one byte that carries the descriptor, after all that was to be sent to it before."""

    client: ClientId
    handle: Handle


@dataclass(frozen=True, slots=True)
class CloseDescriptor:
    """Close the server's copy of the descriptor.

    FD-15  A server waits for nothing that a passed file may make it wait for: to be closed, to be asked what it is, or
    to take a farewell. While descriptors that a user passed are not closed yet, a server may refuse that user's saves
    with status 2, and may leave clients of that user waiting. [BEYOND]
    """

    handle: Handle


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection to the client; what its socket does not take of what was to be sent before is dropped."""

    client: ClientId


@dataclass(frozen=True, slots=True)
class PrintStatistics:
    """Print the lines for these counters; a new interval begins."""

    counters: Counters


@dataclass(frozen=True, slots=True)
class LimitHit:
    """Say that a limit was hit, and by which client (None: nobody's in particular)."""

    limit: Limit
    client: ClientId | None


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process, status 0."""


Effect = Send | SendDescriptor | CloseDescriptor | Disconnect | PrintStatistics | LimitHit | Exit
Effects = tuple[Effect, ...]
"""What the surroundings of a server must do, in this order."""
