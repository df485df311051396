"""The loop around scache_spec.events, with real sockets, real descriptors and a clock.

System calls become events, and effects become system calls. Every rule of the protocol and of the cache is in
scache_spec, so this server cannot disagree with the specification. It can only fail to carry the specification out.

A Handle is the number of the descriptor. The server owns that descriptor from recvmsg to CloseDescriptor, so no two
Handles are equal at the same time.
"""

import array
import errno
import fcntl
import os
import select
import selectors
import socket
import struct
import termios
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, assert_never

from scache_spec import events as spec
from scache_spec import statistics
from scache_spec.effects import (
    CloseDescriptor,
    Disconnect,
    Effect,
    Exit,
    LimitHit,
    PrintStatistics,
    Send,
    SendDescriptor,
)
from scache_spec.server import Outcome
from scache_spec.vocabulary import DESCRIPTOR_BYTE, NS_PER_S, ClientId, Handle, Limits, UserId

READ_BYTES_MAX: Final = 65_536
DESCRIPTORS_MAX: Final = 253
"""SCM_MAX_FD: the kernel refuses to send more in one message."""

ACCEPT_PAUSE_NS: Final = NS_PER_S // 10

FREED_BYTES_MAX: Final = 64
"""While the kernel frees bytes that a client has read, it wakes the server and still counts one of them. Unread bytes
count as hundreds. Up to this number, nothing is unread."""

CLIENT_LOST: Final = {errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.ESHUTDOWN}
"""Errors that say no more than that the client closed its end, perhaps without reading our bytes."""

PEER: Final = struct.Struct("3i")
"""The value of SO_PEERCRED: process id, user id, group id."""

ACCEPT_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""No room for one more descriptor. The client waits in the backlog, and accepting again at once would only spin."""

WAIT_S_MAX: Final = 60.0
"""The longest wait. epoll counts whole milliseconds in a C int, by a clock that does not count the machine's sleep."""


