"""The dance with one client: what a list means in which state, and how a descriptor changes hands.

Decides every reply and every change of state, and does the reads and writes on the client's socket. Refuses to know
when a client is ready, how long it may take, and who else there is: that is the loop's (server.py).

    REQUEST     list     served; save_endp leads to DESCRIPTOR, a find that hits to READY, everything else back here
    DESCRIPTOR  byte     parked, or refused with status 2                                            -> REQUEST
    READY       list     `dummy`: the descriptor is sent -> SENDING; anything else: session put back -> REQUEST
    SENDING     room     the descriptor goes out, our copy is closed                                 -> RECEIVED
    RECEIVED    list     swallowed                                                                   -> REQUEST
    any         failure  -> CLOSED; the loop then calls `abandon`

Guarantees:

* One owner for a descriptor at every moment. Saving: the kernel until recvmsg returns it, then this module, then
  the table, or closed. Finding: the table until `find_*`, then `client.session`, then the peer (our copy is closed
  after sendmsg returned), or the table again through `abandon`.
* Nothing here blocks, and no failure of a client's socket gets out of here.

Races worth telling:

1. A client writes its request and the descriptor byte at once, without waiting for our `dummy`. Linux ends a read
   behind the byte that carries a descriptor, so a plain read may have swallowed that byte, and the kernel has then
   closed the descriptor. Hence: the next byte that was already read *is* the descriptor byte, without a descriptor.
2. A client dies between our sendmsg and its recvmsg. The descriptor is in flight, owned by the kernel, which closes
   it with the client's socket. It cannot be had back; Postfix loses it in the same place.
3. A client is held up in the middle of its lists because its socket is full, and reads before the end of the turn,
   which then writes what was left. No event tells of that: `is_backlogged` does, and the loop goes on with its lists.
4. A client closes without reading our reply. Its requests have been served: what it saved is saved. A send then
   fails with EPIPE, or nothing fails and the next read is the end. Either way `abandon` puts a found session back.
"""

import errno
from collections.abc import Callable
from typing import Final

from scache_fast.engine import wire
from scache_fast.engine.attributes import Decoder, encode, parse_ttl, whole_list
from scache_fast.engine.client import CLOSED, DESCRIPTOR, READY, RECEIVED, REQUEST, SENDING, Client
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.log import Log, printable
from scache_fast.engine.statistics import Statistics
from scache_fast.engine.table import DONE, Session, Table
from scache_spec import vocabulary as words
from scache_spec.vocabulary import Limit, Limits, Status

READ_BYTES_MAX: Final = 16_384
"""How much one turn reads from one client. Arbitrary: real requests stay below 1 000 bytes."""

LISTS_PER_TURN_MAX: Final = 32
"""How much of a pipeline one turn serves for one client: about as long as a turn with 32 polite clients."""

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

_SAVE_ENDP_NAMES: Final = list(words.REQUEST_ATTRIBUTES[words.SAVE_ENDP])
_SAVE_DEST_NAMES: Final = list(words.REQUEST_ATTRIBUTES[words.SAVE_DEST])

_DUMMY: Final = encode(words.DUMMY, b"")


def _status(status: Status, *properties: bytes) -> bytes:
    fields = [field for value in properties for field in (words.PROPERTY, value)]
    return encode(words.STATUS, b"%d" % status, *fields)  # CONN-13


_DONE: Final = _status(Status.DONE)
_FAILED: Final = _status(Status.FAILED)
_UNKNOWN: Final = _status(Status.MALFORMED)
_MISSED_ENDP: Final = _status(Status.FAILED, b"")
_MISSED_DEST: Final = _status(Status.FAILED, b"", b"")
_MALFORMED: Final = {
    request: _status(Status.MALFORMED, *[b""] * count) for request, count in words.REPLY_PROPERTIES.items()
}

_OUTCOMES: Final = {REQUEST: "answered", DESCRIPTOR: "invited to send the descriptor", READY: "found"}
"""What a verbose log says about a request, by the state it leads to."""

