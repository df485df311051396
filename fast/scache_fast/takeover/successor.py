"""The process that takes over: it asks the old one for everything, checks it, and takes charge or goes without a trace.

The steps and their numbers are those of proof/TAKEOVER.md. `receive` is steps 1 to 4, `take` is step 6.

Guarantees:

* Until it has read the 1 from the eventfd, this process hands out nothing, reads from no client and accepts nobody.
* When it gives up, every copy is closed, without a farewell: the old process goes on with all of it.
* It begins with nothing only if the old process is dead and has offered nothing.
"""

import os
import select
import socket
import time
from collections.abc import Callable, Set
from typing import Final, NamedTuple, NoReturn

from scache_fast.admin.protocol import RequestError, decode, encode
from scache_fast.engine import wire
from scache_fast.engine.client import CLOSED, READY, SENDING, State
from scache_fast.engine.log import Log
from scache_fast.engine.server import Server
from scache_fast.engine.table import Session
from scache_fast.takeover import snapshot
from scache_fast.takeover.channel import Channel, ChannelError, Message, TooManyInFlightError
from scache_fast.takeover.predecessor import PATIENCE_S, Place
from scache_fast.takeover.snapshot import FORMAT, Kind, SnapshotError

_ANSWER_BYTES_MAX: Final = 65_536
_DEATH_S: Final = 5.0
"""How long the end of a process may come after the end of its sockets."""

_LOOK_S: Final = 0.1
"""How often a process that waits for the offer sees whether it was told to end."""

_STATES: Final = frozenset(map(int, State)) - {READY, SENDING, CLOSED}


class TakeoverError(Exception):
    """This process did not take over; the text says why."""


class Inheritance(NamedTuple):
    """What is the receiver's from now on, and what the old process counted."""

    places: list[Place]
    admin: Place
    counts: dict[str, int]
    notices: socket.socket | None
    """The connection to systemd; None: the old process had none."""

    watchdog_ns: int
    """After how long a silence systemd ends the service; 0: never."""


