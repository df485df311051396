"""What nobody would send, and nobody would do, and that it costs nothing that lasts: the same for each server."""

import os
from collections.abc import Callable

import pytest
from tests.side_by_side.lockstep.conftest import Start
from tests.side_by_side.lockstep.world import open_descriptors
from tests.support.guest import (
    DONE,
    DUMMY,
    FAILED,
    GREETING,
    MISSED,
    Guest,
    descriptors_left,
    find_dest,
    find_endp,
    found,
    is_closed,
    save_dest,
    save_endp,
)
from tests.support.servers import InProcessServer

from scache_spec.vocabulary import NS_PER_S, Limit, Limits

HALF_A_LIST = b"request\0find_endp\0lab"


def pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return reader, writer


def has_exited(server: InProcessServer) -> bool:
    server.step()
    return not server.running


# Descriptors that are none, too many, in the wrong place, or one more than there is room for.


@pytest.mark.parametrize("count", [0, 2, 3, 253])
def test_FD_4_byte_without_exactly_one_descriptor_is_refused_and_all_are_closed(
    in_process_server: InProcessServer, count: int
) -> None:
    reader, writer = pipe()
    with Guest(in_process_server) as guest:
        assert guest.hear() == GREETING
        assert guest.say(save_endp(b"e")) == DUMMY
        before = open_descriptors()
        assert guest.say(b"!", *[writer] * count) == FAILED
        assert open_descriptors() == before
        os.close(writer)
        assert is_closed(reader)
        assert guest.say(find_endp(b"e")) == MISSED
    os.close(reader)


@pytest.mark.parametrize("before_it", [b"", b"\0", HALF_A_LIST])
def test_FD_1_descriptor_on_the_bytes_of_a_list_is_closed_unseen(
    in_process_server: InProcessServer, before_it: bytes
) -> None:
    reader, writer = pipe()
    with Guest(in_process_server) as guest:
        assert guest.hear() == GREETING
        before = open_descriptors()
        guest.write(before_it or b"\0")
        rest = find_endp(b"e").removeprefix(before_it)
        assert guest.say(rest, writer, writer) == MISSED
        assert open_descriptors() == before
        os.close(writer)
        assert is_closed(reader)
    os.close(reader)


def test_FD_12_descriptor_right_behind_its_request_is_lost_and_refused(in_process_server: InProcessServer) -> None:
    reader, writer = pipe()
    with Guest(in_process_server) as guest:
        assert guest.hear() == GREETING
        guest.write(save_endp(b"e"))
        assert guest.say(b"!", writer) == DUMMY + FAILED
        os.close(writer)
        assert is_closed(reader)
        assert guest.say(find_endp(b"e")) == MISSED
    os.close(reader)


@pytest.mark.parametrize(("sent", "room"), [(1, 0), (2, 1), (253, 1), (253, 20)])
def test_FD_5_descriptors_that_do_not_fit_into_the_process_are_refused(
    in_process_server: InProcessServer, sent: int, room: int
) -> None:
    reader, writer = pipe()
    with Guest(in_process_server) as guest:
        assert guest.hear() == GREETING
        assert guest.say(save_endp(b"e")) == DUMMY
        before = open_descriptors()
        guest.write(b"!", *[writer] * sent)
        with descriptors_left(room):
            in_process_server.step()
        assert guest.hear() == FAILED
        assert open_descriptors() == before
        os.close(writer)
        assert is_closed(reader)
        assert guest.say(find_endp(b"e")) == MISSED
        os.close(guest.park(b"e"))
    os.close(reader)


def test_client_that_finds_the_descriptor_table_full_is_accepted_later(in_process_server: InProcessServer) -> None:
    with Guest(in_process_server) as inside:
        assert inside.hear() == GREETING
        with Guest(in_process_server) as waiting:
            with descriptors_left(0):
                assert waiting.hear() == b""
                assert inside.say(find_endp(b"e")) == MISSED
                in_process_server.clock.now_ns += NS_PER_S
                assert waiting.hear() == b""
            in_process_server.clock.now_ns += NS_PER_S
            assert waiting.hear() == GREETING
            assert waiting.say(find_endp(b"e")) == MISSED
        assert not has_exited(in_process_server)


# Clients that stop in the middle.


def stop_after_half_a_list(guest: Guest) -> None:
    assert guest.say(HALF_A_LIST) == b""


def stop_after_the_invitation(guest: Guest) -> None:
    assert guest.say(save_endp(b"other")) == DUMMY


def stop_before_saying_ready(guest: Guest) -> None:
    assert guest.say(find_endp(b"held")) == found(b"p")


