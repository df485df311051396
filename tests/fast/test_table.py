"""The table alone: no socket, no clock."""

import tracemalloc

import pytest
from tests.fast.test_expiries import check_heap

from scache_fast.engine.table import Session, Sizes, Table
from scache_spec.vocabulary import NS_PER_S, Label, Limit, Limits, Properties

A, B, C = Label(b"a"), Label(b"b"), Label(b"c")
P = Properties(b"p")
T0 = 7 * NS_PER_S


def table(**limits: int) -> Table:
    return Table(Limits(**{"ttl_limit_s": 100, **limits}))


def save(cache: Table, endpoint: Label, descriptor: int, ttl_s: int = 10, now_ns: int = T0) -> Limit | None:
    return cache.save_endp(endpoint, P, descriptor, ttl_s, now_ns)


def bind(
    cache: Table, destination: Label, endpoint: Label, properties: Properties = P, ttl_s: int = 10
) -> Limit | None:
    return cache.save_dest(destination, properties, endpoint, ttl_s, T0)


def expire(cache: Table, now_ns: int) -> list[int]:
    return [session.descriptor for session in cache.pop_expired(now_ns, 1_000_000)]


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
            assert cache.holds(session)
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
    assert len(cache.items()) == sessions + bindings
    check_heap(cache._expiries)


def test_TTL_3_expired_sessions_come_out_earliest_first_from_anywhere_in_their_queues() -> None:
    cache = table()
    for descriptor, ttl_s in ((11, 5), (12, 1), (13, 3), (14, 9)):
        save(cache, A, descriptor, ttl_s)
    assert expire(cache, T0 + 3 * NS_PER_S) == [12, 13]
    check_links(cache)
    assert [descriptor_of(cache.find_endp(A)) for _ in range(3)] == [11, 14, None]


@pytest.mark.parametrize(("later_ns", "is_alive"), [(-1, True), (0, False)])
def test_TTL_2_ENDP_6_expiry_is_the_first_instant_without_it(later_ns: int, is_alive: bool) -> None:
    cache = table()
    for descriptor in (11, 12):
        save(cache, A, descriptor, ttl_s=5)
    held = cache.find_endp(A)
    assert held is not None
    now_ns = T0 + 5 * NS_PER_S + later_ns
    assert expire(cache, now_ns) == ([] if is_alive else [12])
    assert cache.put_back(held, now_ns) is is_alive
    check_links(cache)


def test_TTL_5_binding_leads_nowhere_from_its_last_instant_on() -> None:
    cache = table()
    bind(cache, B, A)
    save(cache, A, 1, ttl_s=50)
    due_ns = T0 + 10 * NS_PER_S
    assert cache.find_dest(B, due_ns) is None
    found = cache.find_dest(B, due_ns - 1)
    assert found is not None
    assert found[1].descriptor == 1


def test_STAT_1_labels_count_while_something_is_under_them() -> None:
    cache = table()
    save(cache, A, 11)
    save(cache, A, 12)
    bind(cache, A, B)
    assert cache.sizes == Sizes(destinations=1, endpoints=1, sessions=2, bindings=1)
    cache.find_endp(A)
    assert cache.sizes == Sizes(destinations=1, endpoints=1, sessions=1, bindings=1)
    cache.find_endp(A)
    assert cache.sizes == Sizes(destinations=1, endpoints=0, sessions=0, bindings=1)


def test_DEST_1_binding_that_ends_leaves_the_others_of_its_endpoint() -> None:
    cache = table()
    bind(cache, A, C, ttl_s=1)
    bind(cache, B, C)
    expire(cache, T0 + NS_PER_S)
    save(cache, C, 11)
    found = cache.find_dest(B, T0)
    assert found is not None
    assert found[1].descriptor == 11
    check_links(cache)


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

    churn(3_000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        churn(10_000)
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


def test_flush_gives_everything_out() -> None:
    cache = table()
    save(cache, A, 11)
    save(cache, A, 12)
    bind(cache, B, A)
    assert sorted(session.descriptor for session in cache.items() if isinstance(session, Session)) == [11, 12]
    assert sorted(session.descriptor for session in cache.flush()) == [11, 12]
    assert cache.sizes == Sizes(0, 0, 0, 0)
    check_links(cache)
