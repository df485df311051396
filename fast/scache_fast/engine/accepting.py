"""Listening sockets: accepting clients, the limits on clients, and the pause when there is no descriptor for them.

A client that is let in is greeted and handed to the loop.

Guarantees:

* A full descriptor table ends nothing. Accepting pauses and is tried again every `ACCEPT_PAUSE_NS`, so that a free
  slot is used within that time and waiting for one costs 20 system calls a second.
* A pause is logged once, however long it lasts.
"""

import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Final

from scache_fast.engine import wire
from scache_fast.engine.attributes import encode
from scache_fast.engine.client import Client
from scache_fast.engine.closing import Job
from scache_fast.engine.context import Context
from scache_fast.engine.conversation import CLIENT_LOST
from scache_fast.engine.poller import IN, Poller
from scache_spec import vocabulary as words
from scache_spec.vocabulary import Limit

ACCEPT_PAUSE_NS: Final = 50_000_000
"""How long accepting pauses when there is no descriptor for a client. Half of the 100 ms that are promised."""

_ACCEPTS_ALONE_MAX: Final = 64
_ACCEPTS_AMONG_OTHERS_MAX: Final = 8
"""How many clients one listener may bring in a turn without other work, and in a turn with other work. Arbitrary: 8
take about 0.2 ms, so the clients that are connected hardly notice when many others connect."""

_ACCEPT_AGAIN: Final = frozenset(
    {
        errno.ECONNABORTED,  # the client that would have been next is gone
        errno.EPROTO,
        errno.EPERM,  # a firewall or a security module refused it
        errno.EACCES,
        # accept(2): errors that wait on the new connection are reported here, and concern it alone.
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
    }
)
"""Errors of accept that concern one client only: the next client in the queue can still be accepted.

After every other error, accepting pauses: after EMFILE, ENFILE, ENOBUFS and ENOMEM for lack of room, and after errors
that are not foreseen. Clients that are connected are served meanwhile.
"""

_HUNG_UP: Final = int(select.EPOLLHUP | select.EPOLLRDHUP)
_WANTED: Final = IN | int(select.EPOLLRDHUP)
"""The events of a listening socket. Another process may shut it down for receiving alone."""

_GREETING: Final = encode(words.PROTOCOL, words.PROTOCOL_NAME)


