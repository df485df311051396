"""Tables that break one rule each, on purpose: what the exploration must catch.

Decides nothing about right and wrong; each class overrides the place where one rule is kept, says which rule in its
docstring, and leaves everything else to the table it is made of. An exploration that does not catch all of them is not
worth its running time. A mistake found anywhere is added here, so that it stays caught.
"""

from dataclasses import replace
from typing import Final, TypeVar

from tests.side_by_side.exploration.fast_table import FastTable
from tests.side_by_side.exploration.spec_table import SpecTable

from scache_fast.engine.table import Session as FastSession
from scache_fast.engine.table import Table, _Endpoint
from scache_spec import cache as caches
from scache_spec import statistics
from scache_spec.cache import Binding, Cache, Session, Sizes
from scache_spec.vocabulary import FIND_ENDP, NS_PER_S, SAVE_DEST, SAVE_ENDP, Handle, Label, Limits, Properties, Status

Kind = TypeVar("Kind", type[SpecTable], type[FastTable])

WRONG_VERSIONS: Final[list[type[SpecTable] | type[FastTable]]] = []


def wrong(kind: Kind) -> Kind:
    """Add a class to the wrong versions."""
    WRONG_VERSIONS.append(kind)
    return kind


class ChangedSave(SpecTable):
    """A table whose saves go through rules that can be overridden one by one."""

    ttl_limit_counts_for_sessions = True
    ttl_limit_counts_for_bindings = True

    def save_endp(
        self, endpoint: Label, properties: Properties, handle: Handle, ttl_s: int, now_ns: int
    ) -> tuple[Status, tuple[Handle, ...]]:
        limit_s = self.limits.ttl_limit_s if self.ttl_limit_counts_for_sessions else ttl_s
        session = Session(endpoint, properties, handle, caches.expiry_ns(ttl_s, limit_s, now_ns))
        if not self.has_room_for_session(session):
            return Status.FAILED, self.closed_at_refusal(handle)
        before = self.sizes()
        self.cache = self.with_session(session)
        self.count_save_endp(before)
        return Status.DONE, ()

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        limit_s = self.limits.ttl_limit_s if self.ttl_limit_counts_for_bindings else ttl_s
        binding = Binding(destination, properties, endpoint, caches.expiry_ns(ttl_s, limit_s, now_ns))
        if not self.has_room_for_binding(binding):
            return Status.FAILED
        old = next((each for each in self.cache.bindings if self.is_same(each, binding)), None)
        if old is None:
            self.cache = replace(self.cache, bindings=(*self.cache.bindings, binding))
        else:
            self.cache = replace(self.cache, bindings=self.renewed(old, binding))
        self.count_save_dest()
        return Status.DONE

    def has_room_for_session(self, session: Session) -> bool:
        return caches.limit_on_session(self.cache, self.limits, session) is None

    def closed_at_refusal(self, handle: Handle) -> tuple[Handle, ...]:
        return (handle,)

    def with_session(self, session: Session) -> Cache:
        return caches.save_endp(self.cache, session)

    def count_save_endp(self, before: Sizes) -> None:
        self.counters = statistics.count_save(self.counters, SAVE_ENDP, self.sizes())

    def has_room_for_binding(self, binding: Binding) -> bool:
        return caches.limit_on_binding(self.cache, self.limits, binding) is None

    def is_same(self, old: Binding, new: Binding) -> bool:
        return replace(old, expiry_ns=new.expiry_ns) == new

    def renewed(self, old: Binding, new: Binding) -> tuple[Binding, ...]:
        return tuple(new if each is old else each for each in self.cache.bindings)

    def count_save_dest(self) -> None:
        self.counters = statistics.count_save(self.counters, SAVE_DEST, self.sizes())


# Which session a find hands out.


@wrong
class NewestFirst(SpecTable):
    """ENDP-3: hands out the newest session instead of the oldest."""

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        self.cache = replace(self.cache, sessions=self.cache.sessions[::-1])
        found = super().find_endp(endpoint)
        self.cache = replace(self.cache, sessions=self.cache.sessions[::-1])
        return found


@wrong
class OtherEndpointsSession(SpecTable):
    """ENDP-3: hands out some session rather than none."""

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        labels = [session.endpoint for session in self.cache.sessions]
        return super().find_endp(labels[0] if labels and endpoint not in labels else endpoint)


