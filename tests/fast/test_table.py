"""The table alone: no socket, no clock."""

import sys
import tracemalloc

import pytest

from scache_fast.engine.table import STALE_MAX, Session, Sizes, Table
from scache_spec.vocabulary import NS_PER_S, Label, Limit, Limits, Properties, Status

A, B, C = Label(b"a"), Label(b"b"), Label(b"c")
P, Q = Properties(b"p"), Properties(b"q")
T0 = 7 * NS_PER_S


def table(**limits: int) -> Table:
    return Table(Limits(**{"ttl_limit_s": 100, **limits}))


def save(cache: Table, endpoint: Label, descriptor: int, ttl_s: int = 10, now_ns: int = T0) -> Status:
    return cache.save_endp(endpoint, P, descriptor, ttl_s, now_ns)


def bind(cache: Table, destination: Label, endpoint: Label, properties: Properties = P, ttl_s: int = 10) -> Status:
    return cache.save_dest(destination, properties, endpoint, ttl_s, T0)


def expire(cache: Table, now_ns: int) -> list[int]:
    return [session.descriptor for session in cache.pop_expired(now_ns)]


def descriptor_of(session: Session | None) -> int | None:
    return None if session is None else session.descriptor


def check_links(cache: Table) -> None:
    """Assert that queues, counts and instants agree with each other."""
    sessions = bindings = used = 0
    for label, record in cache._endpoints.items():
        assert record.sessions or record.bindings
        older, session, length = None, record.oldest, 0
        while session is not None:
            assert session.older is older
            assert session.endpoint is record.label
            assert cache._timed[session.due] is session
            older, session, length = session, session.newer, length + 1
        assert record.newest is older
        assert (record.label, record.sessions) == (label, length)
        assert record.bindings == sum(
            b.endpoint is record for bound in cache._destinations.values() for b in bound.values()
        )
        sessions, used = sessions + length, used + (length > 0)
    for bound in cache._destinations.values():
        assert bound
        bindings += len(bound)
    assert cache.sizes == Sizes(len(cache._destinations), used, sessions, bindings)
    assert len(cache._timed) == sessions + bindings
    assert set(cache._timed) <= set(cache._heap)
    assert len(cache._heap) <= 2 * len(cache._timed) + STALE_MAX


def test_ENDP_3_oldest_session_comes_first() -> None:
    cache = table()
    for descriptor in (11, 12, 13):
        assert save(cache, A, descriptor) is Status.DONE
    save(cache, B, 21)
    assert [descriptor_of(cache.find_endp(A)) for _ in range(4)] == [11, 12, 13, None]
    assert descriptor_of(cache.find_endp(B)) == 21


def test_ENDP_4_found_session_is_gone() -> None:
    cache = table()
    save(cache, A, 11)
    session = cache.find_endp(A)
    assert session is not None
    assert (session.endpoint, session.properties, session.descriptor) == (A, P, 11)
    assert cache.find_endp(A) is None
    assert cache.sizes == Sizes(0, 0, 0, 0)


def test_ENDP_1_destination_and_endpoint_of_one_name_do_not_meet() -> None:
    cache = table()
    save(cache, A, 11)
    assert cache.find_dest(A) is None
    bind(cache, A, B)
    assert cache.find_dest(A) is None
    assert descriptor_of(cache.find_endp(A)) == 11


@pytest.mark.parametrize(("ttl_s", "lives_s"), [(1, 1), (3, 3), (4, 3), (2_147_483_647, 3)])
def test_TTL_1_TTL_2_session_lives_as_long_as_its_ttl_and_the_limit_allow(ttl_s: int, lives_s: int) -> None:
    cache = table(ttl_limit_s=3)
    save(cache, A, 11, ttl_s)
    expiry_ns = T0 + lives_s * NS_PER_S
    assert cache.next_expiry_ns == expiry_ns
    assert expire(cache, expiry_ns - 1) == []
    assert cache.sessions == 1
    assert expire(cache, expiry_ns) == [11]
    assert cache.find_endp(A) is None
    assert cache.next_expiry_ns is None


