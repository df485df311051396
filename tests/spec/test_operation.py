"""LIFE-6 to LIFE-9: what an operator does to the specified server."""

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