@wrong
class HandsOutTwice(SpecTable):
    """ENDP-4: a find leaves the session in the cache."""

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        before = self.cache
        found = super().find_endp(endpoint)
        self.cache = before
        return found


@wrong
class SavesInFront(ChangedSave):
    """ENDP-2: a saved session goes first."""

    def with_session(self, session: Session) -> Cache:
        return replace(self.cache, sessions=(session, *self.cache.sessions))


@wrong
class EqualSessionReplaced(ChangedSave):
    """ENDP-2: a session of equal label and properties takes the other's place, which is lost."""

    def with_session(self, session: Session) -> Cache:
        kept = (s for s in self.cache.sessions if (s.endpoint, s.properties) != (session.endpoint, session.properties))
        return replace(self.cache, sessions=(*kept, session))


@wrong
class NameSpacesMixed(SpecTable):
    """ENDP-1: a find_endp that misses takes the label for a destination's."""

    def find_endp(self, endpoint: Label) -> tuple[Properties, Handle] | None:
        aliases = [binding.endpoint for binding in self.cache.bindings if binding.destination == endpoint]
        if aliases and all(session.endpoint != endpoint for session in self.cache.sessions):
            return super().find_endp(aliases[0])
        return super().find_endp(endpoint)


@wrong
class LabelsCountedTogether(SpecTable):
    """STAT-1: a label that is both a destination's and an endpoint's counts once."""

    def sizes(self) -> Sizes:
        sizes = super().sizes()
        both = {s.endpoint for s in self.cache.sessions} & {b.destination for b in self.cache.bindings}
        return replace(sizes, endpoints=sizes.endpoints - len(both))


@wrong
class BoundEndpointCounts(SpecTable):
    """STAT-1: an endpoint counts while a binding points at it."""

    def sizes(self) -> Sizes:
        labels = {s.endpoint for s in self.cache.sessions} | {b.endpoint for b in self.cache.bindings}
        return replace(super().sizes(), endpoints=len(labels))


# Putting back.


@wrong
class PutBackLast(SpecTable):
    """ENDP-5: a session that is put back goes last."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        closed = super().put_back(handle, now_ns)
        if not closed:
            first, *others = self.cache.sessions
            self.cache = replace(self.cache, sessions=(*others, first))
        return closed


@wrong
class PutBackRenewed(SpecTable):
    """ENDP-5: a session that is put back gets a new lease of life."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        closed = super().put_back(handle, now_ns)
        if not closed:
            first, *others = self.cache.sessions
            first = replace(first, expiry_ns=now_ns + self.limits.ttl_limit_s * NS_PER_S)
            self.cache = replace(self.cache, sessions=(first, *others))
        return closed


@wrong
class PutBackMeetsLimits(SpecTable):
    """ENDP-5: a session that is put back is closed if the cache is full."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        if len(self.cache.sessions) >= self.limits.sessions_max:
            self.release(handle)
            return (handle,)
        return super().put_back(handle, now_ns)


@wrong
class PutBackAfterExpiry(SpecTable):
    """ENDP-6: a session whose expiry passed while it was held comes back all the same."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        return super().put_back(handle, min(now_ns, self.session(handle).expiry_ns - 1))

    def session(self, handle: Handle) -> Session:
        return next(each for each in self.held if each.handle == handle)


@wrong
class PutBackOneLate(PutBackAfterExpiry):
    """ENDP-6: a session comes back at the very instant of its expiry."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        at_expiry = self.session(handle).expiry_ns == now_ns
        return SpecTable.put_back(self, handle, now_ns - at_expiry)


@wrong
class NeverPutBack(SpecTable):
    """ENDP-5: a session that was found and not handed over is closed, as the Postfix server does it."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        self.release(handle)
        return (handle,)


