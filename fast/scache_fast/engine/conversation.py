"""The conversation with one client: what a list means in which state, and how a descriptor is received and sent.

This module reads from and writes to the client's socket, and changes the state. requests.py carries out the requests.
The loop (server.py) decides when a client is served and how long a step may take.

    in state    when this comes   do this                                          then wait in
    REQUEST     save_endp         send the invitation                              DESCRIPTOR
    REQUEST     a find that hits  reply, hold the session                          READY
    REQUEST     any other list    reply or discard                                 REQUEST
    DESCRIPTOR  a byte            park, or refuse with status 2                    REQUEST
    READY       `dummy`           send the descriptor                              SENDING
    READY       any other list    put the session back                             REQUEST
    SENDING     room              the descriptor is sent, close our copy           RECEIVED
    RECEIVED    a list            discard                                          REQUEST
    any         a failure         the loop calls `abandon`                         CLOSED

Guarantees:

* A descriptor has one owner at every moment. Of a save: the kernel until recvmsg returns it, then this module, then the
  table; or it is closed. Of a find: the table until `find_*`, then `client.session`, then the client (our copy is
  closed after sendmsg returned), or the table again through `abandon`.
* Nothing here blocks, and no failure of a client's socket raises out of this module.

Races:

1. A client sends its request and the descriptor byte at once, without waiting for the invitation. One read may return
   both, and a descriptor that came with them is closed as unwanted. The next byte that was already read then *is* the
   descriptor byte, and carries no descriptor (FD-12).
2. A client dies between our sendmsg and its recvmsg. The descriptor is in flight. The kernel owns it and closes it
   together with the client's socket. Nobody can get it back; Postfix loses it in the same way.
3. The socket of a client is full in the middle of the client's lists, and the client reads before the end of the turn,
   when the loop writes the rest. No event reports that there is room again. `is_backlogged` notes that lists are left,
   and the loop serves them.
4. A client closes without reading our reply. A send fails with EPIPE, or nothing fails. In both cases what the client
   sent before is read and served, and the read after that reports the end. Then `abandon` puts a held session back.
5. A client receives a UNIX socket and holds its other end, too. It queues descriptors in the socket and closes its
   copy, all between our look at that queue and the close of our copy. What was queued is then closed by our close, and
   may be slow. So a thread closes such a socket, unless both users could end this process anyway.
"""

import errno
import socket
from typing import Final

from scache_fast.engine import wire
from scache_fast.engine.attributes import ATTRIBUTES_AT_ONCE_MAX, Decoder, encode
from scache_fast.engine.client import CLOSED, DESCRIPTOR, READY, RECEIVED, REQUEST, SENDING, Client
from scache_fast.engine.closing import Job
from scache_fast.engine.context import Context
from scache_fast.engine.requests import Postponed, Requests
from scache_fast.engine.table import Table
from scache_spec import vocabulary as words
from scache_spec.vocabulary import Limits

READ_BYTES_MAX: Final = 16_384
"""How much one turn reads from one client. Arbitrary: real requests stay below 1 000 bytes."""

_FIELDS_PER_PIECE: Final = 16
"""How many names and values of a list cost one more piece of work. Real requests have at most ten."""

WHOLE_SHARES: Final = 16
"""How many whole shares one turn does for clients that have just written, and how many for clients that had more than
their share before. If more than 16 clients have just written, each gets a part of a share. If more than 16 had more
than their share, the others wait for the next turns. Without both, a turn is as long as all clients take, and epoll
reports 64 clients in a turn: beside 900 clients that pipeline, a client with one request waited a second. Arbitrary: 16
shares take about 2 ms."""

