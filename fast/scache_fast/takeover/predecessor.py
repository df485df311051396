"""The process that is taken over: it gives everything away, waits whether that is taken, and goes or serves on.

The steps and their numbers are those of proof/TAKEOVER.md. From step 3 to the decision the loop takes no turn: nothing
is accepted, read, handed out or expired meanwhile, for `PATIENCE_S` at most.

Guarantees:

* Who may hand out is decided by one read of the eventfd, and by nothing else. Whatever went wrong after the offer, the
  eventfd is read before anything else is done.
* Before the offer everything leads back to serving on, as if there had been no takeover.
* After it was taken no request is carried out here. Hand-overs that have begun are finished, for `LAST_S` at most.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from scache_fast.admin.connections import Passing
from scache_fast.admin.protocol import VERSION, Request, RequestError
from scache_fast.engine.calls import Calls
from scache_fast.engine.client import Client
from scache_fast.engine.faults import described
from scache_fast.engine.log import Log
from scache_fast.engine.server import Server
from scache_fast.engine.table import Session
from scache_fast.takeover import snapshot
from scache_fast.takeover.channel import Channel, ChannelError, Message, TooManyInFlightError
from scache_fast.takeover.snapshot import FORMAT, ROWS_MAX, Connected, Kind, Listener, SnapshotError

PATIENCE_S: Final = 5.0
"""How long the server stands still for a takeover at most. Postfix's smtp(8) waits as long for a step."""

LAST_S: Final = 5.0
"""How long hand-overs that have begun may take after the takeover."""

_WORDS_BYTES_MAX: Final = 65_536
"""Longest message that is taken from the new process. Arbitrary: it says a word, or why it gives up."""

_OFFERED: Final = 1
"""The count of the eventfd after the offer; one read takes all of it."""

_OWN_DESCRIPTORS: Final = 32
"""How many a server needs for itself. A bit too many."""


class Place(NamedTuple):
    """A listening socket, and the file that this process made for it, as an O_PATH descriptor."""

    sock: socket.socket
    path: bytes
    file: int | None


class Estate(Protocol):
    """What belongs to the process and not to the engine."""

    def refusal(self, pid: int, is_of_service: bool) -> str:
        """Say why a process cannot take over; nothing: it can. It may be one that systemd has started."""

    def place_of(self, listener: socket.socket) -> Place:
        """Return what is known about a listening socket for clients."""

    @property
    def admin(self) -> Place:
        """Return the listening socket for operators."""

    def counts(self) -> dict[str, int]:
        """Return what the process counts itself."""

    def rest(self) -> None:
        """Take operators out of epoll."""

    def wake(self) -> None:
        """Let operators in again."""

    @property
    def notices(self) -> tuple[int, int] | None:
        """Return the connection to systemd, and after how many ns of silence it ends the service, 0: never."""

    def leave(self, pid: int) -> None:
        """Close our copies of everything above, and remove no file: all of it is the next process's, with this number.

        The loop takes four turns a second from now on.
        """

    def may_end(self) -> bool:
        """Say whether systemd knows that the next process is the main one of the service; may wait for 5 s."""


class Attempt:
    """One takeover, from the request of the new process on."""

    def __init__(self, pid: int, channel: Channel, offer: int, deadline_s: float) -> None:
        self.pid = pid
        """The new process."""
        self.channel = channel
        self.offer = offer
        """The eventfd. Its count is 1 from the offer on, until one of the two processes has read it."""
        self.deadline_s = deadline_s
        self.is_ready = False
        self.is_watched = True
        self.unconfirmed = 0

    def close(self) -> None:
        """Close what only this attempt has."""
        self.channel.close()
        os.close(self.offer)