@wrong
class PutBackForgotten(SpecTable):
    """ENDP-5: a session that was found and not handed over is neither parked nor closed."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        self.release(handle)
        return ()


# Lifetime.


class ChangedExpiry(SpecTable):
    """A table whose clock can be off for one kind of entry."""

    session_offset_ns = 0
    binding_offset_ns = 0

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        after, closed = caches.expire(self.cache, now_ns + self.session_offset_ns)
        bindings = caches.expire(self.cache, now_ns + self.binding_offset_ns)[0].bindings
        self.cache = replace(after, bindings=bindings)
        return tuple(sorted(closed))


@wrong
class SessionExpiresEarly(ChangedExpiry):
    """TTL-2: a session expires a second early."""

    session_offset_ns = NS_PER_S


@wrong
class SessionExpiresLate(ChangedExpiry):
    """TTL-2: a session is still there at the instant of its expiry."""

    session_offset_ns = -1


@wrong
class SessionNeverExpires(ChangedExpiry):
    """TTL-3: a session stays until it is found."""

    session_offset_ns = -(10**18)


@wrong
class BindingExpiresEarly(ChangedExpiry):
    """TTL-2: a binding expires a second early."""

    binding_offset_ns = NS_PER_S


@wrong
class BindingExpiresLate(ChangedExpiry):
    """TTL-2: a binding is still there at the instant of its expiry."""

    binding_offset_ns = -1


@wrong
class BindingNeverExpires(ChangedExpiry):
    """TTL-4: a binding stays for ever."""

    binding_offset_ns = -(10**18)


@wrong
class OneExpiryATurn(SpecTable):
    """TTL-3: of several sessions that are due at once, one is dropped."""

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        due = [session for session in self.cache.sessions if session.expiry_ns <= now_ns]
        closed = super().expire(now_ns)
        self.cache = replace(self.cache, sessions=(*due[1:], *self.cache.sessions))
        return tuple(handle for handle in closed if handle == due[0].handle)


@wrong
class ExpiryLeaks(SpecTable):
    """TTL-3: an expired session is dropped, its descriptor stays open."""

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        super().expire(now_ns)
        return ()


@wrong
class ExpiryClosesTwice(SpecTable):
    """TTL-3: an expired session's descriptor is closed twice."""

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        return tuple(sorted(super().expire(now_ns) * 2))


@wrong
class SessionEndsWithItsBinding(SpecTable):
    """TTL-4, DEST-1: a binding takes the sessions of its endpoint with it."""

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        before = self.cache.bindings
        closed = super().expire(now_ns)
        ended = {binding.endpoint for binding in before} - {binding.endpoint for binding in self.cache.bindings}
        orphans = [session for session in self.cache.sessions if session.endpoint in ended]
        self.cache = replace(self.cache, sessions=tuple(s for s in self.cache.sessions if s not in orphans))
        return tuple(sorted((*closed, *(session.handle for session in orphans))))


@wrong
class BindingEndsWithItsSession(SpecTable):
    """DEST-1: bindings to an endpoint go when a session of it expires."""

    def expire(self, now_ns: int) -> tuple[Handle, ...]:
        due = {session.endpoint for session in self.cache.sessions if session.expiry_ns <= now_ns}
        closed = super().expire(now_ns)
        self.cache = replace(self.cache, bindings=tuple(b for b in self.cache.bindings if b.endpoint not in due))
        return closed


@wrong
class SessionTtlWithoutLimit(ChangedSave):
    """TTL-1: the ttl limit is for bindings alone."""

    ttl_limit_counts_for_sessions = False


@wrong
class BindingTtlWithoutLimit(ChangedSave):
    """TTL-1: the ttl limit is for sessions alone."""

    ttl_limit_counts_for_bindings = False


# Renewal.


@wrong
class NeverRenewed(ChangedSave):
    """DEST-2: saving a binding again leaves its expiry."""

    def renewed(self, old: Binding, new: Binding) -> tuple[Binding, ...]:
        return self.cache.bindings


@wrong
class RenewalOnlyExtends(ChangedSave):
    """DEST-2: saving a binding again does not shorten its life."""

    def renewed(self, old: Binding, new: Binding) -> tuple[Binding, ...]:
        return super().renewed(old, max(old, new, key=lambda binding: binding.expiry_ns))


@wrong
class RenewalOnlyShortens(ChangedSave):
    """DEST-2: saving a binding again does not lengthen its life."""

    def renewed(self, old: Binding, new: Binding) -> tuple[Binding, ...]:
        return super().renewed(old, min(old, new, key=lambda binding: binding.expiry_ns))


