"""Wrong servers: what is read when a client hangs up, what a full socket does, what else becomes of a descriptor."""

import errno
import os
import select
import selectors
import socket

from tests.wrong.mutants.registry import mutant, wrap

from scache_reference import shell
from scache_reference.shell import Shell
from scache_spec import actions
from scache_spec import events as spec
from scache_spec.attributes import Decoded
from scache_spec.conversation import Action, State
from scache_spec.effects import CloseDescriptor, SendDescriptor


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


def end_at(event):
    """Forget a client at this event of poll(2), before anything is read."""

    def serve(right, self, client, mask):
        if happened(self._sockets[client], event):
            return self._apply(spec.on_gone(self._state, client))
        return right(self, client, mask)

    wrap(Shell, "_serve", serve)


@mutant("hangup-comes-first", "CONN-11", "FD-3")
def _():
    """When a client has hung up, what it sent before is not read."""
    end_at(select.POLLHUP)


@mutant("half-hangup-comes-first", "CONN-3")
def _():
    """When a client has shut down sending, what it sent before is not read."""
    end_at(select.POLLRDHUP)


@mutant("end-of-stream-comes-first", "CONN-3")
def _():
    """When the end of the stream was read with several lists, only the first of them is served."""

    def read_bytes(right, self, client):
        if not happened(self._sockets[client], select.POLLRDHUP):
            return right(self, client)
        try:
            data = self._sockets[client].recv(shell.READ_BYTES_MAX)
        except ConnectionResetError:
            data = b""
        decoded = spec.decode(data, 10**9, 64)
        if isinstance(decoded, Decoded):
            data = data[: len(data) - len(decoded.rest)]
        outcome = spec.on_bytes(self._state, client, data) if data else spec.on_gone(self._state, client)
        return self._apply(outcome)

    wrap(Shell, "_read_bytes", read_bytes)


@mutant("reads-on-past-the-descriptor", "FD-12", "CONN-3")
def _():
    """What comes together with the byte that carries the descriptor is read with it, and forgotten."""

    def read_descriptor(right, self, client):
        connection = self._sockets[client]
        self._sockets[client] = Socket(connection, recvmsg=lambda _, *given: connection.recvmsg(65_536, *given))
        try:
            return right(self, client)
        finally:
            if client in self._sockets:
                self._sockets[client] = connection

    wrap(Shell, "_read_descriptor", read_descriptor)


# A full socket.


def send_by(**methods):
    """Send to clients by these functions, which get the socket first."""

    def watch(right, self, client):
        connection = self._sockets.get(client)
        if connection is not None and not isinstance(connection, Socket):
            bound = {name: lambda *given, method=method: method(connection, *given) for name, method in methods.items()}
            self._sockets[client] = Socket(connection, **bound)
        right(self, client)

    wrap(Shell, "_watch", watch)


@mutant("full-socket-loses-the-client", "CONN-3")
def _():
    """A socket that takes no descriptor now is taken for a client that is gone."""

    def sendmsg(connection, *given):
        try:
            return connection.sendmsg(*given)
        except BlockingIOError as error:
            raise ConnectionResetError(errno.ECONNRESET, "taken for gone") from error

    send_by(sendmsg=sendmsg)


@mutant("waits-for-a-full-socket", "CONN-2")
def _():
    """A descriptor is sent by a call that waits until the socket takes it."""

    def sendmsg(connection, *given):
        connection.setblocking(True)
        try:
            return connection.sendmsg(*given)
        finally:
            connection.setblocking(False)

    send_by(sendmsg=sendmsg)


@mutant("part-is-taken-for-the-whole", "CONN-3")
def _():
    """What a socket did not take of a reply is forgotten."""

    def send(connection, data, *given):
        connection.send(data, *given)
        return len(data)

    send_by(send=send)


@mutant("descriptor-overtakes", "CONN-3")
def _():
    """A descriptor does not wait for what is to be sent before it."""

    def carry_out(right, self, effect):
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
            self._state, _ = spec.on_sent(self._state, effect.client, sent)
            if not outbox[0]:
                outbox.popleft()

    wrap(Shell, "_carry_out", carry_out)


@mutant("session-is-lost-in-a-full-socket", "FD-10")
def _():
    """A session that a full socket did not take is closed when its client goes away."""

    def put_back(right, server, client, given):
        if client.state is not State.SENDING:
            return right(server, client, given)
        return server, (CloseDescriptor(client.held.handle),)

    wrap(actions.ACTIONS, Action.PUT_BACK, put_back)


# What becomes of a descriptor.


def shut_down(effects):
    """Shut down what these effects are about to close."""
    for each in effects:
        if isinstance(each, CloseDescriptor):
            try:
                socket.socket(fileno=os.dup(each.handle)).shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not a connection


@mutant("shuts-down-what-expires", "TTL-3", "FD-13")
def _():
    """A connection that expires is shut down, for whoever else has it, too."""

    def on_tick(right, server, now_ns):
        server, effects = right(server, now_ns)
        shut_down(effects)
        return server, effects

    wrap(spec, "on_tick", on_tick)


@mutant("shuts-down-what-is-refused", "FD-4")
def _():
    """Connections that are refused are shut down, for whoever else has them, too."""

    def refuse(right, server, client, given):
        server, effects = right(server, client, given)
        shut_down(effects)
        return server, effects

    wrap(actions.ACTIONS, Action.REFUSE, refuse)


@mutant("thousand-descriptors-are-too-many", "ENDP-2")
def _():
    """The server waits by select(2), which knows no descriptor above 1023."""
    selectors.DefaultSelector = selectors.SelectSelector
