"""What is true of the specification's cache in every state, and of every step between two states.

An invariant says nothing that the specification does not say: it says it once more, of the whole instead of the case.
It compares the tables before and after a step, and the reply.
"""

from tests.side_by_side.exploration.explorer import Scope
from tests.side_by_side.exploration.operations import HandOver, Operation, PutBack, Tick
from tests.side_by_side.exploration.server_table import ServerTable
from tests.side_by_side.exploration.spec_table import SpecTable

from scache_spec.cache import Session
from scache_spec.conversation import FindDest, FindEndp, SaveEndp
from scache_spec.vocabulary import NS_PER_S, Handle, Status

InspectedTable = SpecTable | ServerTable


def check_state(scope: Scope, table: InspectedTable, now_ns: int) -> None:
    """Check one state on its own."""
    sessions, bindings, limits = table.cache.sessions, table.cache.bindings, scope.limits
    handles = [session.handle for session in (*sessions, *table.held)]
    assert len(handles) == len(set(handles)), "a handle has two owners"
    for expiry_ns in (*(session.expiry_ns for session in sessions), *(binding.expiry_ns for binding in bindings)):
        assert 0 < expiry_ns - now_ns <= limits.ttl_limit_s * NS_PER_S, "an entry outlives its time"
    names = [(binding.destination, binding.endpoint, binding.properties) for binding in bindings]
    assert len(names) == len(set(names)), "two bindings are the same"
    assert len(bindings) <= limits.bindings_max
    # Put-backs may go beyond a limit, by as many sessions as can be held at once.
    assert len(sessions) <= limits.sessions_max + scope.held_max


def check_step(
    before: InspectedTable, operation: Operation, handle: Handle, reply: object, after: InspectedTable, now_ns: int
) -> None:
    """Check that nothing is lost, doubled or invented, and that finds take what is first in turn."""
    owned_before = [session.handle for session in (*before.cache.sessions, *before.held)]
    owned_after = [session.handle for session in (*after.cache.sessions, *after.held)]
    came = [handle] if isinstance(operation, SaveEndp) else []
    went = [operation.handle] if isinstance(operation, HandOver) else []
    closed = list(closed_by(operation, reply))
    assert sorted(owned_before + came) == sorted(owned_after + went + closed), "saved = cached + held + given + closed"
    if isinstance(operation, FindEndp | FindDest):
        check_find(before, operation, after)
    else:
        assert before.held == after.held or isinstance(operation, PutBack | HandOver)
    if isinstance(operation, Tick):
        assert set(closed) == {s.handle for s in before.cache.sessions if s.expiry_ns <= now_ns}


def closed_by(operation: Operation, reply: object) -> tuple[Handle, ...]:
    """Return the handles that a reply says are closed."""
    if isinstance(operation, SaveEndp):
        assert isinstance(reply, tuple)
        status, closed = reply
        assert bool(closed) == (status is Status.FAILED)
        return tuple(closed)
    if isinstance(operation, PutBack | Tick):
        assert isinstance(reply, tuple)
        return reply
    return ()


def check_find(before: InspectedTable, operation: FindEndp | FindDest, after: InspectedTable) -> None:
    """Check that a find takes the one session that is first in turn, and changes nothing else."""
    if isinstance(operation, FindEndp):
        endpoints = [operation.endpoint]
    else:
        endpoints = [b.endpoint for b in before.cache.bindings if b.destination == operation.destination]
    turn = [session for endpoint in endpoints for session in before.cache.sessions if session.endpoint == endpoint]
    expected: list[Session] = turn[:1]
    assert list(after.held[len(before.held) :]) == expected, "a find takes what is first in turn"
    assert [s for s in before.cache.sessions if s not in expected] == list(after.cache.sessions)
    assert before.cache.bindings == after.cache.bindings, "finding neither consumes nor renews a binding"
