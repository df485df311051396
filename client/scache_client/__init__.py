"""Python client of a shared connection cache: park open connections, take them up in another process.

Start with `Client`, or `AsyncClient` in an event loop; `lease` does the whole round of taking up, using and parking.
scachectl does the four verbs from a shell.
"""

from scache_client.aio import AsyncClient
from scache_client.aio_lease import lease_async, lease_dest_async
from scache_client.client import Client
from scache_client.errors import CacheError, ProtocolError, Refused, RequestTooLong, ServerGone, TimedOut
from scache_client.found import Found, FoundDest
from scache_client.lease import is_quiet, lease, lease_dest
from scache_client.leased import Leased

__all__ = [
    "AsyncClient",
    "CacheError",
    "Client",
    "Found",
    "FoundDest",
    "Leased",
    "ProtocolError",
    "Refused",
    "RequestTooLong",
    "ServerGone",
    "TimedOut",
    "is_quiet",
    "lease",
    "lease_async",
    "lease_dest",
    "lease_dest_async",
]
