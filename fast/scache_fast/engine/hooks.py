"""The places where the process around the engine may have a say. Every hook is None by default.

Whatever is behind a hook runs inside the loop: it must not block. What it raises is contained: the client or the
session that it was asked about is closed.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from scache_fast.engine.closing import Closer
from scache_fast.engine.table import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the loop asks and tells."""

    may_connect: Callable[[socket.socket], bool] | None = None
    """Asked once for each accepted client, before the greeting; False: closed at once."""

    first_reserved: int | None = None
    """The lowest descriptor that is not parked: from this number on they are closed, and the save is refused."""

    clients_below: int | None = None
    """No client is let in whose descriptor would be this one or a higher one: accepting pauses instead."""

    is_alive: Callable[[Session], bool] | None = None
    """Asked for each session about to be handed out; False: its descriptor is closed and the next one is tried."""

    closer: Closer | None = None
    """Closes what may wait; None: the engine closes at once, in its own thread."""
