"""The part of a process that is the same however it was started: descriptors, hooks, signals, the loop, the end.

Who started the process, where its sockets came from and who is told about its state is in standalone.py and master.py.
"""

import fcntl
import gc
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from scache_fast.engine import wire
from scache_fast.engine.calls import Calls
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.server import Server
from scache_fast.process.closing import ClosingThreads
from scache_fast.process.errors import StartError
from scache_fast.process.holdings import Holdings
from scache_fast.process.logger import Logger
from scache_fast.process.reloading import Reloading, doorkeeper, farewell, health_check
from scache_fast.process.signals import Signals
from scache_fast.process.stalls import Watch
from scache_fast.settings.sources import ConfigurationError
from scache_fast.settings.table import Settings
from scache_fast.settings.values import DESCRIPTORS_PASSED_MAX

if TYPE_CHECKING:  # Whoever needs one of these imports it, before the chroot.
    from scache_fast.process.administration import Administration
    from scache_fast.process.descriptor_store import DescriptorStore
    from scache_fast.process.succession import Succession

_OWN_DESCRIPTORS: Final = 16
"""How many a server with one client needs for itself: standard ones, log, listener, epoll, signals. A bit too many."""

_KEPT_FROM_CLIENTS: Final = DESCRIPTORS_PASSED_MAX + 8
"""How many are kept free of clients: for what they pass unasked, and for the server itself."""

_now_ns: Final = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
"""The clock of the server. It does not jump, and other than time.monotonic_ns it goes on while the machine sleeps: what
is parked does not outlive its ttl by a night. epoll's own clock does stop then, and a wait may end late by a minute."""

_LAST_CLOSES_S: Final = 1.0
"""How long the end waits for descriptors to be closed. Arbitrary; master(8) does nothing else meanwhile."""


_TURNS_AT_ONCE_MAX: Final = 16
"""How many turns are taken, while clients alone keep the loop busy, before what is done between turns. Arbitrary: with
8 busy clients that was a tenth of all instructions. A 16th of it is little, and an operator waits 1 ms longer."""


def _no_settings() -> Settings:
    raise ConfigurationError("settings are read at the start only")


class Supervisor:
    """Whoever started the process, and what it wants to know about the loop; None: nothing."""

    def __init__(
        self,
        *,
        ready: Callable[[Server], None] | None = None,
        after_turn: Callable[[Server], None] | None = None,
        stopping: Callable[[], None] | None = None,
        turn_s_max: float = float("inf"),
    ) -> None:
        self.announcement = ""
        """A line for the log once clients are about to be served and signals are heard."""
        self.ready = ready
        """Called once clients are about to be served."""
        self.after_turn = [] if after_turn is None else [after_turn]
        """Called in this order after each turn, or after a few turns while clients alone keep the loop busy."""
        self.stopping = stopping
        """Called when the loop has ended."""
        self.read_settings: Callable[[], Settings] = _no_settings
        """Reads the settings again, from wherever they came; raises ConfigurationError, also where it cannot."""
        self.turn_s_max = turn_s_max
        """How long a turn may wait at most."""
        self.holdings = Holdings()
        """What goes to the next process in a takeover."""
        self.administration: type[Administration] | None = None
        """What serves operators; None: it was not imported, because there is no admin socket."""
        self.succession: Succession | None = None
        """Takes over from the process before this one; None: there is none."""
        self.store: DescriptorStore | None = None
        """Keeps what is parked for the next process; None: nothing outlives this one."""