@wrong
class RenewalReorders(ChangedSave):
    """DEST-2: saving a binding again moves it to the end."""

    def renewed(self, old: Binding, new: Binding) -> tuple[Binding, ...]:
        return (*(each for each in self.cache.bindings if each is not old), new)


@wrong
class SavedTwice(ChangedSave):
    """DEST-2: saving a binding again makes another one of it."""

    def is_same(self, old: Binding, new: Binding) -> bool:
        return False


@wrong
class RenewalIgnoresProperties(ChangedSave):
    """DEST-3: a binding with other properties takes the place of the old one."""

    def is_same(self, old: Binding, new: Binding) -> bool:
        return (old.destination, old.endpoint) == (new.destination, new.endpoint)


@wrong
class RenewalIgnoresEndpoint(ChangedSave):
    """DEST-3: a binding to another endpoint takes the place of the old one."""

    def is_same(self, old: Binding, new: Binding) -> bool:
        return (old.destination, old.properties) == (new.destination, new.properties)


@wrong
class RenewalIgnoresDestination(ChangedSave):
    """DEST-2: a binding of another destination takes the place of the old one."""

    def is_same(self, old: Binding, new: Binding) -> bool:
        return (old.endpoint, old.properties) == (new.endpoint, new.properties)


@wrong
class BindingInFront(SpecTable):
    """DEST-3: a new binding goes first."""

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        before = self.cache.bindings
        status = super().save_dest(destination, properties, endpoint, ttl_s, now_ns)
        added = self.cache.bindings[len(before) :]
        if added:
            self.cache = replace(self.cache, bindings=(*added, *before))
        return status


# Finding by destination.


@wrong
class LastBindingFirst(SpecTable):
    """DEST-4: the bindings are tried from the last to the first."""

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        self.cache = replace(self.cache, bindings=self.cache.bindings[::-1])
        found = super().find_dest(destination)
        self.cache = replace(self.cache, bindings=self.cache.bindings[::-1])
        return found


@wrong
class StopsAtEmptyEndpoint(SpecTable):
    """DEST-4: only the first binding is tried."""

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        every = self.cache.bindings
        first = [binding for binding in every if binding.destination == destination][:1]
        self.cache = replace(self.cache, bindings=tuple(first))
        found = super().find_dest(destination)
        self.cache = replace(self.cache, bindings=every)
        return found


@wrong
class NewestByDestination(SpecTable):
    """DEST-4: find_dest hands out the newest session of the endpoint."""

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        self.cache = replace(self.cache, sessions=self.cache.sessions[::-1])
        found = super().find_dest(destination)
        self.cache = replace(self.cache, sessions=self.cache.sessions[::-1])
        return found


@wrong
class FirstBindingsProperties(SpecTable):
    """DEST-4: the properties handed out are those of the destination's first binding, whichever led to the session."""

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        first = [binding.properties for binding in self.cache.bindings if binding.destination == destination]
        found = super().find_dest(destination)
        return (first[0], *found[1:]) if found is not None else None


@wrong
class PropertiesSwapped(SpecTable):
    """DEST-4: the properties of binding and session change places."""

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        found = super().find_dest(destination)
        return (found[1], found[0], found[2]) if found is not None else None


@wrong
class BindingConsumed(SpecTable):
    """DEST-5: a find_dest that hits removes the binding."""

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        endpoints = [session.endpoint for session in self.cache.sessions]
        led = [b for b in self.cache.bindings if b.destination == destination and b.endpoint in endpoints][:1]
        found = super().find_dest(destination)
        self.cache = replace(self.cache, bindings=tuple(each for each in self.cache.bindings if each not in led))
        return found


# Limits.


@wrong
class NoSessionsLimit(ChangedSave):
    """LIMIT-2: there may be any number of sessions."""

    def has_room_for_session(self, session: Session) -> bool:
        limits = replace(self.limits, sessions_max=10**9)
        return caches.limit_on_session(self.cache, limits, session) is None


@wrong
class NoSessionsPerEndpointLimit(ChangedSave):
    """LIMIT-3: an endpoint may have any number of sessions."""

    def has_room_for_session(self, session: Session) -> bool:
        limits = replace(self.limits, sessions_per_endpoint_max=10**9)
        return caches.limit_on_session(self.cache, limits, session) is None


@wrong
class NoBindingsLimit(ChangedSave):
    """LIMIT-4: there may be any number of bindings."""

    def has_room_for_binding(self, binding: Binding) -> bool:
        return True