def boot_time_ns() -> int:
    """Return the time since the machine was started, the time for which it slept included (TTL-2)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Shell:
    """A reference server on listening sockets.

    Guarantees: a descriptor that was received is closed exactly once, when the specification says so or at `close`; an
    error at one client ends that client alone. It may wait for a descriptor that it closes: see README.md.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        limits: Limits,
        *,
        clock: Callable[[], int] = boot_time_ns,
        log: Callable[[str], None] = print,
    ) -> None:
        self.running = True
        self._limits = limits
        self._clock = clock
        self._log = log
        self._state = spec.start(limits, clock())
        self._interval_start = time.time()
        self._sockets: dict[ClientId, socket.socket] = {}
        self._outboxes: dict[ClientId, deque[bytes | Handle]] = {}
        self._at_end: set[ClientId] = set()
        """Clients that send nothing more and have not taken all replies."""
        self._ids = count(1)
        self._privileged = {0, os.geteuid()}
        self._selector = selectors.DefaultSelector()
        # Clients with a descriptor in flight, by the number of their socket. An edge says that a client has read.
        self._in_flight: dict[int, ClientId] = {}
        self._edges = select.epoll()
        self._selector.register(self._edges, selectors.EVENT_READ, self._edges)
        self._listeners = tuple(listeners)
        self._accept_again_ns: int | None = None
        for listener in listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, listener)

    def step(self, timeout_s: float | None = None) -> None:
        """Wait for something to happen, at most so many seconds (None: as long as it takes), and handle it."""
        due_ns = spec.next_tick_ns(self._state)
        if self._accept_again_ns is not None:
            due_ns = min(due_ns, self._accept_again_ns)
        wait_s = min(max(0, due_ns - self._clock()) / NS_PER_S, WAIT_S_MAX)
        ready = self._selector.select(wait_s if timeout_s is None else min(timeout_s, wait_s))
        now_ns = self._clock()
        self._apply(spec.on_tick(self._state, now_ns))
        if self._accept_again_ns is not None and self._accept_again_ns <= now_ns:
            self._accept_again_ns = None
            for listener in self._listeners:
                self._selector.register(listener, selectors.EVENT_READ, listener)
        self._serve_clients(ready)
        if spec.overdue(self._state):
            # The process may have been stopped after it asked what had come: what came by now is read first.
            self._serve_clients(self._selector.select(0))
            self._apply(spec.on_timeouts(self._state))
        for key, _ in ready:
            if isinstance(key.data, socket.socket):
                self._accept(key.data)

    def watch(self, wake: socket.socket) -> None:
        """End a waiting step when something can be read here; what it is has no meaning."""
        self._selector.register(wake, selectors.EVENT_READ, None)

    def stop(self) -> None:
        """Disconnect every client, close every parked descriptor, print the statistics and end the loop."""
        self._apply(spec.on_stop(self._state))

    def print_statistics(self) -> None:
        """Print statistics now."""
        self._apply(spec.on_statistics(self._state))

    def close(self) -> None:
        """Stop, if that has not happened, and give up the listening sockets."""
        if self.running:
            self.stop()
        self._selector.close()
        self._edges.close()
        for listener in self._listeners:
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.ECONNABORTED:
                return
            if error.errno not in ACCEPT_EXHAUSTED:
                raise
            self._log(f"warning: accept: {error.strerror}: waiting for a free descriptor")
            self._accept_again_ns = self._clock() + ACCEPT_PAUSE_NS
            for each in self._listeners:
                self._selector.unregister(each)
            return
        connection.setblocking(False)
        client = ClientId(next(self._ids))
        self._sockets[client] = connection
        self._outboxes[client] = deque()
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._apply(spec.on_connect(self._state, client, self._user_of(connection)))
        self._send(client)

    def _user_of(self, connection: socket.socket) -> UserId | None:
        """Return who runs the client; None for root and for the server's own user, who may have any number."""
        _, user, _ = PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        return None if user in self._privileged else UserId(user)

    def _serve_clients(self, ready: Sequence[tuple[selectors.SelectorKey, int]]) -> None:
        """Serve the clients for which there are events."""
        for key, mask in ready:
            if key.data is None:
                os.read(key.fd, 512)
            elif key.data is self._edges:
                for fd, _ in self._edges.poll(0):
                    if fd in self._in_flight:
                        self._contain(self._see_if_taken, self._in_flight[fd])
            elif key.data in self._sockets:  # An earlier event of this turn may have ended it.
                self._contain(self._serve, key.data, mask)

    def _contain(self, act: Callable[..., None], client: ClientId, *given: int) -> None:
        """Do something for a client; an error that nobody foresaw ends that client alone."""
        try:
            act(client, *given)
        except Exception:  # noqa: BLE001 - LIFE-5
            self._log(f"warning: client {client} closed: {traceback.format_exc()}")
            if client in self._state.clients:
                self._apply(spec.on_gone(self._state, client))

    def _serve(self, client: ClientId, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            match spec.reading(self._state, client):
                case spec.Reading.BYTES:
                    self._read_bytes(client)
                case spec.Reading.DESCRIPTOR:
                    self._read_descriptor(client)
                case spec.Reading.NOTHING:
                    pass  # Only what it sends is being waited for; sending below finds out if it has gone.
        self._send(client)

    def _read_bytes(self, client: ClientId) -> None:
        # As long as a list may be: one read ends the step that a client was slow to finish.
        received = self._receive(client, max(READ_BYTES_MAX, self._limits.attribute_list_bytes_max))
        if received is not None:
            data, handles, _ = received
            self._apply(spec.on_unsolicited(self._state, handles))
            self._apply(spec.on_bytes(self._state, client, data))

    def _read_descriptor(self, client: ClientId) -> None:
        received = self._receive(client, 1)
        if received is not None:
            _, handles, truncated = received
            self._apply(spec.on_descriptors(self._state, client, handles, truncated=truncated))

    def _receive(self, client: ClientId, bytes_max: int) -> tuple[bytes, tuple[Handle, ...], bool] | None:
        """Return bytes, their descriptors, and whether some were lost; None if nothing came, or the client's end."""
        space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        try:
            data, control, flags, _ = self._sockets[client].recvmsg(bytes_max, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            self._lose(client, error)
            return None
        received = array.array("i")
        for level, kind, payload in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
        if not data:
            self._at_end.add(client)
            return None
        return data, tuple(Handle(descriptor) for descriptor in received), bool(flags & socket.MSG_CTRUNC)

    def _send(self, client: ClientId) -> None:
        """Send what waits for a client, as far as its socket takes it; serving what that allows may add to it."""
        while client in self._sockets and (outbox := self._outboxes[client]):
            connection, first = self._sockets[client], outbox[0]
            try:
                if isinstance(first, bytes):
                    sent = connection.send(first, socket.MSG_NOSIGNAL)
                else:
                    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [first]))
                    sent = connection.sendmsg([DESCRIPTOR_BYTE], [rights], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError as error:
                if not isinstance(first, bytes) or error.errno != errno.EPIPE:
                    self._lose(client, error)
                    return
                sent = len(first)  # Nobody reads it, but what the client sent before it closed is still to be served.
            outbox.popleft()
            if isinstance(first, bytes):
                if sent < len(first):
                    outbox.appendleft(first[sent:])
                self._apply(spec.on_sent(self._state, client, sent))
            else:
                self._in_flight[connection.fileno()] = client
                # A socket that is writable now is reported now: if the client reads before this, no edge is missed.
                self._edges.register(connection, select.EPOLLOUT | select.EPOLLET)
                self._apply(spec.on_descriptor_sent(self._state, client))
        if client in self._at_end and not self._outboxes[client]:  # CONN-11
            self._apply(spec.on_gone(self._state, client))
        self._watch(client)

    def _see_if_taken(self, client: ClientId) -> None:
        """Go on with a client that has read its descriptor: nothing that was sent to it is left in the kernel."""
        connection = self._sockets[client]
        unread = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
        if unread <= FREED_BYTES_MAX:
            self._forget_edges(connection)
            self._apply(spec.on_descriptor_taken(self._state, client))
            self._serve(client, selectors.EVENT_READ)

    def _forget_edges(self, connection: socket.socket) -> None:
        del self._in_flight[connection.fileno()]
        self._edges.unregister(connection)

    def _watch(self, client: ClientId) -> None:
        """Ask the selector for what the client can do next; with a descriptor in flight only an edge is awaited."""
        if client not in self._sockets:
            return
        connection = self._sockets[client]
        reads = client not in self._at_end and spec.reading(self._state, client) is not spec.Reading.NOTHING
        events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._outboxes[client] else 0)
        is_watched = connection in self._selector.get_map()
        if events and is_watched:
            self._selector.modify(connection, events, client)
        elif events:
            self._selector.register(connection, events, client)
        elif is_watched:
            self._selector.unregister(connection)

    def _lose(self, client: ClientId, error: OSError) -> None:
        """Forget a client whose socket failed. A session that is held for it is put back."""
        if error.errno not in CLIENT_LOST:
            self._log(f"warning: client {client} closed: {error.strerror}")
        self._apply(spec.on_gone(self._state, client))

    def _disconnect(self, client: ClientId) -> None:
        """Close a client's connection, after what was to be sent before, as far as its socket takes it."""
        connection = self._sockets.pop(client)
        self._at_end.discard(client)
        for item in self._outboxes.pop(client):
            try:
                if not isinstance(item, bytes) or connection.send(item, socket.MSG_NOSIGNAL) < len(item):
                    break  # A descriptor that was not sent is the cache's again.
            except OSError:
                break  # It takes no more, or the client is gone.
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
        if connection.fileno() in self._in_flight:
            self._forget_edges(connection)
        connection.close()

    def _apply(self, outcome: Outcome) -> None:
        self._state, effects = outcome
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._outboxes[effect.client].append(effect.data)
            case SendDescriptor():
                self._outboxes[effect.client].append(effect.handle)
            case CloseDescriptor():
                try:
                    os.close(effect.handle)
                except OSError as error:
                    if error.errno == errno.EBADF:
                        raise  # It was closed before, which is a fault of this server.
                    # Linux has closed it all the same; what the file's own server says of it is no news.
            case Disconnect():
                self._disconnect(effect.client)
            case PrintStatistics():
                for line in statistics.lines(effect.counters, time.ctime(self._interval_start)[4:19]):
                    self._log(line)
                self._interval_start = time.time()
            case LimitHit():
                whose = "" if effect.client is None else f" by client {effect.client}"
                self._log(f"warning: limit {effect.limit.value} hit{whose}")
            case Exit():
                self.running = False
            case _:
                assert_never(effect)