def test_TTL_4_binding_expires_alone() -> None:
    cache = table()
    bind(cache, A, B, ttl_s=2)
    save(cache, B, 11, ttl_s=9)
    assert expire(cache, T0 + 2 * NS_PER_S - 1) == []
    assert cache.bindings == 1
    assert expire(cache, T0 + 2 * NS_PER_S) == []
    assert cache.sizes == Sizes(0, 1, 1, 0)
    assert cache.find_dest(A) is None
    assert descriptor_of(cache.find_endp(B)) == 11


def test_TTL_3_expired_sessions_come_out_earliest_first_from_anywhere_in_their_queues() -> None:
    cache = table()
    for descriptor, ttl_s in ((11, 5), (12, 1), (13, 3), (14, 9)):
        save(cache, A, descriptor, ttl_s)
    assert expire(cache, T0 + 3 * NS_PER_S) == [12, 13]
    check_links(cache)
    assert [descriptor_of(cache.find_endp(A)) for _ in range(3)] == [11, 14, None]


def test_DEST_4_first_binding_with_a_session_wins() -> None:
    cache = table()
    bind(cache, A, B, P)
    bind(cache, A, C, Q)
    save(cache, C, 31)
    found = cache.find_dest(A)
    assert found is not None
    assert (found[0], found[1].descriptor) == (Q, 31)
    save(cache, C, 32)
    save(cache, B, 21)
    save(cache, B, 22)
    taken = [cache.find_dest(A) for _ in range(4)]
    assert [t and (t[0], t[1].descriptor) for t in taken] == [(P, 21), (P, 22), (Q, 32), None]


def test_DEST_5_finding_leaves_the_binding() -> None:
    cache = table()
    bind(cache, A, B)
    save(cache, B, 21)
    assert cache.find_dest(A) is not None
    assert cache.sizes == Sizes(1, 0, 0, 1)
    save(cache, B, 22)
    assert cache.find_dest(A) is not None


@pytest.mark.parametrize(("first_s", "then_s"), [(5, 2), (5, 9)])
def test_DEST_2_renewal_changes_the_expiry_and_nothing_else(first_s: int, then_s: int) -> None:
    cache = table()
    bind(cache, A, B, P, first_s)
    bind(cache, A, C, Q, 50)
    assert bind(cache, A, B, P, then_s) is Status.DONE
    assert [key[0] for key in cache._destinations[A]] == [B, C]
    assert cache.bindings == 2
    expire(cache, T0 + then_s * NS_PER_S - 1)
    assert cache.bindings == 2
    expire(cache, T0 + then_s * NS_PER_S)
    assert cache.bindings == 1
    check_links(cache)


def test_DEST_3_other_properties_make_another_binding() -> None:
    cache = table()
    bind(cache, A, B, P)
    bind(cache, A, B, Q)
    assert cache.sizes == Sizes(1, 0, 0, 2)


def test_LIMIT_2_sessions() -> None:
    cache = table(sessions_max=2)
    assert [save(cache, label, 1) for label in (A, B, C)] == [Status.DONE, Status.DONE, Status.FAILED]
    assert cache.session_limit(C) is Limit.SESSIONS
    assert cache.sessions == 2
    cache.find_endp(A)
    assert save(cache, C, 1) is Status.DONE


def test_LIMIT_3_sessions_of_one_endpoint() -> None:
    cache = table(sessions_per_endpoint_max=2)
    assert [save(cache, A, 1) for _ in range(3)] == [Status.DONE, Status.DONE, Status.FAILED]
    assert cache.session_limit(A) is Limit.SESSIONS_PER_ENDPOINT
    assert cache.session_limit(B) is None
    assert save(cache, B, 1) is Status.DONE


def test_LIMIT_4_bindings_but_not_renewals() -> None:
    cache = table(bindings_max=2)
    assert [bind(cache, A, label) for label in (A, B, C)] == [Status.DONE, Status.DONE, Status.FAILED]
    assert bind(cache, A, A) is Status.DONE
    assert bind(cache, B, A) is Status.FAILED
    assert cache.sizes == Sizes(1, 0, 0, 2)
    check_links(cache)


