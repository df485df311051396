"""CONN and FD: one client's dance, and the table it follows."""

import pytest
from tests.spec.driver import Driver, closed, sent
from tests.support.messages import DONE, DUMMY, FAILED, find_dest, find_endp, found, save_dest, save_endp

from scache_spec.attributes import encode
from scache_spec.conversation import TRANSITIONS, Action, Input, State, reply
from scache_spec.effects import SendDescriptor
from scache_spec.events import Reading, reading
from scache_spec.vocabulary import FIND_DEST, FIND_ENDP, SAVE_DEST, SAVE_ENDP, ClientId, Handle, Limits, Status


@pytest.fixture
def driver() -> Driver:
    driver = Driver()
    driver.connect()
    return driver


def state_of(driver: Driver, client: int = 1) -> State:
    return driver.server.clients[ClientId(client)].state


# The table.


def test_every_state_but_the_last_has_a_row_for_the_client_that_goes() -> None:
    assert {state for state, what in TRANSITIONS if what is Input.GONE} == set(State) - {State.CLOSED}


def test_every_list_has_a_row_wherever_lists_are_read() -> None:
    requests = {
        Input.EMPTY_LIST,
        Input.NO_REQUEST,
        Input.UNKNOWN_REQUEST,
        Input.MALFORMED_REQUEST,
        Input.SAVE_ENDP,
        Input.SAVE_DEST,
        Input.FIND_HIT,
        Input.FIND_MISS,
    }
    others = {Input.DUMMY_LIST, Input.OTHER_LIST}
    inputs = {state: {what for at, what in TRANSITIONS if at is state} - {Input.GONE} for state in State}
    assert inputs == {
        State.REQUEST: requests,
        State.DESCRIPTOR: {Input.ONE_DESCRIPTOR, Input.NOT_ONE_DESCRIPTOR},
        State.READY: others,
        State.SENDING: {Input.SENT},
        State.RECEIVED: others,
        State.CLOSED: set(),
    }


def test_every_action_is_asked_for() -> None:
    assert {row.action for row in TRANSITIONS.values()} == set(Action)


# Connections and requests.


def test_CONN_14_clients_are_served_in_whatever_order_they_come() -> None:
    for first, second in ((1, 2), (2, 1)):
        driver = Driver()
        driver.connect(1)
        driver.connect(2)
        driver.park(7)
        assert driver.take(find_endp(b"e"), first)[1] == 7
        assert driver.take(find_endp(b"e"), second)[1] is None


@pytest.mark.parametrize(
    ("name", "count"), [(SAVE_ENDP, 0), (SAVE_DEST, 0), (FIND_ENDP, 1), (FIND_DEST, 2), (b"other", 0), (None, 0)]
)
def test_CONN_13_failed_replies_have_their_properties_empty(name: bytes | None, count: int) -> None:
    for value in (Status.MALFORMED, Status.FAILED):
        assert encode(reply(name, value)) == b"status\0%d\0" % value + b"property\0\0" * count + b"\0"


def test_CONN_13_a_reply_is_no_longer_than_two_of_the_longest_lists(driver: Driver) -> None:
    longest = Limits().attribute_list_bytes_max
    properties = b"p" * (longest - len(save_endp(b"", b"", b"1")))
    assert driver.park(7, b"", properties, b"1") == DONE
    properties = b"p" * (longest - len(save_dest(b"", b"", b"", b"1")))
    assert driver.say(save_dest(b"", properties, b"", b"1")) == DONE
    reply, handle = driver.take(find_dest(b""))
    assert handle == 7
    assert 2 * longest - 100 < len(reply) < 2 * longest


# Descriptors.


def test_FD_1_descriptors_pass_only_where_they_are_awaited(driver: Driver) -> None:
    expected = Reading.BYTES
    assert reading(driver.server, ClientId(1)) is expected
    driver.feed(save_endp(b"e"))
    assert reading(driver.server, ClientId(1)) is Reading.DESCRIPTOR
    driver.descriptors(1)
    assert reading(driver.server, ClientId(1)) is expected
    driver.feed(find_endp(b"e"))
    assert reading(driver.server, ClientId(1)) is expected
    driver.feed(DUMMY)
    assert reading(driver.server, ClientId(1)) is expected


@pytest.mark.parametrize("handles", [(), (7,), (7, 8)], ids=len)
def test_FD_5_control_data_cut_short_is_not_one_descriptor(driver: Driver, handles: tuple[int, ...]) -> None:
    driver.feed(save_endp(b"e"))
    effects = driver.descriptors(*handles, truncated=True)
    assert (sent(effects), closed(effects), driver.parked()) == (FAILED, list(handles), [])


@pytest.mark.parametrize("ready", [DUMMY, encode(((b"dummy", b"x"), (b"request", b"find_endp")))])
def test_FD_6_ready_client_is_sent_its_descriptor(driver: Driver, ready: bytes) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    driver.sockets_take = False
    assert driver.feed(ready) == (SendDescriptor(ClientId(1), Handle(7)),)
    assert state_of(driver) is State.SENDING


def test_FD_8_own_copy_is_closed_once_the_socket_took_the_byte(driver: Driver) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    assert closed(driver.feed(DUMMY)) == [7]
    assert state_of(driver) is State.RECEIVED
    assert closed(driver.gone()) == []
    assert driver.parked() == []


def test_FD_12_nothing_is_read_while_the_descriptor_is_sent(driver: Driver) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    driver.sockets_take = False
    driver.feed(DUMMY + DUMMY + find_endp(b"e"))
    assert reading(driver.server, ClientId(1)) is Reading.NOTHING


def test_FD_14_nothing_is_served_while_a_descriptor_is_in_flight(driver: Driver) -> None:
    driver.park(7)
    driver.park(8)
    driver.clients_read = False
    effects = driver.feed(find_endp(b"e") + DUMMY + DUMMY + find_endp(b"e") + DUMMY)
    assert sent(effects) == found(b"p")
    assert reading(driver.server, ClientId(1)) is Reading.NOTHING
    assert driver.parked() == [8]
    effects = driver.taken()
    assert sent(effects) == found(b"p")
    assert [each.handle for each in effects if isinstance(each, SendDescriptor)] == [8]
    assert reading(driver.server, ClientId(1)) is Reading.NOTHING


def test_FD_14_client_that_has_read_its_descriptor_is_read_from(driver: Driver) -> None:
    driver.park(7)
    driver.clients_read = False
    driver.feed(find_endp(b"e") + DUMMY)
    assert driver.taken() == ()
    assert state_of(driver) is State.RECEIVED
    assert reading(driver.server, ClientId(1)) is Reading.BYTES


def test_FD_14_other_clients_are_served_meanwhile(driver: Driver) -> None:
    driver.connect(2)
    driver.park(7)
    driver.park(8)
    driver.clients_read = False
    driver.feed(find_endp(b"e") + DUMMY)
    driver.clients_read = True
    assert driver.take(find_endp(b"e"), client=2) == (found(b"p"), 8)