class Successor:
    """A takeover from the server behind an admin socket; raises TakeoverError if there is none.

    `users` are those whose server is taken over. What another user says is not believed: it names a file to be removed
    at the end. `is_of_service`: systemd has started this process.
    """

    def __init__(self, path: str, users: Set[int], is_of_service: bool, log: Log) -> None:
        self._path = path
        self._is_of_service = is_of_service
        self._log = log
        self._admin = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._admin.settimeout(PATIENCE_S)
        try:
            self._admin.connect(path)
        except OSError as error:
            self._admin.close()
            # Python has a text and no number for a path that is too long.
            raise TakeoverError(f"{path!r}: {error.strerror or error}") from None
        # The user that the process had when it began to listen.
        user, pid = wire.user_of(self._admin)
        if user not in users:
            self._admin.close()
            raise TakeoverError(
                f"{path!r}: uid {user}, pid {pid} listens there, who is neither root nor the user of this server "
                "(--user)"
            )
        self._channel: Channel | None = None
        self._offer = -1
        self._old = -1
        self._places: list[tuple[Place, bool]] = []
        self._counts: dict[str, int] = {}
        self._received = dict.fromkeys(("listeners", "clients", "sessions", "bindings"), 0)
        self._notices: socket.socket | None = None
        self._watchdog_ns = 0
        self._is_empty = False
        self._is_given = False
        """The admin socket has another owner now."""
        self._server: Server | None = None
        self._on_end: Callable[[], None] = _nothing
        self.pid = 0
        """The old process, once it has answered."""

    def receive(self, server: Server, descriptors: int) -> Inheritance:
        """Steps 1 to 4: have everything copied into a server that is empty and takes no turn; raises TakeoverError.

        `descriptors` is how many this process may have.
        """
        self._server = server
        try:
            channel = self._ask(descriptors)
            deadline_s = time.monotonic() + PATIENCE_S
            channel.send(Kind.READY, b"", [], deadline_s)
            while True:
                message = channel.receive(deadline_s)
                self._adopt(message, server)
                channel.send(Kind.RECEIVED, b"", [], deadline_s)
                if message.kind is Kind.END:
                    break
        except ChannelError as error:
            self._begin_with_nothing(str(error))
        except (SnapshotError, TooManyInFlightError, OSError) as error:
            self.give_up(str(error))
        self._is_given = True
        admins = [place for place, is_admin in self._places if is_admin]
        places = [place for place, is_admin in self._places if not is_admin]
        notices, self._notices = self._notices, None
        return Inheritance(places, admins[0], self._counts, notices, self._watchdog_ns)

    def take(self, now_ns: Callable[[], int], on_end: Callable[[], None]) -> None:
        """Step 6: take charge. Raises TakeoverError, and nothing is left here then.

        `on_end` is called when nothing more comes from the old process.
        """
        self._on_end = on_end
        server, channel = self._server, self._channel
        assert server is not None
        assert channel is not None
        if not self._is_empty and not self._reads_the_offer(server):
            self.give_up("it was not offered, or the offer was taken back")
        if self._is_empty:
            self._close()
            self._log.warning(f"process {self.pid} died before it could hand over: this one begins with nothing")
            return
        try:
            channel.send(Kind.TAKEN, b"", [], time.monotonic() + PATIENCE_S)
            server.watch(channel.fileno(), lambda: self._on_control(server, channel, now_ns))
            server.exchange.await_returns(True)
        except (ChannelError, TooManyInFlightError, OSError):
            self._close()  # It is dead: nothing more comes from it.
        counts = self._received
        self._log.info(
            f"took over from process {self.pid}: {counts['sessions']} parked connections, "
            f"{counts['bindings']} bindings, {counts['clients']} clients"
        )

    # Before it is in charge.

    def _ask(self, descriptors: int) -> Channel:
        """Step 1: ask for a takeover; return the control socket. Raises TakeoverError."""
        spare = descriptors - len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else descriptors
        request = {
            "id": 1, "verb": "takeover", "format": FORMAT, "descriptors": spare, "pid": os.getpid(),
            "service": self._is_of_service,
        }  # fmt: skip
        passed: list[int] = []
        try:
            self._admin.sendall(encode(request))
            answer = b""
            deadline_s = time.monotonic() + PATIENCE_S
            while not answer.endswith(b"\n") and len(answer) < _ANSWER_BYTES_MAX:
                if time.monotonic() >= deadline_s:
                    raise TimeoutError
                read: list[int] = []
                data = wire.receive(self._admin, self._admin.fileno(), _ANSWER_BYTES_MAX, read)
                passed += wire.descriptors_among(read)
                if not data:
                    break
                answer += data
            if not answer:
                raise RequestError("the server has closed the connection without an answer")
            found = decode(answer)
        except TimeoutError:
            self._close_all(passed)
            raise TakeoverError(
                f"{self._path!r}: no answer within {PATIENCE_S:.0f} s: give the admin socket of the server (--admin)"
            ) from None
        except (OSError, RequestError) as error:
            self._close_all(passed)
            raise TakeoverError(f"{self._path!r}: {error}") from None
        finally:
            self._admin.close()
        pid, watchdog_ns = found.get("pid"), found.get("watchdog_ns", 0)
        if (
            found.get("ok") is not True
            or len(passed) not in (3, 4)
            or not isinstance(pid, int)
            or not isinstance(watchdog_ns, int)
        ):
            self._close_all(passed)
            raise TakeoverError(f"{self._path!r}: {found.get('error', 'the answer is that of another program')}")
        control, self._offer, self._old, *notices = passed
        for descriptor in notices:
            self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, descriptor)
        self.pid, self._watchdog_ns = pid, watchdog_ns
        self._channel = Channel(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, control))
        return self._channel

    def _adopt(self, message: Message, server: Server) -> None:
        """Step 4: check a message, and take in what it has; raises SnapshotError and OSError."""
        kind, payload, descriptors = message
        rows = 0
        try:
            match kind:
                case Kind.LISTENERS:
                    for listener in snapshot.decode_listeners(payload):
                        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, _next(descriptors))
                        file = _next(descriptors) if listener.has_file else None
                        self._places.append((Place(sock, listener.path, file), listener.is_admin))
                        if not listener.is_admin:
                            server.add_listener(sock)
                        rows += 1
                    if [is_admin for _, is_admin in self._places].count(True) != 1:
                        raise SnapshotError("there is not one admin socket")
                    self._received["listeners"] += rows
                case Kind.CLIENTS:
                    self._received["clients"] += self._adopt_clients(payload, descriptors, server)
                case Kind.SESSIONS:
                    sessions = _sessions(payload, descriptors)
                    server.exchange.adopt_sessions(sessions)
                    self._received["sessions"] += len(sessions)
                case Kind.BINDINGS:
                    for bound in snapshot.decode_bindings(payload):
                        server.table.adopt_binding(*bound)
                        rows += 1
                    self._received["bindings"] += rows
                case Kind.COUNTS:
                    self._counts = snapshot.decode_counts(payload)
                    server.exchange.add_counts(self._counts)
                case Kind.END:
                    totals = snapshot.decode_counts(payload)
                    if totals != self._received:
                        raise SnapshotError(f"{self._received} came, and {totals} were sent")
                case Kind.REFUSED:
                    raise SnapshotError(payload[:500].decode(errors="backslashreplace"))
                case _:
                    raise SnapshotError(f"a message of kind {kind.name} is out of turn")
            if descriptors:
                raise SnapshotError(f"{len(descriptors)} descriptors came that belong to nothing")
        finally:
            self._close_all(descriptors)

    def _adopt_clients(self, payload: bytes, descriptors: list[int], server: Server) -> int:
        clients = snapshot.decode_clients(payload, _STATES)
        for each in clients:
            server.exchange.adopt_client(
                _next(descriptors), each.user, each.pid, each.state, each.step_since_ns, each.is_in_flight,
                (each.endpoint, each.properties, each.ttl_s), each.unserved, each.output,
            )  # fmt: skip
        return len(clients)

    def _reads_the_offer(self, server: Server) -> bool:
        """Wait for the offer, for `PATIENCE_S` at most, and read it; False: it was not made, or was taken back."""
        assert self._channel is not None
        deadline_s = time.monotonic() + PATIENCE_S
        poll = select.poll()
        poll.register(self._offer, select.POLLIN)
        poll.register(self._channel.fileno(), select.POLLIN)
        while not poll.poll(_LOOK_S * 1000):
            if not server.is_running or time.monotonic() >= deadline_s:
                return False  # SIGTERM, or the old process is stopped. If it offers later, it takes that back.
        if self._read():  # LIFE-12
            return True
        try:
            self._channel.receive_now()
        except (ChannelError, SnapshotError):
            if self._is_old_dead():
                # It may have offered, and then died: the end of the control socket was seen before the offer.
                if not self._read():  # LIFE-12
                    self._begin_with_nothing("it died before its offer")
                return True
        return False

    def _read(self) -> bool:
        try:
            os.eventfd_read(self._offer)
        except BlockingIOError:
            return False
        return True

    def _is_old_dead(self) -> bool:
        poll = select.poll()
        poll.register(self._old, select.POLLIN)
        return bool(poll.poll(_DEATH_S * 1000))

    def _begin_with_nothing(self, reason: str) -> None:
        """Begin with nothing but the listening sockets if the old process is dead; give up if it is not."""
        server = self._server
        assert server is not None
        if self._old < 0 or not self._places or not self._is_old_dead() or self._read():
            self.give_up(reason)
        self._is_empty = True
        server.exchange.forget_all_but_listeners()
        server.exchange.clear_counts(0)

    def give_up(self, reason: str) -> NoReturn:
        """Tell the old process why, close everything, and raise TakeoverError."""
        if self._channel is not None:
            try:
                self._channel.send(Kind.REFUSED, reason.encode(errors="backslashreplace"), [], time.monotonic())
            except (ChannelError, TooManyInFlightError):
                pass
        assert self._server is not None
        self._server.exchange.forget_everything()
        for place, is_admin in self._places:
            if not (is_admin and self._is_given):
                place.sock.close()
            if place.file is not None:
                os.close(place.file)
        if self._notices is not None:
            self._notices.close()
        self._close()
        raise TakeoverError(reason)

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._close_all([each for each in (self._offer, self._old) if each >= 0])
        self._offer = self._old = -1
        if self._server is not None:
            self._server.exchange.await_returns(False)
        self._on_end()

    def _close_all(self, descriptors: list[int]) -> None:
        while descriptors:
            os.close(descriptors.pop())

    # In charge.

    def _on_control(self, server: Server, channel: Channel, now_ns: Callable[[], int]) -> None:
        """Take in what the old process has finished with."""
        try:
            while (message := channel.receive_now()) is not None:
                self._adopt_late(message, server, now_ns())
        except (ChannelError, SnapshotError, OSError) as error:
            if isinstance(error, SnapshotError):
                self._log.warning(f"what process {self.pid} still sends is dropped: {error}")
            server.unwatch(channel.fileno())
            self._close()

    def _adopt_late(self, message: Message, server: Server, now_ns: int) -> None:
        kind, payload, descriptors = message
        try:
            match kind:
                case Kind.PUT_BACK:
                    for session in _sessions(payload, descriptors):
                        server.exchange.adopt_back(session, now_ns)  # LIFE-11
                case Kind.CLIENTS:
                    self._adopt_clients(payload, descriptors, server)
                case Kind.COUNTS:
                    server.exchange.add_counts(snapshot.decode_counts(payload))
                case _:
                    raise SnapshotError(f"a message of kind {kind.name} is out of turn")
        finally:
            self._close_all(descriptors)


_TOO_FEW: Final = "a message has fewer descriptors than rows"


def _nothing() -> None:
    """Do nothing."""


def _next(descriptors: list[int]) -> int:
    if not descriptors:
        raise SnapshotError(_TOO_FEW)
    return descriptors.pop(0)


def _sessions(payload: bytes, descriptors: list[int]) -> list[Session]:
    """Return the sessions of a message, which own its descriptors from now on."""
    rows = snapshot.decode_sessions(payload)
    if len(rows) > len(descriptors):
        raise SnapshotError(_TOO_FEW)
    sessions = snapshot.sessions_of(rows, descriptors[: len(rows)])
    del descriptors[: len(sessions)]
    return sessions
