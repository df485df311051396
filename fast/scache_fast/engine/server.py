"""The loop: who is ready, what is due, who may come in.

Decides in which order things happen in a turn, how much of a turn one client may have, how long a client may leave a
step unfinished, and when the server ends. Refuses to know what is said (conversation.py) and what is parked
(table.py). It reads the clocks it was given and no other.

A turn: wait; read the clock once; close what has expired; print statistics that are due; close clients whose step is
too old; serve those that are ready; write the replies; serve on those with more than their share; accept; see whether
to end.

Replies are written when everybody who was ready has been served. The first of them wakes whoever waits on another
processor, and waking is expensive: what is written while it wakes costs no second time.

Guarantees:

* Nobody waits for anybody. Sockets are non-blocking, a client gets one read and a bounded number of lists per turn,
  and one that takes no replies is not read from while more than `output_bytes_max` of them wait.
* A full descriptor table ends nothing: accepting pauses (accepting.py), and those inside are served on.
* A turn that has nothing to do does not happen: everything that will be due sets the time-out of the wait. (One does
  in each `ipc_timeout_s`, to see which steps are unfinished: when each began is kept at its client, in no order.)

Races worth telling:

1. A descriptor number is closed and given out again within one turn, while an event for its former owner is still in
   the list that epoll returned. Clients are accepted at the end of a turn for that reason: a number that becomes free
   can come back only as a parked descriptor until then, and those are not looked up.
2. A client connects in the very turn in which the server would end for being idle. It is accepted first, and the
   server stays.
3. A signal arrives between the decision to wait and the wait. Whoever handles it writes to a watched descriptor,
   which ends the wait whenever it was written to.

Busy polling. Blocking is expensive: being woken takes 20 µs and more, and costs the CPU more than some polls do. With
one or two clients, whose next bytes are on the way whenever the loop waits, it was more than half of every dance. So,
before it blocks, the loop polls up to `polls_before_blocking` times. When these polls find nothing, the next 1, 3, 7 …
`WAITS_WITHOUT_POLLS_MAX` waits block at once; a poll that finds something makes the loop poll again the next time.
Between two polls the loop keeps the CPU: yielding it lets whoever else computes there have it for milliseconds, and all
polls of one wait take 40 µs.

Closing a socket takes it out of epoll by itself, as long as nobody else has the same open file: clients' sockets are
never passed on and never inherited, so there is no call for it here.
"""

import errno
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from scache_fast.engine import wire
from scache_fast.engine.accepting import Accepting
from scache_fast.engine.attributes import encode
from scache_fast.engine.client import CLOSED, REQUEST, SENDING, Client
from scache_fast.engine.conversation import CLIENT_LOST, Conversations
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.log import Log, Silence
from scache_fast.engine.statistics import Statistics
from scache_fast.engine.table import Table
from scache_spec import vocabulary as words
from scache_spec.vocabulary import NS_PER_S, Limit, Limits

_EVENTS_PER_TURN_MAX: Final = 64
"""How many events a turn handles; epoll goes round the others in the next. Room for so many (768 bytes, for each wait
anew) comes from malloc's small bins; twice as many made no difference to anything else."""

_WAIT_FAILURES: Final = frozenset({errno.EINTR, errno.ENOMEM})
"""What waiting may report without anything being wrong; EBADF, EFAULT and EINVAL say that there is no loop any more."""

WAITS_WITHOUT_POLLS_MAX: Final = 63
"""How many waits block at once before polling is tried again: polling in vain then costs 1 µs a wait."""

_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT
_GREETING: Final = encode(words.PROTOCOL, words.PROTOCOL_NAME)


