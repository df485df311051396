"""CONN and FD: one client's dance, and the table it follows."""

import pytest
from tests.spec.driver import (
    INVITATION,
    READY,
    RECEIVED,
    Driver,
    closed,
    disconnected,
    find_dest,
    find_endp,
    save_dest,
    save_endp,
    sent,
    status,
)
from tests.spec.vectors import TTLS_REFUSED, TTLS_WRAPPING_IN_C

from scache_spec import events
from scache_spec.attributes import encode
from scache_spec.conversation import TRANSITIONS, Action, Input, State, reply
from scache_spec.effects import CloseDescriptor, Send, SendDescriptor
from scache_spec.events import GREETING, Reading, reading
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


def test_CONN_1_server_speaks_first_once() -> None:
    driver = Driver()
    assert sent(driver.connect()) == b"protocol\0connection_cache_protocol\0\0"
    assert sent(driver.feed(b"\0")) == b""
    assert GREETING == b"protocol\0connection_cache_protocol\0\0"


@pytest.mark.parametrize("stalled", ["half a list", "descriptor awaited", "session held", "output not taken"])
def test_CONN_2_no_client_waits_for_another(driver: Driver, stalled: str) -> None:
    driver.connect(2)
    driver.park(1, b"held", client=2)
    driver.park(2, b"e", client=2)
    if stalled == "half a list":
        driver.feed(find_endp(b"e")[:-1])
    elif stalled == "descriptor awaited":
        driver.feed(save_endp(b"x"))
    elif stalled == "session held":
        driver.feed(find_endp(b"held"))
    else:
        driver.sockets_take = False
        driver.feed(find_endp(b"nothing") * 9000)
        driver.sockets_take = True
    assert driver.take(find_endp(b"e"), client=2) == (status(0, b"p"), 2)


def test_CONN_3_what_arrives_together_is_served_in_order(driver: Driver) -> None:
    lists = [save_dest(b"d", b"e"), find_endp(b"e"), b"\0", b"request\0other\0\0", find_dest(b"d")]
    together = driver.say(b"".join(lists))
    apart = Driver()
    apart.connect()
    assert together == b"".join(apart.say(each) for each in lists)
    assert together == status(0) + status(2, b"") + status(1) + status(2, b"", b"")


def test_CONN_3_whole_dance_and_the_next_request_in_one_write(driver: Driver) -> None:
    driver.park(1)
    effects = driver.feed(find_endp(b"e") + READY + RECEIVED + find_endp(b"e"))
    assert sent(effects) == status(0, b"p") + status(2, b"")
    assert [type(each) for each in effects] == [Send, SendDescriptor, CloseDescriptor, Send]


def test_CONN_14_clients_are_served_in_whatever_order_they_come() -> None:
    for first, second in ((1, 2), (2, 1)):
        driver = Driver()
        driver.connect(1)
        driver.connect(2)
        driver.park(7)
        assert driver.take(find_endp(b"e"), first)[1] == 7
        assert driver.take(find_endp(b"e"), second)[1] is None


def test_CONN_4_empty_list_is_skipped(driver: Driver) -> None:
    assert driver.say(b"\0\0\0" + find_endp(b"e") + b"\0") == status(2, b"")


