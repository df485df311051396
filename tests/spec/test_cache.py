"""ENDP, DEST, TTL, STAT-1 and the limits of the cache: one value and functions over it."""

from dataclasses import replace

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


def taken(cache: Cache, endpoint: bytes = b"e") -> list[int]:
    """Return the handles that finds hand out until there is none."""
    found: list[int] = []
    while True:
        cache, each = caches.find_endp(cache, Label(endpoint))
        if each is None:
            return found
        found.append(each.handle)


def test_DEST_1_binding_without_session_and_session_without_binding() -> None:
    assert caches.find_dest(parked(bindings=(binding(),)), Label(b"d"))[1] is None
    assert taken(parked(session(1))) == [1]


def test_DEST_1_end_of_one_is_not_the_end_of_the_other() -> None:
    cache = parked(session(1, expiry_ns=NOW_NS), session(2), bindings=(binding(expiry_ns=LATER_NS),))
    assert caches.expire(cache, NOW_NS)[0].bindings == (binding(),)
    cache = parked(session(1), bindings=(binding(expiry_ns=NOW_NS),))
    assert taken(caches.expire(cache, NOW_NS)[0]) == [1]


def test_ENDP_1_destination_and_endpoint_of_one_name_are_two() -> None:
    cache = parked(session(1, b"x"), bindings=(binding(b"y", b"x"), binding(b"x", b"z")))
    assert caches.find_dest(cache, Label(b"x"))[1] is None
    assert caches.find_endp(cache, Label(b"y"))[1] is None
    assert taken(cache, b"x") == [1]


def test_STAT_1_label_counts_while_something_is_under_it() -> None:
    assert caches.sizes(Cache()) == Sizes(0, 0, 0, 0)
    cache = parked(session(1), session(2), session(3, b"f"), bindings=(binding(), binding(endpoint=b"g")))
    assert caches.sizes(cache) == Sizes(destinations=1, endpoints=2, sessions=3, bindings=2)
    emptied, _ = caches.find_endp(cache, Label(b"f"))
    assert caches.sizes(emptied) == Sizes(destinations=1, endpoints=1, sessions=2, bindings=2)
    assert caches.sizes(caches.expire(cache, LATER_NS)[0]) == Sizes(0, 0, 0, 0)


def test_STAT_1_name_of_both_kinds_counts_as_both() -> None:
    cache = parked(session(1, b"x"), bindings=(binding(b"x", b"x"),))
    assert caches.sizes(cache) == Sizes(destinations=1, endpoints=1, sessions=1, bindings=1)


@pytest.mark.parametrize(("ttl_s", "lives_s"), [(1, 1), (2, 2), (3, 2), (2147483647, 2)])
def test_TTL_1_ttl_counts_up_to_the_limit(ttl_s: int, lives_s: int) -> None:
    assert caches.expiry_ns(ttl_s, ttl_limit_s=2, now_ns=NOW_NS) == NOW_NS + lives_s * NS_PER_S


@pytest.mark.parametrize(("now_ns", "alive"), [(LATER_NS - 1, True), (LATER_NS, False), (LATER_NS + 1, False)])
def test_TTL_2_saved_things_live_until_just_before_their_expiry(now_ns: int, alive: bool) -> None:
    cache, _ = caches.expire(parked(session(1), bindings=(binding(),)), now_ns)
    assert caches.sizes(cache) == (Sizes(1, 1, 1, 1) if alive else Sizes(0, 0, 0, 0))


def test_TTL_3_expired_sessions_are_closed_each_once() -> None:
    cache = parked(session(1, expiry_ns=NOW_NS), session(2), session(3, b"f", expiry_ns=NOW_NS - 1))
    cache, handles = caches.expire(cache, NOW_NS)
    assert sorted(handles) == [1, 3]
    assert caches.expire(cache, NOW_NS) == (cache, ())


def test_TTL_4_expired_binding_is_gone_and_closes_nothing() -> None:
    cache = parked(session(1), bindings=(binding(expiry_ns=NOW_NS), binding(endpoint=b"f")))
    cache, handles = caches.expire(cache, NOW_NS)
    assert handles == ()
    assert cache.bindings == (binding(endpoint=b"f"),)


