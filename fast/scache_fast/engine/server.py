"""The loop: it waits for events, serves clients, removes what is due and lets clients in.

The conversation is in conversation.py, the table in table.py. The loop reads no clock but those that it was given.

A turn has these steps, in this order: wait, then read the clock once; close a share of what has expired; print
statistics that are due; serve the clients that are ready; write their replies; go on with clients that had more than
their share of work; close clients whose step is too old; accept new clients; decide whether to end.

Replies are written after all ready clients were served. The first write wakes a process on another CPU, and waking is
expensive. Writes that follow at once find that process awake.

Guarantees:

* No client waits for another. Sockets are non-blocking. In each turn a client gets one read and a bounded share of
  work; so do all clients together. A client that does not read its replies is not read from while more than
  `output_bytes_max` bytes are pending. Closing a passed file may block, so the closer does it (closing.py).
* No exception leaves the loop. An exception that nobody foresaw ends the client, the session or the callback that it
  came from. It is logged and counted (faults.py), and the loop goes on.
* There is no turn without work, because the wait ends when something is due. Two exceptions: one turn in each
  `ipc_timeout_s`, which looks for unfinished steps, and one turn in each `_WAIT_S_MAX`.

Races:

1. A descriptor number is closed and given out again within one turn, while the list that epoll returned still has an
   event for its former owner. For that reason clients are accepted at the end of a turn: until then a freed number can
   only become a parked descriptor, and no event is looked up for those.
2. A client connects in the very turn in which the server would end for being idle. It is accepted first, and the
   server stays.
3. A signal arrives between the decision to wait and the wait. The signal handler writes to a watched descriptor, and
   that ends the wait, whenever the byte was written.

Closing a client's socket. If its end was read, nothing is left in the socket, closing cannot block, and the loop closes
it. The socket of any other client may hold descriptors that the client sent, and goes to the closer.
"""

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from scache_fast.engine import wire
from scache_fast.engine.accepting import Accepting
from scache_fast.engine.calls import Calls, choose
from scache_fast.engine.client import AT_REST, CLOSED, REQUEST, SENDING, Client
from scache_fast.engine.closing import CloseAtOnce, Closer, Job
from scache_fast.engine.context import Context
from scache_fast.engine.conversation import WHOLE_SHARES, Conversations
from scache_fast.engine.exchange import Exchange
from scache_fast.engine.faults import Faults
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.lateness import NEVER_NS, Lateness
from scache_fast.engine.log import Log, Silence
from scache_fast.engine.poller import IN, NOBODY, OUT, Poller
from scache_fast.engine.requests import Requests
from scache_fast.engine.statistics import Statistics
from scache_fast.engine.steering import Steering
from scache_fast.engine.table import Table
from scache_fast.engine.watched import Watched
from scache_spec.vocabulary import NS_PER_S, Limit, Limits

_WAIT_S_MAX: Final = 60.0
"""No wait is longer. epoll takes no more than 2^31 ms, and does not count the time that a machine sleeps; the clock by
which things expire does, so that what is due is noticed at most so much later. Arbitrary."""

SHARE: Final = 32
"""How many pieces of work one turn does for one client, and how many it does of what is due. A piece takes about 3 µs,
so that a turn with 32 polite clients is as long as one with a single client that pipelines."""


