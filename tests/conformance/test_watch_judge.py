"""The judge of live traffic, without sockets: right servers are never accused, wrong ones are."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import pytest
from tests.conftest import Volume

from scache_conformance.watch.cache import Judge
from scache_conformance.watch.faults import Fault
from scache_spec import cache as caches
from scache_spec.cache import Binding, Cache, Session
from scache_spec.vocabulary import NS_PER_S, Handle, Label, Properties

ENDPOINTS: Final = (b"e1", b"e2")
DESTINATIONS: Final = (b"d1", b"d2")
PROPERTIES: Final = (b"p", b"q")
TTL_LIMIT_S: Final = 2

FindRule = Callable[[Cache, Label], tuple[Cache, Session | None]]


def newest_first(cache: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    cache, found = caches.find_endp(replace(cache, sessions=cache.sessions[::-1]), endpoint)
    return replace(cache, sessions=cache.sessions[::-1]), found


def twice(cache: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    return cache, caches.find_endp(cache, endpoint)[1]


def of_anybody(cache: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    return caches.find_endp(cache, cache.sessions[0].endpoint if cache.sessions else endpoint)


def forgetful(cache: Cache, endpoint: Label) -> tuple[Cache, Session | None]:
    cache, found = caches.find_endp(cache, endpoint)
    kept = tuple(each for each in cache.sessions if found is None or each.endpoint != endpoint)
    return replace(cache, sessions=kept), found


class World:
    """Clients that overlap in every way, and a cache that does one thing after another. Each actor is a generator:
    what stands between two of its yields happens at one instant."""

    def __init__(self, seed: int, *, expires: bool = True, ttl_limit_s: int | None = TTL_LIMIT_S) -> None:
        self.faults: list[Fault] = []
        self.judge = Judge(self.faults.append, ttl_limit_s=ttl_limit_s, is_alone=True)
        self.rng = random.Random(seed)
        self.now_ns = 0
        self.cache = Cache()
        self.find_rule: FindRule = caches.find_endp
        self.first_binding_first = True
        self.pauses_ns: tuple[int, ...] = (1, 1, 1000, NS_PER_S // 1000, NS_PER_S // 4)
        self.expires = expires
        self.files = 0
        self.owned: list[int] = []

    def run(self, actors: int = 6, turns: int = 400) -> list[str]:
        """Let them act; return the clauses of the faults that were seen."""
        acting = [self.act() for _ in range(actors)]
        for _ in range(turns):
            self.pass_time()
            next(self.rng.choice(acting))
        self.judge.close(self.now_ns)
        return [clause for fault in self.faults for clause in fault.clauses]

    def pass_time(self) -> None:
        self.now_ns += self.rng.choice(self.pauses_ns)
        if self.expires:
            self.cache, _ = caches.expire(self.cache, self.now_ns)

    def act(self) -> Iterator[None]:
        while True:
            match self.rng.choice(("save_endp", "save_endp", "save_dest", "find_endp", "find_dest", "find_dest")):
                case "save_endp":
                    yield from self.save_endp()
                case "save_dest":
                    yield from self.save_dest()
                case name:
                    yield from self.find(of_destination=name == "find_dest")

    def expiry_ns(self, ttl_s: int) -> int:
        return caches.expiry_ns(ttl_s, TTL_LIMIT_S, self.now_ns)

    def save_endp(self) -> Iterator[None]:
        if self.owned and self.rng.random() < 0.7:
            number = self.owned.pop(self.rng.randrange(len(self.owned)))
        else:
            self.files += 1
            number = self.files
        endpoint, properties = self.rng.choice(ENDPOINTS), self.rng.choice(PROPERTIES)
        ttl_s = self.rng.randint(1, 3)
        saved = self.judge.save_endp(endpoint, properties, ttl_s, f"socket:[{number}]", self.now_ns)
        yield
        session = Session(Label(endpoint), Properties(properties), Handle(number), self.expiry_ns(ttl_s))
        refused = self.rng.random() < 0.05
        if not refused:
            self.cache = caches.save_endp(self.cache, session)
        yield
        if self.rng.random() < 0.95:  # else the client has left
            saved.ended(self.now_ns, done=not refused)
        yield

    def save_dest(self) -> Iterator[None]:
        destination, endpoint = self.rng.choice(DESTINATIONS), self.rng.choice(ENDPOINTS)
        properties, ttl_s = self.rng.choice(PROPERTIES), self.rng.randint(1, 3)
        saved = self.judge.save_dest(destination, properties, endpoint, ttl_s, self.now_ns)
        yield
        expiry_ns = self.expiry_ns(ttl_s)
        binding = Binding(Label(destination), Properties(properties), Label(endpoint), expiry_ns)
        self.cache = caches.save_dest(self.cache, binding)
        yield
        if self.rng.random() < 0.95:
            saved.ended(self.now_ns, done=True)
        yield

    def find(self, *, of_destination: bool) -> Iterator[None]:
        label = self.rng.choice(DESTINATIONS if of_destination else ENDPOINTS)
        find = self.judge.find(None if of_destination else label, label if of_destination else None, 1, self.now_ns)
        leaves_at_once = self.rng.random() < 0.05
        yield
        if leaves_at_once:
            find.abandoned()
            yield
        told, session = self.look_up(label, of_destination=of_destination)
        yield
        if not leaves_at_once:
            if session is None:
                find.missed(self.now_ns, certain=True)
                return
            find.hit(self.now_ns, told)
            yield
        if session is None:
            return
        if not leaves_at_once and self.rng.random() < 0.8:
            yield
            find.identified(f"socket:[{session.handle}]", self.now_ns)
            self.owned.append(session.handle)
            yield
            return
        if not leaves_at_once:
            find.abandoned()
            yield
        if (back := caches.put_back(self.cache, session, self.now_ns)) is not None and self.rng.random() < 0.8:
            self.cache = back
        yield

    def look_up(self, label: bytes, *, of_destination: bool) -> tuple[tuple[bytes, ...], Session | None]:
        if not of_destination:
            self.cache, session = self.find_rule(self.cache, Label(label))
            return ((session.properties,) if session else ()), session
        for binding in self.cache.bindings if self.first_binding_first else self.cache.bindings[::-1]:
            if binding.destination == label:
                self.cache, session = self.find_rule(self.cache, binding.endpoint)
                if session is not None:
                    return (binding.properties, session.properties), session
        return (), None


@pytest.mark.parametrize("ttl_limit_s", [None, TTL_LIMIT_S])
def test_right_server_is_never_accused(ttl_limit_s: int | None, volume: Volume) -> None:
    for seed in range(4 * volume.histories):
        world = World(seed, ttl_limit_s=ttl_limit_s)
        assert world.run() == [], f"seed {seed}: {world.faults[0]}"


@pytest.mark.parametrize(
    ("rule", "clause"),
    [(newest_first, "ENDP-3"), (twice, "ENDP-4"), (of_anybody, "ENDP-3"), (forgetful, "ENDP-3")],
)
def test_wrong_find_is_seen(rule: FindRule, clause: str) -> None:
    seen = []
    for seed in range(5):
        world = World(seed)
        world.find_rule = rule
        seen += world.run(actors=3)
    assert clause in seen


@pytest.mark.parametrize("ttl_limit_s", [None, TTL_LIMIT_S])
def test_DEST_4_other_order_of_bindings_is_seen(ttl_limit_s: int | None) -> None:
    seen = []
    for seed in range(5):
        world = World(seed, ttl_limit_s=ttl_limit_s)
        world.first_binding_first, world.pauses_ns = False, (1, 1000)  # so that nothing expires
        seen += world.run(actors=3, turns=1000)
    assert set(seen) == {"DEST-4"}


def led_through(second: bool, *, overlapping: bool) -> list[Fault]:
    """Return the faults of a find that is led through the first or the second of two bindings, each with a session."""
    faults: list[Fault] = []
    judge = Judge(faults.append, ttl_limit_s=600, is_alone=True)
    one = judge.save_dest(b"d", b"b1", b"e1", 600, 1)
    if not overlapping:
        one.ended(2, done=True)
    two = judge.save_dest(b"d", b"b2", b"e2", 600, 3)
    if overlapping:
        one.ended(4, done=True)
    two.ended(5, done=True)
    for number in (1, 2):
        judge.save_endp(b"e%d" % number, b"p", 600, f"socket:[{number}]", 6).ended(7, done=True)
    for begin_ns, number in zip((10, 20), (2, 1) if second else (1, 2), strict=True):
        find = judge.find(None, b"d", 1, begin_ns)
        find.hit(begin_ns + 1, (b"b%d" % number, b"p"))
        find.identified(f"socket:[{number}]", begin_ns + 2)
    return faults


def test_DEST_4_session_through_a_later_binding_is_a_fault() -> None:
    assert [fault.clauses for fault in led_through(second=False, overlapping=False)] == []
    assert [fault.clauses for fault in led_through(second=True, overlapping=True)] == []
    (fault,) = led_through(second=True, overlapping=False)
    assert fault.clauses == ("DEST-4",)
    assert "was led through a binding with properties b2" in fault.text


def test_server_without_expiry_is_seen() -> None:
    seen = World(1, expires=False).run()
    assert "TTL-2" in seen
    assert "TTL-4" in World(2, expires=False).run(turns=2000) + seen


def test_ENDP_3_miss_of_what_is_found_later_is_a_fault_without_any_limit() -> None:
    faults: list[Fault] = []
    judge = Judge(faults.append)
    judge.save_endp(b"e", b"p", 600, "socket:[1]", 1).ended(2, done=True)
    judge.find(b"e", None, 1, 3).missed(4, certain=True)
    assert faults == []
    find = judge.find(b"e", None, 1, 5)
    find.hit(6, (b"p",))
    find.identified("socket:[1]", 7)
    assert [fault.clauses for fault in faults] == [("ENDP-3",)]


def test_ENDP_3_miss_that_overlaps_the_save_or_the_find_is_none() -> None:
    faults: list[Fault] = []
    judge = Judge(faults.append)
    save = judge.save_endp(b"e", b"p", 600, "socket:[1]", 1)
    judge.find(b"e", None, 1, 2).missed(4, certain=True)
    save.ended(3, done=True)
    late = judge.find(b"e", None, 1, 5)
    find = judge.find(b"e", None, 2, 6)
    late.missed(7, certain=True)
    find.hit(8, (b"p",))
    find.identified("socket:[1]", 9)
    assert faults == []


def test_what_was_saved_before_is_unknown() -> None:
    faults: list[Fault] = []
    judge = Judge(faults.append)
    find = judge.find(None, b"d", 1, 1)
    find.hit(2, (b"b", b"p"))
    find.identified("socket:[1]", 3)
    assert faults == []
    assert judge.unknown == 1
