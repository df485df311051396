"""The surroundings of scache_spec.events: real sockets, real descriptors, a clock.

Here system calls become events, and effects become system calls. Every rule of the protocol and of the cache is in
scache_spec: this server cannot disagree with the specification, only fail to carry it out.

A Handle is the descriptor's number: it is the server's from recvmsg to CloseDescriptor, so no two are alike.
"""

import array
import errno
import os
import selectors
import socket
import time
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
from scache_spec.vocabulary import DESCRIPTOR_BYTE, NS_PER_S, ClientId, Handle, Limits

READ_BYTES_MAX: Final = 65_536
DESCRIPTORS_MAX: Final = 253
"""SCM_MAX_FD: the kernel refuses to send more in one message."""

ACCEPT_PAUSE_NS: Final = NS_PER_S // 10

CLIENT_LOST: Final = {errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.ESHUTDOWN}
"""The client closed its end, perhaps with our bytes unread."""

HAND_OVER_FAILED: Final = {errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}
"""The kernel would not queue the message: too many descriptors under way, or no memory."""

ACCEPT_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""No room for one more descriptor. The client waits in the backlog, and accepting again at once would only spin."""


class Shell:
    """A reference server on listening sockets.

    Guarantees: a descriptor that was received is closed exactly once, when the specification says so or at `close`; an
    error of one client's socket ends that client alone.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        limits: Limits,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        log: Callable[[str], None] = print,
    ) -> None:
        self.running = True
        self._clock = clock
        self._log = log
        self._state = spec.start(limits, clock())
        self._interval_start = time.time()
        self._sockets: dict[ClientId, socket.socket] = {}
        self._outboxes: dict[ClientId, deque[bytes | Handle]] = {}
        self._ids = count(1)
        self._selector = selectors.DefaultSelector()
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
        due_s = max(0, due_ns - self._clock()) / NS_PER_S
        ready = self._selector.select(due_s if timeout_s is None else min(timeout_s, due_s))
        now_ns = self._clock()
        self._apply(spec.on_tick(self._state, now_ns))
        if self._accept_again_ns is not None and self._accept_again_ns <= now_ns:
            self._accept_again_ns = None
            for listener in self._listeners:
                self._selector.register(listener, selectors.EVENT_READ, listener)
        for key, mask in ready:
            if key.data is None:
                os.read(key.fd, 512)
            elif isinstance(key.data, socket.socket):
                self._accept(key.data)
            elif key.data in self._sockets:  # An earlier event of this turn may have ended it.
                self._serve(key.data, mask)

    def watch(self, wake: socket.socket) -> None:
        """End a waiting step when something can be read here; what it is has no meaning."""
        self._selector.register(wake, selectors.EVENT_READ, None)

    def stop(self) -> None:
        """Disconnect everybody, close what is parked, print statistics, and stop running."""
        self._apply(spec.on_stop(self._state))

    def print_statistics(self) -> None:
        """Print statistics now."""
        self._apply(spec.on_statistics(self._state))

    def close(self) -> None:
        """Stop, if that has not happened, and give up the listening sockets."""
        if self.running:
            self.stop()
        self._selector.close()
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
        self._apply(spec.on_connect(self._state, client))
        self._send(client)

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
        try:
            data = self._sockets[client].recv(READ_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            data = self._lost(error)
        self._apply(spec.on_bytes(self._state, client, data) if data else spec.on_gone(self._state, client))

    def _read_descriptor(self, client: ClientId) -> None:
        space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        try:
            data, control, flags, _ = self._sockets[client].recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError as error:
            data, control, flags = self._lost(error), [], 0
        received = array.array("i")
        for level, kind, payload in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
        if not data:
            self._apply(spec.on_gone(self._state, client))
            return
        handles = tuple(Handle(descriptor) for descriptor in received)
        truncated = bool(flags & socket.MSG_CTRUNC)
        self._apply(spec.on_descriptors(self._state, client, handles, truncated=truncated))

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
                self._lost(error)
                self._apply(spec.on_gone(self._state, client))
                return
            outbox.popleft()
            if isinstance(first, bytes):
                if sent < len(first):
                    outbox.appendleft(first[sent:])
                self._apply(spec.on_sent(self._state, client, sent))
            else:
                self._apply(spec.on_descriptor_sent(self._state, client))
        self._watch(client)

    def _watch(self, client: ClientId) -> None:
        """Ask the selector for what the client can do next: at least one of the two."""
        if client in self._sockets:
            reads = spec.reading(self._state, client) is not spec.Reading.NOTHING
            events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._outboxes[client] else 0)
            self._selector.modify(self._sockets[client], events, client)

    def _lost(self, error: OSError) -> bytes:
        """Return what a lost client sends, nothing; any other failure is a bug here and is raised."""
        if error.errno not in CLIENT_LOST | HAND_OVER_FAILED:
            raise error
        return b""

    def _disconnect(self, client: ClientId) -> None:
        """Close a client's connection, after what was to be sent before, as far as its socket takes it."""
        connection = self._sockets.pop(client)
        for item in self._outboxes.pop(client):
            try:
                if not isinstance(item, bytes) or connection.send(item, socket.MSG_NOSIGNAL) < len(item):
                    break  # A descriptor that was not sent is the cache's again.
            except BlockingIOError:
                break
            except OSError as error:
                self._lost(error)
                break
        self._selector.unregister(connection)
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
                os.close(effect.handle)
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
