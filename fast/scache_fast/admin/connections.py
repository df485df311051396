"""The admin socket's connections: who gets in, how lines are read, and how answers are written in shares.

What a verb does is in verbs.py. An answer is a generator of lines, and none of them runs for longer than `SHARE_NS` in
one turn of the loop, so that no client of the cache waits for an operator.

Guarantees:

* Only root and the server's own user get in, whatever the mode of the socket file.
* An operator gets in, whatever others do: these connections are outside of `clients_max`, one descriptor is kept for
  them, and of `CONNECTIONS_MAX` connections the one that has been silent for longest makes way for another.
* A connection that does not read costs `OUTPUT_BYTES_MAX` and a line, for `NOT_READING_S` at most.
* Nothing here stops or holds up the server. What nobody foresaw ends the connection.
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

from scache_fast.admin.protocol import REQUEST_BYTES_MAX, VERSION, Request, RequestError, decode, encode, id_of, shown
from scache_fast.engine import wire
from scache_fast.engine.log import Log
from scache_fast.engine.poller import IN, OUT
from scache_fast.engine.server import Server

CONNECTIONS_MAX: Final = 8
"""How many operators there may be at once. Arbitrary: a person, a monitor, and some that were forgotten."""

OUTPUT_BYTES_MAX: Final = 65_536
"""While more than this waits to be read, no further line is made."""

SHARE_NS: Final = 1_000_000
"""How long all answers together are worked on in one turn."""

NOT_READING_S: Final = 10
"""How long a connection may leave an answer unread, or a request unfinished."""

IDLE_S: Final = 300
"""How long a connection may be silent. Arbitrary."""

LOOK_S: Final = 5
"""How often connections are checked for being silent; the loop takes a turn at least so often."""

_READ_BYTES: Final = 65_536
_NS_PER_S: Final = 1_000_000_000

Verb = Callable[[Request], Iterator[dict[str, object]]]
"""Carries out a request; yields rows, empty ones where it has worked and has nothing to say, and the last line."""


class Passing(dict[str, object]):
    """A line that goes out with descriptors, which are its own from now on."""

    def __init__(self, line: dict[str, object], descriptors: list[int]) -> None:
        super().__init__(line)
        self.descriptors = descriptors


class Connection:
    """One operator."""

    __slots__ = (
        "answer", "fd", "id", "interest", "is_at_end", "is_skipping", "output", "passing", "progress_ns", "received",
        "scanned", "sock",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, now_ns: int) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.interest = IN
        self.received = bytearray()
        self.scanned = 0
        """How much of `received` is known to have no newline: no byte is looked at twice."""
        self.is_skipping = False
        """The request is too long, which was answered; the rest of its line is dropped."""
        self.is_at_end = False
        self.output = bytearray()
        self.passing: list[int] = []
        """Descriptors that go out with the next bytes."""
        self.answer: Iterator[dict[str, object]] | None = None
        self.id: str | int | None = None
        """That of the request that is being answered."""
        self.progress_ns = now_ns
        """When something was last read from it, or taken by it."""


class AdminSocket:
    """The listening socket, which it owns from now on, and its connections."""

    def __init__(
        self, listener: socket.socket, server: Server, verbs: dict[str, Verb], log: Log,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._listener = listener
        self._server = server
        self._verbs = verbs
        self._log = log
        self._clock = clock
        self._looked_ns = clock()
        self._connections: dict[int, Connection] = {}
        self._users = frozenset({0, os.geteuid()})
        self._is_resting = False
        """There was no descriptor for somebody who wants to get in."""
        listener.setblocking(False)
        wire.limit_wait_of_accept(listener)
        self._spare = _spare()
        server.watch(listener.fileno(), self._accept)

    def __len__(self) -> int:
        return len(self._connections)

    def after_turn(self, server: Server) -> None:
        """Work on answers, and close those who have been silent for too long; the loop calls it after each turn."""
        if self._connections:
            self._work()
        now_ns = self._clock()
        if now_ns - self._looked_ns >= LOOK_S * _NS_PER_S:
            self._looked_ns = now_ns
            self._look(now_ns)

    def rest(self) -> None:
        """Stop accepting: the listening socket is removed from epoll."""
        self._server.unwatch(self._listener.fileno())

    def wake(self) -> None:
        """Let operators in again; raises OSError."""
        self._is_resting = False
        self._server.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Close everything; what waits to be read gets one more try."""
        self._server.unwatch(self._listener.fileno())
        self.leave()

    def leave(self) -> None:
        """Close everything after `rest`."""
        for connection in list(self._connections.values()):
            self._safely(connection, self._send)
            self._drop(connection)
        self._listener.close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    # Getting in.

    def _accept(self) -> None:
        try:
            self._let_in()
        except Exception as error:
            self._server.faults.contain("an operator did not get in", error)

    def _let_in(self) -> None:
        try:
            sock = self._listener.accept()[0]
        except BlockingIOError:
            return
        except OSError as error:
            if self._spare is None:
                self._is_resting = True
                self._server.watch_for(self._listener.fileno(), 0)
                self._log.warning(f"admin socket: no connection is accepted for {LOOK_S} s: {error.strerror}")
                return
            os.close(self._spare)  # EMFILE: this is what it is kept for.
            self._spare = None
            return
        is_in = False
        try:
            is_in = self._welcome(sock)
        except OSError as error:
            self._log.warning(f"admin socket: a connection cannot be waited for: {error.strerror}")  # ENOMEM, ENOSPC
        finally:
            if not is_in:
                self._close(sock)

    def _welcome(self, sock: socket.socket) -> bool:
        user, pid = wire.user_of(sock)
        if user not in self._users:
            self._log.warning(f"admin socket: refused: uid {user}, pid {pid} is neither root nor the server's user")
            return False
        if len(self._connections) >= CONNECTIONS_MAX:
            silent = min(self._connections.values(), key=lambda each: each.progress_ns)
            self._log.warning(f"admin socket: more than {CONNECTIONS_MAX} connections: the most silent one is closed")
            self._drop(silent)
        sock.setblocking(False)
        connection = Connection(sock, self._clock())
        self._server.watch(connection.fd, lambda: self._on_event(connection))
        self._connections[connection.fd] = connection
        return True

    def _look(self, now_ns: int) -> None:
        for connection in list(self._connections.values()):
            if connection.answer is not None and not connection.output:
                continue  # It is the server that works.
            is_busy = connection.output or connection.received or connection.is_skipping
            patience_s = NOT_READING_S if is_busy else IDLE_S
            if now_ns - connection.progress_ns >= patience_s * _NS_PER_S:
                self._log.info(f"admin socket: a connection that was silent for {patience_s} s is closed")
                self._drop(connection)
        if self._spare is None:
            self._spare = _spare()
        if self._is_resting:
            self._is_resting = False
            self._server.watch_for(self._listener.fileno(), IN)

    # One connection.

    def _on_event(self, connection: Connection) -> None:
        self._safely(connection, self._send, self._receive, self._settle)

    def _safely(self, connection: Connection, *steps: Callable[[Connection], None]) -> None:
        """Do these things for a connection, one after the other, and close it when one fails."""
        try:
            for step in steps:
                if self._connections.get(connection.fd) is not connection:
                    return
                step(connection)
        except OSError:
            self._drop(connection)  # EPIPE, ECONNRESET: it is gone.
        except Exception as error:
            self._server.faults.contain("admin connection closed", error)
            self._drop(connection)

    def _receive(self, connection: Connection) -> None:
        if not connection.interest & IN:
            return
        try:
            passed: list[int] = []
            data = wire.receive(connection.sock, connection.fd, _READ_BYTES, passed)
        except BlockingIOError:
            return
        if passed:
            self._server.steering.let_go(wire.descriptors_among(passed))
        connection.progress_ns = self._clock()
        connection.received += data
        if not data:
            connection.is_at_end = True
            if connection.received:
                connection.received += b"\n"  # The end of a stream ends its last line.

    def _send(self, connection: Connection) -> None:
        if not connection.output:
            return
        try:
            if connection.passing:
                sent = socket.send_fds(connection.sock, [connection.output], connection.passing, socket.MSG_NOSIGNAL)
                self._close_passing(connection)
            else:
                sent = connection.sock.send(connection.output, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            # It was the line that the descriptors belong to; nothing of it was sent.
            self._close_passing(connection)
            connection.output.clear()
            self._refuse(connection, f"descriptors cannot be sent: {error.strerror}: try again")
            return
        connection.progress_ns = self._clock()
        del connection.output[:sent]

    def _work(self) -> None:
        """Make lines of answers, for a share of time; have the next turn come at once if there is more to do."""
        until_ns = time.monotonic_ns() + SHARE_NS
        for connection in list(self._connections.values()):
            if connection.answer is not None or connection.received:
                # The next turn begins with those that this one does not get to.
                self._connections[connection.fd] = self._connections.pop(connection.fd)
                self._safely(connection, lambda each: self._advance(each, until_ns), self._send, self._settle)
                if time.monotonic_ns() >= until_ns:
                    break
        if any(self._can_advance(connection) for connection in self._connections.values()):
            self._server.is_hurried = True

    def _can_advance(self, connection: Connection) -> bool:
        if len(connection.output) > OUTPUT_BYTES_MAX:
            return False
        return connection.answer is not None or connection.received.find(b"\n", connection.scanned) >= 0

    def _advance(self, connection: Connection, until_ns: int) -> None:
        while len(connection.output) <= OUTPUT_BYTES_MAX:
            if connection.answer is None and not self._next_request(connection):
                return
            answer = connection.answer
            assert answer is not None
            try:
                line = next(answer)
            except StopIteration:
                connection.answer = None
            except RequestError as error:
                connection.answer = None
                self._refuse(connection, str(error))
            else:
                if line:
                    connection.output += encode({"id": connection.id, **line})
                if isinstance(line, Passing):
                    connection.passing += line.descriptors
            if time.monotonic_ns() >= until_ns:
                return

    def _next_request(self, connection: Connection) -> bool:
        """Begin with the next request that was read; False: there is none."""
        while True:
            received = connection.received
            end = received.find(b"\n", connection.scanned)
            if end < 0:
                connection.scanned = len(received)
                if connection.is_skipping or len(received) > REQUEST_BYTES_MAX:
                    if not connection.is_skipping:
                        self._refuse_length(connection)
                    received.clear()
                    connection.scanned = 0
                return False
            line = received[:end]
            del received[: end + 1]
            connection.scanned = 0
            if connection.is_skipping:
                connection.is_skipping = False
            elif len(line) > REQUEST_BYTES_MAX:
                self._refuse_length(connection)
                connection.is_skipping = False
            elif line.strip():
                self._begin(connection, line)
                return True

    def _refuse_length(self, connection: Connection) -> None:
        connection.is_skipping = True
        connection.id = None
        self._refuse(connection, f"the request is longer than {REQUEST_BYTES_MAX} bytes")

    def _begin(self, connection: Connection, line: bytearray) -> None:
        connection.id = None
        connection.answer = self._answer(connection, line)

    def _answer(self, connection: Connection, line: bytearray) -> Iterator[dict[str, object]]:
        request = decode(line)
        connection.id = id_of(request)
        version = request.get("v", VERSION)
        if type(version) is not int or version != VERSION:
            raise RequestError(f"version {shown(version)} of the protocol is not spoken here: there is {VERSION}")
        name = request.get("verb", "")
        verb = self._verbs.get(name) if isinstance(name, str) else None
        if verb is None:
            raise RequestError(f"unknown verb {shown(name)!r}: there are {', '.join(sorted(self._verbs))}")
        yield from verb(request)

    def _refuse(self, connection: Connection, reason: str) -> None:
        connection.output += encode({"id": connection.id, "v": VERSION, "ok": False, "error": reason})

    def _settle(self, connection: Connection) -> None:
        """Have the loop wait for what the connection waits for; close it when there is nothing left to do."""
        is_working = self._can_advance(connection)
        if connection.is_at_end and not connection.output and not is_working:
            self._drop(connection)
            return
        interest = OUT if connection.output else 0
        # Nothing is read from those who have not read what they asked for.
        if not connection.is_at_end and not is_working and len(connection.output) <= OUTPUT_BYTES_MAX:
            interest |= IN
        if interest != connection.interest:
            self._server.watch_for(connection.fd, interest)
            connection.interest = interest

    def _drop(self, connection: Connection) -> None:
        if self._connections.get(connection.fd) is connection:
            del self._connections[connection.fd]
            connection.answer = None  # It refers to the connection, and nobody looks for cycles here.
            self._close_passing(connection)
            self._server.unwatch(connection.fd)
            self._close(connection.sock)

    def _close_passing(self, connection: Connection) -> None:
        for descriptor in connection.passing:
            os.close(descriptor)
        connection.passing.clear()

    def _close(self, sock: socket.socket) -> None:
        # It may hold descriptors that somebody sent: closing may wait for these.
        self._server.steering.let_go([sock.detach()])
        if self._spare is None:
            self._spare = _spare()


def _spare() -> int | None:
    """Open a descriptor that is closed when there is no other for an operator; None: there is none now."""
    try:
        return os.eventfd(0, os.EFD_CLOEXEC)
    except OSError:
        return None
