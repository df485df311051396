"""Wrong versions of the reference server, each wrong in one thing: what the lockstep must catch to be worth its time.

Decides how each is wrong. The oracle runs the same functions of scache_spec in the same process, so a wrong one is put
in their place only while the server takes its turn.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Final
from unittest import mock

from tests.support.servers import Reference

from scache_spec import actions, attributes, cache, events, server, statistics
from scache_spec.actions import ACTIONS, Given
from scache_spec.attributes import Decoded, TooLong, Unfinished
from scache_spec.cache import Binding, Cache, Session, Sizes
from scache_spec.conversation import TRANSITIONS, Action, Input, State, Transition
from scache_spec.effects import CloseDescriptor, Effects
from scache_spec.server import Client, Outcome, Server
from scache_spec.statistics import Counters
from scache_spec.vocabulary import NS_PER_S, ClientId, Handle, Label, Limit, Limits

# The right ones, which the wrong ones lean on.
_find_endp, _find_dest, _save_dest, _expire = cache.find_endp, cache.find_dest, cache.save_dest, cache.expire
_count_find, _count_save = statistics.count_find, statistics.count_save
_decode, _send = attributes.decode, server.send
_on_tick, _on_bytes, _on_gone = events.on_tick, events.on_bytes, events.on_gone
_on_descriptors = events.on_descriptors


def find_newest(within: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    turned, found = _find_endp(replace(within, sessions=within.sessions[::-1]), endpoint)
    return replace(turned, sessions=turned.sessions[::-1]), found


def find_keeps_duplicates_out(within: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    """Hand out one session and forget every other with the same properties."""
    left, found = _find_endp(within, endpoint)
    if found is None:
        return left, None
    kept = (each for each in left.sessions if (each.endpoint, each.properties) != (found.endpoint, found.properties))
    return replace(left, sessions=tuple(kept)), found


def put_back_last(within: Cache, session: Session, now_ns: int) -> Cache | None:
    return None if session.expiry_ns <= now_ns else replace(within, sessions=(*within.sessions, session))


def put_back_after_expiry(within: Cache, session: Session, now_ns: int) -> Cache:
    return replace(
        within, sessions=(replace(session, expiry_ns=max(session.expiry_ns, now_ns + NS_PER_S)), *within.sessions)
    )


def put_nothing_back(within: Cache, session: Session, now_ns: int) -> Cache | None:
    return None


def expire_one_ns_late(within: Cache, now_ns: int) -> tuple[Cache, tuple[Handle, ...]]:
    return _expire(within, now_ns - 1)


def expire_one_ns_early(within: Cache, now_ns: int) -> tuple[Cache, tuple[Handle, ...]]:
    return _expire(within, now_ns + 1)


def expire_without_closing(within: Cache, now_ns: int) -> tuple[Cache, tuple[Handle, ...]]:
    return _expire(within, now_ns)[0], ()


def expire_bindings_with_sessions(within: Cache, now_ns: int) -> tuple[Cache, tuple[Handle, ...]]:
    """Take a binding away together with the last session of its endpoint."""
    left, handles = _expire(within, now_ns)
    gone = {each.endpoint for each in within.sessions} - {each.endpoint for each in left.sessions}
    return replace(left, bindings=tuple(each for each in left.bindings if each.endpoint not in gone)), handles


def expiry_without_limit(ttl_s: int, ttl_limit_s: int, now_ns: int) -> int:
    return now_ns + min(ttl_s, 1000) * NS_PER_S


def renewal_goes_last(within: Cache, binding: Binding) -> Cache:
    same = cache._same_binding(within, binding)
    return replace(within, bindings=(*(each for each in within.bindings if each is not same), binding))


def renewal_only_prolongs(within: Cache, binding: Binding) -> Cache:
    same = cache._same_binding(within, binding)
    return _save_dest(within, replace(binding, expiry_ns=max(binding.expiry_ns, same.expiry_ns if same else 0)))


def binding_without_properties(within: Cache, binding: Binding) -> Cache:
    """Take a binding for the same one whatever its properties."""
    kept = tuple(
        each for each in within.bindings if (each.destination, each.endpoint) != (binding.destination, binding.endpoint)
    )
    return replace(within, bindings=(*kept, binding))


def find_dest_consumes(within: Cache, destination: Label) -> tuple[Cache, tuple[Binding, Session] | None]:
    left, pair = _find_dest(within, destination)
    if pair is None:
        return left, None
    return replace(left, bindings=tuple(each for each in left.bindings if each is not pair[0])), pair


def find_dest_tries_first_only(within: Cache, destination: Label) -> tuple[Cache, tuple[Binding, Session] | None]:
    first = next((each for each in within.bindings if each.destination == destination), None)
    left, session = _find_endp(within, first.endpoint) if first else (within, None)
    return left, (first, session) if first and session else None


def one_session_too_many(within: Cache, limits: Limits, session: Session) -> Limit | None:
    return Limit.SESSIONS if len(within.sessions) > limits.sessions_max else None


def renewal_needs_room(within: Cache, limits: Limits, binding: Binding) -> Limit | None:
    return Limit.BINDINGS if len(within.bindings) >= limits.bindings_max else None


def count_dest_hit_twice(counters: Counters, request: bytes, *, hit: bool) -> Counters:
    counted = _count_find(counters, request, hit=hit)
    return replace(counted, endp_hits=counted.endp_hits + (counted.dest_hits > counters.dest_hits))


def count_peaks_of_bindings(counters: Counters, request: bytes, after: Sizes) -> Counters:
    return _count_save(counters, request, replace(after, destinations=after.bindings))


def decode_drops_the_rest(stream: bytes, list_bytes_max: int, attributes_max: int) -> Decoded | Unfinished | TooLong:
    decoded = _decode(stream, list_bytes_max, attributes_max)
    return replace(decoded, rest=b"") if isinstance(decoded, Decoded) else decoded


def decode_one_byte_more(stream: bytes, list_bytes_max: int, attributes_max: int) -> Decoded | Unfinished | TooLong:
    return _decode(stream, list_bytes_max + 1, attributes_max)


def refuse_and_leak(state: Server, client: Client, given: Given) -> Outcome:
    state, effects = actions._refuse(state, client, given)
    return state, tuple(each for each in effects if not isinstance(each, CloseDescriptor))


def let_go_of_nothing(state: Server, client: Client, given: Given) -> Outcome:
    state, _ = actions._let_go(state, client, given)
    return state, ()


def age_restarts_with_every_byte(state: Server, client_id: ClientId, data: bytes) -> Outcome:
    outcome, effects = _on_bytes(state, client_id, data)
    if client_id not in outcome.clients or outcome.clients[client_id].step_since_ns is None:
        return outcome, effects
    younger = replace(outcome.clients[client_id], step_since_ns=outcome.now_ns)
    return server.with_client(outcome, younger), effects


def time_out_at_rest(state: Server, now_ns: int) -> Outcome:
    """Disconnect everybody after the time that a step may take."""
    for client in state.clients.values():
        if client.step_since_ns is None:
            state = server.with_client(state, replace(client, step_since_ns=state.now_ns))
    return _on_tick(state, now_ns)


def shorten_malformed(state: Server, client: Client, data: bytes) -> tuple[Server, Effects]:
    """Answer a malformed find without its empty properties."""
    if data.startswith(b"status\x001\0property"):
        data = b"status\x001\0\0"
    return _send(state, client, data)


def lose_what_is_being_sent(state: Server, client_id: ClientId) -> Outcome:
    """Put back what a client held that was not ready, but not what could not be sent any more."""
    client = state.clients[client_id]
    after, effects = _on_gone(state, client_id)
    if client.state is not State.SENDING or client.held is None:
        return after, effects
    kept = tuple(each for each in after.cache.sessions if each != client.held)
    return replace(after, cache=replace(after.cache, sessions=kept)), (CloseDescriptor(client.held.handle), *effects)


def meddle_with_descriptors(
    state: Server, client_id: ClientId, handles: tuple[Handle, ...], *, truncated: bool = False
) -> Outcome:
    """Make what is parked non-blocking, for everybody who has it."""
    for handle in handles:
        os.set_blocking(handle, False)
    return _on_descriptors(state, client_id, handles, truncated=truncated)


Wrong = Callable[[], AbstractContextManager[object]]
"""Makes the specification wrong while it is entered."""


def _instead(module: ModuleType, name: str, wrong: Callable[..., object]) -> Wrong:
    return partial(mock.patch.object, module, name, wrong)


def _action(action: Action, wrong: Callable[[Server, Client, Given], Outcome]) -> Wrong:
    return partial(mock.patch.dict, ACTIONS, {action: wrong})


def _row(state: State, what: Input, wrong: Transition) -> Wrong:
    return partial(mock.patch.dict, TRANSITIONS, {(state, what): wrong})


WRONG: Final[dict[str, Wrong]] = {
    "newest first": _instead(cache, "find_endp", find_newest),
    "equal properties are one session": _instead(cache, "find_endp", find_keeps_duplicates_out),
    "put back last": _instead(cache, "put_back", put_back_last),
    "put back after expiry": _instead(cache, "put_back", put_back_after_expiry),
    "nothing put back": _instead(cache, "put_back", put_nothing_back),
    "lost while being sent": _instead(events, "on_gone", lose_what_is_being_sent),
    "expiry one nanosecond late": _instead(cache, "expire", expire_one_ns_late),
    "expiry one nanosecond early": _instead(cache, "expire", expire_one_ns_early),
    "expired descriptors stay open": _instead(cache, "expire", expire_without_closing),
    "bindings go with their sessions": _instead(cache, "expire", expire_bindings_with_sessions),
    "ttl without limit": _instead(cache, "expiry_ns", expiry_without_limit),
    "renewed binding goes last": _instead(cache, "save_dest", renewal_goes_last),
    "renewal never shortens": _instead(cache, "save_dest", renewal_only_prolongs),
    "bindings differ by endpoint alone": _instead(cache, "save_dest", binding_without_properties),
    "find_dest consumes the binding": _instead(cache, "find_dest", find_dest_consumes),
    "find_dest tries one binding": _instead(cache, "find_dest", find_dest_tries_first_only),
    "one session too many": _instead(cache, "limit_on_session", one_session_too_many),
    "renewal needs room": _instead(cache, "limit_on_binding", renewal_needs_room),
    "domain hit is an address hit too": _instead(statistics, "count_find", count_dest_hit_twice),
    "peak of bindings for domains": _instead(statistics, "count_save", count_peaks_of_bindings),
    "pipelined requests dropped": _instead(events, "decode", decode_drops_the_rest),
    "list one byte too long": _instead(events, "decode", decode_one_byte_more),
    "refused descriptors leak": _action(Action.REFUSE, refuse_and_leak),
    "handed-over descriptors leak": _action(Action.LET_GO, let_go_of_nothing),
    "any list means ready": _row(State.READY, Input.OTHER_LIST, Transition(State.SENDING, Action.SEND, "none")),
    "step's age restarts with every byte": _instead(events, "on_bytes", age_restarts_with_every_byte),
    "clients at rest time out": _instead(events, "on_tick", time_out_at_rest),
    "malformed find answered short": _instead(actions, "send", shorten_malformed),
    "parked descriptor made non-blocking": _instead(events, "on_descriptors", meddle_with_descriptors),
}
"""Each wrong version by its name."""


class WrongReference(Reference):
    """A reference server that is wrong in one thing, or, without one, right."""

    def __init__(self, limits: Limits, wrong: Wrong) -> None:
        super().__init__(limits)
        self._wrong = wrong

    def step(self) -> None:
        with self._wrong():
            super().step()