class Accepting:
    """The listening sockets, which it owns from now on.

    `welcome` is given each client that is let in. It owns it once it returns, and raises OSError where the loop has no
    room to wait for it.
    """

    def __init__(
        self, listeners: Sequence[socket.socket], poller: Poller, context: Context, welcome: Callable[[Client], None]
    ) -> None:
        self._poller = poller
        self._log = context.log
        self._context = context
        self._statistics = context.statistics
        self._counters = context.counters
        self.may_connect = context.hooks.may_connect
        self._clients_below = context.hooks.clients_below
        self._welcome = welcome
        self._privileged = context.privileged  # users who may have more than `clients_per_user_max`
        self._clients = 0
        self._clients_of: dict[int, int] = {}  # how many of them each user has
        self._listeners: dict[int, socket.socket] = {}
        self._ready: list[socket.socket] = []
        self._is_pause_logged = False
        self.again_ns: int | None = None
        """When accepting goes on; None: it does not pause."""
        for listener in listeners:
            self.add(listener)

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: socket.socket) -> None:
        """Take over one more listening socket; raises OSError when epoll has no room, and it is not taken over then."""
        listener.setblocking(False)
        wire.limit_wait_of_accept(listener)
        self._poller.register(listener.fileno(), 0 if self.again_ns is not None else _WANTED)
        self._listeners[listener.fileno()] = listener

    def remove(self, listener: socket.socket) -> None:
        """Close a listening socket; does nothing if that has been done."""
        if self._listeners.pop(listener.fileno(), None) is not None:
            self._ready = [ready for ready in self._ready if ready is not listener]
            self._poller.unregister(listener.fileno())
            self._close(listener)

    def notice(self, fd: int, event: int) -> bool:
        """Take an event of a listening socket in; False: the descriptor is none."""
        listener = self._listeners.get(fd)
        if listener is None:
            return False
        if event & _HUNG_UP:
            # Another holder of the socket has shut it down: nobody comes any more, and epoll goes on saying so.
            self._log.warning("another process shut a listening socket down: it is closed")
            self.remove(listener)
        else:
            self._ready.append(listener)
        return True

    @property
    def is_wanted(self) -> bool:
        """Say whether somebody is to be accepted, or a pause may be over."""
        return bool(self._ready) or self.again_ns is not None

    def accept_all(self, now_ns: int, *, is_alone: bool) -> None:
        """Take in those who wait, as far as there is room; only a few unless the turn had nothing else to do."""
        if self.again_ns is not None:
            if now_ns < self.again_ns:
                return
            if not self._set_interest(_WANTED):
                self.again_ns = now_ns + ACCEPT_PAUSE_NS
                return
            self.again_ns = None
            self._ready = list(self._listeners.values())
        ready, self._ready = self._ready, []
        for listener in ready:
            for _ in range(_ACCEPTS_ALONE_MAX if is_alone else _ACCEPTS_AMONG_OTHERS_MAX):
                if not self._accept(listener, now_ns):
                    break

    def rest(self) -> list[socket.socket]:
        """Have epoll watch no listening socket; return them."""
        self._ready.clear()
        for fd in self._listeners:
            self._poller.unregister(fd)
        return list(self._listeners.values())

    def wake(self) -> None:
        """Have epoll watch the listening sockets again; raises OSError."""
        for fd in self._listeners:
            self._poller.register(fd, 0 if self.again_ns is not None else _WANTED)

    def adopt(self, client: Client) -> None:
        """Take over a client that another process let in; raises OSError when it cannot be waited for."""
        self._clients += 1
        self._clients_of[client.user] = self._clients_of.get(client.user, 0) + 1
        self._welcome(client)

    def close(self) -> None:
        """Close the listening sockets."""
        self._ready.clear()
        self.again_ns = None
        for listener in self._listeners.values():
            self._close(listener)
        self._listeners.clear()

    def _close(self, listener: socket.socket) -> None:
        # Whoever waits to be accepted may have sent descriptors already: closing may wait for these.
        self._context.let_go(Job([listener.detach()], -1))

    def _accept(self, listener: socket.socket, now_ns: int) -> bool:
        """Take one client in; False: there is no other to be taken in now."""
        if self.again_ns is not None:
            return False
        try:
            if self._clients_below is not None and wire.lowest_free(listener) >= self._clients_below:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            sock = wire.accept(listener)
        except BlockingIOError:
            self._is_pause_logged = False
            return False
        except OSError as error:
            if error.errno in _ACCEPT_AGAIN:
                return True
            self._pause(error, now_ns)
            return False
        is_in = False
        try:
            client = self._greeted(sock)
            if client is not None:
                self._welcome(client)
                is_in = True
                self._counters.clients_welcomed += 1
                self._clients += 1
                self._clients_of[client.user] = self._clients_of.get(client.user, 0) + 1
        except OSError as error:
            self._pause(error, now_ns)
        finally:
            if not is_in:
                # It may have sent descriptors already: closing may wait for these.
                self._context.let_go(Job([sock.detach()], -1))
        return True

    def _greeted(self, sock: socket.socket) -> Client | None:
        """Greet a client; None: it is turned away, or has gone."""
        user, pid = wire.user_of(sock)
        limits = self._context.limits
        per_user = limits.clients_per_user_max
        if self._clients >= limits.clients_max:  # LIMIT-5
            self._meet_limit(Limit.CLIENTS, user, pid)
            return None
        # LIMIT-12
        if per_user is not None and self._clients_of.get(user, 0) >= per_user and user not in self._privileged:
            self._meet_limit(Limit.CLIENTS_PER_USER, user, pid)
            return None
        if self.may_connect is not None and not self.may_connect(sock):
            self._counters.clients_refused += 1
            return None
        sock.setblocking(False)
        wire.take_urgent_in_line(sock)  # FD-15
        client = Client(sock, sock.fileno(), IN, user, pid)
        try:
            # A new socket has room for it.
            wire.send(sock, client.fd, _GREETING)  # CONN-1, CONN-2
        except BlockingIOError:
            client.output = _GREETING  # unless there is no memory for it just now
        except OSError as error:
            if error.errno not in CLIENT_LOST:
                self._log.warning(f"{client.name} closed: cannot be greeted: {error.strerror}")
            return None
        return client

    def forget(self, user: int) -> None:
        """Take note that a client of a user is gone."""
        self._clients -= 1
        self._clients_of[user] -= 1
        if not self._clients_of[user]:
            del self._clients_of[user]

    def _meet_limit(self, limit: Limit, user: int, pid: int) -> None:
        self._counters.clients_refused += 1
        self._statistics.limit_hits[limit] += 1
        self._log.warning(
            f"client (pid {pid}, uid {user}) closed: limit {limit.value}={getattr(self._context.limits, limit.value)}"
        )

    def _pause(self, error: OSError, now_ns: int) -> None:
        # The listeners stay readable all the while: asking epoll about them now would be a loop without a wait.
        self._set_interest(0)
        self.again_ns = now_ns + ACCEPT_PAUSE_NS  # LIMIT-8
        if not self._is_pause_logged:
            self._is_pause_logged = True  # said once, not 20 times a second
            self._log.warning(f"no room for another client, accepting pauses: {error.strerror}")

    def _set_interest(self, interest: int) -> bool:
        """Have epoll report who wants to connect (or, with 0, not); False: epoll has no memory for the change."""
        try:
            for listener in self._listeners.values():
                self._poller.modify(listener.fileno(), interest)
        except OSError:
            return False  # ENOMEM
        return True
