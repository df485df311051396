"""Wrong rules: what is read when a client hangs up, what a full socket does, what rides on which byte."""

import errno
import select
import selectors
import socket
from functools import partial

from tests.wrong import registry
from tests.wrong.rules.escapes import NO_FULL_SOCKETS, NO_PROCESS, NOT_GENERATED

from scache_reference import shell
from scache_reference.shell import Shell
from scache_spec import events
from scache_spec.attributes import Decoded, decode
from scache_spec.conversation import State
from scache_spec.effects import SendDescriptor

wrong = partial(registry.wrong, escapes=NO_PROCESS)


class Socket:
    """A client's socket that does some things as somebody else says."""

    def __init__(self, connection, **methods):
        self.connection, self.methods = connection, methods

    def __getattr__(self, name):
        return self.methods.get(name) or getattr(self.connection, name)


# The end of the stream.


def happened(connection, event):
    """Tell whether poll(2) sees this event now."""
    poll = select.poll()
    poll.register(connection, event)
    return bool(poll.poll(0))


def end_at(event, right, self, client, mask):
    """Forget a client at this event of poll(2), before anything is read."""
    if happened(self._sockets[client], event):
        self._apply(events.on_gone(self._state, client))
    else:
        right(self, client, mask)


@wrong("CONN-11", "FD-3", of=Shell._serve)
def hangup_comes_first(*given):
    """When a client has hung up, what it sent before is not read."""
    end_at(select.POLLHUP, *given)


@wrong("CONN-3", of=Shell._serve)
def half_hangup_comes_first(*given):
    """When a client has shut down sending, what it sent before is not read."""
    end_at(select.POLLRDHUP, *given)


@wrong("CONN-3", of=Shell._read_bytes)
def end_of_stream_comes_first(right, self, client):
    """When the end of the stream was read with several lists, only the first of them is served."""
    if not happened(self._sockets[client], select.POLLRDHUP):
        return right(self, client)
    try:
        data = self._sockets[client].recv(shell.READ_BYTES_MAX)
    except ConnectionResetError:
        data = b""
    decoded = decode(data, 10**9, 10**9)
    if isinstance(decoded, Decoded):
        data = data[: len(data) - len(decoded.rest)]
    return self._apply(events.on_bytes(self._state, client, data) if data else events.on_gone(self._state, client))


@wrong("CONN-11", of=Shell._receive, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def end_of_stream_drops_replies(right, self, client, *given):
    """Replies that wait for room are dropped when their client shuts down sending."""
    received = right(self, client, *given)
    if client in self._at_end:
        self._apply(events.on_gone(self._state, client))
    return received


# Descriptors.


@wrong("FD-12", "CONN-3", of=Shell._read_descriptor)
def reads_on_past_the_descriptor(right, self, client):
    """What comes together with the byte that carries the descriptor is read with it, and forgotten."""
    connection = self._sockets[client]
    self._sockets[client] = Socket(connection, recvmsg=lambda _, *given: connection.recvmsg(65_536, *given))
    try:
        right(self, client)
    finally:
        if client in self._sockets:
            self._sockets[client] = connection


@wrong("FD-3", of=Shell._read_descriptor)
def descriptor_byte_must_be_nul(right, self, client):
    """A descriptor that comes on another byte than NUL is refused."""
    connection = self._sockets[client]
    try:
        first = connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        first = b"\0"
    if first in (b"", b"\0"):
        right(self, client)
    else:
        connection.recv(1)
        self._apply(events.on_descriptors(self._state, client, ()))


@wrong("FD-1", of=Shell._read_bytes)
def smuggled_descriptor_is_taken(right, self, client):
    """A descriptor that rides on a save_endp is parked for it, without an invitation."""
    if (received := self._receive(client, shell.READ_BYTES_MAX)) is None:
        return
    data, handles, _ = received
    self._apply(events.on_bytes(self._state, client, data))
    if handles and client in self._sockets and self._state.clients[client].state is State.DESCRIPTOR:
        self._apply(events.on_descriptors(self._state, client, handles[:1]))
        handles = handles[1:]
    self._apply(events.on_unsolicited(self._state, handles))


@wrong("FD-1", of=events.on_unsolicited, escapes=NO_PROCESS | NOT_GENERATED)
def stowaways_stay_open(right, server, handles):
    """A descriptor that rides on a byte that was not made for one stays open."""
    return server, ()


@wrong("ENDP-2", of=(selectors, "DefaultSelector"), escapes=NO_PROCESS | NOT_GENERATED)
def thousand_descriptors_are_too_many(right):
    """The server waits by select(2), which knows no descriptor above 1023."""
    return selectors.SelectSelector


# A full socket.


def send_by(right, self, client, **methods):
    """Send to clients by these functions, which get the socket first."""
    connection = self._sockets.get(client)
    if connection is not None and not isinstance(connection, Socket):
        bound = {name: lambda *given, method=method: method(connection, *given) for name, method in methods.items()}
        self._sockets[client] = Socket(connection, **bound)
    right(self, client)


@wrong("CONN-3", of=Shell._watch, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def full_socket_loses_the_client(*given):
    """A socket that takes no descriptor now is taken for a client that is gone."""

    def sendmsg(connection, *message):
        try:
            return connection.sendmsg(*message)
        except BlockingIOError as error:
            raise ConnectionResetError(errno.ECONNRESET, "taken for gone") from error

    send_by(*given, sendmsg=sendmsg)


@wrong("CONN-2", of=Shell._watch, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def waits_for_a_full_socket(*given):
    """A descriptor is sent by a call that waits until the socket takes it."""

    def sendmsg(connection, *message):
        connection.setblocking(True)
        try:
            return connection.sendmsg(*message)
        finally:
            connection.setblocking(False)

    send_by(*given, sendmsg=sendmsg)


@wrong("CONN-3", of=Shell._watch, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def part_is_taken_for_the_whole(*given):
    """What a socket did not take of a reply is forgotten."""

    def send(connection, data, *flags):
        connection.send(data, *flags)
        return len(data)

    send_by(*given, send=send)


@wrong("CONN-3", of=Shell._carry_out, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def descriptor_overtakes(right, self, effect):
    """A descriptor does not wait for what is to be sent before it."""
    right(self, effect)
    if not isinstance(effect, SendDescriptor):
        return
    outbox = self._outboxes[effect.client]
    while isinstance(outbox[0], bytes):
        try:
            sent = self._sockets[effect.client].send(outbox[0], socket.MSG_NOSIGNAL)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            outbox.rotate(1)
            return
        outbox[0] = outbox[0][sent:]
        self._state, _ = events.on_sent(self._state, effect.client, sent)
        if not outbox[0]:
            outbox.popleft()
