"""The places where the process around the server may have a say.

Decides what can be asked or told, and when; every hook is None by default and then costs one comparison at most.
Refuses to know what is behind them: access lists, farewells, health checks, status messages to a process manager.
Whatever is behind a hook runs inside the loop: it must not block and must not raise.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from scache_fast.engine.table import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the loop asks and tells."""

    may_connect: Callable[[socket.socket], bool] | None = None
    """Asked once for each accepted client, before the greeting; False: closed at once."""

    first_reserved: int | None = None
    """The lowest descriptor that is not parked: from this number on they are closed, and the save is refused."""

    is_alive: Callable[[Session], bool] | None = None
    """Asked for each session about to be handed out; False: its descriptor is closed and the next one is tried."""

    before_close: Callable[[Session], None] | None = None
    """Told about a session that expired or is flushed at the end, while its descriptor is still open."""
