"""Which verbs there are."""

from scache_fast.admin.connections import Verb
from scache_fast.admin.reading import Reading
from scache_fast.admin.steering import Steering


def verbs(reading: Reading, steering: Steering, takeover: Verb) -> dict[str, Verb]:
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
        "takeover": takeover,
    }
