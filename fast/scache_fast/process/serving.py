"""The part of a process that is the same however it was started: descriptors, hooks, signals, the loop, the end.

Decides what is put behind the loop's hooks and in which order a server ends. Refuses to know who started the process,
where its sockets came from and who is told about its state.
"""

import gc
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from scache_fast.engine.hooks import Hooks
from scache_fast.engine.server import Server
from scache_fast.policy.access import Access, Doorkeeper
from scache_fast.policy.farewell import Farewells
from scache_fast.policy.liveness import Liveness, Looker
from scache_fast.process.logger import Logger
from scache_fast.process.signals import Signals
from scache_fast.process.stalls import StallBreaker
from scache_fast.settings.table import Settings


class StartError(Exception):
    """The process cannot serve; the text says why."""


_OWN_DESCRIPTORS: Final = 16
"""How many a server with one client needs for itself: standard ones, log, listener, epoll, signals. A bit too many."""


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


def fill_standard_descriptors() -> None:
    """Open /dev/null for each standard descriptor that is closed.

    Otherwise a listening socket or somebody's connection gets the number, and whatever writes to standard error writes
    there.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            try:
                os.open(os.devnull, os.O_RDWR)  # It gets the lowest free number: this one.
            except OSError:
                return  # There is no /dev here, and nothing that could be done about it.


def serve(
    listeners: Sequence[socket.socket], settings: Settings, log: Logger, surroundings: Surroundings, descriptors: int
) -> None:
    """Serve until told to end or idle for long enough, then print statistics and close everything.

    `descriptors` is how many the process may have open. Raises StartError.
    """
    if descriptors - settings.descriptors_reserve <= _OWN_DESCRIPTORS:
        log.warning(
            f"nothing can be parked: of {descriptors} descriptors {settings.descriptors_reserve} are kept in reserve; "
            "raise the limit of open files (ulimit -n, LimitNOFILE=), or lower descriptors_reserve"
        )
    hooks = Hooks(
        may_connect=Doorkeeper(settings.access, log).may_connect if settings.access != Access() else None,
        # The kernel gives out the lowest number that is free: one this high means that all below it are in use.
        first_reserved=descriptors - settings.descriptors_reserve,
        is_alive=Looker(settings.liveness).is_alive if settings.liveness is not Liveness.OFF else None,
        before_close=Farewells(settings.farewells).before_close if settings.farewells else None,
    )
    try:
        server = Server(listeners, settings.limits, log=log, hooks=hooks, polls_before_blocking=settings.busy_wait)
        signals = Signals(server)
    except OSError as error:
        # EMFILE, ENFILE, ENOMEM, ENOSPC: what the loop itself needs cannot be had.
        raise StartError(f"cannot wait for clients: {error.strerror}") from error
    # Nothing the server makes while it runs refers to itself once it is done with (a taken session is unlinked), so
    # reference counts free all of it, which the soak test watches. Looking for cycles in a table of 400 000 sessions
    # took up to 0.1 s at a time, three times the longest pause without it.
    gc.collect()
    gc.freeze()
    gc.disable()
    with StallBreaker(server, log):
        try:
            with signals:
                _run(server, log, surroundings)
        finally:
            server.close()


def _run(server: Server, log: Logger, surroundings: Surroundings) -> None:
    if surroundings.announcement:
        log.info(surroundings.announcement)
    if surroundings.ready is not None:
        surroundings.ready(server)
    while server.is_running:
        server.step(surroundings.turn_s_max)
        if surroundings.after_turn is not None:
            surroundings.after_turn(server.served)
    if surroundings.stopping is not None:
        surroundings.stopping()
    server.print_statistics()  # STAT-7, LIFE-4
