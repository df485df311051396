"""Which verbs there are."""

from collections.abc import Iterator

from scache_fast.admin.connections import Verb
from scache_fast.admin.protocol import Request, RequestError
from scache_fast.admin.reading import Reading


def verbs(reading: Reading) -> dict[str, Verb]:
    """Return each verb by name."""
    return {
        "version": reading.version,
        "stats": reading.stats,
        "list": reading.list,
        "clients": reading.clients,
        "limits": reading.limits,
        "takeover": _takeover,
    }


def _takeover(request: Request) -> Iterator[dict[str, object]]:
    raise RequestError("takeover is not available in this version: restart the server instead")
