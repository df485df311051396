"""Wrong servers: who speaks when, what is answered, where a descriptor passes, what death leaves behind."""

import os
import socket
from dataclasses import replace

from tests.wrong.mutants.registry import mutant, wrap

from scache_reference import shell
from scache_spec import actions
from scache_spec import events as spec
from scache_spec import server as servers
from scache_spec.attributes import Decoded, encode
from scache_spec.conversation import TRANSITIONS, Action, Input, State, Transition
from scache_spec.effects import CloseDescriptor, Send, SendDescriptor
from scache_spec.vocabulary import Handle, Status

ACTIONS = actions.ACTIONS


def row(state, what, *, next_state=None, action=None):
    """Change a row of the table."""
    right = TRANSITIONS[state, what]
    TRANSITIONS[state, what] = Transition(next_state or right.next, action or right.action, right.clause)


# Greeting.


@mutant("no-greeting", "CONN-1")
def _():
    """The server waits for the client to speak."""

    def on_connect(right, server, client_id, *given):
        server, effects = right(server, client_id, *given)
        sent = sum(len(each.data) for each in effects if isinstance(each, Send))
        client = server.clients[client_id]
        server = servers.with_client(server, replace(client, unsent_bytes=client.unsent_bytes - sent))
        return server, tuple(each for each in effects if not isinstance(each, Send))

    wrap(spec, "on_connect", on_connect)


@mutant("greets-as-something-else", "CONN-1")
def _():
    """The greeting names another protocol."""
    spec.GREETING = encode(((b"protocol", b"connection_cache"),))


# Answers.


@mutant("miss-is-malformed", "CONN-9")
def _():
    """A find that finds nothing is answered with status 1."""

    def reply_failed(right, server, client, given):
        server, (sent,) = right(server, client, given)
        return server, (replace(sent, data=sent.data.replace(b"status\x002", b"status\x001")),)

    wrap(ACTIONS, Action.REPLY_FAILED, reply_failed)


@mutant("malformed-is-a-failure", "CONN-7")
def _():
    """A malformed request is answered with status 2."""

    def reply_malformed(right, server, client, given):
        server, (sent,) = right(server, client, given)
        if client.state is State.REQUEST and given.request_name in spec.__dict__["KNOWN"]:
            sent = replace(sent, data=sent.data.replace(b"status\x001", b"status\x002"))
        return server, (sent,)

    spec.__dict__["KNOWN"] = {b"save_endp", b"find_endp", b"save_dest", b"find_dest"}
    wrap(ACTIONS, Action.REPLY_MALFORMED, reply_malformed)


@mutant("malformed-is-not-answered", "CONN-7")
def _():
    """A malformed request gets no reply."""
    row(State.REQUEST, Input.MALFORMED_REQUEST, action=Action.IGNORE)


@mutant("unknown-is-not-answered", "CONN-6")
def _():
    """A request of an unknown name gets no reply."""
    row(State.REQUEST, Input.UNKNOWN_REQUEST, action=Action.IGNORE)


@mutant("other-lists-are-answered", "CONN-5")
def _():
    """A list that is no request is answered with status 1."""
    row(State.REQUEST, Input.NO_REQUEST, action=Action.REPLY_MALFORMED)


@mutant("empty-list-is-answered", "CONN-4")
def _():
    """An empty list is answered with status 1."""
    row(State.REQUEST, Input.EMPTY_LIST, action=Action.REPLY_MALFORMED)


@mutant("empty-list-ends-it", "CONN-4")
def _():
    """An empty list ends the connection."""

    def serve(right, server, effects, client_id):
        client = server.clients.get(client_id)
        if client is not None and client.state is State.REQUEST and client.unread[:1] == b"\0":
            return right(*spec._take(server, replace(client, unread=b""), Input.GONE), client_id)
        return right(server, effects, client_id)

    wrap(spec, "_serve", serve)


@mutant("properties-swapped", "CONN-13", "DEST-4")
def _():
    """In the reply to find_dest the session's properties come before the binding's."""

    def hold(right, server, client, given):
        found = replace(given.found, properties=given.found.properties[::-1])
        return right(server, client, replace(given, found=found))

    wrap(ACTIONS, Action.HOLD, hold)


@mutant("no-properties-on-failure", "CONN-13")
def _():
    """Replies of status 1 and 2 hold the status alone."""

    def reply(right, request, status, *properties):
        return right(request, status, *properties)[: None if status is Status.DONE else 1]

    wrap(actions, "reply", reply)


@mutant("unknown-gets-a-property", "CONN-6", "CONN-13")
def _():
    """The reply to an unknown request has a property."""

    def reply(right, request, status, *properties):
        known = request in (b"save_endp", b"find_endp", b"save_dest", b"find_dest")
        return right(request, status, *properties) + (() if known else ((b"property", b""),))

    wrap(actions, "reply", reply)


@mutant("pipelined-request-is-dropped", "CONN-3", "FD-9", "WIRE-4", "CONN-5", "FD-12")
def _():
    """What came together with a list is forgotten when the list is served."""

    def decode(right, stream, *limits):
        decoded = right(stream, *limits)
        return replace(decoded, rest=b"") if isinstance(decoded, Decoded) else decoded

    wrap(spec, "decode", decode)