CLIENT_LOST: Final = frozenset(
    {
        errno.EPIPE,  # it closed its end
        errno.ECONNRESET,  # it closed its end with our replies unread
        errno.ENOTCONN,  # it was gone before it was accepted
        errno.ENOBUFS,  # no kernel memory for this message; a client can come again, so nobody waits for it
        errno.ENOMEM,  # the same
        errno.ETOOMANYREFS,  # too many descriptors in flight to processes that do not take them
        errno.ETIMEDOUT,  # the rest cannot come from a UNIX socket today, and send(2) and recv(2) list them
        errno.ECONNREFUSED,
        errno.EMSGSIZE,
        errno.EACCES,  # a security module, on either call
        errno.EPERM,
    }
)
"""Failures of a client's socket that are news about the client. EINTR is retried by Python itself (PEP 475).

Any other one (EBADF, EFAULT, EINVAL, ENOTSOCK) says that this program made a mistake. It ends the client as well, and
not the server with everybody's connections; the log shows it as a warning.
"""

_UNIX: Final = int(socket.AF_UNIX)
_DUMMY: Final = encode(words.DUMMY, b"")
_REQUEST_NAME: Final = words.REQUEST
_DUMMY_NAME: Final = words.DUMMY


class Conversations:
    """Serves the clients of one server, one call at a time."""

    def __init__(self, table: Table, requests: Requests, context: Context, share: int) -> None:
        self._requests = requests
        self._turn = context.turn
        self._table = table
        self._context = context
        calls = context.calls  # Whoever calls a module's function by way of its module looks it up each time.
        self._receive = calls.receive
        self._send = calls.send
        self._pass_on = calls.send_descriptor
        self._unread_bytes = calls.unread_bytes
        self._close_at_once = calls.close_at_once
        self._whole_list = calls.whole_list
        self._passed: list[int] = []
        self._statistics = context.statistics
        self._counters = context.counters
        self.set_limits(context.limits)
        self._log = context.log
        self._first_reserved = context.hooks.first_reserved
        self._privileged = context.privileged
        self._faults = context.faults
        self._closer = context.closer
        self._whole_share = self._share = share
        self.served = 0
        """How many lists were taken for requests since the start."""

    def set_limits(self, limits: Limits) -> None:
        """Have other limits from now on; lists that have begun keep theirs."""
        self._list_bytes_max = limits.attribute_list_bytes_max
        self._attributes_max = limits.attributes_max
        self._attributes_at_once_max = min(limits.attributes_max, ATTRIBUTES_AT_ONCE_MAX)
        self._output_bytes_max = limits.output_bytes_max

    def postpone(self) -> None:
        """Carry out no request any more."""
        self._requests = Postponed(self._table, self._context)

    # What the loop calls.

    def share_among(self, count: int) -> None:
        """Do for each of so many clients what is its share of a turn, from now on."""
        whole = self._whole_share
        self._share = whole if count <= WHOLE_SHARES else max(1, WHOLE_SHARES * whole // count)

    def readable(self, client: Client) -> None:
        """Read once from the client and serve what came."""
        if client.is_backlogged:
            return  # its share of this turn is served from what was read before
        if (client.is_paused or client.surplus is not None or self._context.crowded_users) and self.pauses(client):
            return
        state, passed = client.state, self._passed
        try:
            bytes_max = 1 if state is DESCRIPTOR else READ_BYTES_MAX  # FD-12
            data = self._receive(client.sock, client.fd, bytes_max, passed)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(client, error)
            return
        if not data:
            client.is_at_end = True
            if client.output or (client.is_in_flight and self._is_unread(client)):
                client.is_backlogged = True  # CONN-11, FD-14
            else:
                client.state = CLOSED  # CONN-11
            return
        self._turn.work_left = self._share
        if passed:
            self._passed = []
        if state is DESCRIPTOR:
            self._on_descriptors(client, passed)
            return
        if passed:
            self._requests.close_unwanted(client, wire.descriptors_among(passed))  # FD-1
        if client.decoder is None and not (client.is_in_flight and self._is_unread(client)):
            # The cheap way: nothing is left over from before, and this is exactly one list, perhaps behind the list
            # that says "received", as smtp(8) likes to write it.
            if state is READY and data == _DUMMY:  # FD-6, FD-7
                client.step_since_ns = self._turn.now_ns
                client.state = SENDING
                return
            if state is RECEIVED and data.startswith(_DUMMY):  # FD-9
                client.step_since_ns = self._turn.now_ns
                client.state = REQUEST
                data = data[len(_DUMMY) :]
                if not data:
                    return
            # LIMIT-1
            fields = self._whole_list(data, self._attributes_at_once_max) if len(data) <= self._list_bytes_max else None
            if fields is not None:
                self._on_list(client, fields)
                client.is_backlogged = client.pending is not None
                return
        if client.decoder is None:
            client.decoder = Decoder(self._list_bytes_max, self._attributes_max)
        client.decoder.feed(data)  # CONN-3
        self.advance(client)

    def pauses(self, client: Client) -> bool:
        """Say whether the client has to wait until descriptors that it, or its user, passed are closed."""
        if client.surplus is not None:
            if not client.surplus.is_done:
                client.is_paused = True
                return True
            client.surplus = None
        crowded = self._context.crowded_users
        client.is_paused = bool(crowded) and client.user in crowded
        return client.is_paused

    def answer(self, client: Client) -> None:
        """Write what the client is to get: replies, then the descriptor that was found for it."""
        output = client.output
        if output and client.state is not CLOSED:
            try:
                sent = self._send(client.sock, client.fd, output)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EPIPE:
                    self._lose(client, error)
                    return
                # Race 4: nobody reads this reply, but what the client sent before it closed is still to be served.
                sent = len(output)  # CONN-11
            if sent != len(output):
                client.output = output[sent:]  # CONN-3
                return
            client.output = b""
        if client.state is SENDING:
            self._send_descriptor(client)

    def writable(self, client: Client) -> None:
        """Write what is left, and go on with what had to wait for it."""
        self.answer(client)
        if client.is_backlogged and client.state is not CLOSED:
            self.advance(client)
            self.answer(client)

    def advance(self, client: Client) -> None:
        """Serve what was read from the client, up to its share of a turn, as far as its state and output let it."""
        client.is_backlogged = True
        self._turn.work_left = self._share
        while self._turn.work_left > 0:
            if client.state is SENDING or len(client.output) > self._output_bytes_max:
                self.answer(client)
            # LIMIT-6, CONN-3
            if client.state is SENDING or client.state is CLOSED or len(client.output) > self._output_bytes_max:
                return
            if client.decoder is not None and client.decoder.is_empty:
                client.decoder = None
            is_all_served = client.decoder is None and client.pending is None and client.received < 0
            if is_all_served and not client.is_at_end:
                client.is_backlogged = False
                return
            if client.is_in_flight and self._is_unread(client):  # FD-14, CONN-3
                return
            if is_all_served:
                if not client.output:
                    client.state = CLOSED  # CONN-11, FD-14
                return
            if not self._serve_one(client):
                client.is_backlogged = False
                return
            self._turn.work_left -= 1

    def _serve_one(self, client: Client) -> bool:
        """Serve the first list or byte that was read from the client. False: there is no whole one."""
        if client.pending is not None:
            fields, client.pending = client.pending, None
            self._requests.carry_out(client, fields)
            return True
        if client.received >= 0:
            self._requests.park(client)
            return True
        decoder = client.decoder
        assert decoder is not None
        if client.state is DESCRIPTOR:
            # Race 1: the byte came with the request, so no descriptor can have come with it.
            decoder.skip_byte()  # FD-12
            self._requests.refuse_descriptor(client, "its byte came with the request, so without a descriptor")
            return True
        fields_read = decoder.next_list()
        if fields_read is None:  # WIRE-4
            if decoder.met is not None:  # LIMIT-1
                self.answer(client)
                met = self._requests.met(decoder.met)
                self._log.warning(f"{client.name} closed: its attribute list is too long: {met}")
                client.state = CLOSED  # LIMIT-1
            return False
        self._on_list(client, fields_read)  # CONN-3
        self._turn.work_left -= len(fields_read) // _FIELDS_PER_PIECE
        return True

    def abandon(self, client: Client) -> None:
        """Put back what was found for a client that will not get it, and close what it passed for nothing."""
        if client.received >= 0:
            descriptor, client.received = client.received, -1
            self._context.let_go(Job([descriptor], client.user))
        session = client.session
        if session is not None:
            client.session = None
            try:
                is_back = self._table.put_back(session, self._turn.now_ns)  # FD-10, ENDP-5
            except MemoryError as error:
                self._faults.contain("session closed, cannot be put back", error)
                is_back = False
            if is_back:
                self._requests.note_put_back(client, session)
            else:
                self._requests.note_expired(session)
                self._requests.discard(session)  # ENDP-6

    def _is_unread(self, client: Client) -> bool:
        """Say whether the descriptor that was sent is still on its way to the client; the cheap answer is a flag."""
        try:
            client.is_in_flight = self._unread_bytes(client.fd) > 0  # FD-14
        except OSError as error:
            self._lose(client, error)
        return client.is_in_flight

    # Lists.

    def _on_list(self, client: Client, fields: list[bytes]) -> None:
        """Serve a list, which is never read in DESCRIPTOR, SENDING and CLOSED."""
        client.step_since_ns = self._turn.now_ns
        if client.state is READY:
            if fields and fields[0] == _DUMMY_NAME:  # FD-6, FD-7
                client.state = SENDING
            else:
                client.state = REQUEST
                self.abandon(client)  # FD-7
            return
        if client.state is RECEIVED:  # FD-9
            client.state = REQUEST
            return
        if not fields or fields[0] != _REQUEST_NAME:  # CONN-4, CONN-5
            return
        self.served += 1
        self._requests.carry_out(client, fields)

    # Descriptors.

    def _on_descriptors(self, client: Client, passed: list[int]) -> None:
        """Take the one byte that a client was invited to send, with what it carried."""
        if len(passed) != 1 or passed[0] == wire.DROPPED:  # FD-4, FD-5
            descriptors = wire.descriptors_among(passed)
            if descriptors:
                self._requests.close_unwanted(client, descriptors)  # FD-4
            # With the descriptor table full the kernel hands over what fits.
            truncated = ", and there were more than could be received" if len(descriptors) != len(passed) else ""
            self._requests.refuse_descriptor(
                client, f"{len(descriptors)} descriptors came with the byte, not one{truncated}"
            )
        elif self._first_reserved is not None and passed[0] >= self._first_reserved:  # LIMIT-8
            self._requests.close_unwanted(client, passed)
            self._requests.refuse_descriptor(client, "the descriptors that are left are kept in reserve")
        elif client.user in self._closer.refused_users:  # FD-15
            self._requests.close_unwanted(client, passed)
            self._requests.refuse_descriptor(client, f"files that uid {client.user} passed before do not stop closing")
        else:
            client.received = passed[0]  # FD-3
            self._requests.park(client)
            client.is_backlogged = client.received >= 0

    def _send_descriptor(self, client: Client) -> None:
        """Send what was found; stays in SENDING when the socket is full.

        Our copy is closed here and not by the closer where that is known not to wait, because a thread costs more than
        all the rest of a find. It is the last one only if the client has closed its own already.
        """
        session = client.session
        assert session is not None
        try:
            self._pass_on(client.sock, client.fd, session.descriptor)  # FD-6, FD-13
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                self._statistics.too_many_in_flight += 1
                self._log.warning(f"{client.name} closed, session put back: {error.strerror}")
            self._lose(client, error)
            return
        self._counters.handed_over(self._turn.now_ns - session.saved_ns)
        client.step_since_ns = self._turn.now_ns
        client.state = RECEIVED
        client.is_in_flight = True
        client.session = None  # FD-8, FD-11
        known = self._privileged
        is_safe = session.domain != _UNIX or (client.user in known and session.user in known)  # Race 5
        try:
            is_closed = is_safe and self._close_at_once(session.descriptor, session.domain)  # FD-8, FD-15
        except OSError as error:
            self._log.warning(f"closing a descriptor: {error.strerror}")
            return
        if not is_closed:
            self._context.let_go(Job([session.descriptor], session.user))  # FD-15

    # Failures.

    def _lose(self, client: Client, error: OSError) -> None:
        if error.errno in CLIENT_LOST:
            self._log.detail(f"{client.name} is gone: {error.strerror}")
        else:
            self._log.warning(f"{client.name} closed: unexpected failure of its socket: {error.strerror}")
        client.state = CLOSED
