"""Which verbs there are."""

from collections.abc import Iterator

from scache_fast.admin.connections import Verb
from scache_fast.admin.protocol import Request, RequestError
from scache_fast.admin.reading import Reading
from scache_fast.admin.steering import Steering


def verbs(reading: Reading, steering: Steering) -> dict[str, Verb]:
    """Return each verb by name."""
    return {
        "version": reading.version,
        "stats": reading.stats,
        "list": reading.list,
        "clients": reading.clients,
        "limits": reading.limits,
        "flush": steering.flush,
        "pause": steering.pause,
        "resume": steering.resume,
        "drain": steering.drain,
        "loglevel": steering.loglevel,
        "reload": steering.reload,
        "takeover": _takeover,
    }


def _takeover(request: Request) -> Iterator[dict[str, object]]:
    raise RequestError("takeover is not available in this version: restart the server instead")