@mutant("pipelined-requests-are-reversed", "CONN-3")
def _():
    """Requests that came together are served last first."""

    def on_bytes(right, server, client_id, data):
        client, lists, rest = server.clients[client_id], [], data
        if client.state is State.REQUEST and not client.unread:
            while isinstance(decoded := spec.decode(rest, 10**9, 64), Decoded):
                lists.append(rest[: len(rest) - len(decoded.rest)])
                rest = decoded.rest
        if len(lists) > 1 and not rest and all(each.startswith(b"request\0") for each in lists):
            data = b"".join(lists[::-1])
        return right(server, client_id, data)

    wrap(spec, "on_bytes", on_bytes)


# The dance.


@mutant("no-invitation", "FD-2")
def _():
    """The descriptor is awaited without an invitation."""

    def invite(right, server, client, given):
        server, (sent,) = right(server, client, given)
        now = server.clients[client.id]
        return servers.with_client(server, replace(now, unsent_bytes=now.unsent_bytes - len(sent.data))), ()

    wrap(ACTIONS, Action.INVITE, invite)


@mutant("invitation-for-what-is-malformed", "CONN-7")
def _():
    """A malformed save_endp is answered with the invitation, then with status 1."""

    def reply_malformed(right, server, client, given):
        if given.request_name != b"save_endp":
            return right(server, client, given)
        server, first = servers.send(server, client, actions.INVITATION)
        server, second = right(server, client, given)
        return server, (*first, *second)

    wrap(ACTIONS, Action.REPLY_MALFORMED, reply_malformed)


@mutant("descriptor-byte-must-be-nul", "FD-3")
def _():
    """A descriptor that comes on another byte than NUL is refused."""
    from scache_reference.shell import Shell

    def read_descriptor(right, shell, client):
        connection = shell._sockets[client]
        try:
            first = connection.recv(1, 0x2)  # MSG_PEEK
        except BlockingIOError:
            first = b"\0"
        if first in (b"", b"\0"):
            return right(shell, client)
        connection.recv(1)
        return shell._apply(spec.on_descriptors(shell._state, client, ()))

    right = Shell._read_descriptor
    Shell._read_descriptor = lambda shell, client: read_descriptor(right, shell, client)


@mutant("two-descriptors-are-accepted", "FD-4")
def _():
    """Of two descriptors the first is parked and the other closed."""

    def on_descriptors(right, server, client_id, handles, *, truncated=False):
        server, effects = right(server, client_id, handles[:1], truncated=truncated)
        return server, (*(CloseDescriptor(each) for each in handles[1:]), *effects)

    wrap(spec, "on_descriptors", on_descriptors)


@mutant("leaks-a-refused-descriptor", "FD-4")
def _():
    """Descriptors that are refused stay open."""

    def refuse(right, server, client, given):
        server, effects = right(server, client, given)
        return server, tuple(each for each in effects if not isinstance(each, CloseDescriptor))

    wrap(ACTIONS, Action.REFUSE, refuse)


@mutant("no-descriptor-is-no-failure", "FD-4")
def _():
    """A byte without a descriptor is answered with status 0."""

    def refuse(right, server, client, given):
        server, effects = right(server, client, given)
        done = tuple(
            replace(each, data=each.data.replace(b"\x002", b"\x000")) if isinstance(each, Send) else each
            for each in effects
        )
        return server, effects if given.handles else done

    wrap(ACTIONS, Action.REFUSE, refuse)


@mutant("descriptor-without-ready", "FD-6", "FD-7", "FD-9", "FD-10", "ENDP-5")
def _():
    """The descriptor comes with the end of the reply."""
    row(State.REQUEST, Input.FIND_HIT, next_state=State.SENDING)

    def hold(right, server, client, given):
        server, effects = right(server, client, given)
        return server, (*effects, SendDescriptor(client.id, given.found.session.handle))

    def send(right, self, client):
        # In one message: whether a client sees what follows a message before its next step, is chance.
        match list(self._outboxes.get(client, ())):
            case bytes(reply), int(handle):
                socket.send_fds(self._sockets[client], [reply, shell.DESCRIPTOR_BYTE], [handle])
                self._outboxes[client].clear()
                self._apply(spec.on_sent(self._state, client, len(reply)))
                self._apply(spec.on_descriptor_sent(self._state, client))
        right(self, client)

    wrap(ACTIONS, Action.HOLD, hold)
    wrap(shell.Shell, "_send", send)


@mutant("anything-is-ready", "FD-7")
def _():
    """Any list at all counts as "ready"."""
    row(State.READY, Input.OTHER_LIST, next_state=State.SENDING, action=Action.SEND)


@mutant("ready-must-be-alone", "FD-6")
def _():
    """A "ready" with a value, or with more attributes, is not taken for one."""

    def classify_list(right, state, attributes):
        what = right(state, attributes)
        odd = state is State.READY and what is Input.DUMMY_LIST and attributes != ((b"dummy", b""),)
        return Input.OTHER_LIST if odd else what

    wrap(spec, "classify_list", classify_list)


