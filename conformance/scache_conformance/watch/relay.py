"""The sockets between clients and a server: each client gets its own connection to the server.

Everything is passed on as it came: the same bytes, and each descriptor with the byte that carried it. The relay keeps
nothing itself. It reads with MSG_PEEK, sends, and only then removes from the socket what was sent. What one side does
not take stays in the other side's socket, so both sides block as they would without the relay. The byte that carries a
descriptor to a client is removed when the client has read it: until then it is in flight for the server too (FD-14),
unless it came together with the reply before it.

Nothing is decoded here: a `Follower` is told of everything that passed. Times are nanoseconds of CLOCK_BOOTTIME, which
counts the time for which the machine is suspended, as servers have to (TTL-2).
"""

import array
import errno
import fcntl
import os
import select
import socket
import struct
import sys
import termios
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from scache_conformance.watch.closing import Closing
from scache_conformance.watch.listening import listener, raise_descriptor_limit
from scache_conformance.wire.peer import CONTROL_BYTES, descriptors

READ_BYTES: Final = 32_768
"""Most bytes that are passed on at once. Arbitrary: lists of real clients have less than 1 000."""

RESERVED_DESCRIPTORS: Final = 300
"""Kept for the relay itself, and for the 253 descriptors that one message may carry."""

BYTES_A_TURN: Final = 64
"""Most bytes that are passed on one by one before others have their turn. Arbitrary."""

CONNECT_AGAIN_S: Final = 0.02
"""How often a connection is tried while the server's queue of new connections is full. Arbitrary."""

IN_FLIGHT_AGAIN_S: Final = 0.002
"""How often to ask whether a client has read its descriptor, as nothing tells that. Arbitrary. A client that sends
something after it has read does not wait for this."""

EVENTS_MAX: Final = 256
"""Most events of one turn. Arbitrary."""

GONE: Final = {errno.EPIPE, errno.ECONNRESET}
"""What sending says when the other side is gone."""

REFUSALS: Final = {
    errno.ETOOMANYREFS,  # the kernel lets no more descriptors be sent
    errno.EPERM,  # the other side takes no descriptors (SO_PASSRIGHTS), or a security module lets it have none
    errno.EACCES,
    errno.ENOBUFS,
    errno.ENOMEM,
}
"""What sending says when the other side is there and does not get this."""


class Side(Enum):
    """Who did something."""

    CLIENT = "client"
    SERVER = "server"


class Follower(Protocol):
    """Who is told what passed between one client and the server.

    `at` is an instant before the server, or after the client, could know of the bytes. Each file of `files` was passed
    with the first byte.
    """

    def passed(self, side: Side, data: bytes, files: Sequence[str], at_ns: int) -> None:
        """Take note of what a side sent and the other has got."""

    def ended(self, side: Side, at_ns: int) -> None:
        """Take note that a side sends nothing more, or is gone."""

    def closed(self, at_ns: int) -> None:
        """Take note that the connection is over."""


