"""A step of the specification as an observer sees it, and a scene as the proof sees it.

`act` has the program itself do the step. No formula of the proof is known here.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from scache_proof import world
from scache_proof.happenings import COUNTERS
from scache_proof.logic import Few, Sort
from scache_proof.scenes import DESTINATIONS, ENDPOINTS, NO_BINDING, Notes, Scene, Stimulus, bytes_of
from scache_proof.world import CODE, PARTS, Given, World
from scache_spec import events
from scache_spec.attributes import Decoded, decode
from scache_spec.conversation import INPUTS, Input, SaveEndp, State
from scache_spec.effects import CloseDescriptor, Disconnect, Effects, Send, SendDescriptor
from scache_spec.vocabulary import (
    DUMMY,
    FIND_DEST,
    FIND_ENDP,
    LABEL,
    NS_PER_S,
    PROPERTY,
    PROTOCOL,
    REQUEST,
    STATUS,
    TTL,
    ClientId,
    Handle,
    Label,
    Limits,
    Properties,
)

T = TypeVar("T")

# Observing.


def act(scene: Scene, stimulus: Stimulus) -> Scene:
    """Have the program do a step, and write down what an observer sees of it."""
    server, effects = stimulus.carry_out(scene.server)
    return Scene(server, _noted(scene, stimulus, effects))


def _noted(scene: Scene, stimulus: Stimulus, effects: Effects) -> Notes:
    notes, c, what = scene.notes, stimulus.client, stimulus.what
    said: Counter[ClientId] = Counter()
    sending = {each for each in notes.sending if what is not Input.SENT or each[0] != c}
    passed = tuple(handle for id_, handle in notes.sending if what is Input.SENT and id_ == c)
    closes = notes.closes
    for effect in effects:
        match effect:
            case Send(client, data):
                said[client] = world.SOMETHING_ELSE if said[client] else _understood(data)
            case SendDescriptor(client, handle):
                sending.add((client, handle))
            case CloseDescriptor(handle):
                closes += (handle,)
            case Disconnect(client):
                sending = {each for each in sending if each[0] != client}
            case _:
                pass
    is_exit = stimulus.happening == "exit"
    name = stimulus.attributes[0][1] if stimulus.attributes and stimulus.attributes[0][0] == REQUEST else None
    is_status = said[c] in (world.DONE, world.MALFORMED, world.FAILED)
    owed = dict(notes.owed)
    if what is Input.GONE:
        owed[c] = 0
    elif what is not None:
        owed[c] = owed.get(c, 0) + (scene.server.clients[c].state is State.REQUEST and name is not None)
    if what is not None:
        owed[c] = owed[c] - is_status
    connected = notes.connected - ({c} if what is Input.GONE else set())
    if said[c] == world.GREETING:
        connected |= {c}
    is_list = what is not None and bool(stimulus.call()[0] == "on_bytes")
    unconfirmed = notes.unconfirmed - ({c} if is_list or what is Input.GONE else set())
    is_printed = is_exit or stimulus.happening == "statistics are printed"
    found = 0 if is_printed else 1
    is_find = what in (Input.FIND_HIT, Input.FIND_MISS)
    deadline = dict(notes.deadline)
    if what is Input.ONE_DESCRIPTOR:
        deadline[stimulus.handles[0]] = scene.server.now_ns + scene.server.limits.ttl_limit_s * NS_PER_S

    def seen(before: int, by: bytes, answer: int) -> int:
        return found * (before + (is_find and name == by and said[c] == answer))

    return Notes(
        connected=frozenset() if is_exit else connected,
        said=tuple(said.items()),
        owed=() if is_exit else tuple(owed.items()),
        unconfirmed=frozenset() if is_exit else unconfirmed | ({c} if what is Input.SENT else set()),
        sending=frozenset(sending),
        came=notes.came | set(stimulus.handles),
        closes=closes,
        passes=notes.passes + passed,
        deadline=tuple(deadline.items()),
        dest_found=seen(notes.dest_found, FIND_DEST, world.DONE),
        dest_missed=seen(notes.dest_missed, FIND_DEST, world.FAILED),
        endp_found=seen(notes.endp_found, FIND_ENDP, world.DONE),
        endp_missed=seen(notes.endp_missed, FIND_ENDP, world.FAILED),
    )


def _understood(data: bytes) -> int:
    match decode(data, len(data), len(data)):
        case Decoded(attributes=((name, value), *_), rest=b""):
            if name == STATUS:
                return {b"0": world.DONE, b"1": world.MALFORMED, b"2": world.FAILED}.get(value, world.SOMETHING_ELSE)
            return {DUMMY: world.DUMMY, PROTOCOL: world.GREETING}.get(name, world.SOMETHING_ELSE)
        case _:
            return world.SOMETHING_ELSE


# Picturing.


def things(scene: Scene, stimulus: Stimulus, after: Scene) -> Few:
    """Return everything that a step speaks of, and one of each sort that it does not."""
    handles = {*scene.notes.came, *stimulus.handles, *after.notes.closes, Handle(-1)}
    bindings = {NO_BINDING, _asked_binding(stimulus)}
    for server in (scene.server, after.server):
        handles |= {session.handle for session in server.cache.sessions}
        handles |= {client.held.handle for client in server.clients.values() if client.held is not None}
        bindings |= {(each.destination, each.properties, each.endpoint) for each in server.cache.bindings}
    clients = {*scene.server.clients, *after.server.clients, stimulus.client, ClientId(9)}
    return Few(
        {
            Sort.CLIENT: sorted(clients),
            Sort.SESSION: sorted(handles),
            Sort.ENDPOINT: [*ENDPOINTS, b""],
            Sort.DESTINATION: [*DESTINATIONS, b""],
            Sort.BINDING: sorted(bindings),
        }
    )


def picture(scene: Scene) -> World:
    """Return a scene as the proof sees it."""
    server, notes = scene.server, scene.notes
    cache, clients, limits, counters = server.cache, server.clients, server.limits, server.counters
    held = {(client.id, client.held.handle) for client in clients.values() if client.held is not None}
    known = {client.held.handle: client.held for client in clients.values() if client.held is not None}
    known |= {session.handle: session for session in cache.sessions}
    cached = [session.handle for session in cache.sessions]
    bound = [(each.destination, each.properties, each.endpoint) for each in cache.bindings]
    binding_expiry = dict(zip(bound, (each.expiry_ns for each in cache.bindings), strict=True))
    said, owed, deadline = dict(notes.said), dict(notes.owed), dict(notes.deadline)

    def saving(client: ClientId) -> SaveEndp:
        found = clients[client].saving if client in clients else None
        return found or SaveEndp(1, Label(b""), Properties(b""))

    def order(keys: list[T], label: Callable[[T], object]) -> frozenset[tuple[T, T]]:
        return frozenset((a, b) for n, a in enumerate(keys) for b in keys[n + 1 :] if label(a) == label(b))

    before = order(cached, lambda handle: known[handle].endpoint)
    tried_before = order(bound, lambda key: key[0])
    return World(
        {
            "state": lambda c: CODE[clients[c].state if c in clients else State.CLOSED],
            "saving": lambda c: c in clients and clients[c].saving is not None,
            "saving_endpoint": lambda c: saving(c).endpoint,
            "saving_ttl": lambda c: saving(c).ttl_s * NS_PER_S,
            "saving_size": lambda c: len(saving(c).endpoint) + len(saving(c).properties),
            "held": lambda c, s: (c, s) in held,
            "in_flight": lambda c: c in clients and clients[c].in_flight,
            "cached": cached.count,
            "before": lambda a, b: (a, b) in before,
            "endpoint": lambda s: known[s].endpoint if s in known else b"",
            "expiry": lambda s: known[s].expiry_ns if s in known else 0,
            "size": lambda s: len(known[s].endpoint) + len(known[s].properties) if s in known else 0,
            "destination": lambda b: b[0],
            "leads_to": lambda b: b[2],
            "binding_size": lambda b: sum(map(len, b)),
            "bound": bound.count,
            "tried_before": lambda a, b: (a, b) in tried_before,
            "binding_expiry": lambda b: binding_expiry.get(b, 0),
            "now": lambda: server.now_ns,
            "ttl_limit": lambda: limits.ttl_limit_s * NS_PER_S,
            "sessions_limit": lambda: limits.sessions_max,
            "endpoint_limit": lambda: limits.sessions_per_endpoint_max,
            "bindings_limit": lambda: limits.bindings_max,
            "destination_limit": lambda: limits.bindings_per_destination_max,
            "bytes_limit": lambda: limits.cached_bytes_max,
            "sessions_count": lambda: len(cache.sessions),
            "endpoint_count": lambda e: sum(each.endpoint == e for each in cache.sessions),
            "endpoints_count": lambda: len({each.endpoint for each in cache.sessions}),
            "bindings_count": lambda: len(cache.bindings),
            "destination_count": lambda d: sum(each.destination == d for each in cache.bindings),
            "destinations_count": lambda: len({each.destination for each in cache.bindings}),
            "bytes_count": lambda: bytes_of(cache),
            **{part: (lambda name=name: getattr(counters, name)) for name, part in COUNTERS.items()},
            "connected": lambda c: c in notes.connected,
            "said": lambda c: said.get(c, world.NOTHING),
            "owed": lambda c: owed.get(c, 0),
            "unconfirmed": lambda c: c in notes.unconfirmed,
            "sending": lambda c, s: (c, s) in notes.sending,
            "kept": lambda s: any(handle == s for _, handle in held),
            "came": lambda s: s in notes.came,
            "closes": notes.closes.count,
            "passes": notes.passes.count,
            "deadline": lambda s: deadline.get(s, 0),
            "dest_found": lambda: notes.dest_found,
            "dest_missed": lambda: notes.dest_missed,
            "endp_found": lambda: notes.endp_found,
            "endp_missed": lambda: notes.endp_missed,
        }
    )


assert set(picture(Scene(events.start(Limits(), 0), Notes())).names()) == set(PARTS)


def _asked_binding(stimulus: Stimulus) -> tuple[bytes, bytes, bytes]:
    if stimulus.what is not Input.SAVE_DEST:
        return NO_BINDING
    _, _, (_, destination), (_, properties), (_, endpoint) = stimulus.attributes
    return destination, properties, endpoint


def given(scene: Scene, stimulus: Stimulus) -> Given:
    """Return what came, as the proof sees it; what a find finds is looked for apart from the specification."""
    values = dict(stimulus.attributes) if stimulus.what in _WELL_FORMED else {}
    name = stimulus.attributes[0][1] if stimulus.attributes and stimulus.attributes[0][0] == REQUEST else None
    label = values.get(LABEL, b"")
    cache = scene.server.cache
    leads = [each for each in cache.bindings if name == FIND_DEST and each.destination == label]
    tried = [each.endpoint for each in leads] if name == FIND_DEST else [label]
    first = {endpoint: next((s for s in cache.sessions if s.endpoint == endpoint), None) for endpoint in tried}
    found = next((session for endpoint in tried if (session := first[endpoint]) is not None), None)
    via = next((each for each in leads if first[each.endpoint] is not None), None)
    client = scene.server.clients.get(stimulus.client)
    new = stimulus.limits
    return Given(
        what=stimulus.what,
        actor=stimulus.client,
        is_named=name is not None,
        by_dest=name == FIND_DEST,
        wanted=label,
        destination=label if name == FIND_DEST else b"",
        binding=_asked_binding(stimulus),
        ttl=int(values.get(TTL, b"1")) * NS_PER_S,
        size=len(label) + len(values.get(PROPERTY, b"")),
        arrives=lambda s: s in stimulus.handles,
        first=stimulus.handles[0] if stimulus.handles else Handle(-1),
        found=found.handle if found else Handle(-1),
        via=(via.destination, via.properties, via.endpoint) if via else NO_BINDING,
        mine=client.held.handle if client and client.held else Handle(-1),
        now=stimulus.now_ns,
        flushes=stimulus.flushed.__contains__,
        flushes_destination=stimulus.flushed.__contains__,
        limits={
            "ttl_limit": new.ttl_limit_s * NS_PER_S,
            "sessions_limit": new.sessions_max,
            "endpoint_limit": new.sessions_per_endpoint_max,
            "bindings_limit": new.bindings_max,
            "destination_limit": new.bindings_per_destination_max,
            "bytes_limit": new.cached_bytes_max,
        },
    )


_WELL_FORMED: Final = (*INPUTS.values(), Input.FIND_HIT, Input.FIND_MISS)