def test_ENDP_5_put_back_session_is_first_again_with_its_old_expiry() -> None:
    cache = table(sessions_max=2)
    save(cache, A, 11, ttl_s=4)
    save(cache, A, 12, ttl_s=8)
    session = cache.find_endp(A)
    assert session is not None
    save(cache, A, 13)
    assert cache.put_back(session, T0 + NS_PER_S)  # beyond sessions_max: it was inside before
    check_links(cache)
    assert cache.next_expiry_ns == T0 + 4 * NS_PER_S
    assert [descriptor_of(cache.find_endp(A)) for _ in range(3)] == [11, 12, 13]


def test_ENDP_5_put_back_into_an_endpoint_that_was_forgotten() -> None:
    cache = table()
    save(cache, A, 11)
    session = cache.find_endp(A)
    assert session is not None
    assert cache._endpoints == {}
    assert cache.put_back(session, T0)
    check_links(cache)
    assert expire(cache, T0 + 10 * NS_PER_S) == [11]


@pytest.mark.parametrize(("late_ns", "kept"), [(-1, True), (0, False), (1, False)])
def test_ENDP_6_expired_session_is_not_put_back(late_ns: int, kept: bool) -> None:
    cache = table()
    save(cache, A, 11)
    session = cache.find_endp(A)
    assert session is not None
    assert cache.put_back(session, T0 + 10 * NS_PER_S + late_ns) is kept
    assert cache.sessions == kept


@pytest.mark.parametrize("what", ["found sessions", "renewed bindings", "both"])
def test_stale_instants_never_outnumber_the_live_ones_by_more_than_the_constant(what: str) -> None:
    cache = table()
    for parked in range(300):
        save(cache, Label(b"parked%d" % parked), 1, ttl_s=100)
    most = 0
    for _ in range(10_000):
        if what != "renewed bindings":
            save(cache, A, 11, ttl_s=100)
            cache.find_endp(A)
        if what != "found sessions":
            bind(cache, A, B, ttl_s=100)
        most = max(most, cache.instants - cache.sessions - cache.bindings)
    check_links(cache)
    # It was reached, or this test looks at nothing; and not passed.
    assert 1000 <= most <= 301 + STALE_MAX


def test_next_expiry_is_that_of_something_that_is_there() -> None:
    cache = table()
    save(cache, A, 11, ttl_s=1)
    bind(cache, A, B, ttl_s=2)
    save(cache, B, 21, ttl_s=9)
    assert cache.next_expiry_ns == T0 + NS_PER_S
    cache.find_endp(A)
    assert cache.next_expiry_ns == T0 + 2 * NS_PER_S
    bind(cache, A, B, ttl_s=30)
    assert cache.next_expiry_ns == T0 + 9 * NS_PER_S


def test_memory_is_flat_under_churn() -> None:
    cache = table()
    now_ns = T0

    def churn(rounds: int) -> None:
        nonlocal now_ns
        for number in range(rounds):
            now_ns += NS_PER_S
            expire(cache, now_ns)
            label = Label(b"endpoint %d" % number)
            cache.save_endp(label, P, 11, 100, now_ns)
            cache.save_dest(A, Properties(b"%d" % number), label, 20, now_ns)
            cache.find_endp(label)

    churn(3 * STALE_MAX)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        churn(10 * STALE_MAX)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Ten thousand labels of 35 bytes or more went through.
    assert after - before < 100_000
    check_links(cache)


def test_a_parked_session_weighs_at_most_600_bytes() -> None:
    sessions = 20_000
    labels = [Label(b"smtp\n192.0.2.1\n%d\n0\n" % number) for number in range(sessions)]
    properties = [Properties(b"%d" % number) for number in range(sessions)]
    tracemalloc.start()
    try:
        cache = table()
        for number in range(sessions):
            cache.save_endp(labels[number], properties[number], 1000 + number, 10, T0)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / sessions <= 600
    assert sys.getsizeof(cache._heap) > 0


def test_flush_gives_everything_out() -> None:
    cache = table()
    save(cache, A, 11)
    save(cache, A, 12)
    bind(cache, B, A)
    assert sorted(session.descriptor for session in cache._timed.values() if isinstance(session, Session)) == [11, 12]
    assert sorted(session.descriptor for session in cache.flush()) == [11, 12]
    assert cache.sizes == Sizes(0, 0, 0, 0)
    check_links(cache)
