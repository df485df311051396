"""Wrong rules: when a descriptor passes, what becomes of it, and what the death of a client leaves behind."""

import os
import socket
from dataclasses import replace

from tests.wrong.registry import wrong
from tests.wrong.rules.changes import changed, closing, silently, with_sessions, without
from tests.wrong.rules.escapes import NO_DESCRIPTORS, NO_FULL_SOCKETS, NOT_GENERATED, REMEMBERS

from scache_reference import shell
from scache_spec import events
from scache_spec.conversation import Action, Input, State
from scache_spec.effects import CloseDescriptor, SendDescriptor
from scache_spec.vocabulary import DESCRIPTOR_BYTE, Handle


@wrong("FD-2", of=Action.INVITE)
def no_invitation(*given):
    """The descriptor is awaited without an invitation."""
    return silently(*given)


@wrong("FD-4", of=events.on_descriptors, escapes=NO_DESCRIPTORS)
def two_descriptors_are_accepted(right, server, client_id, handles, *, truncated=False):
    """Of two descriptors the first is parked and the other closed."""
    server, effects = right(server, client_id, handles[:1], truncated=truncated)
    return server, (*map(CloseDescriptor, handles[1:]), *effects)


@wrong("FD-4", of=Action.REFUSE, escapes=NO_DESCRIPTORS)
def leaks_a_refused_descriptor(right, server, client, given):
    """Descriptors that are refused stay open."""
    server, effects = right(server, client, given)
    return server, without(CloseDescriptor, effects)


@wrong("FD-4", of=Action.REFUSE, escapes=NO_DESCRIPTORS)
def no_descriptor_is_no_failure(right, server, client, given):
    """A byte without a descriptor is answered with status 0."""
    server, effects = right(server, client, given)
    if given.handles:
        return server, effects
    return server, tuple(replace(each, data=each.data.replace(b"\x002", b"\x000")) for each in effects)


@wrong("FD-5", of=events.on_descriptors, escapes=NO_DESCRIPTORS | NOT_GENERATED)
def cut_short_is_not_noticed(right, server, client_id, handles, *, truncated=False):
    """What is left of descriptors that the kernel cut short counts as all of them."""
    return right(server, client_id, handles)


@wrong("LIMIT-8", of=events.on_descriptors, escapes=NO_DESCRIPTORS | NOT_GENERATED)
def full_table_ends_the_client(right, server, client_id, handles, *, truncated=False):
    """A client whose descriptor finds no room in the server is disconnected."""
    if not truncated:
        return right(server, client_id, handles)
    server, effects = events.on_gone(server, client_id)
    return server, (*map(CloseDescriptor, handles), *effects)


@wrong("FD-14", of=events.on_descriptor_sent, escapes=NO_DESCRIPTORS | NO_FULL_SOCKETS)
def descriptors_in_flight_are_not_counted(right, server, client_id):
    """A client is served while it has not read its descriptor."""
    server, effects = right(server, client_id)
    server, more = events.on_descriptor_taken(server, client_id)
    return server, effects + more


@wrong("FD-6", "FD-7", "FD-9", "FD-10", "ENDP-5")
def descriptor_without_ready(instead):
    """The descriptor comes with the end of the reply."""
    instead((State.REQUEST, Input.FIND_HIT))(lambda row: replace(row, next=State.SENDING))

    @instead(Action.HOLD)
    def hold(right, server, client, given):
        server, effects = right(server, client, given)
        return server, (*effects, SendDescriptor(client.id, given.found.session.handle))

    @instead(shell.Shell._send)
    def send(right, self, client):
        # In one message: whether a client sees what follows a message before its next step, is chance.
        waiting = self._outboxes.get(client, ())
        if [type(each) for each in waiting] == [bytes, int]:
            reply, handle = waiting
            socket.send_fds(self._sockets[client], [reply, DESCRIPTOR_BYTE], [handle])
            waiting.clear()
            self._apply(events.on_sent(self._state, client, len(reply)))
            self._apply(events.on_descriptor_sent(self._state, client))
            self._apply(events.on_descriptor_taken(self._state, client))
        right(self, client)


@wrong("FD-6", of=(shell, "DESCRIPTOR_BYTE"), escapes=NO_DESCRIPTORS)
def sends_another_byte(right):
    """The byte that carries the descriptor is not NUL."""
    return b"x"


@wrong("FD-8", of=Action.LET_GO)
def keeps_what_it_handed_out(right, server, client, given):
    """The server's copy of a descriptor that was handed out stays open."""
    return right(server, client, given)[0], ()


