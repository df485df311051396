"""Whether one order of the overlapping operations explains what all connections together saw of the cache.

Each operation took effect at some instant between two others: the first at which the server could know of it, and the
one at which its answer was seen. A fault is what contradicts every choice of these instants:

* A connection is recognized by the name that the kernel gives it. A connection that is handed out was saved before,
  under this endpoint and with these properties, has not expired, and was not handed out since (ENDP-3, ENDP-4, FD-13,
  TTL-2).
* A session that is handed out was in the cache all the time since it was saved. In that time, no find of its endpoint
  may have missed or have returned a session that was saved later (ENDP-3), and no find of a destination that leads
  there may have missed, or have been led through a binding that certainly came later in the order (DEST-4).
* Where the server's ttl limit is known, a session and a binding are in the cache at least until one second before their
  expiry, even if no client finds them any more. (Servers may count whole seconds.)

These are never faults:

* anything that may have been saved before the watch began, unless `is_alone` says that the cache was empty;
* anything about a session that a find named and whose descriptor the client did not fetch (put back, or closed);
* anything while a connection cannot be followed. What was seen before is forgotten then.

Two facts are taken for granted. All clients come this way. No connection is saved both before and after the watch
began.
"""

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Final

from scache_conformance.watch.faults import Fault
from scache_conformance.watch.relay import Side
from scache_conformance.watch.seen import (
    REMEMBERED_MAX,
    Binding,
    BindingKey,
    Endpoint,
    Find,
    SavedBinding,
    SavedSession,
    Window,
    lies_in,
)
from scache_conformance.watch.turns import Turns
from scache_conformance.wire.transcript import show
from scache_spec.vocabulary import NS_PER_S

CONNECTIONS_MAX: Final = 50_000
"""So many connections that were saved are known by name; of more, those that were saved longest ago are forgotten."""

UNANSWERED_NS: Final = 30 * NS_PER_S
"""So long after it was sent, a find whose client has left may still be served. Arbitrary."""

LATER_NS: Final = 5 * NS_PER_S
"""So long after its end something is judged and forgotten: what was asked for before has been answered. Arbitrary."""


