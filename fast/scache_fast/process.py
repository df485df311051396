"""The part of a process that is the same however it was started: hooks, signals, the loop, the end.

Decides what is put behind the loop's hooks and in which order a server ends. Refuses to know who started the process,
where its sockets came from and who is told about its state.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scache_fast.access import Access, Doorkeeper
from scache_fast.farewell import Farewells
from scache_fast.hooks import Hooks
from scache_fast.liveness import Liveness, Looker
from scache_fast.log import Logger
from scache_fast.server import Server
from scache_fast.settings import Settings
from scache_fast.signals import Signals


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """Who wants to know what the loop does; None: nobody."""

    announcement: str = ""
    """A line for the log once clients are about to be served and signals are heard."""

    ready: Callable[[Server], None] | None = None
    """Called once clients are about to be served."""

    after_turn: Callable[[int], None] | None = None
    """Called after each turn with the number of requests served so far."""

    stopping: Callable[[], None] | None = None
    """Called when the loop has ended."""

    turn_s_max: float | None = None
    """How long a turn may wait at most; None: as long as it takes."""


def serve(
    listeners: Sequence[socket.socket], settings: Settings, log: Logger, surroundings: Surroundings, descriptors: int
) -> None:
    """Serve until told to end or idle for long enough, then print statistics and close everything.

    `descriptors` is how many the process may have open.
    """
    hooks = Hooks(
        may_connect=Doorkeeper(settings.access, log).may_connect if settings.access != Access() else None,
        may_park=_may_park(descriptors - settings.descriptors_reserve),
        is_alive=Looker(settings.liveness).is_alive if settings.liveness is not Liveness.OFF else None,
        before_close=Farewells(settings.farewells).before_close if settings.farewells else None,
        after_turn=surroundings.after_turn,
    )
    server = Server(listeners, settings.limits, log=log, hooks=hooks)
    try:
        with Signals(server):
            if surroundings.announcement:
                log.info(surroundings.announcement)
            if surroundings.ready is not None:
                surroundings.ready(server)
            while server.is_running:
                server.step(surroundings.turn_s_max)
            if surroundings.stopping is not None:
                surroundings.stopping()
            server.print_statistics()
    finally:
        server.close()


def _may_park(first_reserved: int) -> Callable[[int], bool]:
    # The kernel gives out the lowest number that is free: a number this high means that all below it are in use.
    return lambda descriptor: descriptor < first_reserved
