"""Whether a server that carried out one operation after another can explain what concurrent clients saw.

The search is that of Wing and Gong, with Lowe's memory of tried states. It looks for an order of all operations in
which operations that did not overlap keep their order, and in which the specification's cache gives every result that
was seen. The search ends with such an order, or when every order was tried. It has no limit at which it gives up.

Which of two overlapping saves came first may show only a hundred operations later. The search does not try both orders:
the session that was found first was saved first.

An operation is an interval, a verb and a result. Nothing expires here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import assert_never

from scache_conformance.generated.steps import FindDest, FindEndp, Found, SaveDest, SaveEndp
from scache_spec import cache as caches
from scache_spec.cache import Binding, Cache, Session
from scache_spec.vocabulary import Handle, Label, Properties


@dataclass(frozen=True, slots=True)
class PutBack:
    """A client did not fetch the session it had been told of: from some instant on others can find it again."""

    client: str
    endpoint: bytes
    properties: bytes
    session: int


Verb = SaveEndp | SaveDest | FindEndp | FindDest | PutBack


@dataclass(frozen=True, slots=True)
class Operation:
    """A verb, its result (None for everything but a find that hit), and the interval in which it took effect."""

    verb: Verb
    found: Found | None
    invoked: int
    returned: int


def linearization(history: Sequence[Operation]) -> tuple[Operation, ...] | None:
    """Return an order that explains the history, None if there is none."""
    operations = sorted(history, key=lambda each: each.invoked)
    before = _saved_before(operations)
    order: list[int] = []
    here = _Point(0, Cache())
    passed: list[_Point] = []
    seen = {here}
    untried = [_candidates(operations, before, here.done)]
    while len(order) < len(operations):
        step = _first_that_leads_on(operations, untried[-1], here, seen)
        if step is not None:
            order.append(step[0])
            passed.append(here)
            here = step[1]
            untried.append(_candidates(operations, before, here.done))
        elif order:
            order.pop()
            here = passed.pop()
            untried.pop()
        else:
            return None
    return tuple(operations[number] for number in order)


@dataclass(frozen=True, slots=True)
class _Point:
    """Which operations have been put in order, a bit for each, and the cache after them."""

    done: int
    cache: Cache


def _first_that_leads_on(
    operations: Sequence[Operation], candidates: list[int], here: _Point, seen: set[_Point]
) -> tuple[int, _Point] | None:
    """Take candidates away until one fits and leads where the search has not been: what was seen is not seen again."""
    while candidates:
        number = candidates.pop()
        after = _take(here.cache, operations[number])
        if after is not None and (there := _Point(here.done | 1 << number, _arranged(after))) not in seen:
            seen.add(there)
            return number, there
    return None


def _saved_before(operations: Sequence[Operation]) -> list[int]:
    """Return for each operation a bit for each save that must be before it, as what was found since then tells.

    ENDP-3 hands out the oldest session of an endpoint, and only what was found can be put back (ENDP-5). So each
    session is found for the first time in the order of saving, and one that was never found was saved after all that
    were. Takes for granted that a session is saved once.
    """
    begin, end = dict[int, int](), dict[int, int]()  # when each session was found first: not before, not after
    for each in operations:
        if each.found is not None:
            session = each.found.session
            begin[session] = min(each.invoked, begin.get(session, each.invoked))
            end[session] = min(each.returned, end.get(session, each.returned))
    saves = [(number, each.verb) for number, each in enumerate(operations) if isinstance(each.verb, SaveEndp)]
    before = [0] * len(operations)
    for number, save in saves:
        for earlier, other in saves:
            if other.endpoint == save.endpoint and end.get(other.session, inf) < begin.get(save.session, inf):
                before[number] |= 1 << earlier
    return before


def _candidates(operations: Sequence[Operation], before: Sequence[int], done: int) -> list[int]:
    """Return which operation may be next: invoked before any that is not done has returned, no save due before it."""
    found: list[int] = []
    first_return = None
    number = (~done & (done + 1)).bit_length() - 1  # all before are done
    while number < len(operations):
        if not done >> number & 1:
            operation = operations[number]
            if first_return is not None and operation.invoked > first_return:
                break  # the operations are in the order of invocation, so all later ones were invoked too late as well
            if not before[number] & ~done:
                found.append(number)
            first_return = operation.returned if first_return is None else min(first_return, operation.returned)
        number += 1
    # The last is tried first: what was invoked first most often took effect first.
    return found[::-1]


def _take(cache: Cache, operation: Operation) -> Cache | None:
    """Return the cache after the operation, None if it would have given another result."""
    match operation.verb:
        case SaveEndp(_, _, endpoint, properties, session):
            return caches.save_endp(cache, Session(Label(endpoint), Properties(properties), Handle(session), 1))
        case SaveDest(_, _, destination, properties, endpoint):
            return caches.save_dest(cache, Binding(Label(destination), Properties(properties), Label(endpoint), 1))
        case PutBack(_, endpoint, properties, session):
            return caches.put_back(cache, Session(Label(endpoint), Properties(properties), Handle(session), 1), 0)
        case FindEndp(_, endpoint):
            after, hit = caches.find_endp(cache, Label(endpoint))
            found = Found(hit.handle, (hit.properties,)) if hit else None
            return after if found == operation.found else None
        case FindDest(_, destination):
            after, pair = caches.find_dest(cache, Label(destination))
            found = Found(pair[1].handle, (pair[0].properties, pair[1].properties)) if pair else None
            return after if found == operation.found else None
        case _:
            assert_never(operation.verb)


def _arranged(cache: Cache) -> Cache:
    """Return an equal cache that is the same value whenever two behave the same: order matters within a label only."""
    return replace(
        cache,
        sessions=tuple(sorted(cache.sessions, key=lambda session: session.endpoint)),
        bindings=tuple(sorted(cache.bindings, key=lambda binding: binding.destination)),
    )