class Server:
    """A connection cache behind listening sockets, which it owns from now on.

    `clock` counts whole nanoseconds and never goes back; `wall_clock` gives seconds since 1970 for the log alone.
    `busy_poll_us` is how long the loop polls for events before it blocks (poller.py). `calls`: see calls.py.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        limits: Limits,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], float] = time.time,
        log: Log | None = None,
        hooks: Hooks | None = None,
        busy_poll_us: int = 0,
        share: int = SHARE,
        calls: Calls | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._wall_clock = wall_clock
        self._log: Log = log or Silence()
        self._hooks = hooks or Hooks()
        closer: Closer = self._hooks.closer or CloseAtOnce(self._log)
        self._share = share
        self.calls = calls = calls or choose(may_accelerate=False)
        self.faults = Faults(self._log)
        self.table = Table(limits)
        self.statistics = Statistics(wall_clock())
        self._context = context = Context(limits, self._log, self._hooks, self.faults, closer, self.statistics, calls)
        self.counters = context.counters
        self._turn = context.turn
        self._requests = Requests(self.table, context)
        self._conversations = Conversations(self.table, self._requests, context, share)
        self._poller = Poller(busy_poll_us, self.faults, calls)
        self._clients: dict[int, Client] = {}
        self._watched = Watched(self._poller, self.faults)
        self.watch = self._watched.watch
        self.watch_for = self._watched.watch_for
        self.unwatch = self._watched.unwatch
        self._accepting = Accepting(listeners, self._poller, context, self._welcome)
        self.add_listener = self._accepting.add
        self.remove_listener = self._accepting.remove
        self.steering = Steering(self.table, self._requests, self._accepting, context, self._clients, self._set_limits)
        self._backlog: dict[Client, None] = {}
        self._paused: dict[Client, None] = {}
        parts = self.table, self._requests, self._conversations, self._accepting, context, self._poller, self._clients
        self._lateness = Lateness(context, self._clients, self._conversations, self._safely, self._settle, self._drop)
        self.exchange = Exchange(*parts, self._forget, self._drop)
        self._last: int = NOBODY  # or the state of the client that was served last
        self._now_ns = self._idle_since_ns = clock()
        self._statistics_due_ns = self._now_ns + limits.status_update_time_s * NS_PER_S
        self._max_idle_ns = None if limits.max_idle_s is None else limits.max_idle_s * NS_PER_S
        self._due_ns = self._now_ns  # before that instant nothing has to be done unasked
        self.is_hurried = False
        """Set by somebody who has more work than one turn is to have: the next one then comes at once."""
        self.turns = 0
        """How many turns were begun."""
        self.on_turn: Callable[[], None] | None = None
        """Called at the beginning of a turn that has events, for as long as somebody wants to know; must not raise."""
        self.turn: int | None = None
        """The number of the turn that is being taken; None while the loop waits."""
        self.is_running = True
        """False from the turn on in which the server decided to end."""

    @property
    def limits(self) -> Limits:
        """Return the limits in force."""
        return self._limits

    @property
    def clients(self) -> int:
        """Return how many clients are connected."""
        return len(self._clients)

    @property
    def listeners(self) -> int:
        """Return how many listening sockets there are. One that somebody else has shut down is closed."""
        return len(self._accepting)

    @property
    def served(self) -> int:
        """Return how many lists were taken for requests since the start."""
        return self._conversations.served

    def stop(self) -> None:
        """End after the current turn."""
        self.is_running = False

    def close(self) -> None:
        """Close everything the server owns: listeners, clients, parked descriptors. It cannot be used after."""
        self.turn = self.turns + 1
        self._accepting.close()
        for client in list(self._clients.values()):
            self._drop(client)  # LIFE-4
        for session in self.table.flush():
            self._requests.discard(session)  # LIFE-4
        self._poller.close()

    def resume(self) -> None:
        """Read again from clients that had to wait until descriptors were closed; the closer says when."""
        self._context.crowded_users = self._context.closer.crowded_users
        for client in list(self._paused):
            if not self._conversations.pauses(client):
                del self._paused[client]
                self._safely(client, self._settle)

    def print_statistics(self) -> bool:
        """Write the lines of the interval that ends now to the log; the next one begins. False: there are none."""
        self._statistics_due_ns = self._now_ns + self._limits.status_update_time_s * NS_PER_S
        lines = self.statistics.close_interval(self._wall_clock())
        for line in lines:
            self._log.info(line)
        return bool(lines)

    def step(self, timeout_s: float | None, turns_max: int = 1) -> None:
        """Take one turn: wait for something to do, at most timeout_s (None: as long as it takes), and do it.

        As long as several clients are ready and nothing else is, up to `turns_max` turns are taken.
        """
        is_busy = self._take_turn(self._poller.wait(self._wait_s(timeout_s), self._last))
        while is_busy and turns_max > 1 and self.is_running and not self.is_hurried:
            turns_max -= 1
            events = self._poller.ready()
            if not events:
                return
            self._note_end_of_turn()
            is_busy = self._take_turn(events)

    def _take_turn(self, events: list[tuple[int, int]]) -> bool:
        """Do what there is to do. True: several clients were ready, and nothing else was."""
        self.turns = self.turn = self.turns + 1
        if events and self.on_turn is not None:
            self.on_turn()
        conversations = self._conversations
        now_ns = self._now_ns = self._turn.now_ns = self._clock()
        if now_ns >= self._due_ns:
            self._do_what_is_due()  # TTL-6
        clients, lateness = self._clients, self._lateness
        # Those that join it in this turn have had their share.
        backlog = list(islice(self._backlog, WHOLE_SHARES)) if self._backlog else ()
        served: list[Client] = []
        conversations.share_among(len(events))
        for fd, event in events:
            client = clients.get(fd)
            if client is None:
                self._other_event(fd, event)
                continue
            try:
                if event == IN:
                    conversations.readable(client)
                else:
                    self._on_event(client, event)
            except Exception as error:
                self._contain(client, error)  # LIFE-5
            served.append(client)
        for client in served:
            try:
                if client.output or client.state is SENDING:
                    conversations.answer(client)
                state = client.state
                if (
                    client.output
                    or client.decoder is not None
                    or client.interest != IN
                    or client.is_backlogged
                    or client.is_paused
                    or state is SENDING
                    or state is CLOSED
                ):
                    self._settle(client)
                elif state is REQUEST:  # the cheap way, for what was served and answered at once
                    client.step_since_ns = AT_REST  # LIMIT-7
                elif lateness.due_ns == NEVER_NS:
                    lateness.due_ns = now_ns + lateness.timeout_ns
            except Exception as error:
                self._contain(client, error)  # LIFE-5
        self._last = served[-1].state if served else NOBODY
        if backlog:
            conversations.share_among(len(backlog))
            self._serve_on(backlog)  # CONN-3
        if now_ns >= lateness.due_ns:
            lateness.close_late()  # LIMIT-7
        # Once told to end, whoever waits to be let in is left to the next process behind the same sockets.
        if self._accepting.is_wanted and self.is_running:
            try:
                self._accepting.accept_all(now_ns, is_alone=not served and not backlog)
            except Exception as error:
                self.faults.contain("accepting goes on in the next turn", error)
        if not clients and self._is_idle_too_long():
            self.is_running = False
        self.turn = None
        return 1 < len(served) == len(events)

    def _set_limits(self, limits: Limits) -> None:
        self._conversations.set_limits(limits)
        self._limits = limits
        self._max_idle_ns = None if limits.max_idle_s is None else limits.max_idle_s * NS_PER_S
        self._lateness.timeout_ns = limits.ipc_timeout_s * NS_PER_S
        self._statistics_due_ns = min(self._statistics_due_ns, self._now_ns + limits.status_update_time_s * NS_PER_S)
        self._lateness.due_ns = self._now_ns  # Each step is judged anew, in the next turn.

    def _note_end_of_turn(self) -> int:
        """Read the clock; return the instant at which something has to be done unasked."""
        turn_ns = self._now_ns
        self._now_ns = self._clock()
        if self.turns:
            self.counters.took_turn(self._now_ns - turn_ns)
        due_ns = min(self._statistics_due_ns, self._lateness.due_ns)
        expiry_ns = self.table.next_expiry_ns
        if expiry_ns is not None and expiry_ns < due_ns:
            due_ns = expiry_ns  # TTL-6
        if self._accepting.again_ns is not None:
            due_ns = min(due_ns, self._accepting.again_ns)
        if self._max_idle_ns is not None and not self._clients and not self.table.sessions:
            due_ns = min(due_ns, self._idle_since_ns + self._max_idle_ns)
        self._due_ns = due_ns
        return due_ns

    def _wait_s(self, timeout_s: float | None) -> float:
        """Return how long to wait from now on, given how long at most."""
        due_ns = self._note_end_of_turn()
        if self._backlog or self.is_hurried:
            self.is_hurried = False
            return 0.0
        # epoll counts milliseconds and Python rounds up: a wait never ends just before the thing it waited for.
        wait_s = min(max(0, due_ns - self._now_ns) / NS_PER_S, _WAIT_S_MAX)
        return wait_s if timeout_s is None else min(wait_s, timeout_s)

    def _do_what_is_due(self) -> None:
        try:
            self._requests.expire(self._share)  # TTL-3
            if self._now_ns >= self._statistics_due_ns:  # STAT-7
                self.print_statistics()
        except Exception as error:
            self.faults.contain("what is due is done in the next turn", error)

    def _is_idle_too_long(self) -> bool:
        return (
            self._max_idle_ns is not None
            and not self.table.sessions  # LIFE-3
            and self._now_ns - self._idle_since_ns >= self._max_idle_ns  # LIFE-2
        )

    # Clients.

    def _on_event(self, client: Client, event: int) -> None:
        if event & IN:
            self._conversations.readable(client)
        elif not event & OUT:
            # Hung up, while nothing was to be read from it because it did not take its replies.
            client.state = CLOSED
        if event & OUT and client.state is not CLOSED:
            self._conversations.writable(client)

    def _serve_on(self, backlog: Iterable[Client]) -> None:
        for client in backlog:
            if client not in self._backlog:
                continue
            del self._backlog[client]  # Whoever has still more is the last one of the next turns.
            self._safely(client, self._conversations.advance, self._conversations.answer, self._settle)

    def _settle(self, client: Client) -> None:
        """Bring what the loop knows about a client up to date, after something happened to it."""
        state = client.state
        if state is CLOSED:
            self._drop(client)
            return
        is_output_full = len(client.output) > self._limits.output_bytes_max  # LIMIT-6
        if client.is_at_rest:
            client.step_since_ns = AT_REST  # LIMIT-7: it may stay so for ever
        else:
            if client.step_since_ns == AT_REST:
                client.step_since_ns = self._now_ns
            if self._lateness.due_ns == NEVER_NS:
                self._lateness.due_ns = self._now_ns + self._lateness.timeout_ns
            if is_output_full and client.interest != OUT:
                self.statistics.limit_hits[Limit.OUTPUT_BYTES] += 1
                self._log.warning(
                    f"{client.name} is not served until it reads: limit "
                    f"{Limit.OUTPUT_BYTES.value}={self._limits.output_bytes_max}"
                )
        if client.is_paused:
            self._paused[client] = None
        interest = client.wanted_events(is_output_full=is_output_full)
        if interest != client.interest:
            try:
                self._poller.modify(client.fd, interest)
            except OSError as error:
                # ENOMEM: the loop would not hear of this client again.
                self._log.warning(f"{client.name} closed: cannot be waited for: {error.strerror}")
                self._drop(client)
                return
            client.interest = interest
        waits = client.is_in_flight or state is SENDING or is_output_full or client.is_taking_its_last
        if client.is_backlogged and not waits:
            self._backlog[client] = None
        elif self._backlog:
            self._backlog.pop(client, None)

    def _safely(self, client: Client, *steps: Callable[[Client], None]) -> None:
        """Do these things for a client, one after the other, and close it when one raises."""
        try:
            for step in steps:
                step(client)
        except Exception as error:
            self._contain(client, error)  # LIFE-5

    def _contain(self, client: Client, error: Exception) -> None:
        """Close a client at which something happened that nobody foresaw."""
        self.faults.contain(f"{client.name} closed", error)
        client.state = CLOSED
        if self._clients.get(client.fd) is client:
            try:
                self._drop(client)
            except Exception as again:
                self.faults.contain(f"{client.name} closed", again)

    def _drop(self, client: Client) -> None:
        if self._clients.get(client.fd) is not client:
            return  # It was dropped earlier in this turn.
        self._forget(client)
        try:
            self._conversations.abandon(client)
        finally:
            if client.is_at_end:
                wire.close_socket(client.sock, self._log)
            else:
                self._close_elsewhere(client)

    def _forget(self, client: Client) -> None:
        del self._clients[client.fd]
        self._backlog.pop(client, None)
        self._paused.pop(client, None)
        self._accepting.forget(client.user)
        if not self._clients:
            self._idle_since_ns = self._now_ns

    def _close_elsewhere(self, client: Client) -> None:
        """Give a client's socket to the closer; out of epoll first, because it stays open for a while."""
        try:
            self._poller.unregister(client.fd)
        except Exception as error:
            self.faults.contain(f"{client.name} stays in epoll", error)
        self._context.let_go(Job([client.sock.detach()], client.user))

    # Those who want to come in, and others who are waited for.

    def _other_event(self, fd: int, event: int) -> None:
        try:
            is_listener = self._accepting.notice(fd, event)
        except Exception as error:
            self.faults.contain("accepting goes on in the next turn", error)
            return
        if not is_listener:
            self._watched.notice(fd)  # Or it is the event of a client that was dropped earlier in this turn.

    def _welcome(self, client: Client) -> None:
        """Take over a client that was let in; raises OSError when it cannot be waited for."""
        self._poller.register(client.fd, IN)
        self._clients[client.fd] = client
        self._safely(client, self._settle)
