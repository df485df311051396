"""LIFE-6 to LIFE-13: what an operator does to the specified server."""

import pytest
from tests.spec.driver import Driver, closed
from tests.support.messages import DONE, DUMMY, FAILED, find_endp, found, save_dest

from scache_spec import operation
from scache_spec.vocabulary import Label, Limits


def named_a(label: Label) -> bool:
    return label.startswith(b"a")


def test_LIFE_6_flush_removes_what_is_named_and_closes_it() -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    for handle, endpoint in ((7, b"a"), (8, b"b")):
        driver.park(handle, endpoint)
    driver.say(save_dest(b"ad", b"p", b"b"))
    driver.say(save_dest(b"bd", b"p", b"b"))
    assert closed(driver.do(operation.on_flush(driver.server, named_a))) == [7]
    assert driver.parked() == [8]
    assert [binding.destination for binding in driver.server.cache.bindings] == [b"bd"]


def test_LIFE_6_held_session_is_handed_over_after_a_flush() -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    driver.park(7, b"a")
    assert driver.say(find_endp(b"a")) == found(b"p")
    assert driver.do(operation.on_flush(driver.server, named_a)) == ()
    assert closed(driver.feed(DUMMY)) == [7], "our copy, once the descriptor was sent"


def test_LIFE_6_held_session_that_comes_back_is_closed() -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    driver.park(7, b"a")
    driver.say(find_endp(b"a"))
    driver.do(operation.on_flush(driver.server, named_a))
    assert closed(driver.gone()) == [7]
    assert driver.parked() == []


def test_LIFE_7_lower_limits_remove_nothing_and_refuse_what_comes_later() -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    driver.park(7)
    driver.park(8)
    assert driver.do(operation.on_limits(driver.server, Limits(sessions_max=1, ttl_limit_s=1))) == ()
    assert driver.parked() == [7, 8]
    assert driver.park(9) == FAILED
    driver.tick_s(2)
    assert driver.parked() == [7, 8], "the old ttl limit is theirs"


def test_LIFE_8_paused_server_refuses_saves_and_serves_finds() -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    driver.park(7)
    driver.say(save_dest(b"d", b"p", b"e"))
    before = driver.server.limits
    driver.do(operation.on_pause(driver.server))
    assert driver.park(8) == FAILED
    assert driver.say(save_dest(b"new", b"p", b"e")) == FAILED
    assert driver.say(save_dest(b"d", b"p", b"e")) == DONE
    assert driver.take(find_endp(b"e"))[1] == 7
    driver.do(operation.on_limits(driver.server, before))
    assert driver.park(9) == DONE


def test_LIFE_9_drained_is_when_nothing_is_parked_or_held() -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    driver.say(save_dest(b"d", b"p", b"e"))
    driver.park(7)
    driver.do(operation.on_pause(driver.server))
    assert not operation.is_drained(driver.server)
    driver.say(find_endp(b"e"))
    assert not operation.is_drained(driver.server)
    driver.feed(DUMMY)
    assert operation.is_drained(driver.server)


def test_LIFE_9_session_that_comes_back_keeps_a_draining_server() -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    driver.park(7)
    driver.do(operation.on_pause(driver.server))
    driver.say(find_endp(b"e"))
    driver.gone()
    assert driver.parked() == [7]
    assert not operation.is_drained(driver.server)


def taken_over() -> tuple[Driver, Driver]:
    """Return the old process and the new one; client 1 holds session 7, client 2 holds none, session 8 is parked."""
    old, new = Driver(Limits(ttl_limit_s=600)), Driver(Limits(ttl_limit_s=600))
    old.connect(1)
    old.connect(2)
    old.park(7, b"a")
    old.park(8, b"a")
    old.say(save_dest(b"d", b"p", b"a"))
    old.say(find_endp(b"a"))
    old.server, new.server = operation.on_takeover(old.server)
    return old, new


def come_back(old: Driver, new: Driver) -> list[int]:
    """Give back what came back; return what is closed."""
    old.server, outcome = operation.on_return(old.server, new.server)
    return closed(new.do(outcome))


def test_LIFE_10_new_process_has_what_is_parked_and_the_clients_at_rest() -> None:
    old, new = taken_over()
    assert (old.parked(), [*old.server.clients]) == ([], [1])
    assert (new.parked(), [*new.server.clients]) == ([8], [2])
    assert [binding.destination for binding in new.server.cache.bindings] == [b"d"]
    assert new.say(find_endp(b"a"), 2) == found(b"p")


def test_LIFE_11_held_session_is_handed_over_by_the_old_process() -> None:
    old, new = taken_over()
    assert closed(old.feed(DUMMY)) == [7]
    assert come_back(old, new) == []
    assert ([*old.server.clients], [*new.server.clients], new.parked()) == ([], [2, 1], [8])


def test_LIFE_11_session_that_comes_back_is_first_in_turn_at_the_new_process() -> None:
    old, new = taken_over()
    old.feed(find_endp(b"a"))  # No `dummy`: the session is put back.
    assert come_back(old, new) == []
    assert new.parked() == [7, 8]


def test_LIFE_11_session_that_expired_meanwhile_is_closed() -> None:
    old, new = taken_over()
    old.gone()
    new.tick_s(600)
    assert come_back(old, new) == [7]


@pytest.mark.parametrize(
    ("killed", "left"),
    [
        (operation.Killed.NEW_BEFORE_IT_TOOK, [7]),
        (operation.Killed.OLD_BEFORE_ITS_OFFER, None),
        (operation.Killed.OLD_AFTER_ITS_OFFER, [7]),
        (operation.Killed.NEW_AFTER_IT_TOOK, None),
    ],
)
def test_LIFE_12_what_a_death_leaves(killed: operation.Killed, left: list[int] | None) -> None:
    driver = Driver(Limits(ttl_limit_s=600))
    driver.connect()
    driver.park(7)
    server = operation.on_death_in_takeover(driver.server, killed)
    assert (None if server is None else [session.handle for session in server.cache.sessions]) == left


def test_LIFE_13_next_process_begins_with_what_was_left() -> None:
    old = Driver(Limits(ttl_limit_s=600))
    old.connect()
    for handle in (7, 8, 9):
        old.park(handle)
    old.say(save_dest(b"d", b"p", b"e"))
    old.say(find_endp(b"e"))  # It is held, and back before the exit.
    left, outcome = operation.on_restart(old.server, lambda session: session.handle != 8)
    assert closed(old.do(outcome)) == [8]
    assert old.parked() == []
    new = Driver(Limits(ttl_limit_s=600))
    new.server = operation.on_begin(new.server, left)
    new.connect()
    assert new.take(find_endp(b"e"))[1] == 7
    assert new.parked() == [9]
    assert [binding.destination for binding in new.server.cache.bindings] == [b"d"]
    assert closed(new.tick_s(600)) == [9], "the ttl goes on"


def test_LIFE_13_held_session_that_has_expired_is_not_left() -> None:
    old = Driver(Limits(ttl_limit_s=600))
    old.connect()
    old.park(7, ttl=b"5")
    old.say(find_endp(b"e"))
    old.tick_s(5)
    left, outcome = operation.on_restart(old.server, lambda session: True)
    assert left.sessions == ()
    assert closed(old.do(outcome)) == [7]
