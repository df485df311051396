"""What an operator may do to a server that runs, as events like those of `scache_spec.events`.

How an operator reaches the server is left to it: the fast server has a socket for that (docs/admin.md), the reference
server and the Postfix server have none. So the suite, which sees a server's own socket alone, tries none of this.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from scache_spec.cache import Cache, put_back
from scache_spec.effects import CloseDescriptor
from scache_spec.server import Outcome, Server
from scache_spec.vocabulary import Label, Limits


def on_flush(server: Server, is_meant: Callable[[Label], bool]) -> Outcome:
    """Remove the sessions and bindings whose label is meant: the endpoint of a session, the destination of a binding.

    LIFE-6  A flush removes sessions and bindings from the cache and closes the descriptors of these sessions as at
    their expiry. It does not touch a session that was found and not handed over yet: a client still gets that session,
    and if the session comes back instead, its descriptor is closed. [BEYOND]
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

    LIFE-7  A limit that is lowered while the server runs removes nothing and disconnects nobody: what is above the
    limit stays, and what comes later is refused. A changed `ttl_limit_s` concerns later saves alone. [BEYOND]
    """
    return replace(server, limits=limits), ()


def on_pause(server: Server) -> Outcome:
    """Refuse saves; `on_limits` with the limits from before resumes.

    LIFE-8  While a server is paused, each save is refused as if there were room for no session and no binding: a
    save_endp is told status 2 once its descriptor was invited and has come, a save_dest is told status 2 unless it is a
    renewal. Finds are served, and a found session may still come back. [BEYOND]
    """
    return on_limits(server, replace(server.limits, sessions_max=0, bindings_max=0))


def is_drained(server: Server) -> bool:
    """Say whether a server that drains exits now.

    LIFE-9  A server that drains is paused, and exits, status 0, when no session is parked and none is held for a client
    that it was found for. Bindings and connected clients do not keep it. [BEYOND]
    """
    return not server.cache.sessions and all(client.held is None for client in server.clients.values())


def on_takeover(server: Server) -> tuple[Server, Server]:
    """Return the old process and the new one, at the instant at which the new one is in charge.

    LIFE-10  A takeover gives a new process the listening sockets, every session and binding of the cache with its
    label, properties, expiry and place in turn, the statistics, and every client that no session is held for. None of
    these clients sees its connection end, and no peer of a session does. [BEYOND]
    """
    held = {client_id: client for client_id, client in server.clients.items() if client.held is not None}
    moved = {client_id: client for client_id, client in server.clients.items() if client.held is None}
    old = replace(server, cache=Cache(), clients=MappingProxyType(held))
    return old, replace(server, clients=MappingProxyType(moved))


def on_return(old: Server, new: Server) -> tuple[Server, Outcome]:
    """Give the new process what came back to the old one, and the clients that nothing is held for any more.

    LIFE-11  A session that is held for a client when another process takes over stays with the old process, which
    finishes that hand-over and carries out no request. If the session comes back instead, it is put back into the
    cache of the new process, under ENDP-5 and ENDP-6. The client is then the new process's. [BEYOND]
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


LOST: Final[dict[Killed, str]] = {
    Killed.NEW_BEFORE_IT_TOOK: "nothing: the old process serves on",
    Killed.OLD_BEFORE_ITS_OFFER: "everything, as with any death; the new process begins with an empty cache",
    Killed.OLD_AFTER_ITS_OFFER: "what is held for clients; the new process takes all else",
    Killed.NEW_AFTER_IT_TOOK: "everything the new process has, as with any death of a server",
}
"""What a takeover loses. Where nobody is killed it loses nothing."""


def on_death_in_takeover(server: Server, killed: Killed) -> Server | None:
    """Return the process that serves on with what was parked; None: nobody has it any more.

    LIFE-12  At every instant of a takeover at most one of the two processes hands out what is parked. Until the new
    process is in charge the old one can serve on as if there had been no takeover, and does so where the new one dies,
    refuses what it gets, or does not keep up. If a process is killed, what is lost is what the table `LOST` says.
    [BEYOND]
    """
    match killed:
        case Killed.NEW_BEFORE_IT_TOOK:
            return server
        case Killed.OLD_AFTER_ITS_OFFER:
            return on_takeover(server)[1]
        case Killed.OLD_BEFORE_ITS_OFFER | Killed.NEW_AFTER_IT_TOOK:
            return None