def stop_before_saying_received(guest: Guest) -> None:
    assert guest.say(find_endp(b"held")) == found(b"p")
    os.close(guest.take_descriptor())


def stop_reading(guest: Guest) -> None:
    guest.flood()


Stall = Callable[[Guest], None]
STALLS: list[Stall] = [
    stop_after_half_a_list,
    stop_after_the_invitation,
    stop_before_saying_ready,
    stop_before_saying_received,
    stop_reading,
]


@pytest.mark.parametrize("stall", STALLS)
def test_CONN_2_stalled_client_costs_the_others_nothing(in_process_server: InProcessServer, stall: Stall) -> None:
    with Guest(in_process_server) as stalled, Guest(in_process_server) as other:
        assert (stalled.hear(), other.hear()) == (GREETING, GREETING)
        held = other.park(b"held")
        stall(stalled)
        reader = other.park(b"e", b"q")
        assert other.say(save_dest(b"d", b"r", b"e")) == DONE
        assert other.say(find_dest(b"d")) == found(b"r", b"q")
        os.close(other.take_descriptor())
        assert is_closed(reader)
        assert other.say(DUMMY) == b""
    os.close(reader)
    os.close(held)


@pytest.mark.parametrize("stall", STALLS)
def test_LIMIT_7_stalled_client_is_disconnected_when_its_time_is_up(start: Start, stall: Stall) -> None:
    server = start(Limits(ttl_limit_s=100, ipc_timeout_s=10))
    with Guest(server) as stalled, Guest(server) as other:
        assert (stalled.hear(), other.hear()) == (GREETING, GREETING)
        os.close(other.park(b"held"))
        stall(stalled)
        server.clock.now_ns += 10 * NS_PER_S - 1
        server.step()
        # The pause of a client that does not read may be logged: the specification cannot see it (LIMIT-6).
        assert server.take_limits() == [Limit.OUTPUT_BYTES] * server.logs_pauses * (stall is stop_reading)
        server.clock.now_ns += 1
        server.step()
        assert server.take_limits() == [Limit.IPC_TIMEOUT]
        if stall is not stop_reading:
            assert stalled.is_disconnected()
        assert other.say(b"\0") == b""


def test_LIMIT_6_flood_is_served_on_when_its_replies_are_read(in_process_server: InProcessServer) -> None:
    with Guest(in_process_server) as guest:
        assert guest.hear() == GREETING
        guest.flood()
        heard = guest.hear()
        while more := guest.hear():
            heard += more
        assert heard.startswith(MISSED * 1000)
        # What is left of the flood is the beginning of one more request.
        assert len(heard) % len(MISSED) == 0


# Clients that go away.


def test_FD_10_session_of_a_client_that_dies_before_saying_ready_is_first_in_turn_again(
    in_process_server: InProcessServer,
) -> None:
    with Guest(in_process_server) as other:
        assert other.hear() == GREETING
        readers = [other.park(b"e", b"older"), other.park(b"e", b"newer")]
        with Guest(in_process_server) as dying:
            assert dying.hear() == GREETING
            assert dying.say(find_endp(b"e")) == found(b"older")
        assert other.hear() == b""
        assert not is_closed(readers[0])
        assert other.say(find_endp(b"e")) == found(b"older")
    for reader in readers:
        os.close(reader)


def test_FD_10_session_that_could_not_be_sent_is_put_back(in_process_server: InProcessServer) -> None:
    """The socket of the client is full of replies when its descriptor's turn comes."""
    with Guest(in_process_server) as other:
        assert other.hear() == GREETING
        reader = other.park(b"e", b"held")
        with Guest(in_process_server) as dying:
            assert dying.hear() == GREETING
            last_words = dying.flood() + find_endp(b"e") + DUMMY
            while other.say(find_endp(b"e")) != MISSED:
                assert other.say(b"\0") == b""  # Not ready: it is put back.
                dying.socket.recv(1000)  # So little that what is held cannot be sent for a long time.
                dying.turn()
                try:
                    last_words = last_words and last_words[dying.write(last_words) :]
                except BlockingIOError:
                    pass  # There is no room yet.
            assert last_words == b""
            assert not is_closed(reader)
        assert other.hear() == b""
        assert not is_closed(reader)
        assert other.say(find_endp(b"e")) == found(b"held")
    os.close(reader)


def test_CONN_11_what_a_client_saved_outlives_it(in_process_server: InProcessServer) -> None:
    with Guest(in_process_server) as dying:
        assert dying.hear() == GREETING
        reader = dying.park(b"e")
        assert dying.say(save_dest(b"d", b"r", b"e")) == DONE
        dying.write(save_dest(b"d", b"r", b"e")[:-1])
    with Guest(in_process_server) as other:
        assert other.hear() == GREETING
        assert other.say(find_dest(b"d")) == found(b"r", b"p")
    os.close(reader)


