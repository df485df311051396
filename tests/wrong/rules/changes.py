"""What several wrong rules do: an event or an action carried out with one thing changed."""

from dataclasses import replace
from unittest import mock

from scache_spec import cache as caches
from scache_spec import statistics
from scache_spec.attributes import Decoded
from scache_spec.effects import CloseDescriptor, Send
from scache_spec.server import with_client
from scache_spec.vocabulary import NS_PER_S, SAVE_ENDP


def without(kind, effects):
    """Leave out the effects of a kind."""
    return tuple(each for each in effects if not isinstance(each, kind))


def closing(sessions):
    """Return the effects that close these."""
    return tuple(CloseDescriptor(each.handle) for each in sessions)


def with_sessions(server, sessions):
    """Put these sessions in the place of those that are parked."""
    return replace(server, cache=replace(server.cache, sessions=tuple(sessions)))


def changed(server, client, **fields):
    """Change what the server knows of a client, as long as that is connected."""
    now = server.clients.get(client.id)
    return server if now is None else with_client(server, replace(now, **fields))


def silently(right, server, client, *given):
    """Do what is right, but send nothing."""
    server, effects = right(server, client, *given)
    now = server.clients[getattr(client, "id", client)]
    sent = sum(len(each.data) for each in effects if isinstance(each, Send))
    return changed(server, now, unsent_bytes=now.unsent_bytes - sent), without(Send, effects)


def more(limits, **by):
    """Raise limits by so much."""
    return limits._replace(**{name: getattr(limits, name) + count for name, count in by.items()})


def limited(right, server, *given, **by):
    """Do what is right under limits that are raised by so much."""
    after, effects = right(replace(server, limits=more(server.limits, **by)), *given)
    return replace(after, limits=server.limits), effects


def expiring(expiry_ns, right, *given):
    """Do what is right with another rule for the instant at which something expires."""
    with mock.patch.object(caches, "expiry_ns", expiry_ns):
        return right(*given)


def uncapped(ttl_s, ttl_limit_s, now_ns):
    """Reckon as if there were no ttl limit."""
    return now_ns + ttl_s * NS_PER_S


def off_by(seconds, right=caches.expiry_ns):
    """Reckon wrong by so many seconds."""
    return lambda ttl_s, ttl_limit_s, now_ns: right(ttl_s, ttl_limit_s, now_ns) + seconds * NS_PER_S


def too_slow(server, client):
    """Tell whether a client has taken longer over its step than it may."""
    since_ns = client.step_since_ns
    return since_ns is not None and since_ns + server.limits.ipc_timeout_s * NS_PER_S <= server.now_ns


def peaked(server, cache):
    """Count the peaks that a save which left this cache would make."""
    return replace(server, counters=statistics.count_save(server.counters, SAVE_ENDP, caches.sizes(cache)))


def rewritten(change, right, *given):
    """Take a list and change each of its attributes."""
    decoded = right(*given)
    if not isinstance(decoded, Decoded):
        return decoded
    return replace(decoded, attributes=tuple(change(*each) for each in decoded.attributes))


def parsed(right, attributes, **changes):
    """Take a request and change these of its fields, where it has them."""
    request = right(attributes)
    fields = {name: change(getattr(request, name)) for name, change in changes.items() if hasattr(request, name)}
    return replace(request, **fields) if fields else request


def what_expired(instead):
    """Return the sessions and the bindings that have expired, two lists that grow from now on."""
    sessions: list[caches.Session] = []
    bindings: list[caches.Binding] = []

    @instead(caches.expire)
    def expire(right, cache, now_ns):
        sessions.extend(each for each in cache.sessions if each.expiry_ns <= now_ns)
        bindings.extend(each for each in cache.bindings if each.expiry_ns <= now_ns)
        return right(cache, now_ns)

    return sessions, bindings