class Judge:
    """Hears of every dance."""

    def __init__(
        self, on_fault: Callable[[Fault], None], *, ttl_limit_s: int | None = None, is_alone: bool = False
    ) -> None:
        """Know nothing, or with `is_alone` that the cache is empty. `on_fault` is told of each fault."""
        self.epoch = 0
        """Counts how often everything was forgotten."""
        self.turns: Final = Turns()
        """Knows which requests are passed over."""
        self.unknown = 0
        """How many sessions were handed out that nobody was seen to save."""
        self._on_fault: Final = on_fault
        self._is_limit_known: Final = ttl_limit_s is not None
        self._ttl_limit_s: Final = inf if ttl_limit_s is None else float(ttl_limit_s)
        self._is_alone = is_alone
        self._unseen = 0
        self._numbers: Final = count()
        self._endpoints: Final[dict[bytes, Endpoint]] = {}
        self._misses: Final[dict[bytes, deque[Find]]] = {}
        """Finds of a destination that found nothing, by destination; only of one to which a binding is known."""
        self._by_file: Final[dict[str, deque[SavedSession]]] = {}
        self._led: Final[dict[bytes, deque[Find]]] = {}
        """Finds of a destination that were led to a session, by destination, as above."""
        self._pending: Final[dict[Find, None]] = {}
        self._unanswered: Final[deque[Find]] = deque()
        """Finds whose client left before the reply, for a while."""
        self._ends: Final[list[tuple[float, int, SavedSession | BindingKey]]] = []

    # What conversations tell.

    def save_endp(self, endpoint: bytes, properties: bytes, ttl_s: int, file: str, begin_ns: int) -> SavedSession:
        """Take note of a session that is passed to the server just now."""
        self._let_go(begin_ns)
        session = SavedSession(self, self.epoch, endpoint, properties, ttl_s, file, begin_ns)
        if self._unseen:
            return session
        if any(each.endpoint in (None, endpoint) for each in self._unanswered):
            session.uncertain_ns = begin_ns
        self._endpoints.setdefault(endpoint, Endpoint()).sessions.add(session)
        saves = self._by_file.pop(file, None) or deque(maxlen=REMEMBERED_MAX)
        saves.append(session)
        self._by_file[file] = saves  # the last one again
        if len(self._by_file) > CONNECTIONS_MAX:
            del self._by_file[next(iter(self._by_file))]
            self._is_alone = False
        self._note_end(begin_ns, ttl_s, session)
        return session

    def save_dest(
        self, destination: bytes, properties: bytes, endpoint: bytes, ttl_s: int, begin_ns: int
    ) -> SavedBinding:
        """Take note of a binding that is passed to the server just now."""
        self._let_go(begin_ns)
        if self._unseen:
            return SavedBinding(begin_ns, ttl_s, None)
        for finds in (self._misses, self._led):
            finds.setdefault(destination, deque(maxlen=REMEMBERED_MAX))
            if len(finds) > CONNECTIONS_MAX:
                del finds[next(iter(finds))]
        led_here = self._endpoints.setdefault(endpoint, Endpoint()).led_here
        binding = led_here.setdefault((destination, properties), Binding())
        if (window := self._promised(binding)) is not None:
            binding.windows.append((window[0], min(window[1], begin_ns)))
        is_first = binding.has_expired(begin_ns, self._ttl_limit_s) if binding.saves else self._is_alone
        until_ns = window[1] if window is not None else -inf
        save = SavedBinding(begin_ns, ttl_s, binding, is_first=is_first, promised_until_ns=until_ns)
        binding.saves.append(save)
        self._note_end(begin_ns, ttl_s, (destination, properties, endpoint))
        return save

    def find(self, endpoint: bytes | None, destination: bytes | None, connection: int, begin_ns: int) -> Find:
        """Take note of a find."""
        self._let_go(begin_ns)
        find = Find(self, self.epoch, endpoint, destination, connection, begin_ns)
        if not self._unseen:
            self._pending[find] = None
        return find

    def not_seen(self) -> None:
        """Take note that a connection cannot be followed from now on: what it does may change everything."""
        self._unseen += 1
        self._is_alone = False
        self._forget()

    def seen_again(self) -> None:
        """Take note that such a connection is over."""
        self._unseen -= 1
        self._forget()

    def server_left(self) -> None:
        """Take note that the server ended a connection by itself: it may be another process from now on."""
        self.turns.server_left()
        self._is_alone = False
        self._forget()

    def close(self, at_ns: int) -> None:
        """Judge what has not come to its end yet."""
        for endpoint in list(self._endpoints.values()):
            for session in list(endpoint.sessions):
                self._judge(endpoint, session, at_ns)

    # What saves and finds tell of themselves.

    def refused(self, session: SavedSession) -> None:
        """Take note that a session was not parked."""
        if (endpoint := self._endpoints.get(session.endpoint)) is not None:
            endpoint.sessions.discard(session)

    def missed(self, find: Find, *, certain: bool) -> None:
        """Take note of a find that found nothing; `certain` unless the server answered something else."""
        self._pending.pop(find, None)
        if not certain:
            return
        if find.destination is not None and find.destination in self._misses:
            self._misses[find.destination].append(find)
        elif find.endpoint is not None and find.endpoint in self._endpoints:
            self._endpoints[find.endpoint].finds.append(find)

    def abandoned(self, find: Find) -> None:
        """Take note that a session which this find may have found may be back, or gone."""
        if self._pending.pop(find, self) is self:
            return
        if not find.is_hit:  # it may be served yet, and meet what is saved until then
            self._unanswered.append(find)
        for label, endpoint in self._endpoints.items():
            if find.endpoint is None or find.endpoint == label:
                for session in endpoint.sessions:
                    if not find.is_hit or session.properties == find.properties[-1]:
                        session.uncertain_ns = min(session.uncertain_ns, find.begin_ns)

    def fetched(self, find: Find, file: str) -> None:
        """Judge a session that was handed out."""
        self._pending.pop(find, None)
        saves = self._by_file.get(file, deque())
        fitting = [each for each in saves if self._fits(each, find)]
        there = [each for each in fitting if not each.is_taken and not each.is_refused]
        alive = [each for each in there if not self._has_expired(each, find.begin_ns)]
        if alive or there:
            session = (alive or there)[0]
            if not alive:
                self._fault(find, ("TTL-2",), f"{file} was handed out after its ttl of {session.ttl_s} s")
            if len(alive) > 1:  # one connection that was saved several times: which save this was, nobody can tell
                for each in alive:
                    each.uncertain_ns = 0
            self._take(find, session)
        elif not saves or len(saves) == REMEMBERED_MAX:
            self.unknown += 1
            if self._is_alone:
                self._fault(find, ("ENDP-3",), f"{file} was handed out, which nobody saved")
        elif any(each.is_taken for each in fitting):
            self._fault(find, ("ENDP-4",), f"{file} was handed out once more, and nobody saved it in between")
        elif fitting:
            self._fault(find, ("FD-3",), f"{file} was handed out, whose save was refused")
        else:
            self._complain_of(find, file, saves[-1])

    # How it is judged.

    def _complain_of(self, find: Find, file: str, saved: SavedSession) -> None:
        if find.endpoint is not None and find.endpoint != saved.endpoint:
            told = f"{file} was handed out, which was saved for {show(saved.endpoint)}"
            self._fault(find, ("ENDP-3",), told)
        else:
            told = f"{file} was handed out with properties {show(find.properties[-1])}, saved with"
            self._fault(find, ("FD-13",), f"{told} {show(saved.properties)}")

    def _take(self, find: Find, session: SavedSession) -> None:
        endpoint = self._endpoints.get(session.endpoint)
        session.is_taken, session.taken_ns = True, find.begin_ns
        if endpoint is None:
            return
        if find.destination is not None:
            self._follow_binding(find, endpoint, session.endpoint)
        find.session = session
        endpoint.finds.append(find)
        for other in endpoint.past:
            self._compare(endpoint, other, find)
        self._judge(endpoint, session, find.begin_ns)

    def _follow_binding(self, find: Find, endpoint: Endpoint, label: bytes) -> None:
        """Judge through which binding a find of a destination was led."""
        assert find.destination is not None
        binding = endpoint.led_here.get((find.destination, find.properties[0]))
        told = f"a binding to {show(label)} with properties {show(find.properties[0])}"
        if binding is None or not binding.saves:
            if self._is_alone:
                self._fault(find, ("DEST-4",), f"it was led through {told}, which nobody saved")
            return
        if binding.has_expired(find.begin_ns, self._ttl_limit_s):
            self._fault(find, ("TTL-4",), f"it was led through {told}, which has expired")
            return
        if find.destination in self._led:
            find.placed_from_ns = binding.placed[0]
            self._led[find.destination].append(find)
        if (last := binding.decided()) is not None:
            window = (last.end_ns, float(find.begin_ns))
            binding.windows.append(window)
            for session in endpoint.past:
                self._compare_bindings(find.destination, told, binding, [window], session)

    def _judge(self, endpoint: Endpoint, session: SavedSession, at_ns: float) -> None:
        """Hold the finds against a session of which it is known by now when it was there."""
        endpoint.sessions.discard(session)
        until_ns = session.taken_ns
        if not session.is_taken:
            if not self._is_limit_known:
                return
            promised_ns = session.begin_ns + (min(session.ttl_s, self._ttl_limit_s) - 1) * NS_PER_S
            fetching = (each.begin_ns for each in self._pending if each.endpoint in (None, session.endpoint))
            until_ns = min(promised_ns, at_ns, *fetching)
        session.window = (session.end_ns, min(until_ns, session.uncertain_ns))
        if session.window[0] >= session.window[1]:
            return
        endpoint.past.append(session)
        for find in endpoint.finds:
            self._compare(endpoint, session, find)
        for (destination, properties), binding in endpoint.led_here.items():
            windows = [*binding.windows, *filter(None, [self._promised(binding)])]
            told = f"a binding to {show(session.endpoint)} with properties {show(properties)}"
            self._compare_bindings(destination, told, binding, windows, session)

    def _compare_bindings(
        self, destination: bytes, told: str, binding: Binding, windows: Sequence[Window], session: SavedSession
    ) -> None:
        """Hold the finds of a destination against a binding that was there in these windows, with a session."""
        for miss in self._misses.get(destination, ()):
            if lies_in(miss, session.window) and any(lies_in(miss, each) for each in windows):
                self._fault(miss, ("DEST-4",), f"nothing was found, and there was {told}, and {session.file}")
        for find in self._led.get(destination, ()):
            is_before = binding.placed[1] < find.placed_from_ns
            if is_before and lies_in(find, session.window) and any(lies_in(find, each) for each in windows):
                led = f"it was led through a binding with properties {show(find.properties[0])}"
                self._fault(
                    find, ("DEST-4",), f"{led}, and there was {told}, saved before that one, and {session.file}"
                )

    def _compare(self, endpoint: Endpoint, session: SavedSession, find: Find) -> None:
        """Hold a find against a session that was there."""
        other = find.session
        if other is session or not lies_in(find, session.window):
            return
        if other is None:
            self._fault(find, ("ENDP-3",), f"nothing was found, and {session.file} was there")
        elif other.begin_ns > session.end_ns and other.uncertain_ns > find.end_ns:
            told = f"{other.file} was handed out, and {session.file}, which was saved before it, was there"
            self._fault(find, ("ENDP-3",), told)

    def _promised(self, binding: Binding) -> Window | None:
        """Return when a binding is there even if nobody finds it any more."""
        last = binding.decided()
        if last is None or not self._is_limit_known:
            return None
        return last.end_ns, last.begin_ns + (min(last.ttl_s, self._ttl_limit_s) - 1) * NS_PER_S

    def _fits(self, session: SavedSession, find: Find) -> bool:
        return session.properties == find.properties[-1] and find.endpoint in (None, session.endpoint)

    def _has_expired(self, session: SavedSession, at_ns: float) -> bool:
        return session.end_ns + min(session.ttl_s, self._ttl_limit_s) * NS_PER_S < at_ns

    def _fault(self, find: Find, clauses: tuple[str, ...], text: str) -> None:
        if not find.is_wrong:
            find.is_wrong = True
            self._on_fault(Fault(Side.SERVER, clauses, f"{find}: {text}", find.connection))

    # What is forgotten.

    def _note_end(self, begin_ns: int, ttl_s: int, what: "SavedSession | BindingKey") -> None:
        end_ns = begin_ns + min(ttl_s, self._ttl_limit_s) * NS_PER_S + LATER_NS
        heappush(self._ends, (end_ns, next(self._numbers), what))

    def _let_go(self, now_ns: int) -> None:
        """Judge and forget what is past its end."""
        while self._unanswered and self._unanswered[0].begin_ns + UNANSWERED_NS < now_ns:
            self._unanswered.popleft()
        # What a find may have met that is not over yet is needed when it is.
        until_ns = min(now_ns, next(iter(self._pending)).begin_ns) if self._pending else now_ns
        while self._ends and (self._ends[0][0] <= until_ns or len(self._ends) > CONNECTIONS_MAX):
            end_ns, _, what = heappop(self._ends)
            if end_ns > until_ns:
                self._is_alone = False
            label = what.endpoint if isinstance(what, SavedSession) else what[2]
            endpoint = self._endpoints.get(label)
            if endpoint is None:
                continue
            if isinstance(what, SavedSession):
                if what in endpoint.sessions:
                    self._judge(endpoint, what, now_ns)
            else:
                destination, properties, _ = what
                binding = endpoint.led_here.get((destination, properties))
                if binding is not None and binding.has_expired(until_ns, self._ttl_limit_s):
                    del endpoint.led_here[destination, properties]
            if not endpoint.sessions and not endpoint.led_here:
                del self._endpoints[label]

    def _forget(self) -> None:
        self.epoch += 1
        for known in (
            self._endpoints,
            self._misses,
            self._led,
            self._by_file,
            self._pending,
            self._unanswered,
            self._ends,
        ):
            known.clear()
