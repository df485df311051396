"""What an operator may do to a server that runs: events like those of `scache_spec.events`.

The specification does not say how an operator reaches a server. The fast server has a socket for operators
(docs/admin.md); the reference server and the Postfix server have none. The conformance suite uses only the socket of
the cache, and therefore tries nothing of this module.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from types import MappingProxyType

from scache_spec import events
from scache_spec.cache import Cache, Session, put_back
from scache_spec.effects import CloseDescriptor
from scache_spec.server import Outcome, Server
from scache_spec.vocabulary import Label, Limits


def on_flush(server: Server, is_meant: Callable[[Label], bool]) -> Outcome:
    """Remove the sessions whose endpoint is meant, and the bindings whose destination is meant.

    LIFE-6  A flush removes the sessions and bindings that the operator names, and closes the descriptors of these
    sessions as at their expiry. A flush does not touch a session that is held for a client: that client still gets the
    session. If a held session that the operator named comes back instead, its descriptor is closed. [BEYOND]
    """
    cache, now_ns = server.cache, server.now_ns
    removed = tuple(session for session in cache.sessions if is_meant(session.endpoint))
    left = Cache(
        tuple(session for session in cache.sessions if not is_meant(session.endpoint)),
        tuple(binding for binding in cache.bindings if not is_meant(binding.destination)),
    )
    clients = {
        client_id: replace(client, held=replace(client.held, expiry_ns=min(client.held.expiry_ns, now_ns)))
        if client.held is not None and is_meant(client.held.endpoint)
        else client
        for client_id, client in server.clients.items()
    }
    server = replace(server, cache=left, clients=MappingProxyType(clients))
    return server, tuple(CloseDescriptor(session.handle) for session in removed)


def on_limits(server: Server, limits: Limits) -> Outcome:
    """Change the limits.

    LIFE-7  When a limit is lowered while the server runs, nothing is removed and nobody is disconnected. What is above
    the new limit stays. What comes later is refused. A changed `ttl_limit_s` applies to later saves only. [BEYOND]
    """
    return replace(server, limits=limits), ()


def on_pause(server: Server) -> Outcome:
    """Refuse saves; `on_limits` with the limits from before resumes.

    LIFE-8  While a server is paused, it refuses saves as if there were room for no session and no binding. A save_endp
    is answered with status 2 after its descriptor was invited and has come. A save_dest is answered with status 2,
    unless it renews a binding. Finds are served, and a held session can still be put back. [BEYOND]
    """
    return on_limits(server, server.limits._replace(sessions_max=0, bindings_max=0))


def is_drained(server: Server) -> bool:
    """Say whether a server that drains exits now.

    LIFE-9  A server that drains is paused (LIFE-8). A server that drains exits with status 0 when no session is parked
    and none is held for a client. Bindings and connected clients do not keep it from exiting. [BEYOND]
    """
    return not server.cache.sessions and all(client.held is None for client in server.clients.values())


def on_takeover(server: Server) -> tuple[Server, Server]:
    """Return the old process and the new one, at the instant at which the new one is in charge.

    LIFE-10  A takeover gives a new process the listening sockets, the statistics, and every session and binding of the
    cache with its label, properties, expiry and place in the order. The new process also gets every client for which no
    session is held. None of these clients sees its connection to the server end. No peer of a parked connection sees
    that connection end. [BEYOND]
    """
    held = {client_id: client for client_id, client in server.clients.items() if client.held is not None}
    moved = {client_id: client for client_id, client in server.clients.items() if client.held is None}
    old = replace(server, cache=Cache(), clients=MappingProxyType(held))
    return old, replace(server, clients=MappingProxyType(moved))


def on_return(old: Server, new: Server) -> tuple[Server, Outcome]:
    """Give the new process the sessions that came back to the old one, and the clients for which nothing is held.

    LIFE-11  A session that is held for a client at a takeover stays with the old process. The old process finishes that
    hand-over and carries out no further request. If the session comes back instead, it is put back into the cache of
    the new process, by ENDP-5 and ENDP-6. When nothing is held for the client any more, the client belongs to the new
    process. [BEYOND]
    """
    cache = new.cache
    effects: tuple[CloseDescriptor, ...] = ()
    for session in reversed(old.cache.sessions):
        back = put_back(cache, session, new.now_ns)
        if back is None:
            effects += (CloseDescriptor(session.handle),)
        else:
            cache = back
    held = {client_id: client for client_id, client in old.clients.items() if client.held is not None}
    free = {client_id: client for client_id, client in old.clients.items() if client.held is None}
    old = replace(old, cache=Cache(), clients=MappingProxyType(held))
    return old, (replace(new, cache=cache, clients=MappingProxyType({**new.clients, **free})), effects)


class Killed(Enum):
    """Which process is killed, and when."""

    NEW_BEFORE_IT_TOOK = "the new process, before it is in charge"
    OLD_BEFORE_ITS_OFFER = "the old process, before it has offered everything"
    OLD_AFTER_ITS_OFFER = "the old process, after its offer"
    NEW_AFTER_IT_TOOK = "the new process, once it is in charge"


def on_death_in_takeover(server: Server, killed: Killed) -> Server | None:
    """Return the process that serves on with the parked sessions, None if they are lost.

    LIFE-12  At every instant of a takeover, at most one of the two processes hands out parked sessions. Until the new
    process is in charge, the old process can serve on as if there had been no takeover. The old process serves on if
    the new process dies, refuses what it gets, or is too slow. If the new process is killed before it is in charge,
    nothing is lost. If the old process is killed before it has offered everything, everything is lost, and the new
    process begins with an empty cache. If the old process is killed after that, only the sessions that are held for
    clients are lost. If the new process is killed once it is in charge, everything that it has is lost. [BEYOND]
    """
    match killed:
        case Killed.NEW_BEFORE_IT_TOOK:
            return server
        case Killed.OLD_AFTER_ITS_OFFER:
            return on_takeover(server)[1]
        case Killed.OLD_BEFORE_ITS_OFFER | Killed.NEW_AFTER_IT_TOOK:
            return None


def on_restart(server: Server, is_kept: Callable[[Session], bool]) -> tuple[Cache, Outcome]:
    """Return what a server that exits leaves with its supervisor, and what happens at its exit instead of LIFE-4.

    LIFE-13  A server that is asked to exit may leave the sessions and bindings of its cache for the next process of its
    service. A session that is held for a client is put back before that. The next process begins with what was left:
    each session and binding has its label, properties, expiry and place in the order. No peer of these sessions sees
    its connection end. The next process removes what was left from the place where it was kept, before it hands out any
    of it; if that process is killed, nothing is left there. What the next process cannot read is closed. [BEYOND]
    """
    cache = server.cache
    for client in server.clients.values():
        if client.held is not None:
            cache = put_back(cache, client.held, server.now_ns) or cache
    left = replace(cache, sessions=tuple(session for session in cache.sessions if is_kept(session)))
    stays_open = {session.handle for session in left.sessions}
    stopped, effects = events.on_stop(server)
    return left, (
        stopped,
        tuple(each for each in effects if not (isinstance(each, CloseDescriptor) and each.handle in stays_open)),
    )


def on_begin(server: Server, left: Cache) -> Server:
    """Begin with what the process before left; what is due expires as ever."""
    return replace(server, cache=left)