_REQUEST_NAME: Final = words.REQUEST
_DUMMY_NAME: Final = words.DUMMY
_LABEL_NAME: Final = [words.LABEL]

Handler = Callable[[Client, list[bytes]], None]


class Conversations:
    """Serves the clients of one server, one call at a time."""

    def __init__(self, table: Table, statistics: Statistics, limits: Limits, log: Log, hooks: Hooks) -> None:
        self._table = table
        self._statistics = statistics
        self._limits = limits
        self._list_bytes_max = limits.attribute_list_bytes_max
        self._output_bytes_max = limits.output_bytes_max
        self._log = log
        self._verbose = log.verbose
        self._first_reserved = hooks.first_reserved
        self._is_alive = hooks.is_alive
        self._before_close = hooks.before_close
        self.now_ns = 0
        """The instant of the current turn; the loop sets it."""
        self.served = 0
        """How many lists were taken for requests since the start."""
        self._requests: dict[bytes, Handler] = {
            words.SAVE_ENDP: self._save_endp,
            words.FIND_ENDP: self._find_endp,
            words.SAVE_DEST: self._save_dest,
            words.FIND_DEST: self._find_dest,
        }

    # What the loop calls.

    def readable(self, client: Client) -> None:
        """Read once from the client and serve what came."""
        if client.is_backlogged:
            return  # its share of this turn is served from what was read before
        if client.state is DESCRIPTOR:
            self._receive_descriptor(client)
            return
        try:
            data = wire.receive(client.sock, READ_BYTES_MAX)  # FD-1
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(client, error)
            return
        if not data:
            client.state = CLOSED  # CONN-11
            return
        if client.decoder is None:
            # The cheap way: nothing is left over from before, and this is exactly one list, perhaps behind the list
            # that says "received", as smtp(8) likes to write it.
            if len(data) <= self._list_bytes_max:  # LIMIT-1
                if client.state is READY and data == _DUMMY:  # FD-6, FD-7
                    client.step_since_ns = self.now_ns
                    client.state = SENDING
                    return
                if client.state is RECEIVED and data.startswith(_DUMMY):  # FD-9
                    client.step_since_ns = self.now_ns
                    client.state = REQUEST
                    data = data[len(_DUMMY) :]
                    if not data:
                        return
                fields = whole_list(data)
                if fields is not None:
                    self._on_list(client, fields)
                    return
            client.decoder = Decoder(self._list_bytes_max)
        client.decoder.feed(data)  # CONN-3
        self.advance(client)

    def answer(self, client: Client) -> None:
        """Write what the client is to get: replies, then the descriptor that was found for it."""
        output = client.output
        if output and client.state is not CLOSED:
            try:
                sent = wire.send(client.sock, output)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(client, error)
                return
            if sent != len(output):
                client.output = output[sent:]  # CONN-3
                return
            client.output = b""
        if client.state is SENDING:
            self._send_descriptor(client)

    def writable(self, client: Client) -> None:
        """Write what is left, and go on with what had to wait for it."""
        self.answer(client)
        if client.decoder is not None and client.state is not CLOSED:
            self.advance(client)
            self.answer(client)

    def advance(self, client: Client) -> None:
        """Serve what was read from the client, up to its share of a turn, as far as its state and output let it."""
        decoder = client.decoder
        assert decoder is not None
        client.is_backlogged = True
        for _ in range(LISTS_PER_TURN_MAX):
            if client.state is SENDING or len(client.output) > self._output_bytes_max:
                self.answer(client)
            # LIMIT-6, CONN-3
            if client.state is SENDING or client.state is CLOSED or len(client.output) > self._output_bytes_max:
                break
            if client.state is DESCRIPTOR:
                if not decoder.skip_byte():  # FD-12
                    client.is_backlogged = False
                    break
                # Race 1: it came with the request, so no descriptor can have come with it.
                self._refuse_descriptor(client, "its byte came with the request, so without a descriptor")
            else:
                fields = decoder.next_list()
                if fields is None:
                    client.is_backlogged = False
                    break
                self._on_list(client, fields)  # CONN-3
        if decoder.overlong:  # LIMIT-1
            self.answer(client)
            self._meet_limit(Limit.ATTRIBUTE_LIST_BYTES, "client closed: its attribute list does not end")
            client.state = CLOSED  # LIMIT-1
        elif decoder.is_empty:
            client.decoder = None
            client.is_backlogged = False

    def abandon(self, client: Client) -> None:
        """Put back what was found for a client that will not get it."""
        session = client.session
        if session is not None:
            client.session = None
            if not self._table.put_back(session, self.now_ns):  # FD-10, ENDP-5
                self.discard(session)  # ENDP-6

    def discard(self, session: Session) -> None:
        """Close the descriptor of a session that nobody will get, a farewell first where one is wanted."""
        if self._before_close is not None:
            self._before_close(session)
        wire.discard(session.descriptor, self._log)

    # Lists.

    def _on_list(self, client: Client, fields: list[bytes]) -> None:
        """Serve a list, which is never read in DESCRIPTOR, SENDING and CLOSED."""
        client.step_since_ns = self.now_ns
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
        serve = self._requests.get(fields[1])  # CONN-12
        if serve is None:
            self._log.warning(f"unknown request {printable(fields[1])}")
            client.output += _UNKNOWN  # CONN-6
            return
        serve(client, fields)
        if self._verbose:
            self._log.detail(f"client {client.fd}: {' '.join(map(printable, fields[1::2]))}: {_OUTCOMES[client.state]}")

    # The four requests. Names are matched in order right behind the request; what follows the last does not matter.

    def _save_endp(self, client: Client, fields: list[bytes]) -> None:
        ttl_s = parse_ttl(fields[3]) if fields[2:8:2] == _SAVE_ENDP_NAMES else None  # WIRE-6, WIRE-7
        if ttl_s is None:  # CONN-7
            self._malformed(client, fields)
            return
        client.saving = fields[5], fields[7], ttl_s
        client.state = DESCRIPTOR
        client.output += _DUMMY  # FD-2

    def _find_endp(self, client: Client, fields: list[bytes]) -> None:
        if fields[2:3] != _LABEL_NAME:  # WIRE-6, WIRE-7, CONN-7
            self._malformed(client, fields)
            return
        label = fields[3]
        session = self._table.find_endp(label)
        while session is not None and self._is_alive is not None and not self._is_alive(session):
            wire.discard(session.descriptor, self._log)
            session = self._table.find_endp(label)
        if session is None:
            self._statistics.endp_misses += 1  # STAT-2
            client.output += _MISSED_ENDP  # CONN-9
            return
        self._statistics.endp_hits += 1  # STAT-2, STAT-3
        client.session = session  # CONN-10
        client.state = READY
        client.output += b"status\x000\x00property\x00%b\0\0" % session.properties  # CONN-10, CONN-13

    def _save_dest(self, client: Client, fields: list[bytes]) -> None:
        ttl_s = parse_ttl(fields[3]) if fields[2:10:2] == _SAVE_DEST_NAMES else None  # WIRE-6, WIRE-7
        if ttl_s is None:  # CONN-7
            self._malformed(client, fields)
            return
        table = self._table
        destination = fields[5]
        if table.save_dest(destination, fields[7], fields[9], ttl_s, self.now_ns) is DONE:  # CONN-8
            self._statistics.saved_dest(table.destinations, table.used)  # STAT-4
            client.output += _DONE  # CONN-8
        else:
            self._meet_limit(Limit.BINDINGS, f"save_dest {printable(destination)} refused")
            client.output += _FAILED  # LIMIT-4

    def _find_dest(self, client: Client, fields: list[bytes]) -> None:
        if fields[2:3] != _LABEL_NAME:  # WIRE-6, WIRE-7, CONN-7
            self._malformed(client, fields)
            return
        label = fields[3]
        found = self._table.find_dest(label)
        while found is not None and self._is_alive is not None and not self._is_alive(found[1]):
            wire.discard(found[1].descriptor, self._log)
            found = self._table.find_dest(label)
        if found is None:
            self._statistics.dest_misses += 1  # STAT-2
            client.output += _MISSED_DEST  # CONN-9
            return
        self._statistics.dest_hits += 1  # STAT-2, STAT-3
        client.session = found[1]  # CONN-10
        client.state = READY
        # CONN-13, DEST-4
        client.output += b"status\x000\x00property\x00%b\0property\x00%b\0\0" % (found[0], found[1].properties)

    def _malformed(self, client: Client, fields: list[bytes]) -> None:
        self._log.warning(f"bad or missing attribute in {printable(fields[1])}: {printable(encode(*fields[2:]))}")
        client.output += _MALFORMED[fields[1]]  # CONN-7, CONN-13

    # Descriptors.

    def _receive_descriptor(self, client: Client) -> None:
        try:
            data, descriptors, is_truncated = wire.receive_descriptors(client.sock, 1)  # FD-12
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(client, error)
            return
        if not data:
            client.state = CLOSED  # CONN-11
            return
        if len(descriptors) != 1 or is_truncated:  # FD-4, FD-5
            for descriptor in descriptors:
                wire.discard(descriptor, self._log)  # FD-4
            # With the descriptor table full the kernel hands over what fits and says so in MSG_CTRUNC.
            truncated = ", and there were more than could be received" if is_truncated else ""
            self._refuse_descriptor(client, f"{len(descriptors)} descriptors came with the byte, not one{truncated}")
        elif self._first_reserved is not None and descriptors[0] >= self._first_reserved:  # LIMIT-8
            wire.discard(descriptors[0], self._log)
            self._refuse_descriptor(client, "the descriptors that are left are kept in reserve")
        else:
            self._park(client, descriptors[0])  # FD-3

    def _park(self, client: Client, descriptor: int) -> None:
        table = self._table
        endpoint, properties, ttl_s = client.saving
        client.step_since_ns = self.now_ns
        client.state = REQUEST
        if table.save_endp(endpoint, properties, descriptor, ttl_s, self.now_ns) is DONE:
            self._statistics.saved_endp(table.used, table.sessions)  # STAT-4
            client.output += _DONE  # FD-3
            return
        limit = table.session_limit(endpoint)
        wire.discard(descriptor, self._log)  # LIMIT-2, LIMIT-3
        self._meet_limit(limit or Limit.SESSIONS, f"save_endp {printable(endpoint)} refused")
        client.output += _FAILED  # LIMIT-2, LIMIT-3

    def _refuse_descriptor(self, client: Client, reason: str) -> None:
        self._log.warning(f"save_endp {printable(client.saving[0])} refused: {reason}")
        client.step_since_ns = self.now_ns
        client.state = REQUEST
        client.output += _FAILED  # FD-4

    def _send_descriptor(self, client: Client) -> None:
        """Send what was found; stays in SENDING when the socket is full."""
        session = client.session
        assert session is not None
        try:
            wire.send_descriptor(client.sock, session.descriptor)  # FD-6, FD-13
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(client, error)
            return
        client.step_since_ns = self.now_ns
        client.state = RECEIVED
        client.session = None  # FD-8, FD-11
        wire.close(session.descriptor, self._log)  # FD-8

    # Failures.

    def _lose(self, client: Client, error: OSError) -> None:
        if error.errno in CLIENT_LOST:
            self._log.detail(f"client {client.fd}: {error.strerror}")
        else:
            self._log.warning(f"client {client.fd} closed: unexpected failure of its socket: {error.strerror}")
        client.state = CLOSED

    def _meet_limit(self, limit: Limit, text: str) -> None:
        self._statistics.limit_hits[limit] += 1
        self._log.warning(f"{text}: limit {limit.value}={getattr(self._limits, limit.value)}")
