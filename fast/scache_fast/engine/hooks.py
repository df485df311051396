"""The hooks by which the process around the engine takes part in its decisions. Every hook is None by default.

A hook runs inside the loop and must not block. If a hook raises, the exception is contained, and the client or the
session that the hook was asked about is closed.
"""

import socket
from collections.abc import Callable
from typing import NamedTuple

from scache_fast.engine.closing import Closer
from scache_fast.engine.table import Session


class Hooks(NamedTuple):
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
