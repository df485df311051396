"""ENDP, DEST, TTL, STAT-1 and the limits of the cache: one value and functions over it."""

import pytest

from scache_spec import cache as caches
from scache_spec.cache import Binding, Cache, Session, Sizes
from scache_spec.vocabulary import NS_PER_S, Handle, Label, Limit, Limits, Properties

NOW_NS = 5 * NS_PER_S
LATER_NS = 9 * NS_PER_S


def session(handle: int, endpoint: bytes = b"e", expiry_ns: int = LATER_NS, properties: bytes = b"p") -> Session:
    return Session(Label(endpoint), Properties(properties), Handle(handle), expiry_ns)


def binding(
    destination: bytes = b"d", endpoint: bytes = b"e", properties: bytes = b"q", expiry_ns: int = LATER_NS
) -> Binding:
    return Binding(Label(destination), Properties(properties), Label(endpoint), expiry_ns)


def parked(*sessions: Session, bindings: tuple[Binding, ...] = ()) -> Cache:
    cache = Cache()
    for each in sessions:
        cache = caches.save_endp(cache, each)
    for one in bindings:
        cache = caches.save_dest(cache, one)
    return cache


@pytest.mark.parametrize(("now_ns", "alive"), [(LATER_NS - 1, True), (LATER_NS, False), (LATER_NS + 1, False)])
def test_TTL_2_saved_things_live_until_just_before_their_expiry(now_ns: int, alive: bool) -> None:
    cache, _ = caches.expire(parked(session(1), bindings=(binding(),)), now_ns)
    assert caches.sizes(cache) == (Sizes(1, 1, 1, 1) if alive else Sizes(0, 0, 0, 0))


@pytest.mark.parametrize(("now_ns", "comes_back"), [(LATER_NS - 1, True), (LATER_NS, False)])
def test_ENDP_6_session_that_expired_while_held_does_not_come_back(now_ns: int, comes_back: bool) -> None:
    assert (caches.put_back(Cache(), session(1), now_ns) is not None) is comes_back


@pytest.mark.parametrize(("sessions_max", "limit"), [(3, None), (2, Limit.SESSIONS), (0, Limit.SESSIONS)])
def test_LIMIT_2_sessions_are_limited(sessions_max: int, limit: Limit | None) -> None:
    cache = parked(session(1), session(2, b"f"))
    assert caches.limit_on_session(cache, Limits(sessions_max=sessions_max), session(3, b"g")) is limit


@pytest.mark.parametrize(
    ("endpoint", "limit"),
    [(b"e", Limit.SESSIONS_PER_ENDPOINT), (b"f", None), (b"g", None)],
    ids=["full", "room", "new"],
)
def test_LIMIT_3_sessions_of_an_endpoint_are_limited(endpoint: bytes, limit: Limit | None) -> None:
    cache = parked(session(1), session(2), session(3, b"f"))
    assert caches.limit_on_session(cache, Limits(sessions_per_endpoint_max=2), session(4, endpoint)) is limit


@pytest.mark.parametrize(("bindings_max", "limit"), [(3, None), (2, Limit.BINDINGS)])
def test_LIMIT_4_bindings_are_limited(bindings_max: int, limit: Limit | None) -> None:
    cache = parked(bindings=(binding(), binding(b"D")))
    assert caches.limit_on_binding(cache, Limits(bindings_max=bindings_max), binding(b"new")) is limit


def test_LIMIT_4_renewal_needs_no_room() -> None:
    cache = parked(bindings=(binding(),))
    assert caches.limit_on_binding(cache, Limits(bindings_max=1), binding(expiry_ns=LATER_NS + 7)) is None
    assert caches.limit_on_binding(cache, Limits(bindings_max=1), binding(properties=b"r")) is Limit.BINDINGS


@pytest.mark.parametrize(
    ("destination", "limit"),
    [(b"d", Limit.BINDINGS_PER_DESTINATION), (b"D", None), (b"new", None)],
    ids=["full", "room", "new"],
)
def test_LIMIT_10_bindings_of_a_destination_are_limited(destination: bytes, limit: Limit | None) -> None:
    cache = parked(bindings=(binding(), binding(endpoint=b"f"), binding(b"D")))
    limits = Limits(bindings_per_destination_max=2)
    assert caches.limit_on_binding(cache, limits, binding(destination, b"another")) is limit


def test_LIMIT_10_renewal_needs_no_room() -> None:
    cache = parked(bindings=(binding(), binding(endpoint=b"f")))
    limits = Limits(bindings_per_destination_max=2)
    assert caches.limit_on_binding(cache, limits, binding(expiry_ns=LATER_NS + 7)) is None
    assert caches.limit_on_binding(cache, limits, binding(properties=b"r")) is Limit.BINDINGS_PER_DESTINATION


def test_LIMIT_11_labels_and_properties_count_each_time() -> None:
    assert caches.cached_bytes(Cache()) == 0
    assert caches.cached_bytes(parked(session(1, b"four", properties=b"sevenbs"))) == 4 + 7
    assert caches.cached_bytes(parked(bindings=(binding(b"four", b"fives", b"sevenbs"),))) == 4 + 5 + 7
    twice = parked(session(1, b"four"), session(2, b"four"), bindings=(binding(b"four", b"four", b""),))
    assert caches.cached_bytes(twice) == 2 * (4 + 1) + 4 + 4


@pytest.mark.parametrize(("cached_bytes_max", "limit"), [(14, None), (13, Limit.CACHED_BYTES)])
def test_LIMIT_11_bytes_of_sessions_and_bindings_are_limited(cached_bytes_max: int, limit: Limit | None) -> None:
    cache, limits = parked(session(1, b"four"), bindings=(binding(),)), Limits(cached_bytes_max=cached_bytes_max)
    assert caches.cached_bytes(cache) == 8
    assert caches.limit_on_session(cache, limits, session(2, b"e", properties=b"fives")) is limit
    assert caches.limit_on_binding(cache, limits, binding(b"dd", b"ee", b"qq")) is limit


def test_LIMIT_11_renewal_and_put_back_need_no_room() -> None:
    cache, limits = parked(session(1), bindings=(binding(),)), Limits(cached_bytes_max=1)
    assert caches.limit_on_binding(cache, limits, binding(expiry_ns=LATER_NS + 7)) is None
    assert caches.put_back(cache, session(2), NOW_NS) is not None
