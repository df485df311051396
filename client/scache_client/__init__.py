"""Python client of a shared connection cache: park open connections, take them up in another process.

Start with `Client`, or `AsyncClient` in an event loop; `lease` does the whole round of taking up, using and parking.
`python -m scache_client --help` lets you try the four verbs by hand.
"""

from scache_client.aio import AsyncClient
from scache_client.client import Client
from scache_client.errors import CacheError, ProtocolError, Refused, ServerGone, TimedOut
from scache_client.found import Found, FoundDest
from scache_client.lease import Leased, is_quiet, lease, lease_dest

__all__ = [
    "AsyncClient",
    "CacheError",
    "Client",
    "Found",
    "FoundDest",
    "Leased",
    "ProtocolError",
    "Refused",
    "ServerGone",
    "TimedOut",
    "is_quiet",
    "lease",
    "lease_dest",
]
