"""One connection to a server, kept between requests, and the steps of a dialogue done on it.

What each step is in system calls, when a connection may be used again and when a request is tried once more. How to
wait, and for how long, is not decided here: everything is a generator that yields a `Wait` and is sent whether the wait
came to its end in time. That is why the blocking and the asyncio client share every line of it.
"""

import array
import errno
import os
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack
from enum import Enum, auto
from functools import partial
from typing import Final, TypeAlias, TypeVar, assert_never

from scache_client.dialogue import (
    Arrival,
    Dance,
    Dialogue,
    Farewell,
    Receive,
    ReceiveDescriptor,
    Send,
    SendDescriptor,
    greet,
)
from scache_client.errors import ProtocolError, Refused, RequestTooLong, ServerGone, TimedOut
from scache_spec.vocabulary import DESCRIPTOR_BYTE, Limits

T = TypeVar("T")


class Wait(Enum):
    """What has to come true before the connection can go on."""

    READABLE = auto()
    WRITABLE = auto()
    BACKLOG = auto()
    """Room in the server's queue of new connections. No call waits for that: let a moment pass, and try."""


Waiting: TypeAlias = Generator[Wait, bool, T]

BACKLOG_PAUSE_S: Final = 0.01
"""The moment for `Wait.BACKLOG`. Arbitrary: short against the default timeout, long against a server's turn."""

_PATH_BYTES_MAX: Final = 107
"""Longest path of a UNIX socket on Linux: sun_path holds 108 bytes, the last of them NUL."""

_RECEIVE_BYTES: Final = 16_384
"""Arbitrary: real replies stay below 1 000 bytes."""

LIST_BYTES_MAX: Final = Limits().attribute_list_bytes_max
"""The longest list that a server takes unless configured otherwise."""

# The other end closed, in the middle of something (ECONNRESET) or before we wrote (EPIPE).
_LOST = frozenset({errno.EPIPE, errno.ECONNRESET})

# Nobody is there, or nobody we may talk to. Not among them: EMFILE and its like, which are this process's own trouble.
_UNREACHABLE = {
    errno.ENOENT: "there is no socket; start the server (scached --listen PATH), or give the path on which it listens",
    errno.ENOTDIR: "a part of this path is not a folder; give the path on which the server listens",
    errno.ECONNREFUSED: "no server listens; start it (scached --listen PATH), or give the path on which it listens",
    errno.EACCES: "this user may not connect; check the server's --mode and the modes of the folders above the socket",
    errno.EPROTOTYPE: "this is a socket of another type; give the path on which the server listens",
}

# Room for one descriptor more than is wanted: a second one is seen and refused, and the kernel closes any further.
_CONTROL_BYTES = socket.CMSG_SPACE(2 * array.array("i").itemsize)