class Server:
    """A connection cache behind listening sockets, which it owns from now on.

    `clock` counts whole nanoseconds and never goes back; `wall_clock` gives seconds since 1970 for the log alone.
    `polls_before_blocking` is how often the loop polls for events before it blocks, while that is worth it.
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
        polls_before_blocking: int = 0,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._wall_clock = wall_clock
        self._log: Log = log or Silence()
        self._hooks = hooks or Hooks()
        self._polls_before_blocking = polls_before_blocking
        self._waits_without_polls = 0  # as decided after the last polls that found nothing
        self._waits_without_polls_left = 0
        self.table = Table(limits)
        self.statistics = Statistics(wall_clock())
        self._conversations = Conversations(self.table, self.statistics, limits, self._log, self._hooks)
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._watched: dict[int, Callable[[], None]] = {}
        self._accepting = Accepting(listeners, self._epoll, self._log, self._welcome)
        self._backlog: dict[Client, None] = {}
        self._now_ns = clock()
        self._idle_since_ns = self._now_ns
        self._statistics_due_ns = self._now_ns + limits.status_update_time_s * NS_PER_S
        self._max_idle_ns = None if limits.max_idle_s is None else limits.max_idle_s * NS_PER_S
        self._due_ns = self._now_ns  # before that instant nothing has to be done unasked
        self._steps_due_ns: int | None = None  # no unfinished step is too old before; None: there is none
        self._ipc_timeout_ns = limits.ipc_timeout_s * NS_PER_S
        self._turns = 0
        self.turn: int | None = None
        """The number of the turn that is being taken; None while the loop waits."""
        self.is_running = True
        """False from the turn on in which the server decided to end."""

    @property
    def clients(self) -> int:
        """Return how many clients are connected."""
        return len(self._clients)

    @property
    def listeners(self) -> int:
        """Return how many listening sockets there are. One that somebody else has shut down is closed."""
        return len(self._accepting)

    def add_listener(self, listener: socket.socket) -> None:
        """Listen on one more socket, which the server owns from now on; raises OSError, and it does not own it then."""
        self._accepting.add(listener)

    def remove_listener(self, listener: socket.socket) -> None:
        """Close a listening socket; does nothing if the server has closed it."""
        self._accepting.remove(listener)

    @property
    def served(self) -> int:
        """Return how many lists were taken for requests since the start."""
        return self._conversations.served

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call back in each turn that finds a descriptor readable (or hung up); the caller goes on owning it."""
        self._watched[fd] = on_readable
        self._epoll.register(fd, _IN)

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""
        del self._watched[fd]
        self._epoll.unregister(fd)

    def stop(self) -> None:
        """End after the current turn."""
        self.is_running = False

    def close(self) -> None:
        """Close everything the server owns: clients, parked descriptors, listeners. It cannot be used after."""
        self.turn = self._turns + 1
        for client in list(self._clients.values()):
            self._drop(client)  # LIFE-4
        for session in self.table.flush():
            self._conversations.discard(session)  # LIFE-4
        self._accepting.close()
        self._epoll.close()

    def print_statistics(self) -> None:
        """Write the lines of the interval that ends now to the log; the next one begins, for a whole period."""
        self._statistics_due_ns = self._now_ns + self._limits.status_update_time_s * NS_PER_S
        for line in self.statistics.close_interval(self._wall_clock()):
            self._log.info(line)

    def step(self, timeout_s: float | None) -> None:
        """Take one turn: wait for something to do, at most timeout_s (None: as long as it takes), and do it."""
        events = self._wait(self._wait_s(timeout_s))
        self._turns = self.turn = self._turns + 1
        conversations = self._conversations
        now_ns = self._now_ns = conversations.now_ns = self._clock()
        if now_ns >= self._due_ns:
            self._do_what_is_due()  # TTL-5
        clients, readable, answer = self._clients, conversations.readable, conversations.answer
        backlog = list(self._backlog)  # those that join it in this turn have had their share
        served: list[Client] = []
        for fd, event in events:
            client = clients.get(fd)
            if client is None:
                self._other_event(fd, event)
            elif event == _IN:
                readable(client)
                served.append(client)
            else:
                self._serve(client, event)
        for client in served:
            if client.output or client.state is SENDING:
                answer(client)
            state = client.state
            if (
                client.output
                or client.decoder is not None
                or client.interest != _IN
                or state is SENDING
                or state is CLOSED
            ):
                self._settle(client)
            elif state is REQUEST:  # the cheap way, for what was served and answered at once
                client.step_since_ns = None  # LIMIT-7
            elif self._steps_due_ns is None:
                self._steps_due_ns = now_ns + self._ipc_timeout_ns
        if backlog:
            self._serve_on(backlog)  # CONN-3
        # Once told to end, whoever waits to be let in is left to the next process behind the same sockets.
        if self._accepting.is_wanted and self.is_running:
            self._accepting.accept_all(now_ns)
        if not clients and self._is_idle_too_long():  # LIFE-2
            self.is_running = False
        self.turn = None

    # Time.

    def _wait(self, wait_s: float) -> list[tuple[int, int]]:
        poll = self._epoll.poll
        try:
            if self._waits_without_polls_left:
                self._waits_without_polls_left -= 1
            elif self._polls_before_blocking and wait_s > 0:
                for _ in range(self._polls_before_blocking):
                    events = poll(0, _EVENTS_PER_TURN_MAX)
                    if events:
                        self._waits_without_polls = 0
                        return events
                self._waits_without_polls = self._waits_without_polls_left = min(
                    2 * self._waits_without_polls + 1, WAITS_WITHOUT_POLLS_MAX
                )
            return poll(wait_s, _EVENTS_PER_TURN_MAX)
        except OSError as error:
            if error.errno not in _WAIT_FAILURES:
                raise
            return []

    def _wait_s(self, timeout_s: float | None) -> float:
        """Read the clock; return how long to wait from now on, given how long at most."""
        self._now_ns = self._clock()
        due_ns = self._statistics_due_ns
        expiry_ns = self.table.next_expiry_ns
        if expiry_ns is not None and expiry_ns < due_ns:
            due_ns = expiry_ns  # TTL-6
        if self._steps_due_ns is not None:
            due_ns = min(due_ns, self._steps_due_ns)
        if self._accepting.again_ns is not None:
            due_ns = min(due_ns, self._accepting.again_ns)
        if self._max_idle_ns is not None and not self._clients and not self.table.sessions:
            due_ns = min(due_ns, self._idle_since_ns + self._max_idle_ns)
        self._due_ns = due_ns
        if self._backlog:
            return 0.0
        # epoll counts milliseconds and Python rounds up: a wait never ends just before the thing it waited for.
        wait_s = max(0, due_ns - self._now_ns) / NS_PER_S
        return wait_s if timeout_s is None else min(wait_s, timeout_s)

    def _do_what_is_due(self) -> None:
        for session in self.table.pop_expired(self._now_ns):
            self._conversations.discard(session)  # TTL-3
        if self._now_ns >= self._statistics_due_ns:  # STAT-7
            self.print_statistics()
        self._time_out()

    def _is_idle_too_long(self) -> bool:
        return (
            self._max_idle_ns is not None
            and not self.table.sessions  # LIFE-3
            and self._now_ns - self._idle_since_ns >= self._max_idle_ns  # LIFE-2
        )

    def _time_out(self) -> None:
        if self._steps_due_ns is None or self._now_ns < self._steps_due_ns:
            return
        oldest_ns = None
        for client in list(self._clients.values()):
            if client.step_since_ns is None:  # LIMIT-7
                continue
            if self._now_ns - client.step_since_ns < self._ipc_timeout_ns:  # LIMIT-7
                oldest_ns = client.step_since_ns if oldest_ns is None else min(oldest_ns, client.step_since_ns)
                continue
            self.statistics.limit_hits[Limit.IPC_TIMEOUT] += 1
            self._log.warning(
                f"client {client.fd} closed: unfinished in {client.state.name} for "
                f"{Limit.IPC_TIMEOUT.value}={self._limits.ipc_timeout_s}"
            )
            self._drop(client)  # LIMIT-7
        self._steps_due_ns = None if oldest_ns is None else oldest_ns + self._ipc_timeout_ns

    # Clients.

    def _serve(self, client: Client, event: int) -> None:
        if event & _IN:
            self._conversations.readable(client)
            self._conversations.answer(client)
        elif not event & _OUT:
            # Hung up, while nothing was to be read from it because it did not take its replies.
            client.state = CLOSED
        if event & _OUT and client.state is not CLOSED:
            self._conversations.writable(client)
        self._settle(client)

    def _serve_on(self, backlog: list[Client]) -> None:
        for client in backlog:
            if client in self._backlog:
                self._conversations.advance(client)
                self._conversations.answer(client)
                self._settle(client)

    def _settle(self, client: Client) -> None:
        """Bring what the loop knows about a client up to date, after something happened to it."""
        state = client.state
        if state is CLOSED:
            self._drop(client)
            return
        interest = _IN
        if state is REQUEST and client.decoder is None and not client.output:
            # At rest: nothing is unfinished, and it may stay so for ever.
            client.step_since_ns = None  # LIMIT-7
        else:
            if client.step_since_ns is None:
                client.step_since_ns = self._now_ns
            if self._steps_due_ns is None:
                self._steps_due_ns = self._now_ns + self._ipc_timeout_ns
            if len(client.output) > self._limits.output_bytes_max:  # LIMIT-6
                interest = _OUT
                if client.interest != _OUT:
                    self.statistics.limit_hits[Limit.OUTPUT_BYTES] += 1
                    self._log.warning(
                        f"client {client.fd} is not served until it reads: limit "
                        f"{Limit.OUTPUT_BYTES.value}={self._limits.output_bytes_max}"
                    )
            elif state is SENDING:
                interest = _OUT
            elif client.output:
                interest = _IN | _OUT
        if interest != client.interest:
            try:
                self._epoll.modify(client.fd, interest)
            except OSError as error:
                # ENOMEM: the loop would not hear of this client again.
                self._log.warning(f"client {client.fd} closed: cannot be waited for: {error.strerror}")
                self._drop(client)
                return
            client.interest = interest
        if client.is_backlogged and state is not SENDING and len(client.output) <= self._limits.output_bytes_max:
            self._backlog[client] = None
        elif self._backlog:
            self._backlog.pop(client, None)

    def _drop(self, client: Client) -> None:
        del self._clients[client.fd]
        self._backlog.pop(client, None)
        self._conversations.abandon(client)  # FD-10
        wire.close_socket(client.sock, self._log)
        if not self._clients:
            self._idle_since_ns = self._now_ns  # LIFE-2

    # Those who want to come in, and others who are waited for.

    def _other_event(self, fd: int, event: int) -> None:
        if not self._accepting.notice(fd, event) and fd in self._watched:
            self._watched[fd]()
        # Else it is the event of a client that was dropped earlier in this turn.

    def _welcome(self, sock: socket.socket) -> None:
        """Let an accepted client in, or not; raises OSError when it cannot be waited for."""
        if len(self._clients) >= self._limits.clients_max:  # LIMIT-5
            wire.close_socket(sock, self._log)
            self.statistics.limit_hits[Limit.CLIENTS] += 1
            self._log.warning(f"client closed: limit {Limit.CLIENTS.value}={self._limits.clients_max}")
            return
        if self._hooks.may_connect is not None and not self._hooks.may_connect(sock):
            wire.close_socket(sock, self._log)
            return
        sock.setblocking(False)  # CONN-2
        client = Client(sock, sock.fileno(), _IN)
        try:
            # CONN-1
            wire.send(sock, _GREETING)  # a new socket has room for it
        except BlockingIOError:
            # CONN-1
            client.output = _GREETING  # unless there is no memory for it just now
        except OSError as error:
            wire.close_socket(sock, self._log)
            if error.errno not in CLIENT_LOST:
                self._log.warning(f"client {client.fd} closed: cannot be greeted: {error.strerror}")
            return
        try:
            self._epoll.register(client.fd, _IN)
        except OSError:
            # ENOMEM, ENOSPC (fs.epoll.max_user_watches)
            wire.close_socket(sock, self._log)
            raise
        self._clients[client.fd] = client
        self._settle(client)