def serve(
    listeners: Sequence[socket.socket],
    settings: Settings,
    log: Logger,
    supervisor: Supervisor,
    descriptors: int,
    calls: Calls,
    admin: socket.socket | None = None,
) -> int:
    """Serve until told to end or idle for long enough, then print statistics and close everything.

    `descriptors` is how many the process may have open, `calls` what the engine makes system calls with, `admin` the
    listening socket for operators.
    Returns the exit status: 1 if no listening socket is left.
    Raises StartError.
    """
    if descriptors - settings.descriptors_reserve <= _OWN_DESCRIPTORS:
        log.warning(
            f"nothing can be parked: of {descriptors} descriptors {settings.descriptors_reserve} are kept in reserve; "
            "raise the limit of open files (ulimit -n, LimitNOFILE=), or lower descriptors_reserve"
        )
    try:
        closing = ClosingThreads(log, farewell(settings))
    except OSError as error:
        raise StartError(f"cannot wait for clients: {error.strerror}") from error
    try:
        server = Server(
            listeners,
            settings.limits,
            clock=_now_ns,
            log=log,
            hooks=_hooks(settings, log, descriptors, closing),
            busy_poll_us=settings.busy_poll,
            calls=calls,
        )
        reloading = Reloading(settings, supervisor.read_settings, server, closing, log)
        signals = Signals(server, log, reloading.hang_up)
    except OSError as error:
        # EMFILE, ENFILE, ENOMEM, ENOSPC: what the loop itself needs cannot be had.
        raise StartError(f"cannot wait for clients: {error.strerror}") from error
    # Nothing the server makes while it runs refers to itself once it is done with (a taken session is unlinked), so
    # reference counts free all of it, which the soak test watches. Looking for cycles in a table of 400 000 sessions
    # took up to 0.1 s at a time, three times the longest pause without it.
    gc.collect()
    gc.freeze()
    gc.disable()
    _make_room(settings, descriptors)
    closing.start()

    def collect() -> None:
        closing.collect()
        server.resume()

    server.watch(closing.fileno(), collect)
    administration = None
    succession = supervisor.succession
    if succession is not None:
        admin = succession.receive(server, descriptors, supervisor.holdings)
    if admin is not None:
        assert supervisor.administration is not None
        try:
            administration = supervisor.administration(
                admin, server, closing, reloading, descriptors, log, _now_ns, supervisor.holdings
            )
        except OSError as error:
            raise StartError(f"cannot wait for operators: {error.strerror}") from error
        supervisor.after_turn.append(administration.after_turn)
        supervisor.turn_s_max = min(supervisor.turn_s_max, administration.turn_s_max)
    if succession is None:
        _see_that_clients_fit(listeners[0], descriptors)
    with Watch(server, closing, log):
        try:
            with signals:
                if succession is not None and administration is not None:
                    administration.add_counts(succession.counts)
                    names = succession.take(supervisor.holdings, _now_ns)
                    supervisor.announcement = f"listening on {names}, pid {log.pid}"
                if supervisor.store is not None:
                    # As late as possible: what an end before this leaves unread is there for the next try.
                    supervisor.store.check(settings.limits, descriptors)
                    supervisor.store.restore(server, descriptors - settings.descriptors_reserve, _now_ns())
                return _run(server, log, supervisor)
        finally:
            if administration is not None:
                administration.close()
            server.close()
            if not closing.finish(_LAST_CLOSES_S):
                log.warning("files that clients passed do not stop closing: this process stays until they do")
            log.tell_suppressed()


def _hooks(settings: Settings, log: Logger, descriptors: int, closing: ClosingThreads) -> Hooks:
    return Hooks(
        may_connect=doorkeeper(settings, log),
        # The kernel gives out the lowest number that is free: one this high means that all below it are in use.
        first_reserved=descriptors - settings.descriptors_reserve,
        is_alive=health_check(settings),
        clients_below=_clients_below(descriptors),
        closer=closing,
    )


def _clients_below(descriptors: int) -> int:
    return descriptors - min(_KEPT_FROM_CLIENTS, descriptors // 4)


def _see_that_clients_fit(sock: socket.socket, descriptors: int) -> None:
    """Raise StartError if the server has so few descriptors that no client could ever be let in."""
    try:
        next_one = wire.lowest_free(sock)
    except OSError:
        next_one = descriptors
    if next_one >= _clients_below(descriptors):
        raise StartError(
            f"no client can be served: the server itself takes {next_one} descriptors, and it may have {descriptors}; "
            "raise the limit of open files (ulimit -n, LimitNOFILE=)"
        )


def _make_room(settings: Settings, descriptors: int) -> None:
    """Have the kernel make its table of our descriptors as long as it may ever be, while the process has one thread.

    As soon as there are more threads, each doubling of the table waits for all CPUs (synchronize_rcu in fs/file.c), for
    10 ms each: in the call that receives a client's descriptor, and eight times in a takeover of 10 000. An entry takes
    9 bytes.
    """
    limits = settings.limits
    count = min(descriptors, limits.sessions_max + limits.clients_max + settings.descriptors_reserve)
    try:
        os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, count - 1))
    except OSError:
        pass  # EBADF, EMFILE, ENOMEM: then the table grows as it is needed.


def _run(server: Server, log: Logger, supervisor: Supervisor) -> int:
    if supervisor.announcement:
        log.info(supervisor.announcement)
    if supervisor.ready is not None:
        supervisor.ready(server)
    status = 0
    while server.is_running:
        server.step(min(supervisor.turn_s_max, supervisor.holdings.turn_s_max), _TURNS_AT_ONCE_MAX)
        for call in supervisor.after_turn:
            try:
                call(server)
            except Exception as error:
                server.faults.contain("what is done after each turn is tried again after the next", error)
        if not server.listeners and not server.exchange.is_left:
            log.fatal("no listening socket is left: another process has shut it down")
            status = 1
            break
    if supervisor.stopping is not None:
        supervisor.stopping()
    server.print_statistics()  # STAT-7, LIFE-4
    if supervisor.store is not None:
        supervisor.store.leave(server, _now_ns())
    if server.table.sessions:
        log.info(f"{server.table.sessions} parked connections are closed, because the server ends")
    return status