class Connection:
    """A connection to the server at `path`, made when first needed.

    Guarantees:
    * It is kept only after a dialogue that ran to its end, a refusal included. Whatever else ends one (an error, a
      timeout, a cancelled task, KeyboardInterrupt) closes it: a half-done dance is never gone on with.
    * A request that found the *kept* connection gone is begun once more on a fresh one, if the dialogue says that this
      is safe. A timeout is not repeated, its time is over; and what fails on a fresh connection has failed.
    """

    def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
        self._path = os.fsdecode(path)
        # A leading NUL means a name outside of the file system; tools such as ss(8) write it so.
        visible = "@" + self._path[1:] if self._path.startswith("\0") else self._path
        self._name = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in visible)
        length = len(os.fsencode(self._path))
        if length == 0:
            raise ValueError("the path of the socket is empty; give the path on which the server listens")
        if "\0" in self._path and not self._path.startswith("\0"):
            # The kernel would read the path up to there, and connect to another socket.
            raise ValueError(f"{self._name} has a NUL byte, which no path can have: leave it out")
        if length > _PATH_BYTES_MAX:
            raise ValueError(
                f"{self._name} has {length} bytes; a socket's path has at most {_PATH_BYTES_MAX}: use a shorter one"
            )
        self._socket: socket.socket | None = None
        self._at_rest = False
        self._sent_bytes = 0  # of the list that was sent last

    def __str__(self) -> str:
        return f"{self._name} {'not connected' if self._socket is None else 'connected'}"

    def fileno(self) -> int:
        """Return the descriptor to wait for; -1 while there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Close this process's copy; another process that inherited the connection does not notice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _discard(self, connection: socket.socket) -> None:
        # A request that its event loop left behind may end when the next connection has been made.
        connection.close()
        if self._socket is connection:
            self._socket = None

    def request(self, dance: Dance[T]) -> Waiting[T]:
        """Carry out one dance; ServerGone, Refused or ProtocolError when it fails."""
        if self._socket is not None and self._at_rest:
            try:
                return (yield from self._converse(self._socket, dance()))
            except ServerGone as gone:
                if gone.maybe_parked or isinstance(gone, TimedOut):
                    raise
        fresh = yield from self._connect()
        return (yield from self._converse(fresh, dance()))

    def _connect(self) -> Waiting[socket.socket]:
        self.close()
        fresh = self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with ExitStack() as unwinding:
            unwinding.callback(self._discard, fresh)
            while not self._is_connected(fresh):
                if not (yield Wait.BACKLOG):
                    raise TimedOut(
                        f"{self._name}: the server accepted no connection in time; it is overloaded or stopped"
                    )
            unwinding.pop_all()
        yield from self._converse(fresh, greet())
        return fresh

    def _is_connected(self, fresh: socket.socket) -> bool:
        try:
            fresh.connect(self._path)
        except BlockingIOError:
            return False  # the backlog is full
        except OSError as error:
            if error.errno not in _UNREACHABLE:
                raise
            raise ServerGone(f"{self._name}: {_UNREACHABLE[error.errno]}") from error
        return True

    def _converse(self, connection: socket.socket, dialogue: Dialogue[T]) -> Waiting[T]:
        self._at_rest = False
        with ExitStack() as unwinding:
            unwinding.callback(self._discard, connection)
            try:
                result, intact = yield from self._play(connection, dialogue)
            except Refused:
                self._rest(unwinding)
                raise
            if intact:
                self._rest(unwinding)
            return result

    def _play(self, connection: socket.socket, dialogue: Dialogue[T]) -> Waiting[tuple[T, bool]]:
        """Do every step; return the result and whether the connection can be used again."""
        intact = True
        try:
            step = next(dialogue)
            while True:
                if isinstance(step, Farewell):
                    intact = _bid_farewell(connection, step)
                    step = dialogue.send(Arrival())
                else:
                    step = dialogue.send((yield from self._perform(connection, step)))
        except StopIteration as stop:
            return stop.value, intact

    def _rest(self, unwinding: ExitStack) -> None:
        unwinding.pop_all()
        self._at_rest = True

    def _perform(
        self, connection: socket.socket, step: Send | SendDescriptor | Receive | ReceiveDescriptor
    ) -> Waiting[Arrival]:
        match step:
            case Send(data):
                self._sent_bytes = len(data)
                rest = memoryview(data)
                while rest:
                    sent = yield from self._attempt(partial(connection.send, rest, socket.MSG_NOSIGNAL), step)
                    rest = rest[sent:]
                return Arrival()
            case SendDescriptor(fd):
                yield from self._attempt(partial(_send_descriptor, connection, fd), step)
                return Arrival()
            case Receive():
                arrival = yield from self._attempt(partial(_receive, connection), step)
            case ReceiveDescriptor():
                arrival = yield from self._attempt(partial(_receive_descriptor, connection), step)
            case _:
                assert_never(step)
        if not arrival.data:
            raise self._gone(step)
        return arrival

    def _attempt(self, call: Callable[[], T], step: Send | SendDescriptor | Receive | ReceiveDescriptor) -> Waiting[T]:
        """Make a system call as soon as it does not block."""
        receiving = isinstance(step, Receive | ReceiveDescriptor)
        wait = Wait.READABLE if receiving else Wait.WRITABLE
        must_wait = receiving  # An answer is hardly ever there already; room to send nearly always is.
        while True:
            if must_wait and not (yield wait):
                raise TimedOut(
                    f"{self._name}: timed out while {'waiting for' if receiving else 'sending'} {step.purpose}; "
                    "the server is stopped or overloaded, or timeout_s is too short",
                    maybe_parked=step.maybe_parked,
                )
            try:
                return call()
            except BlockingIOError:
                must_wait = True
            except OSError as error:
                if error.errno not in _LOST:
                    raise
                raise self._gone(step) from error

    def _gone(self, step: Send | SendDescriptor | Receive | ReceiveDescriptor) -> ServerGone:
        what = f"{self._name}: the server closed the connection before {step.purpose}"
        # With the go-ahead or a find's reply, the server has taken the list.
        if isinstance(step, Send | Receive) and not step.maybe_parked and self._sent_bytes > LIST_BYTES_MAX:
            return RequestTooLong(
                f"{what}; the request has {self._sent_bytes} bytes, and most servers accept {LIST_BYTES_MAX} "
                "(attribute_list_bytes_max): shorten labels and properties, or raise the server's limit"
            )
        return ServerGone(f"{what}; it ended, or has too many clients: see its log", maybe_parked=step.maybe_parked)


def _send_descriptor(connection: socket.socket, fd: int) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
    connection.sendmsg([DESCRIPTOR_BYTE], [rights], socket.MSG_NOSIGNAL)


def _receive(connection: socket.socket) -> Arrival:
    # A plain recv: should a descriptor come where none belongs, the kernel closes it.
    return Arrival(connection.recv(_RECEIVE_BYTES))


def _receive_descriptor(connection: socket.socket) -> Arrival:
    """Receive one byte with one descriptor; any other number of them is closed, and a ProtocolError."""
    data, control, flags, _ = connection.recvmsg(1, _CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(payload[: len(payload) // fds.itemsize * fds.itemsize])
    truncated = bool(flags & socket.MSG_CTRUNC)
    if data and (len(fds) != 1 or truncated):
        for fd in fds:
            os.close(fd)
        problem = (
            # Linux drops what does not fit into the descriptor table and says no more than this.
            "descriptors were cut off: more than one was sent, or this process has none left (ulimit -n)"
            if truncated
            else f"{len(fds)} descriptors instead of one"
        )
        raise ProtocolError(f"byte {data!r} came with {problem}; the connection is closed")
    return Arrival(data, fds[0] if fds else -1)


def _bid_farewell(connection: socket.socket, step: Farewell) -> bool:
    """Say whether all of it was sent. Not sending it costs the connection and nothing else."""
    try:
        return connection.send(step.data, socket.MSG_NOSIGNAL) == len(step.data)
    except OSError:
        # Whatever it is: the descriptor is in our hands, and giving up this connection is the answer to all of them.
        return False
