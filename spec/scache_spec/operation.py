"""What an operator may do to a server that runs, as events like those of `scache_spec.events`.

How an operator reaches the server is left to it: the fast server has a socket for that (docs/admin.md), the reference
server and the Postfix server have none. So the suite, which sees a server's own socket alone, tries none of this.
"""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

from scache_spec.cache import Cache
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