class ShiftedLimits(SpecTable):
    """A table that counts its limits wrongly."""

    sessions_shift = 0
    sessions_per_endpoint_shift = 0
    bindings_shift = 0

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.shifted_limits = replace(
            limits,
            sessions_max=limits.sessions_max + self.sessions_shift,
            sessions_per_endpoint_max=limits.sessions_per_endpoint_max + self.sessions_per_endpoint_shift,
            bindings_max=limits.bindings_max + self.bindings_shift,
        )

    def save_endp(
        self, endpoint: Label, properties: Properties, handle: Handle, ttl_s: int, now_ns: int
    ) -> tuple[Status, tuple[Handle, ...]]:
        limits, self.limits = self.limits, self.shifted_limits
        saved = super().save_endp(endpoint, properties, handle, ttl_s, now_ns)
        self.limits = limits
        return saved

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        limits, self.limits = self.limits, self.shifted_limits
        status = super().save_dest(destination, properties, endpoint, ttl_s, now_ns)
        self.limits = limits
        return status


@wrong
class SessionsLimitOneLow(ShiftedLimits):
    """LIMIT-2: the last session there is room for is refused."""

    sessions_shift = -1


@wrong
class SessionsLimitOneHigh(ShiftedLimits):
    """LIMIT-2: one session too many is parked."""

    sessions_shift = 1


@wrong
class SessionsPerEndpointLimitOneLow(ShiftedLimits):
    """LIMIT-3: the last session that an endpoint has room for is refused."""

    sessions_per_endpoint_shift = -1


@wrong
class SessionsPerEndpointLimitOneHigh(ShiftedLimits):
    """LIMIT-3: one session too many is parked under an endpoint."""

    sessions_per_endpoint_shift = 1


@wrong
class BindingsLimitOneLow(ShiftedLimits):
    """LIMIT-4: the last binding there is room for is refused."""

    bindings_shift = -1


@wrong
class BindingsLimitOneHigh(ShiftedLimits):
    """LIMIT-4: one binding too many is saved."""

    bindings_shift = 1


@wrong
class RenewalNeedsRoom(ChangedSave):
    """LIMIT-4: at the limit, a binding cannot be renewed either."""

    def has_room_for_binding(self, binding: Binding) -> bool:
        return len(self.cache.bindings) < self.limits.bindings_max


@wrong
class HeldSessionsTakeRoom(ChangedSave):
    """LIMIT-2: sessions held for a hand-over count as parked."""

    def has_room_for_session(self, session: Session) -> bool:
        taken = len(self.cache.sessions) + len(self.held)
        return taken < self.limits.sessions_max and super().has_room_for_session(session)


@wrong
class RefusalLeaks(ChangedSave):
    """LIMIT-2: the descriptor of a session that is refused stays open."""

    def closed_at_refusal(self, handle: Handle) -> tuple[Handle, ...]:
        return ()


# Counters.


@wrong
class PeakForgotten(ChangedSave):
    """STAT-4: the last size takes the place of the greatest."""

    def count_save_endp(self, before: Sizes) -> None:
        self.counters = replace(self.counters, sessions_max=0)
        super().count_save_endp(before)


@wrong
class PeakBeforeSave(ChangedSave):
    """STAT-4: peaks are taken of what the cache held before the save."""

    def count_save_endp(self, before: Sizes) -> None:
        self.counters = statistics.count_save(self.counters, SAVE_ENDP, before)


@wrong
class PeakOfSessionsAtSaveDest(ChangedSave):
    """STAT-4: save_dest takes the peak of connections too."""

    def count_save_dest(self) -> None:
        super().count_save_dest()
        self.counters = replace(self.counters, sessions_max=max(self.counters.sessions_max, len(self.cache.sessions)))


@wrong
class NoAddressPeakAtSaveDest(ChangedSave):
    """STAT-4: save_dest takes no peak of addresses."""

    def count_save_dest(self) -> None:
        before = self.counters.endpoints_max
        super().count_save_dest()
        self.counters = replace(self.counters, endpoints_max=before)