@wrong("CONN-10", of=Action.SEND)
def held_session_expires(right, server, client, given):
    """A client that says ready when the session's time is over is disconnected."""
    is_over = client.held.expiry_ns <= server.now_ns
    return events.on_gone(server, client.id) if is_over else right(server, client, given)


# What the server does to a descriptor.


@wrong("FD-13", of=Action.PARK, escapes=NO_DESCRIPTORS)
def reads_from_what_is_parked(right, server, client, given):
    """The server looks whether a parked connection has something to say."""
    os.set_blocking(given.handles[0], False)
    try:
        os.read(given.handles[0], 1)
    except OSError:
        pass  # nothing to read, or not a thing to read from
    return right(server, client, given)


@wrong("FD-13", of=Action.PARK, escapes=NO_DESCRIPTORS)
def parked_descriptor_is_non_blocking(right, server, client, given):
    """What is parked is made non-blocking, for everybody who has it."""
    os.set_blocking(given.handles[0], False)
    return right(server, client, given)


def shut_down(server, effects):
    """Shut down what these effects are about to close."""
    for each in effects:
        if isinstance(each, CloseDescriptor):
            try:
                socket.socket(fileno=os.dup(each.handle)).shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not a connection
    return server, effects


@wrong("TTL-3", "FD-13", of=events.on_tick, escapes=NO_DESCRIPTORS)
def shuts_down_what_expires(right, server, now_ns):
    """A connection that expires is shut down, for whoever else has it, too."""
    return shut_down(*right(server, now_ns))


@wrong("FD-4", of=Action.REFUSE, escapes=NO_DESCRIPTORS)
def shuts_down_what_is_refused(right, server, client, given):
    """Connections that are refused are shut down, for whoever else has them, too."""
    return shut_down(*right(server, client, given))


# Death.


@wrong("CONN-11", escapes=REMEMBERS)
def what_was_saved_dies_with_its_client(instead):
    """When a client hangs up, the sessions it parked are closed."""
    owners = {}

    @instead(Action.PARK)
    def park(right, server, client, given):
        owners[given.handles[0]] = client.id
        return right(server, client, given)

    @instead(events.on_gone)
    def on_gone(right, server, client_id):
        server, effects = right(server, client_id)
        gone = [each for each in server.cache.sessions if owners.get(each.handle) == client_id]
        kept = (each for each in server.cache.sessions if each not in gone)
        return with_sessions(server, kept), (*effects, *closing(gone))


@wrong("CONN-11", escapes=REMEMBERS)
def save_outlives_its_client(instead):
    """A save_endp whose client went away is finished with the next descriptor that anybody sends."""
    left = []

    @instead(Action.FORGET)
    def forget(right, server, client, given):
        if client.saving is not None:
            left.append(client.saving)
        return right(server, client, given)

    @instead(Action.PARK)
    def park(right, server, client, given):
        return right(server, replace(client, saving=left.pop()) if left else client, given)


@wrong("FD-10", of=Action.PUT_BACK)
def held_session_dies_with_its_client(right, server, client, given):
    """A session held for a client that goes away is closed."""
    return right(server, client, given) if client.id in server.clients else (server, closing([client.held]))


@wrong("FD-10", of=Action.PUT_BACK)
def held_session_leaks_with_its_client(right, server, client, given):
    """A session held for a client that goes away is neither put back nor closed."""
    return right(server, client, given) if client.id in server.clients else (server, ())


@wrong("FD-10", of=Action.PUT_BACK, escapes=NO_DESCRIPTORS)
def session_is_lost_in_a_full_socket(right, server, client, given):
    """A session that a full socket did not take is closed when its client goes away."""
    is_sending = client.state is State.SENDING
    return (server, closing([client.held])) if is_sending else right(server, client, given)


@wrong("FD-8", "FD-11")
def stale_session_after_death(instead):
    """A client that goes away before it said "received" has its session put back, although it has it."""
    instead((State.RECEIVED, Input.GONE))(lambda row: replace(row, action=Action.PUT_BACK))

    @instead(Action.LET_GO)
    def let_go(right, server, client, given):
        server, effects = right(server, client, given)
        return changed(server, client, held=replace(client.held, handle=Handle(os.dup(client.held.handle)))), effects

    @instead(Action.IGNORE)
    def ignore(right, server, client, given):
        if client.state is not State.RECEIVED or client.held is None:
            return right(server, client, given)
        return changed(server, client, held=None), closing([client.held])
