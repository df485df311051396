"""Wrong rules: who waits for whom, how long a client may take, when the process ends."""

import pickle
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.wrong import registry
from tests.wrong.rules.changes import changed
from tests.wrong.rules.escapes import NO_FULL_SOCKETS, NO_IDLE_EXIT, NO_PROCESS, NOT_GENERATED

from scache_reference.shell import Shell
from scache_spec import events
from scache_spec.conversation import State
from scache_spec.server import without_client

wrong = partial(registry.wrong, escapes=NO_PROCESS)

DANCING = {State.DESCRIPTOR, State.READY, State.SENDING, State.RECEIVED}


def serve_by_turns(is_busy, right, shell, client, mask):
    """Leave a client's input unread while this is true of others and not of it."""
    clients = shell._state.clients
    if is_busy(clients[client]) or not any(map(is_busy, clients.values())):
        right(shell, client, mask)
    else:
        time.sleep(0.001)  # what is not read stays ready: spare the machine


@wrong("CONN-2", of=Shell._serve)
def stalled_dance_blocks_others(*given):
    """While a client is in the middle of a dance nobody else is served."""
    serve_by_turns(lambda client: client.state in DANCING, *given)


@wrong("CONN-2", of=Shell._serve)
def unfinished_list_blocks_others(*given):
    """While a client has written half a list nobody else is served."""
    serve_by_turns(lambda client: bool(client.unread), *given)


@wrong("LIMIT-6", of=events.reading, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def replies_pile_up(right, server, client_id):
    """A client that takes no replies is served all the same."""
    return right(changed(server, server.clients[client_id], unsent_bytes=0), client_id)


registry.wrong_server(
    "files-are-closed-within-the-loop",
    "FD-15",
    what="It waits for a passed file that is slow to close: the reference as it is.",
    command=registry.served_by("scache_reference"),
)

# Steps.


@wrong("LIMIT-7", of=events.overdue)
def nobody_is_too_slow(right, server):
    """A client may leave a step unfinished for ever."""
    return ()


@wrong("LIMIT-7", of=events._settle)
def resting_is_too_slow(right, server, client_id):
    """A client at rest is disconnected, too."""
    server = right(server, client_id)
    client = server.clients[client_id]
    return changed(server, client, step_since_ns=client.step_since_ns or server.now_ns)


def takes_its_time(may_take_it, right, server, client_id):
    """Let clients of which this is true never be too slow."""
    server = right(server, client_id)
    client = server.clients[client_id]
    return changed(server, client, step_since_ns=None) if may_take_it(client) else server


@wrong("LIMIT-7", of=events._settle)
def received_may_take_for_ever(*given):
    """A client may leave it open whether it has received."""
    return takes_its_time(lambda client: client.state is State.RECEIVED, *given)


@wrong("LIMIT-7", of=events._settle, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def replies_may_wait_for_ever(*given):
    """A client may leave its replies untaken."""
    return takes_its_time(lambda client: client.unsent_bytes > 0, *given)


@wrong("LIMIT-7", of=events.on_bytes)
def every_byte_is_in_time(right, server, client_id, data):
    """What comes of a list begins its time anew."""
    return right(changed(server, server.clients[client_id], step_since_ns=None), client_id, data)


@wrong("LIMIT-7", of=events.on_sent, escapes=NO_PROCESS | NO_FULL_SOCKETS)
def every_byte_taken_is_in_time(right, server, client_id, byte_count):
    """What a client takes of its replies begins its time anew."""
    return right(changed(server, server.clients[client_id], step_since_ns=None), client_id, byte_count)


def step_goes_on(goes_on, right, server, client, *given):
    """Let a step that ends for another not begin its time anew if this is true of the client before and after."""
    server, effects = right(server, client, *given)
    after = server.clients.get(client.id)
    if after is not None and goes_on(client, after):
        server = changed(server, after, step_since_ns=client.step_since_ns)
    return server, effects


@wrong("LIMIT-7", of=events._take, escapes=NO_PROCESS | NOT_GENERATED)
def one_time_for_the_dance(*given):
    """From the find to the received, a client has ipc_timeout_s as a whole."""
    dance = {State.READY, State.SENDING, State.RECEIVED}
    return step_goes_on(lambda before, after: before.state in dance, *given)


@wrong("LIMIT-7", of=events._take, escapes=NO_PROCESS | NOT_GENERATED)
def one_time_for_lists_in_a_row(*given):
    """A list that begins in the write that ended another is as old as that."""
    return step_goes_on(lambda before, after: before.state is after.state is State.REQUEST, *given)


# The end.


@wrong("LIFE-2", of=events._idle_exit_ns, escapes=NO_PROCESS | NO_IDLE_EXIT)
def never_exits(right, server):
    """The server waits for clients for ever."""


@wrong("LIFE-3", of=events._idle_exit_ns, escapes=NO_PROCESS | NO_IDLE_EXIT)
def exits_with_sessions(right, server):
    """The server exits when nobody is connected, also while sessions are parked."""
    return right(replace(server, cache=replace(server.cache, sessions=())))


@wrong("LIFE-2", of=without_client, escapes=NO_PROCESS | NO_IDLE_EXIT)
def idle_since_the_start(right, server, client):
    """The server exits when nobody is connected and max_idle_s is over since its start."""
    return replace(right(server, client), idle_since_ns=server.idle_since_ns)


@wrong("LIFE-2", "LIFE-3", of=events._idle_exit_ns, escapes=NO_PROCESS | NO_IDLE_EXIT)
def waits_for_bindings(right, server):
    """The server does not exit while there are bindings."""
    return None if server.cache.bindings else right(server)


@wrong("LIFE-4", of=Shell.close, escapes=NO_PROCESS | NOT_GENERATED)
def told_to_end_is_a_failure(right, self):
    """A server that was told to end exits with status 1."""
    right(self)
    raise SystemExit(1)


@wrong("LIFE-1", escapes=NO_PROCESS | NOT_GENERATED)
def bindings_outlive_the_server(instead):
    """At its end a server writes its bindings to a file, and reads them when it begins."""

    def file_of(shell):
        return Path(f"{shell._listeners[0].getsockname()}.bindings")

    @instead(Shell.__init__)
    def begin(right, self, *given, **named):
        right(self, *given, **named)
        if file_of(self).exists():
            bindings = pickle.loads(file_of(self).read_bytes())
            self._state = replace(self._state, cache=replace(self._state.cache, bindings=bindings))

    @instead(Shell.stop)
    def stop(right, self):
        file_of(self).write_bytes(pickle.dumps(self._state.cache.bindings))
        right(self)
