"""Wrong servers: who waits for whom, how many may come, how long they may take, when the process ends."""

import time
from dataclasses import replace

from tests.wrong.mutants.registry import mutant, wrap

from scache_reference.shell import Shell
from scache_spec import cache as caches
from scache_spec import events as spec
from scache_spec import server as servers
from scache_spec.conversation import State
from scache_spec.effects import Exit, PrintStatistics
from scache_spec.vocabulary import Handle


def serve_only_when(may_be_served):
    """Leave a client's input unread while this is False."""
    right = Shell._serve

    def serve(shell, client, mask):
        if may_be_served(shell._state, client):
            right(shell, client, mask)
        else:
            time.sleep(0.001)  # what is not read stays ready: spare the machine

    Shell._serve = serve


@mutant("stalled-dance-blocks-others", "CONN-2")
def _():
    """While a client is in the middle of a dance nobody else is served."""
    dancing = {State.DESCRIPTOR, State.READY, State.SENDING, State.RECEIVED}
    serve_only_when(
        lambda server, client: (
            server.clients[client].state in dancing
            or not any(each.state in dancing for each in server.clients.values())
        )
    )


@mutant("unfinished-list-blocks-others", "CONN-2")
def _():
    """While a client has written half a list nobody else is served."""
    serve_only_when(
        lambda server, client: (
            bool(server.clients[client].unread) or not any(each.unread for each in server.clients.values())
        )
    )


@mutant("clients-unlimited", "LIMIT-5")
def _():
    """There is no end to clients."""

    def on_connect(right, server, *given):
        after, effects = right(replace(server, limits=replace(server.limits, clients_max=10**9)), *given)
        return replace(after, limits=server.limits), effects

    wrap(spec, "on_connect", on_connect)


@mutant("one-client-too-few", "LIMIT-5")
def _():
    """There may be one client less than the limit says."""

    def on_connect(right, server, *given):
        limits = replace(server.limits, clients_max=server.limits.clients_max - 1)
        after, effects = right(replace(server, limits=limits), *given)
        return replace(after, limits=server.limits), effects

    wrap(spec, "on_connect", on_connect)


@mutant("nobody-is-too-slow", "LIMIT-7")
def _():
    """A client may leave a step unfinished for ever."""

    wrap(spec, "overdue", lambda right, server: ())


@mutant("resting-is-too-slow", "LIMIT-7")
def _():
    """A client at rest is disconnected, too."""

    def settle(right, server, client_id):
        server = right(server, client_id)
        client = server.clients[client_id]
        if client.step_since_ns is None:
            server = servers.with_client(server, replace(client, step_since_ns=server.now_ns))
        return server

    wrap(spec, "_settle", settle)


@mutant("never-exits", "LIFE-2")
def _():
    """The server waits for clients for ever."""
    wrap(spec, "_idle_exit_ns", lambda right, server: None)


@mutant("exits-with-sessions", "LIFE-3")
def _():
    """The server exits when nobody is connected, also while sessions are parked."""
    wrap(
        spec,
        "_idle_exit_ns",
        lambda right, server: right(replace(server, cache=replace(server.cache, sessions=()))),
    )


@mutant("idle-since-the-start", "LIFE-2")
def _():
    """The server exits when nobody is connected and max_idle_s is over since its start."""
    wrap(
        spec,
        "without_client",
        lambda right, server, client: replace(right(server, client), idle_since_ns=server.idle_since_ns),
    )


@mutant("waits-for-bindings", "LIFE-2", "LIFE-3")
def _():
    """The server does not exit while there are bindings."""
    wrap(spec, "_idle_exit_ns", lambda right, server: None if server.cache.bindings else right(server))


@mutant("exits-without-statistics", "LIFE-4", "STAT-7")
def _():
    """At exit no statistics are printed."""

    def on_stop(right, server):
        server, effects = right(server)
        return server, tuple(each for each in effects if not isinstance(each, PrintStatistics))

    wrap(spec, "on_stop", on_stop)


@mutant("statistics-only-at-exit", "STAT-7")
def _():
    """Statistics are printed at exit alone."""

    def on_tick(right, server, now_ns):
        server, effects = right(server, now_ns)
        if any(isinstance(each, Exit) for each in effects):
            return server, effects
        return server, tuple(each for each in effects if not isinstance(each, PrintStatistics))

    wrap(spec, "on_tick", on_tick)


@mutant("closes-one-by-itself", "TTL-6")
def _():
    """When one session has ended by itself, the others end when the next request comes; an empty cache begins anew."""
    closed: list[Handle] = []
    asked: list[bytes] = []

    def expire(right, cache, now_ns):
        if closed and not asked:
            return cache, ()
        cache, handles = right(cache, now_ns)
        closed.extend(handles)
        if not cache.sessions:
            closed.clear()
        return cache, handles

    def on_bytes(right, server, client_id, data):
        asked.append(data)
        server, effects = spec.on_tick(server, server.now_ns)
        asked.clear()
        server, more = right(server, client_id, data)
        return server, (*effects, *more)

    wrap(caches, "expire", expire)
    wrap(spec, "on_bytes", on_bytes)


@mutant("expires-only-when-asked", "TTL-6", "TTL-3")
def _():
    """What is due expires when the next request comes; a new connection is none."""
    due: list[int] = []

    def on_tick(right, server, now_ns):
        due[:] = [now_ns]
        return replace(server, now_ns=now_ns), ()

    def on_bytes(right, server, client_id, data):
        server, effects = ticked(server, due[0])
        server, more = right(server, client_id, data)
        return server, (*effects, *more)

    ticked = spec.on_tick
    wrap(spec, "on_tick", on_tick)
    wrap(spec, "on_bytes", on_bytes)