@pytest.mark.parametrize(
    "attributes",
    [
        ((b"dummy", b""),),
        ((b"label", b"e"), (b"request", b"find_endp")),
        ((b"requests", b"find_endp"), (b"label", b"e")),
    ],
)
def test_CONN_5_list_that_is_no_request_is_swallowed(
    driver: Driver, attributes: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert driver.say(encode(attributes)) == b""
    assert driver.say(find_endp(b"e")) == status(2, b"")


@pytest.mark.parametrize("name", [b"", b"find", b"FIND_ENDP", b"find_endp ", b"save_endp2", b"\xff\n"])
def test_CONN_6_unknown_request_gets_status_1_alone(driver: Driver, name: bytes) -> None:
    assert driver.say(encode(((b"request", name), (b"ttl", b"1"), (b"label", b"e"), (b"property", b"p")))) == status(1)


WANTED = {
    b"save_endp": ((b"ttl", b"2"), (b"label", b"e"), (b"property", b"p")),
    b"find_endp": ((b"label", b"e"),),
    b"save_dest": ((b"ttl", b"2"), (b"label", b"d"), (b"property", b"q"), (b"label", b"e")),
    b"find_dest": ((b"label", b"d"),),
}
MALFORMED = {
    b"save_endp": status(1),
    b"find_endp": status(1, b""),
    b"save_dest": status(1),
    b"find_dest": status(1, b"", b""),
}


@pytest.mark.parametrize(
    ("name", "missing"), [(name, at) for name, wanted in WANTED.items() for at in range(len(wanted))], ids=str
)
def test_CONN_7_request_with_something_missing_gets_status_1(driver: Driver, name: bytes, missing: int) -> None:
    wanted = WANTED[name]
    without = (*wanted[:missing], *wanted[missing + 1 :])
    renamed = (*wanted[:missing], (b"other", b"2"), *wanted[missing + 1 :])
    late = (*wanted[:missing], (b"other", b"2"), *wanted[missing:])
    before = driver.server.cache
    for attributes in (wanted[:missing], without, renamed, late):
        assert driver.say(encode(((b"request", name), *attributes))) == MALFORMED[name]
        assert state_of(driver) is State.REQUEST
    assert driver.server.cache == before


@pytest.mark.parametrize("ttl", [*TTLS_REFUSED, *TTLS_WRAPPING_IN_C], ids=lambda ttl: repr(ttl)[:20])
def test_CONN_7_save_with_a_bad_ttl_gets_status_1_and_no_invitation(driver: Driver, ttl: bytes) -> None:
    assert driver.say(save_endp(b"e", ttl=ttl)) == status(1)
    assert driver.say(save_dest(b"d", b"e", ttl=ttl)) == status(1)
    assert state_of(driver) is State.REQUEST


@pytest.mark.parametrize("name", WANTED)
def test_CONN_7_attributes_after_all_wanted_do_no_harm(driver: Driver, name: bytes) -> None:
    answered = driver.say(encode(((b"request", name), *WANTED[name], (b"label", b"z"), (b"ttl", b"0"))))
    done = {b"find_endp": status(2, b""), b"find_dest": status(2, b"", b""), b"save_dest": status(0)}
    assert answered == done.get(name, INVITATION)


def test_CONN_8_save_dest_is_answered_at_once(driver: Driver) -> None:
    assert driver.say(save_dest(b"d", b"e")) == status(0)
    assert len(driver.server.cache.bindings) == 1


def test_CONN_9_find_that_finds_nothing_gets_status_2(driver: Driver) -> None:
    assert driver.say(find_endp(b"e")) == status(2, b"")
    assert driver.say(find_dest(b"d")) == status(2, b"", b"")
    assert state_of(driver) is State.REQUEST


def test_CONN_10_found_session_is_held_for_its_client_alone(driver: Driver) -> None:
    driver.connect(2)
    driver.park(1, properties=b"session")
    driver.say(save_dest(b"d", b"e", b"destination"))
    assert driver.say(find_dest(b"d")) == status(0, b"destination", b"session")
    assert state_of(driver) is State.READY
    assert driver.say(find_endp(b"e"), client=2) == status(2, b"")


@pytest.mark.parametrize("unfinished", [b"", find_endp(b"e")[:9], save_endp(b"e")])
def test_CONN_11_client_that_goes_leaves_what_it_saved(driver: Driver, unfinished: bytes) -> None:
    driver.park(1)
    driver.say(save_dest(b"d", b"e"))
    driver.feed(unfinished)
    effects = driver.gone()
    assert (disconnected(effects), closed(effects)) == ([1], [])
    driver.connect(1)
    assert driver.take(find_dest(b"d")) == (status(0, b"q", b"p"), 1)


def test_CONN_12_values_reach_the_cache_by_their_place(driver: Driver) -> None:
    driver.say(save_dest(b"destination", b"endpoint", b"d-properties", ttl=b"1"))
    driver.park(3, b"endpoint", b"e-properties", ttl=b"2")
    (binding,), (session,) = driver.server.cache.bindings, driver.server.cache.sessions
    assert (binding.destination, binding.properties, binding.endpoint) == (b"destination", b"d-properties", b"endpoint")
    assert (session.endpoint, session.properties, session.handle) == (b"endpoint", b"e-properties", 3)
    assert (binding.expiry_ns, session.expiry_ns) == (10**9, 2 * 10**9)


def test_CONN_12_labels_and_properties_may_be_empty(driver: Driver) -> None:
    driver.park(1, b"", b"")
    driver.say(save_dest(b"", b"", b""))
    assert driver.take(find_dest(b"")) == (status(0, b"", b""), 1)


@pytest.mark.parametrize(
    ("name", "count"), [(SAVE_ENDP, 0), (SAVE_DEST, 0), (FIND_ENDP, 1), (FIND_DEST, 2), (b"other", 0), (None, 0)]
)
def test_CONN_13_failed_replies_have_their_properties_empty(name: bytes | None, count: int) -> None:
    for value in (Status.MALFORMED, Status.FAILED):
        assert encode(reply(name, value)) == status(value, *[b""] * count)


def test_CONN_13_properties_of_destination_come_before_those_of_endpoint() -> None:
    assert encode(reply(FIND_DEST, Status.DONE, b"d", b"e")) == b"status\x000\0property\0d\0property\0e\0\0"


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
    driver.feed(READY)
    assert reading(driver.server, ClientId(1)) is expected


def test_FD_1_descriptors_on_any_other_byte_are_closed(driver: Driver) -> None:
    driver.park(7)
    effects = driver.do(events.on_unsolicited(driver.server, (Handle(8), Handle(9))))
    assert effects == (CloseDescriptor(Handle(8)), CloseDescriptor(Handle(9)))
    assert driver.parked() == [7]


def test_FD_2_save_endp_is_answered_with_an_invitation(driver: Driver) -> None:
    assert driver.say(save_endp(b"e")) == b"dummy\0\0\0"
    assert state_of(driver) is State.DESCRIPTOR


def test_FD_3_one_descriptor_is_parked(driver: Driver) -> None:
    assert driver.park(7) == status(0)
    assert driver.parked() == [7]


def test_FD_3_ttl_counts_from_the_descriptor(driver: Driver) -> None:
    driver.feed(save_endp(b"e", ttl=b"2"))
    driver.tick_s(3)
    driver.descriptors(7)
    assert closed(driver.tick(5 * 10**9 - 1)) == []
    assert closed(driver.tick(5 * 10**9)) == [7]


@pytest.mark.parametrize("handles", [(), (7, 8), tuple(range(253))], ids=len)
def test_FD_4_any_other_number_is_closed_and_refused(driver: Driver, handles: tuple[int, ...]) -> None:
    driver.feed(save_endp(b"e"))
    effects = driver.descriptors(*handles)
    assert sent(effects) == status(2)
    assert closed(effects) == list(handles)
    assert driver.parked() == []
    assert state_of(driver) is State.REQUEST


@pytest.mark.parametrize("handles", [(), (7,), (7, 8)], ids=len)
def test_FD_5_control_data_cut_short_is_not_one_descriptor(driver: Driver, handles: tuple[int, ...]) -> None:
    driver.feed(save_endp(b"e"))
    effects = driver.descriptors(*handles, truncated=True)
    assert (sent(effects), closed(effects), driver.parked()) == (status(2), list(handles), [])


@pytest.mark.parametrize("ready", [READY, encode(((b"dummy", b"x"), (b"request", b"find_endp")))])
def test_FD_6_ready_client_is_sent_its_descriptor(driver: Driver, ready: bytes) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    driver.sockets_take = False
    assert driver.feed(ready) == (SendDescriptor(ClientId(1), Handle(7)),)
    assert state_of(driver) is State.SENDING


@pytest.mark.parametrize(
    "other", [b"\0", find_endp(b"e"), encode(((b"Dummy", b""),)), encode(((b"x", b""), (b"dummy", b"")))]
)
def test_FD_7_any_other_list_puts_the_session_back(driver: Driver, other: bytes) -> None:
    driver.park(7)
    driver.park(8)
    driver.feed(find_endp(b"e"))
    assert driver.feed(other) == ()
    assert driver.parked() == [7, 8]
    assert driver.take(find_endp(b"e"))[1] == 7


def test_FD_7_session_that_expired_meanwhile_is_closed(driver: Driver) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    driver.tick_s(2)
    assert closed(driver.feed(b"\0")) == [7]


def test_FD_8_own_copy_is_closed_once_the_socket_took_the_byte(driver: Driver) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    assert closed(driver.feed(READY)) == [7]
    assert state_of(driver) is State.RECEIVED
    assert closed(driver.gone()) == []
    assert driver.parked() == []


@pytest.mark.parametrize("received", [RECEIVED, b"\0", find_endp(b"e"), save_endp(b"e"), b"x\0y\0\0"])
def test_FD_9_received_is_swallowed_whatever_it_holds(driver: Driver, received: bytes) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e") + READY)
    assert driver.feed(received) == ()
    assert state_of(driver) is State.REQUEST


def test_FD_9_next_request_may_come_along(driver: Driver) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e") + READY)
    assert driver.say(RECEIVED + save_dest(b"d", b"e")) == status(0)


@pytest.mark.parametrize("said", [b"", READY], ids=["ready awaited", "sending"])
@pytest.mark.parametrize(("now_s", "comes_back"), [(1, True), (2, False)])
def test_FD_10_client_that_goes_before_gives_the_session_back(
    driver: Driver, said: bytes, now_s: int, comes_back: bool
) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    driver.sockets_take = False
    driver.feed(said)
    driver.tick_s(now_s)
    effects = driver.gone()
    assert disconnected(effects) == [1]
    assert (driver.parked(), closed(effects)) == (([7], []) if comes_back else ([], [7]))


def test_FD_11_after_that_nothing_is_left_to_do(driver: Driver) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e") + READY)
    effects = driver.gone()
    assert (disconnected(effects), closed(effects), driver.parked()) == ([1], [], [])


@pytest.mark.parametrize("byte", [b"\0", b"r", b"\xff"])
def test_FD_12_byte_that_came_with_plain_bytes_carries_none(driver: Driver, byte: bytes) -> None:
    effects = driver.feed(save_endp(b"e") + byte + find_endp(b"e"))
    assert sent(effects) == INVITATION + status(2) + status(2, b"")
    assert state_of(driver) is State.REQUEST


def test_FD_12_nothing_is_read_while_the_descriptor_is_sent(driver: Driver) -> None:
    driver.park(7)
    driver.feed(find_endp(b"e"))
    driver.sockets_take = False
    driver.feed(READY + RECEIVED + find_endp(b"e"))
    assert reading(driver.server, ClientId(1)) is Reading.NOTHING


def test_FD_13_what_is_handed_out_is_what_was_saved(driver: Driver) -> None:
    driver.park(7, b"e")
    driver.park(8, b"f")
    assert driver.take(find_endp(b"f"))[1] == 8
    assert driver.take(find_endp(b"e"))[1] == 7


def test_FD_14_nothing_is_served_while_a_descriptor_is_in_flight(driver: Driver) -> None:
    driver.park(7)
    driver.park(8)
    driver.clients_read = False
    effects = driver.feed(find_endp(b"e") + READY + RECEIVED + find_endp(b"e") + READY)
    assert sent(effects) == status(0, b"p")
    assert reading(driver.server, ClientId(1)) is Reading.NOTHING
    assert driver.parked() == [8]
    effects = driver.taken()
    assert sent(effects) == status(0, b"p")
    assert [each.handle for each in effects if isinstance(each, SendDescriptor)] == [8]
    assert reading(driver.server, ClientId(1)) is Reading.NOTHING


def test_FD_14_client_that_has_read_its_descriptor_is_read_from(driver: Driver) -> None:
    driver.park(7)
    driver.clients_read = False
    driver.feed(find_endp(b"e") + READY)
    assert driver.taken() == ()
    assert state_of(driver) is State.RECEIVED
    assert reading(driver.server, ClientId(1)) is Reading.BYTES


def test_FD_14_other_clients_are_served_meanwhile(driver: Driver) -> None:
    driver.connect(2)
    driver.park(7)
    driver.park(8)
    driver.clients_read = False
    driver.feed(find_endp(b"e") + READY)
    driver.clients_read = True
    assert driver.take(find_endp(b"e"), client=2) == (status(0, b"p"), 8)


@pytest.mark.parametrize(
    ("limits", "endpoint"),
    [
        (Limits(sessions_max=1), b"f"),
        (Limits(sessions_per_endpoint_max=1), b"e"),
        (Limits(cached_bytes_max=3), b"f"),
    ],
    ids=["LIMIT-2", "LIMIT-3", "LIMIT-11"],
)
def test_LIMIT_2_and_3_and_11_refusal_comes_after_the_descriptor(limits: Limits, endpoint: bytes) -> None:
    driver = Driver(limits)
    driver.connect()
    assert driver.park(7) == status(0)
    assert driver.say(save_endp(endpoint)) == INVITATION
    effects = driver.descriptors(8)
    assert (sent(effects), closed(effects), driver.parked()) == (status(2), [8], [7])


def test_LIMIT_4_refusal_is_status_2_and_renewal_is_not_refused() -> None:
    driver = Driver(Limits(bindings_max=1))
    driver.connect()
    assert driver.say(save_dest(b"d", b"e")) == status(0)
    assert driver.say(save_dest(b"d", b"f")) == status(2)
    assert driver.say(save_dest(b"d", b"e")) == status(0)


@pytest.mark.parametrize(
    "limits", [Limits(bindings_per_destination_max=1), Limits(cached_bytes_max=4)], ids=["LIMIT-10", "LIMIT-11"]
)
def test_LIMIT_10_and_11_refusal_is_status_2_and_renewal_is_not_refused(limits: Limits) -> None:
    driver = Driver(limits)
    driver.connect()
    assert driver.say(save_dest(b"d", b"e")) == status(0)
    assert driver.say(save_dest(b"d", b"f")) == status(2)
    assert driver.say(save_dest(b"d", b"e")) == status(0)


def test_LIMIT_11_session_that_is_held_does_not_count_and_comes_back_all_the_same() -> None:
    driver = Driver(Limits(cached_bytes_max=2))
    driver.connect(1)
    driver.connect(2)
    assert driver.park(7) == status(0)
    driver.say(find_endp(b"e"))
    assert driver.park(8, client=2) == status(0)
    driver.gone(1)
    assert driver.parked() == [7, 8]
    assert driver.park(9, client=2) == status(2)