# Limits, from both sides.


def test_LIMIT_2_one_session_too_many_is_closed_and_refused(start: Start) -> None:
    server = start(Limits(ttl_limit_s=100, sessions_max=2))
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        kept = [guest.park(b"a"), guest.park(b"b")]
        reader, writer = pipe()
        assert guest.say(save_endp(b"c")) == DUMMY
        assert guest.say(b"!", writer) == FAILED
        os.close(writer)
        assert is_closed(reader)
        assert server.take_limits() == [Limit.SESSIONS]
        assert guest.say(find_endp(b"a")) == found(b"p")
    for each in (*kept, reader):
        os.close(each)


def test_LIMIT_3_endpoint_is_full_while_another_has_room(start: Start) -> None:
    server = start(Limits(ttl_limit_s=100, sessions_per_endpoint_max=1))
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        os.close(guest.park(b"a"))
        assert guest.say(save_endp(b"a")) == DUMMY
        reader, writer = pipe()
        assert guest.say(b"!", writer) == FAILED
        assert server.take_limits() == [Limit.SESSIONS_PER_ENDPOINT]
        os.close(guest.park(b"b"))
    os.close(reader)
    os.close(writer)


def test_LIMIT_4_binding_too_many_is_refused_and_a_renewal_is_not(start: Start) -> None:
    server = start(Limits(bindings_max=1))
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        assert guest.say(save_dest(b"d", b"r", b"e")) == DONE
        assert guest.say(save_dest(b"d", b"s", b"e")) == FAILED
        assert server.take_limits() == [Limit.BINDINGS]
        assert guest.say(save_dest(b"d", b"r", b"e")) == DONE


def test_LIMIT_5_client_too_many_is_disconnected_without_a_greeting(start: Start) -> None:
    server = start(Limits(clients_max=1))
    with Guest(server) as first:
        assert first.hear() == GREETING
        with Guest(server) as second:
            assert second.is_disconnected()
        assert server.take_limits() == [Limit.CLIENTS]
    server.step()
    with Guest(server) as third:
        assert third.hear() == GREETING


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_LIMIT_1_list_of_the_longest_length_is_served_and_one_byte_more_is_not(
    start: Start, byte_by_byte: bool
) -> None:
    server = start(Limits(attribute_list_bytes_max=100))
    longest = find_endp(b"x" * (100 - len(find_endp(b""))))
    too_long = longest.replace(b"x", b"xx", 1)[:100]
    for data, served in ((longest, True), (too_long, False)):
        with Guest(server) as guest:
            assert guest.hear() == GREETING
            for at in range(99) if byte_by_byte else ():
                assert guest.say(data[at : at + 1]) == b""
            guest.write(data[99:] if byte_by_byte else data)
            if served:
                assert guest.hear() == MISSED
            else:
                assert guest.is_disconnected()


# The end.


def test_LIFE_2_server_exits_when_nobody_has_been_connected_for_long_enough(start: Start) -> None:
    server = start(Limits(max_idle_s=5))
    server.clock.now_ns += 5 * NS_PER_S - 1
    assert not has_exited(server)
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        server.clock.now_ns += 60 * NS_PER_S
        assert not has_exited(server)
    server.step()
    server.clock.now_ns += 5 * NS_PER_S - 1
    assert not has_exited(server)
    server.clock.now_ns += 1
    assert has_exited(server)


def test_LIFE_3_server_stays_while_a_session_is_parked(start: Start) -> None:
    server = start(Limits(ttl_limit_s=20, max_idle_s=5))
    with Guest(server) as guest:
        assert guest.hear() == GREETING
        reader = guest.park(b"e", ttl=b"20")
    server.step()
    server.clock.now_ns += 20 * NS_PER_S - 1
    assert not has_exited(server)
    server.clock.now_ns += 1
    server.step()
    assert is_closed(reader)
    assert has_exited(server)
    os.close(reader)


def test_LIFE_4_end_of_the_server_closes_everything(in_process_server: InProcessServer) -> None:
    with Guest(in_process_server) as guest, Guest(in_process_server) as holding:
        assert (guest.hear(), holding.hear()) == (GREETING, GREETING)
        readers = [guest.park(b"e"), guest.park(b"e")]
        assert holding.say(find_endp(b"e")) == found(b"p")
        in_process_server.close()
        assert [is_closed(reader) for reader in readers] == [True, True]
        assert guest.socket.recv(1) == b""
    for reader in readers:
        os.close(reader)