class Predecessor:
    """Gives a server to another process, if one asks. The loop calls `after_turn` after each turn."""

    def __init__(self, server: Server, estate: Estate, descriptors: int, log: Log) -> None:
        self._server = server
        self._exchange = server.exchange
        self._estate = estate
        self._portion = min(ROWS_MAX, max(1, descriptors // 8))
        """How many descriptors go in one message. The kernel counts those under way against the limit of open files."""
        self._unconfirmed_max = max(2, descriptors // 2 // self._portion)
        """How many messages are under way at once. The two processes wait for each other as seldom as that allows: each
        wait costs as much as the work on a message, and more on a busy machine."""
        self._log = log
        self._attempt: Attempt | None = None
        self._until_s = 0.0
        self._is_passed_on = False
        """The new process has got what was counted here after the takeover."""

    def takeover(self, request: Request) -> Iterator[dict[str, object]]:
        """Step 2: give a new process what it needs for an attempt."""
        server, exchange = self._server, self._exchange
        if exchange.is_left or self._attempt is not None:
            raise RequestError("another process is taking over: wait until it has, or has given up")
        pid = request.get("pid")
        refusal = self._estate.refusal(pid if isinstance(pid, int) else 0, request.get("service") is True)
        if refusal:
            raise RequestError(refusal)
        if "format" not in request:
            raise RequestError("a new server asks for a takeover: start one with scached --takeover ADMIN_SOCKET")
        if request["format"] != FORMAT:
            raise RequestError(
                f"snapshots of format {str(request.get('format'))[:20]} are not known here, only format {FORMAT}: "
                "restart the server instead"
            )
        if not isinstance(pid, int):
            raise RequestError("the new process does not say its pid")
        descriptors = request.get("descriptors")
        wanted = server.table.sessions + server.clients + 2 * server.listeners + _OWN_DESCRIPTORS
        if not isinstance(descriptors, int) or descriptors < wanted:
            raise RequestError(
                f"the new process may open {str(descriptors)[:20]} more descriptors, and {wanted} are wanted: raise "
                "its limit of open files (ulimit -n)"
            )
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise _cannot_begin(error) from None
        channel = Channel(ours, _WORDS_BYTES_MAX)
        notices = self._estate.notices
        passed = [theirs.detach()]
        try:
            offer = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            passed += [offer, os.pidfd_open(os.getpid())]
            passed[1] = os.dup(offer)
            if notices is not None:
                passed.append(os.dup(notices[0]))
            server.watch(channel.fileno(), self._on_control)
        except OSError as error:
            channel.close()
            for descriptor in passed:
                os.close(descriptor)
            raise _cannot_begin(error) from None
        self._attempt = Attempt(pid, channel, offer, time.monotonic() + PATIENCE_S)
        watchdog_ns = 0 if notices is None else notices[1]
        yield Passing({"v": VERSION, "ok": True, "pid": os.getpid(), "watchdog_ns": watchdog_ns}, passed)

    def after_turn(self, server: Server) -> None:
        """Carry out an attempt whose new process is ready; end one whose new process is not in time."""
        attempt = self._attempt
        if self._exchange.is_left:
            self._finish()
        elif attempt is not None and attempt.is_ready:
            self._hand_over(attempt)
        elif attempt is not None and time.monotonic() >= attempt.deadline_s:
            self._give_up(attempt, "the new process is not ready in time")

    def close(self) -> None:
        """End whatever goes on."""
        if self._exchange.is_left and self._server.clients:
            self._finish()  # SIGTERM came after the last turn.
        if self._attempt is not None:
            self._end(self._attempt)

    def _end(self, attempt: Attempt) -> None:
        self._unwatch(attempt)
        attempt.close()
        self._attempt = None

    def _unwatch(self, attempt: Attempt) -> None:
        if attempt.is_watched:
            attempt.is_watched = False
            self._server.unwatch(attempt.channel.fileno())

    def _on_control(self) -> None:
        attempt = self._attempt
        assert attempt is not None
        try:
            message = attempt.channel.receive_now()
        except (ChannelError, SnapshotError) as error:
            self._give_up(attempt, str(error))
            return
        if message is not None:
            attempt.is_ready = message.kind is Kind.READY
            self._server.steering.let_go(message.descriptors)  # There are none, or closing them may wait.

    def _give_up(self, attempt: Attempt, reason: str) -> None:
        try:
            attempt.channel.send(Kind.REFUSED, reason.encode(errors="backslashreplace"), [], time.monotonic())
        except (ChannelError, TooManyInFlightError):
            pass
        self._end(attempt)
        self._log.warning(f"the takeover failed, this process continues: {reason}")

    # Steps 3 to 7.

    def _hand_over(self, attempt: Attempt) -> None:
        began_s = time.monotonic()
        attempt.deadline_s = began_s + PATIENCE_S
        self._unwatch(attempt)
        self._estate.rest()
        listeners, clients = self._exchange.freeze()
        sessions = self._server.table.parked()
        reason: str | None = None
        try:
            self._send_everything(attempt, listeners, clients, sessions)
            os.eventfd_write(attempt.offer, _OFFERED)  # LIFE-12
        except (ChannelError, SnapshotError, TooManyInFlightError) as error:
            reason = str(error)
        except Exception as error:  # Whatever it is: this server has everything, and serves on.
            reason = f"unexpected {described(error)}"
        if reason is None:
            reason = self._takes_back(attempt)  # LIFE-12
        if reason is None:
            self._leave(attempt, len(sessions), len(clients), time.monotonic() - began_s)
            self._finish()
            return
        self._exchange.thaw()
        self._estate.wake()
        self._give_up(attempt, reason)

    def _send_everything(
        self, attempt: Attempt, listeners: list[socket.socket], clients: list[Client], sessions: list[Session]
    ) -> None:
        server = self._server
        places = [*map(self._estate.place_of, listeners), self._estate.admin]
        rows = [Listener(place.path, place is places[-1], place.file is not None) for place in places]
        descriptors = [
            descriptor for place in places for descriptor in (place.sock.fileno(), place.file) if descriptor is not None
        ]
        bindings = server.table.bound()
        self._send(attempt, Kind.LISTENERS, snapshot.encode_listeners(rows), descriptors)
        counts = self._exchange.counts(server.turns) | self._estate.counts()
        self._send(attempt, Kind.COUNTS, snapshot.encode_counts(counts), [])
        for portion in snapshot.cut(clients, _client_bytes, self._portion):
            self._send_clients(attempt, portion)
        for some in snapshot.cut(sessions, snapshot.session_bytes, self._portion):
            self._send(attempt, Kind.SESSIONS, snapshot.encode_sessions(some), [each.descriptor for each in some])
        for bound in snapshot.cut(bindings, snapshot.binding_bytes):
            self._send(attempt, Kind.BINDINGS, snapshot.encode_bindings(bound), [])
        totals = {"listeners": len(places), "clients": len(clients), "sessions": len(sessions),
                  "bindings": len(bindings)}  # fmt: skip
        self._send(attempt, Kind.END, snapshot.encode_counts(totals), [])
        while attempt.unconfirmed:
            self._await_confirmation(attempt)

    def _send_clients(self, attempt: Attempt, clients: Sequence[Client]) -> None:
        rows = [_connected(client, self._server.calls) for client in clients]
        self._send(attempt, Kind.CLIENTS, snapshot.encode_clients(rows), [client.fd for client in clients])

    def _send(self, attempt: Attempt, kind: Kind, payload: bytes, descriptors: list[int]) -> None:
        """Step 4: send a message, once few enough others are unconfirmed."""
        while attempt.unconfirmed >= self._unconfirmed_max:
            self._await_confirmation(attempt)
        while True:
            try:
                attempt.channel.send(kind, payload, descriptors, attempt.deadline_s)
                break
            except TooManyInFlightError:
                if not attempt.unconfirmed:
                    raise
                self._await_confirmation(attempt)
        attempt.unconfirmed += 1

    def _await_confirmation(self, attempt: Attempt) -> None:
        message = attempt.channel.receive(attempt.deadline_s)
        self._server.steering.let_go(message.descriptors)
        if message.kind is Kind.REFUSED:
            raise ChannelError(_said(message))
        if message.kind is not Kind.RECEIVED:
            raise SnapshotError(f"a message of kind {message.kind.name} is out of turn")
        attempt.unconfirmed -= 1

    def _takes_back(self, attempt: Attempt) -> str | None:
        """Step 7: wait a while, then take the offer back; return why it was not taken, None if it was."""
        reason = "the new process closed without a word"
        try:
            # That it is taken, that the other is gone, that it has had its time: none of this decides.
            message = attempt.channel.receive(attempt.deadline_s)
            if message.kind is Kind.REFUSED:
                reason = _said(message)
        except (ChannelError, SnapshotError) as error:
            reason = str(error)
        try:
            os.eventfd_read(attempt.offer)
        except BlockingIOError:
            return None
        return reason

    # After it was taken.

    def _leave(self, attempt: Attempt, sessions: int, clients: int, pause_s: float) -> None:
        self._until_s = time.monotonic() + LAST_S
        self._exchange.clear_counts(self._server.turns)
        self._exchange.leave()
        self._server.statistics.close_interval(self._server.statistics.start_s)
        self._estate.leave(attempt.pid)
        self._log.info(
            f"another process has taken over {sessions} parked connections and {clients} clients within "
            f"{pause_s * 1000:.0f} ms; {self._server.clients} clients finish here"
        )

    def _finish(self) -> None:
        """Pass on who is done, and what came back; end when nobody is left or the time is up."""
        attempt, server = self._attempt, self._server
        assert attempt is not None
        is_last = not server.is_running or time.monotonic() >= self._until_s
        if is_last:
            self._exchange.give_up()
        deadline_s = max(self._until_s, time.monotonic() + 1)
        back = self._exchange.take_back()
        try:
            for some in snapshot.cut(back, snapshot.session_bytes, self._portion):
                payload, descriptors = snapshot.encode_sessions(some), [each.descriptor for each in some]
                attempt.channel.send(Kind.PUT_BACK, payload, descriptors, deadline_s)  # LIFE-11
            for client in self._exchange.movable:
                self._pass_on(attempt, client, deadline_s)
            if not server.clients and not self._is_passed_on:
                counts = self._exchange.counts(server.turns)
                attempt.channel.send(Kind.COUNTS, snapshot.encode_counts(counts), [], deadline_s)
                self._is_passed_on = True
        except (ChannelError, TooManyInFlightError) as error:
            self._log.warning(f"what is left cannot be passed on, and is closed: {error}")
            self._exchange.give_up()
            back += self._exchange.take_back()
        self._exchange.close_copies(back)
        if not server.clients and (self._estate.may_end() or not server.is_running):
            self._log.info("the process that has taken over has everything, this one ends")
            server.stop()

    def _pass_on(self, attempt: Attempt, client: Client, deadline_s: float) -> None:
        self._exchange.withdraw(client)
        try:
            payload = snapshot.encode_clients([_connected(client, self._server.calls)])
            attempt.channel.send(Kind.CLIENTS, payload, [client.fd], deadline_s)  # LIFE-11
        finally:
            self._exchange.part_with(client)


def _said(message: Message) -> str:
    return f"the new process says: {message.payload[:500].decode(errors='backslashreplace')}"


def _cannot_begin(error: OSError) -> RequestError:
    return RequestError(f"a takeover takes descriptors that cannot be had: {error.strerror}")


def _connected(client: Client, calls: Calls) -> Connected:
    endpoint, properties, ttl_s = client.saving
    is_in_flight = client.is_in_flight and calls.unread_bytes(client.fd) > 0
    return Connected(
        client.user, client.pid, int(client.state), client.step_since_ns,
        is_in_flight, ttl_s, endpoint, properties, client.unserved, client.output,
    )  # fmt: skip


def _client_bytes(client: Client) -> int:
    return len(client.unserved) + len(client.output)