def now_ns() -> int:
    """Return the time."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Relay:
    """Listens for clients, and passes everything on until it is told to stop. A context manager."""

    def __init__(self, listen: Path, connect: Path, follow: Callable[[], Follower]) -> None:
        """Listen at a path, with the mode and the owner of the server's socket. Raises OSError.

        `follow` makes whoever follows a new connection.
        """
        self.has_failed = False
        """Whether a connection is not followed any more because its follower or the relay failed there."""
        self._listen_path: Final = listen
        self._connect_path: Final = connect
        self._follow: Final = follow
        self._pairs_max: Final = (raise_descriptor_limit() - RESERVED_DESCRIPTORS) // 2
        self._ends: Final[dict[int, _End]] = {}
        self._closing: Final = Closing()
        self._stop, self._stopper = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._epoll: Final = select.epoll()
        self._epoll.register(self._stop, select.EPOLLIN)
        self._listener: Final = listener(listen, connect)
        self._is_accepting = False
        self._connects_again_s = 0.0
        self._in_flight: Final[set[_End]] = set()
        """Ends of the server whose first byte carries a descriptor that the client has got and perhaps not read."""
        self._is_refusal_told = False

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self._listen_path.unlink(missing_ok=True)
        self._listener.close()
        for end in list(self._ends.values()):
            self._close(end.pair)
        self._epoll.close()
        os.close(self._stop)
        os.close(self._stopper)

    def stop(self) -> None:
        """Have `run` return. May be called by a signal handler."""
        os.write(self._stopper, b"\0")

    def run(self) -> None:
        """Pass on what comes until `stop` is called."""
        while True:
            self._set_accepting()
            timeout_s = max(0.0, self._connects_again_s - time.monotonic()) if self._connects_again_s else -1
            if self._in_flight:
                timeout_s = IN_FLIGHT_AGAIN_S if timeout_s < 0 else min(timeout_s, IN_FLIGHT_AGAIN_S)
            for fd, mask in self._epoll.poll(timeout_s, EVENTS_MAX):
                if fd == self._stop:
                    return
                if fd == self._listener.fileno():
                    self._accept()
                elif (end := self._ends.get(fd)) is not None:  # None: closed earlier in this turn
                    self._serve_safely(end, mask)
            for end in tuple(self._in_flight):
                self._land(end)

    def _set_accepting(self) -> None:
        if self._connects_again_s and time.monotonic() >= self._connects_again_s:
            self._connects_again_s = 0.0
        wanted = not self._connects_again_s and len(self._ends) < 2 * self._pairs_max
        if wanted and not self._is_accepting:
            self._epoll.register(self._listener, select.EPOLLIN)
        elif self._is_accepting and not wanted:
            self._epoll.unregister(self._listener)
        self._is_accepting = wanted

    def _accept(self) -> None:
        """Connect to the server first: a client that the server has no place for waits here as it would there."""
        with ExitStack() as undo:
            try:
                to_server = undo.enter_context(socket.socket(socket.AF_UNIX))
                to_server.setblocking(False)
                is_there = self._connect(to_server)
                to_client, _ = self._listener.accept()
            except OSError:  # the server's queue is full, or this process has no descriptor left: later
                self._connects_again_s = time.monotonic() + CONNECT_AGAIN_S
                return
            if not is_there:
                to_client.close()
                return
            undo.pop_all()
        for each in (to_client, to_server):
            # Without that, an urgent byte is passed over, and what came with it is closed while it is read.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        to_client.setblocking(False)
        pair = _Pair(_End(to_client, Side.CLIENT), _End(to_server, Side.SERVER), self._follow())
        for end in (pair.client, pair.server):
            end.pair = pair
            self._ends[end.fd] = end
            self._set_interest(end)

    def _connect(self, to_server: socket.socket) -> bool:
        """Connect to the server; False: nobody listens there, or not for us. Raises BlockingIOError."""
        try:
            to_server.connect(str(self._connect_path))
        except BlockingIOError:
            raise
        except OSError as error:
            if not self._is_refusal_told:
                self._is_refusal_told = True
                # Once: the server may be away for long.
                told = f"no connection to {self._connect_path}, so a client is closed: {error.strerror}"
                print(f"scache-conformance watch: {told}", file=sys.stderr, flush=True)
            return False
        self._is_refusal_told = False
        return True

    def _serve_safely(self, end: "_End", mask: int) -> None:
        """Serve an end; what nobody foresaw there ends its connection, not the traffic of others."""
        try:
            self._serve(end, mask)
        except OSError:
            traceback.print_exc()
            self.has_failed = True
            self._close(end.pair)

    def _serve(self, end: "_End", mask: int) -> None:
        pair, other = end.pair, end.other
        if other.is_in_flight:
            self._land(other)  # before anything that the client has sent after it had read
        if mask & select.EPOLLOUT and other.is_blocked:
            other.is_blocked = False
            self._forward(other)
        if pair.is_open and mask & (select.EPOLLHUP | select.EPOLLERR) and not end.is_gone:
            end.is_gone = True
            self._give_up(other)
        if pair.is_open and mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) and not end.is_blocked:
            self._forward(end)
        if pair.is_open and pair.client.has_ended and pair.server.has_ended:
            self._close(pair)
        if pair.is_open:
            self._set_interest(pair.client)
            self._set_interest(pair.server)

    def _forward(self, end: "_End") -> None:
        """Pass on one read of what this end sent, as much as the other takes; nothing is lost if that is less."""
        if end.has_ended or end.is_in_flight:
            return
        try:
            data, control, flags, _ = end.socket.recvmsg(READ_BYTES, CONTROL_BYTES, _PEEK)
        except BlockingIOError:
            return
        except ConnectionResetError:  # it went away with bytes unread
            data, control, flags = b"", [], 0
        if not data:
            self._end(end)
            return
        fds = descriptors(control)
        if flags & socket.MSG_CTRUNC:  # this process is out of descriptors: what is passed on would not be all
            self._close_descriptors(fds)
            self._close(end.pair)
        elif fds and len(data) > 1:
            self._close_descriptors(fds)
            self._forward_byte_by_byte(end)
        elif sent := self._send(end, data, fds):
            if fds and end.side is Side.SERVER:
                end.is_in_flight = True
                self._in_flight.add(end)
            else:
                end.socket.recv(sent)

    def _land(self, end: "_End") -> None:
        """Remove the byte that carried a descriptor if the client has read it. If the client left it, it stays."""
        if end.other.has_unread():
            return
        self._in_flight.discard(end)
        end.is_in_flight = False
        if end.other.has_left_something():
            self._give_up(end)
        elif end.pair.is_open:
            end.socket.recv(1)
            self._set_interest(end)

    def _forward_byte_by_byte(self, end: "_End") -> None:
        """Pass on bytes that come together with descriptors, each by itself: a read says only that some have come.

        Whoever reads plain bytes first must not lose what rides on a later one. No client and no server that waits for
        its turn brings this about. A byte is taken out once the other side has room for it. MSG_PEEK is no help: it
        gives the descriptors of a byte with the bytes before it.
        """
        for _ in range(BYTES_A_TURN):
            if not end.other.has_room():
                end.is_blocked = True
                return
            data, control, flags, _ = end.socket.recvmsg(1, CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
            fds = descriptors(control)
            if flags & socket.MSG_CTRUNC or not self._send(end, data, fds):
                self._close(end.pair)
                return
            if fds:
                return

    def _send(self, end: "_End", data: bytes, fds: Sequence[int]) -> int:
        """Send to the other side what came from this one, close the descriptors, and return how much was taken."""
        try:
            files = [_name_of(fd) for fd in fds]
            at_ns = now_ns()
            sent = end.other.send(data, fds)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            self._close(end.pair)  # It would wait for what it does not get.
            return 0
        finally:
            self._close_descriptors(fds)
        if sent is None:
            self._give_up(end)
            return 0
        if sent:
            self._tell(end.pair, lambda follower: follower.passed(end.side, data[:sent], files, at_ns))
        else:
            end.is_blocked = True
        return sent

    def _close_descriptors(self, fds: Sequence[int]) -> None:
        for fd in fds:
            self._closing.close(fd)

    def _end(self, end: "_End") -> None:
        """Tell the other end that this one sends nothing more."""
        self._tell(end.pair, lambda follower: follower.ended(end.side, now_ns()))
        end.has_ended = True
        end.other.shut(socket.SHUT_WR)

    def _give_up(self, end: "_End") -> None:
        """Pass nothing more on from this end: the other is gone. It notices when it writes, as without the relay."""
        if not end.has_ended:
            self._tell(end.pair, lambda follower: follower.ended(end.other.side, now_ns()))
        end.has_ended = True
        end.shut(socket.SHUT_RD)

    def _close(self, pair: "_Pair") -> None:
        if not pair.is_open:
            return
        pair.is_open = False
        self._in_flight.discard(pair.server)
        at_ns = now_ns()
        for end in (pair.client, pair.server):
            del self._ends[end.fd]
            if end.interest is not None:
                self._epoll.unregister(end.fd)
            end.shut(socket.SHUT_RDWR)
            # What it was sent and nobody has read is closed with it, which may wait.
            self._closing.close(end.socket.detach())
        self._tell(pair, lambda follower: follower.closed(at_ns))

    def _tell(self, pair: "_Pair", tell: Callable[[Follower], None]) -> None:
        """Tell the follower. If it raises, this connection is no longer followed, and its traffic goes on."""
        if pair.follower is None:
            return
        try:
            tell(pair.follower)
        except Exception:  # noqa: BLE001  the guard at this edge of the loop
            traceback.print_exc()
            pair.follower, self.has_failed = None, True

    def _set_interest(self, end: "_End") -> None:
        """Wait for what can be gone on with. A hangup is reported always, so an end that has hung up is not waited for
        while the other takes nothing."""
        is_read = not (end.has_ended or end.is_blocked or end.is_in_flight)
        interest = (select.EPOLLIN if is_read else 0) | (
            select.EPOLLOUT if end.other.is_blocked and not end.other.has_ended else 0
        )
        wanted = None if end.is_gone and (end.is_blocked or end.has_ended) else interest
        if wanted == end.interest:
            return
        if end.interest is None and wanted is not None:
            self._epoll.register(end.fd, wanted)
        elif wanted is None:
            self._epoll.unregister(end.fd)
        else:
            self._epoll.modify(end.fd, wanted)
        end.interest = wanted


_PEEK: Final = socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC


class _End:
    """One of the two sockets of a connection, and how far what comes in there has been passed on."""

    pair: "_Pair"

    def __init__(self, connection: socket.socket, side: Side) -> None:
        self.socket: Final = connection
        self.fd: Final = connection.fileno()
        self.side: Final = side
        self.is_gone = False
        """Whether it has hung up: it may have sent more before, and takes nothing."""
        self.has_ended = False
        """Whether nothing more is passed on from here."""
        self.is_blocked = False
        """Whether the other end has to take more before anything is passed on from here."""
        self.is_in_flight = False
        """Whether the first byte here has been passed on, with a descriptor that the other end may not have read."""
        self.interest: int | None = None

    @property
    def other(self) -> "_End":
        """Return the other end."""
        return self.pair.server if self.side is Side.CLIENT else self.pair.client

    def send(self, data: bytes, fds: Sequence[int]) -> int | None:
        """Send; return how many bytes were taken, None if none ever will be."""
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            return self.socket.sendmsg([data], control)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in GONE:
                raise
            return None

    def shut(self, how: int) -> None:
        """Shut down one direction."""
        try:
            self.socket.shutdown(how)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # it is gone altogether
                raise

    def has_unread(self) -> bool:
        """Tell whether something that was sent has not been read."""
        count: int = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]
        return count > 0

    def has_left_something(self) -> bool:
        """Tell whether it has closed its socket with something unread. That is told once."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET

    def has_room(self) -> bool:
        """Tell whether a byte would be taken now, or refused for good."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(0))


class _Pair:
    """A client, its connection to the server, and who follows the two."""

    def __init__(self, client: _End, server: _End, follower: Follower) -> None:
        self.client: Final = client
        self.server: Final = server
        self.follower: Follower | None = follower
        self.is_open = True


def _name_of(fd: int) -> str:
    """Return what the kernel calls an open file, such as `socket:[1234]`, without asking the file for anything."""
    return os.readlink(f"/proc/self/fd/{fd}")