@wrong
class PeakAtPutBack(SpecTable):
    """STAT-4: a put-back takes peaks, as if it were a save."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        closed = super().put_back(handle, now_ns)
        self.counters = statistics.count_save(self.counters, SAVE_ENDP, self.sizes())
        return closed


@wrong
class HeldSessionsInPeak(ChangedSave):
    """STAT-4: sessions held for a hand-over count as connections."""

    def count_save_endp(self, before: Sizes) -> None:
        after = self.sizes()
        self.counters = statistics.count_save(
            self.counters, SAVE_ENDP, replace(after, sessions=after.sessions + len(self.held))
        )


@wrong
class HitCountsTwice(SpecTable):
    """STAT-2: a find_dest that hits counts as an address lookup too."""

    def find_dest(self, destination: Label) -> tuple[Properties, Properties, Handle] | None:
        found = super().find_dest(destination)
        if found is not None:
            self.counters = statistics.count_find(self.counters, FIND_ENDP, hit=True)
        return found


@wrong
class HitUncountedAtPutBack(SpecTable):
    """STAT-3: a hit is taken back when the hand-over fails."""

    def put_back(self, handle: Handle, now_ns: int) -> tuple[Handle, ...]:
        self.counters = replace(self.counters, endp_hits=self.counters.endp_hits - 1)
        return super().put_back(handle, now_ns)


# The production table, with the mistakes that its way of working invites.


class _HeapRebuiltShort(Table):
    __slots__ = ()

    def compact(self) -> None:
        before = self._heap
        super().compact()
        if self._heap is not before and self._heap:
            self._heap.remove(max(self._heap))


@wrong
class HeapRebuiltShort(FastTable):
    """TTL-3: rebuilding the heap forgets the last instant."""

    table_kind = _HeapRebuiltShort


class _HeapRebuiltUnordered(Table):
    __slots__ = ()

    def compact(self) -> None:
        before = self._heap
        super().compact()
        if self._heap is not before:
            self._heap = list(self._timed)


@wrong
class HeapRebuiltUnordered(FastTable):
    """TTL-3: the rebuilt heap is a list in the order of saving."""

    table_kind = _HeapRebuiltUnordered


class _RenewalKeepsOldInstant(Table):
    __slots__ = ()

    def save_dest(self, destination: Label, properties: Properties, endpoint: Label, ttl_s: int, now_ns: int) -> Status:
        old = self._destinations.get(destination, {}).get((endpoint, properties))
        due = old.due if old is not None else 0
        status = super().save_dest(destination, properties, endpoint, ttl_s, now_ns)
        if old is not None:
            self._timed[due] = old
        return status


@wrong
class RenewalKeepsOldInstant(FastTable):
    """DEST-2: the instant a renewed binding had before still ends it."""

    table_kind = _RenewalKeepsOldInstant


class _FoundSessionStillDue(Table):
    __slots__ = ()

    def _take(self, record: _Endpoint, session: FastSession) -> FastSession:
        due = session.due
        super()._take(record, session)
        self._timed[due] = session
        return session


@wrong
class FoundSessionStillDue(FastTable):
    """ENDP-4: a session that was found expires all the same."""

    table_kind = _FoundSessionStillDue


class _PutBackForEver(Table):
    __slots__ = ()

    def put_back(self, session: FastSession, now_ns: int) -> bool:
        done = super().put_back(session, now_ns)
        self._timed.pop(session.due, None)
        return done


@wrong
class PutBackForEver(FastTable):
    """ENDP-5: a session that was put back has no instant in the heap any more."""

    table_kind = _PutBackForEver


class _QueueKeepsItsEnd(Table):
    __slots__ = ()

    def _unlink(self, record: _Endpoint, session: FastSession) -> None:
        newest = record.newest
        super()._unlink(record, session)
        record.newest = newest


@wrong
class QueueKeepsItsEnd(FastTable):
    """ENDP-2: a session that left the end of its queue is still taken for the end."""

    table_kind = _QueueKeepsItsEnd


class _BoundEndpointDropped(Table):
    __slots__ = ()

    def _unlink(self, record: _Endpoint, session: FastSession) -> None:
        super()._unlink(record, session)
        if not record.sessions:
            self._endpoints.pop(record.label, None)


@wrong
class BoundEndpointDropped(FastTable):
    """DEST-1: an endpoint without sessions is dropped under the bindings that point at it."""

    table_kind = _BoundEndpointDropped
