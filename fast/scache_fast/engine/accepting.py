"""Who wants to come in: listening sockets, and what is done when there is no room.

Decides when the loop accepts and when it leaves off for a while. Refuses to know who may come in and what becomes of
those who did: they are handed to a function of the loop's.

Guarantees:

* A full descriptor table ends nothing. Accepting pauses and is tried again every `ACCEPT_PAUSE_NS`, so that a free
  slot is used within that time and waiting for one costs 20 system calls a second.
* A pause is logged once, however long it lasts.
"""

import errno
import select
import socket
from collections.abc import Callable, Sequence
from typing import Final

from scache_fast.engine import wire
from scache_fast.engine.log import Log

ACCEPT_PAUSE_NS: Final = 50_000_000
"""How long accepting pauses when there is no descriptor for a client. Half of the 100 ms that are promised."""

_ACCEPTS_PER_TURN_MAX: Final = 64
"""How many clients one listener may bring in a turn. Arbitrary: those inside go first when many come."""

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
"""Why a client is lost before it is in, when there may be another behind it.

Everything else that accept reports makes accepting pause: EMFILE, ENFILE, ENOBUFS and ENOMEM for want of room, and
what nobody has foreseen. Those inside are served on.
"""

_IN: Final = select.EPOLLIN
_HUNG_UP: Final = select.EPOLLHUP


class Accepting:
    """The listening sockets, which it owns from now on.

    `welcome` is given each accepted socket, to own it, and raises OSError where the loop has no room to wait for it.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        epoll: select.epoll,
        log: Log,
        welcome: Callable[[socket.socket], None],
    ) -> None:
        self._listeners: dict[int, socket.socket] = {}
        self._epoll = epoll
        self._log = log
        self._welcome = welcome
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
        self._epoll.register(listener.fileno(), 0 if self.again_ns is not None else _IN)
        self._listeners[listener.fileno()] = listener

    def remove(self, listener: socket.socket) -> None:
        """Close a listening socket; does nothing if that has been done."""
        if self._listeners.pop(listener.fileno(), None) is not None:
            self._ready = [ready for ready in self._ready if ready is not listener]
            self._epoll.unregister(listener.fileno())
            wire.close_socket(listener, self._log)

    def notice(self, fd: int, event: int) -> bool:
        """Take an event of a listening socket in; False: the descriptor is none."""
        listener = self._listeners.get(fd)
        if listener is None:
            return False
        if event & _HUNG_UP:
            # Another holder of the socket has shut it down: nobody comes any more, and epoll goes on saying so.
            self._log.warning("a listening socket was shut down by somebody else, and is closed")
            self.remove(listener)
        else:
            self._ready.append(listener)
        return True

    @property
    def is_wanted(self) -> bool:
        """Say whether somebody is to be accepted, or a pause may be over."""
        return bool(self._ready) or self.again_ns is not None

    def accept_all(self, now_ns: int) -> None:
        """Take in those who wait, as far as there is room."""
        if self.again_ns is not None:
            if now_ns < self.again_ns:
                return
            if not self._set_interest(_IN):
                self.again_ns = now_ns + ACCEPT_PAUSE_NS
                return
            self.again_ns = None
            self._ready = list(self._listeners.values())
        ready, self._ready = self._ready, []
        for listener in ready:
            for _ in range(_ACCEPTS_PER_TURN_MAX):
                if not self._accept(listener, now_ns):
                    break

    def close(self) -> None:
        """Close the listening sockets."""
        for listener in self._listeners.values():
            wire.close_socket(listener, self._log)

    def _accept(self, listener: socket.socket, now_ns: int) -> bool:
        """Take one client in; False: there is no other to be taken in now."""
        if self.again_ns is not None:
            return False
        try:
            sock = wire.accept(listener)
        except BlockingIOError:
            self._is_pause_logged = False
            return False
        except OSError as error:
            if error.errno in _ACCEPT_AGAIN:
                return True
            self._pause(error, now_ns)
            return False
        try:
            self._welcome(sock)
        except OSError as error:
            self._pause(error, now_ns)
        return True

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
                self._epoll.modify(listener.fileno(), interest)
        except OSError:
            return False  # ENOMEM
        return True
