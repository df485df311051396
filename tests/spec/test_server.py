"""LIFE and the limits of the server: events, time, and what is left at the end."""

import pytest
from tests.spec.driver import Driver, disconnected, limits_hit, sent
from tests.support.messages import DUMMY, MISSED, find_endp, save_endp

from scache_spec import events
from scache_spec.effects import Disconnect, Exit, LimitHit, PrintStatistics
from scache_spec.events import GREETING, Reading, reading
from scache_spec.statistics import Counters
from scache_spec.vocabulary import NS_PER_S, ClientId, Limit, Limits


@pytest.mark.parametrize(("now_ns", "exits"), [(7 * NS_PER_S - 1, False), (7 * NS_PER_S, True)])
def test_LIFE_2_idle_server_exits(now_ns: int, exits: bool) -> None:
    assert (Exit() in Driver(Limits(max_idle_s=7)).tick(now_ns)) is exits


@pytest.mark.parametrize(("now_ns", "exits"), [(12 * NS_PER_S - 1, False), (12 * NS_PER_S, True)])
def test_LIFE_2_idleness_counts_from_the_last_leaving(now_ns: int, exits: bool) -> None:
    driver = Driver(Limits(max_idle_s=7))
    driver.connect()
    driver.tick_s(5)
    driver.gone()
    assert (Exit() in driver.tick(now_ns)) is exits


def test_LIMIT_12_one_client_too_many_of_a_user_is_disconnected_without_a_greeting() -> None:
    driver = Driver(Limits(clients_per_user_max=2))
    assert sent(driver.connect(1, user=1000), 1) == GREETING
    assert sent(driver.connect(2, user=1000), 2) == GREETING
    assert driver.connect(3, user=1000) == (LimitHit(Limit.CLIENTS_PER_USER, ClientId(3)), Disconnect(ClientId(3)))
    assert sent(driver.connect(4, user=1001), 4) == GREETING
    driver.gone(1)
    assert sent(driver.connect(3, user=1000), 3) == GREETING


def test_LIMIT_12_nobodys_clients_and_clients_without_the_limit_are_not_counted() -> None:
    driver = Driver(Limits(clients_per_user_max=1))
    assert [sent(driver.connect(client), client) for client in (1, 2, 3)] == [GREETING] * 3
    driver = Driver()
    assert [sent(driver.connect(client, user=1000), client) for client in (1, 2, 3)] == [GREETING] * 3


@pytest.mark.parametrize(("extra_bytes", "served"), [(0, True), (1, False)])
def test_LIMIT_6_client_that_does_not_read_is_not_served(extra_bytes: int, served: bool) -> None:
    answer = MISSED
    driver = Driver(Limits(output_bytes_max=len(answer) - extra_bytes))
    driver.connect()
    driver.sockets_take = False
    assert sent(driver.feed(find_endp(b"e"))) == answer
    assert (reading(driver.server, ClientId(1)) is Reading.BYTES) is served
    assert (sent(driver.feed(find_endp(b"e"))) == answer) is served


def test_LIMIT_6_it_is_served_again_when_it_reads() -> None:
    answer = MISSED
    driver = Driver(Limits(output_bytes_max=len(answer) - 1))
    driver.connect()
    driver.sockets_take = False
    driver.feed(find_endp(b"e") * 3)
    for _ in range(2):
        assert sent(driver.do(events.on_sent(driver.server, ClientId(1), 1))) == answer
        assert sent(driver.do(events.on_sent(driver.server, ClientId(1), len(answer) - 1))) == b""
    assert driver.server.clients[ClientId(1)].unread == b""


STATES = {
    "request awaited": b"",
    "ready awaited": find_endp(b"held"),
    "received awaited": find_endp(b"held") + DUMMY,
}


STEPS = {
    "half a list": find_endp(b"e")[:-1],
    "descriptor awaited": save_endp(b"e"),
    "ready awaited": find_endp(b"held"),
    "received awaited": find_endp(b"held") + DUMMY,
}


@pytest.mark.parametrize(("now_ns", "gone"), [(13 * NS_PER_S - 1, []), (13 * NS_PER_S, [1])])
@pytest.mark.parametrize("step", STEPS)
def test_LIMIT_7_unfinished_step_has_its_time(step: str, now_ns: int, gone: list[int]) -> None:
    driver = Driver(Limits(ipc_timeout_s=10, ttl_limit_s=100))
    driver.connect()
    driver.park(7, b"held", ttl=b"100")
    driver.tick_s(3)
    driver.feed(STEPS[step])
    effects = driver.tick(now_ns)
    assert disconnected(effects) == gone
    assert limits_hit(effects) == ["ipc_timeout_s"] * len(gone)


@pytest.mark.parametrize(("now_ns", "gone"), [(13 * NS_PER_S - 1, []), (13 * NS_PER_S, [1])])
def test_LIMIT_7_output_that_is_not_taken_has_its_time(now_ns: int, gone: list[int]) -> None:
    driver = Driver(Limits(ipc_timeout_s=10))
    driver.connect()
    driver.tick_s(3)
    driver.sockets_take = False
    driver.feed(find_endp(b"e"))
    assert disconnected(driver.tick(now_ns)) == gone


def test_LIMIT_7_descriptor_that_is_not_read_has_its_time() -> None:
    driver = Driver(Limits(ipc_timeout_s=10))
    driver.connect()
    driver.park(7)
    driver.clients_read = False
    driver.feed(find_endp(b"e") + DUMMY + DUMMY)
    assert disconnected(driver.tick(10 * NS_PER_S - 1)) == []
    assert disconnected(driver.tick_s(10)) == [1]


def test_LIMIT_7_reading_the_descriptor_begins_no_step() -> None:
    driver = Driver(Limits(ipc_timeout_s=10))
    driver.connect()
    driver.park(7)
    driver.clients_read = False
    driver.feed(find_endp(b"e") + DUMMY)
    driver.tick_s(9)
    driver.taken()
    assert disconnected(driver.tick_s(10)) == [1]


def test_LIMIT_7_what_has_come_is_served_before_its_client_is_timed_out() -> None:
    driver = Driver(Limits(ipc_timeout_s=10))
    driver.connect(1)
    driver.connect(2)
    for client in (1, 2):
        driver.feed(find_endp(b"e")[:-1], client)
    assert disconnected(driver.do(events.on_tick(driver.server, 99 * NS_PER_S))) == []
    assert [client.id for client in events.overdue(driver.server)] == [1, 2]
    assert driver.say(b"\0", client=1) == MISSED
    assert disconnected(driver.do(events.on_timeouts(driver.server))) == [2]


@pytest.mark.parametrize(("now_ns", "printed"), [(5 * NS_PER_S - 1, 0), (5 * NS_PER_S, 1), (60 * NS_PER_S, 1)])
def test_STAT_7_statistics_are_printed_every_so_often(now_ns: int, printed: int) -> None:
    driver = Driver(Limits(status_update_time_s=5))
    driver.connect()
    driver.feed(find_endp(b"e"))
    effects = [each for each in driver.tick(now_ns) if isinstance(each, PrintStatistics)]
    assert effects == [PrintStatistics(Counters(endp_misses=1))] * printed