def test_ENDP_2_saved_session_goes_last() -> None:
    assert taken(parked(session(2), session(1), session(3))) == [2, 1, 3]


def test_ENDP_2_equal_sessions_stay_two() -> None:
    assert taken(parked(session(1), session(2), session(3, properties=b"p"))) == [1, 2, 3]


def test_ENDP_3_find_hands_out_the_oldest_of_its_endpoint_whatever_expires_first() -> None:
    cache = parked(session(1, b"f"), session(2), session(3, expiry_ns=LATER_NS - 1))
    assert taken(cache) == [2, 3]


def test_ENDP_3_no_other_endpoints_session_is_handed_out() -> None:
    cache = parked(session(1, b"f"))
    for label in (b"", b"e", b"ff", b"F", b"f\n"):
        assert caches.find_endp(cache, Label(label)) == (cache, None)


def test_ENDP_4_found_session_is_gone() -> None:
    cache, found = caches.find_endp(parked(session(1)), Label(b"e"))
    assert found == session(1)
    assert caches.find_endp(cache, Label(b"e")) == (Cache(), None)


def test_ENDP_5_put_back_session_is_first_again_with_the_expiry_it_had() -> None:
    cache, found = caches.find_endp(parked(session(1), session(2)), Label(b"e"))
    assert found is not None
    cache = caches.save_endp(cache, session(3))
    back = caches.put_back(cache, found, NOW_NS)
    assert back is not None
    assert taken(back) == [1, 2, 3]
    assert back.sessions[0].expiry_ns == LATER_NS


@pytest.mark.parametrize(("now_ns", "comes_back"), [(LATER_NS - 1, True), (LATER_NS, False)])
def test_ENDP_6_session_that_expired_while_held_does_not_come_back(now_ns: int, comes_back: bool) -> None:
    assert (caches.put_back(Cache(), session(1), now_ns) is not None) is comes_back


@pytest.mark.parametrize("expiry_ns", [LATER_NS - 1, LATER_NS, LATER_NS + 1])
def test_DEST_2_renewal_takes_the_new_expiry_sooner_or_later(expiry_ns: int) -> None:
    cache = parked(bindings=(binding(), binding(expiry_ns=expiry_ns)))
    assert cache.bindings == (binding(expiry_ns=expiry_ns),)


def test_DEST_2_renewal_keeps_its_place() -> None:
    cache = parked(bindings=(binding(), binding(endpoint=b"f"), binding(expiry_ns=LATER_NS + 1)))
    assert [each.endpoint for each in cache.bindings] == [b"e", b"f"]


@pytest.mark.parametrize("other", [binding(b"D"), binding(endpoint=b"E"), binding(properties=b"Q")])
def test_DEST_3_binding_that_differs_goes_last(other: Binding) -> None:
    assert parked(bindings=(binding(), other)).bindings == (binding(), other)


def test_DEST_4_first_binding_whose_endpoint_has_a_session_leads() -> None:
    bindings = (binding(endpoint=b"x"), binding(endpoint=b"f", properties=b"r"), binding(), binding(b"D", b"x"))
    cache = parked(session(1), session(2, b"f"), session(3, b"f"), bindings=bindings)
    cache, found = caches.find_dest(cache, Label(b"d"))
    assert found == (bindings[1], session(2, b"f"))
    cache, found = caches.find_dest(cache, Label(b"d"))
    assert found == (bindings[1], session(3, b"f"))
    assert caches.find_dest(cache, Label(b"d"))[1] == (bindings[2], session(1))


def test_DEST_4_two_bindings_to_one_endpoint_lead_by_their_order() -> None:
    cache = parked(session(1), bindings=(binding(properties=b"r"), binding(properties=b"q")))
    found = caches.find_dest(cache, Label(b"d"))[1]
    assert found is not None
    assert found[0].properties == b"r"


def test_DEST_5_finding_leaves_the_bindings_and_takes_the_session() -> None:
    before = parked(session(1), session(2), bindings=(binding(),))
    cache, _ = caches.find_dest(before, Label(b"d"))
    assert cache == replace(before, sessions=(session(2),))


def test_DEST_5_finding_nothing_changes_nothing() -> None:
    before = parked(bindings=(binding(),))
    assert caches.find_dest(before, Label(b"d")) == (before, None)


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