@mutant("keeps-what-it-handed-out", "FD-8")
def _():
    """The server's copy of a descriptor that was handed out stays open."""

    def let_go(right, server, client, given):
        server, _ = right(server, client, given)
        return server, ()

    wrap(ACTIONS, Action.LET_GO, let_go)


@mutant("received-list-is-served", "FD-9")
def _():
    """What comes after the descriptor is taken for the next request."""
    row(State.SENDING, Input.SENT, next_state=State.REQUEST)


@mutant("sends-another-byte", "FD-6")
def _():
    """The byte that carries the descriptor is not NUL."""
    from scache_reference import shell

    shell.DESCRIPTOR_BYTE = b"x"


@mutant("held-session-expires", "CONN-10")
def _():
    """A client that says ready when the session's time is over is disconnected."""

    def send_descriptor(right, server, client, given):
        if client.held.expiry_ns <= server.now_ns:
            return spec.on_gone(server, client.id)
        return right(server, client, given)

    wrap(ACTIONS, Action.SEND, send_descriptor)


@mutant("reads-from-what-is-parked", "FD-13")
def _():
    """The server looks whether a parked connection has something to say."""

    def park(right, server, client, given):
        os.set_blocking(given.handles[0], False)
        try:
            os.read(given.handles[0], 1)
        except OSError:
            pass  # nothing to read, or not a thing to read from
        return right(server, client, given)

    wrap(ACTIONS, Action.PARK, park)


@mutant("smuggled-descriptor-is-taken", "FD-1")
def _():
    """A descriptor that rides on a save_endp is parked for it, without an invitation."""
    from scache_reference import shell

    def read_bytes(right, self, client):
        if (received := self._receive(client, shell.READ_BYTES_MAX)) is None:
            return
        data, handles, _ = received
        self._apply(spec.on_bytes(self._state, client, data))
        if handles and client in self._sockets and self._state.clients[client].state is State.DESCRIPTOR:
            self._apply(spec.on_descriptors(self._state, client, handles[:1]))
            handles = handles[1:]
        self._apply(spec.on_unsolicited(self._state, handles))

    wrap(shell.Shell, "_read_bytes", read_bytes)


# Death.


@mutant("what-was-saved-dies-with-its-client", "CONN-11")
def _():
    """When a client hangs up, the sessions it parked are closed."""
    owners: dict[int, int] = {}

    def park(right, server, client, given):
        owners[given.handles[0]] = client.id
        return right(server, client, given)

    def on_gone(right, server, client_id):
        server, effects = right(server, client_id)
        gone = tuple(each for each in server.cache.sessions if owners.get(each.handle) == client_id)
        kept = tuple(each for each in server.cache.sessions if each not in gone)
        closed = tuple(CloseDescriptor(each.handle) for each in gone)
        return replace(server, cache=replace(server.cache, sessions=kept)), (*effects, *closed)

    wrap(ACTIONS, Action.PARK, park)
    wrap(spec, "on_gone", on_gone)


@mutant("held-session-dies-with-its-client", "FD-10")
def _():
    """A session held for a client that goes away is closed."""

    def put_back(right, server, client, given):
        if client.id in server.clients:
            return right(server, client, given)
        return server, (CloseDescriptor(client.held.handle),)

    wrap(ACTIONS, Action.PUT_BACK, put_back)


@mutant("held-session-leaks-with-its-client", "FD-10")
def _():
    """A session held for a client that goes away is neither put back nor closed."""

    def put_back(right, server, client, given):
        return right(server, client, given) if client.id in server.clients else (server, ())

    wrap(ACTIONS, Action.PUT_BACK, put_back)


@mutant("stale-session-after-death", "FD-8", "FD-11")
def _():
    """A client that goes away before it said "received" has its session put back, although it has it."""
    row(State.RECEIVED, Input.GONE, action=Action.PUT_BACK)

    def let_go(right, server, client, given):
        server, effects = right(server, client, given)
        kept = replace(client.held, handle=Handle(os.dup(client.held.handle)))
        return servers.with_client(server, replace(server.clients[client.id], held=kept)), effects

    def ignore(right, server, client, given):
        if client.state is not State.RECEIVED or client.held is None:
            return right(server, client, given)
        server = servers.with_client(server, replace(server.clients[client.id], held=None))
        return server, (CloseDescriptor(client.held.handle),)

    wrap(ACTIONS, Action.LET_GO, let_go)
    wrap(ACTIONS, Action.IGNORE, ignore)


@mutant("save-outlives-its-client", "CONN-11")
def _():
    """A save_endp whose client went away is finished with the next descriptor that anybody sends."""
    left = []

    def forget(right, server, client, given):
        if client.saving is not None:
            left.append(client.saving)
        return right(server, client, given)

    def park(right, server, client, given):
        return right(server, replace(client, saving=left.pop()) if left else client, given)

    wrap(ACTIONS, Action.FORGET, forget)
    wrap(ACTIONS, Action.PARK, park)
