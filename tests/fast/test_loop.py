"""What the loop decides: who may come in, how long things take, when it ends."""

import os
import socket
from collections.abc import Callable

import pytest
from tests.support.descriptors import is_hung_up
from tests.support.messages import DUMMY, GREETING, MISSED, find_endp, found, save_dest, save_endp
from tests.support.servers import Clock, Fast

from scache_fast.engine import wire
from scache_fast.engine.closing import CloseAtOnce
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.log import Silence
from scache_fast.engine.requests import Requests
from scache_fast.engine.server import Server
from scache_spec.vocabulary import NS_PER_S, Limits


def test_client_that_is_not_let_in_is_closed_without_a_greeting() -> None:
    with Fast(hooks=Hooks(may_connect=lambda sock: False)) as house:
        peer = house.peer(greeted=False)
        house.turn()
        assert peer.is_closed()
        assert house.server.clients == 0


def take_nothing(sock: socket.socket, fd: int, data: bytes) -> int:
    raise BlockingIOError


@pytest.mark.plain
def test_CONN_1_greeting_that_a_socket_does_not_take_comes_later(house: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(wire, "send", take_nothing)
        peer = house.peer(greeted=False)
        house.turn()
        assert peer.read() == b""
    house.turn()
    assert peer.read() == GREETING


@pytest.mark.plain
def test_LIMIT_6_client_is_served_while_no_more_waits_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with Fast(Limits(output_bytes_max=10 * len(MISSED))) as house:
        peer = house.peer()
        with monkeypatch.context() as patch:
            patch.setattr(house.server._conversations, "_send", take_nothing)
            for asked in (10, 1, 1):
                peer.say(find_endp(b"zz") * asked)
            assert house.server.served == 11
        house.turn(2)
        assert peer.read() == 12 * MISSED


def test_FD_9_ready_and_received_may_come_together(house: Fast) -> None:
    peer = house.peer()
    with peer.park(b"e"):
        assert peer.say(find_endp(b"e")) == found(b"p")
        peer.send(DUMMY + DUMMY + find_endp(b"zz"))
        house.turn()
        data, taken = peer.read_with_descriptors()
        os.close(taken[0])
        assert data == b"\0"
        assert peer.read() == b"", "served while the descriptor was not read yet"
        house.turn()
        assert peer.read() == MISSED


@pytest.mark.plain
@pytest.mark.parametrize("are_replies_late", [False, True])
def test_LIMIT_7_client_at_rest_may_stay(are_replies_late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with Fast(Limits(ipc_timeout_s=20)) as house:
        peer = house.peer()
        with monkeypatch.context() as patch:
            if are_replies_late:
                patch.setattr(house.server._conversations, "_send", take_nothing)
            peer.send(find_endp(b"zz"))
            house.turn()
        house.turn()
        assert peer.read() == MISSED
        house.advance(2_000)
        assert peer.say(find_endp(b"zz")) == MISSED


@pytest.mark.parametrize("said", [b"", b"x", save_endp(b"e")], ids=["at rest", "in a list", "in a save_endp"])
def test_CONN_11_client_that_goes_away_is_gone(said: bytes, house: Fast) -> None:
    peer = house.peer()
    if said:
        peer.say(said)
    peer.close()
    house.turn()
    assert house.server.clients == 0


def test_CONN_11_client_that_goes_away_with_much_unserved_is_gone_when_that_is_served(house: Fast) -> None:
    peer = house.peer()
    peer.send(find_endp(b"zz") * 500)
    peer.sock.shutdown(socket.SHUT_WR)
    house.turn(50)
    assert peer.read() == MISSED * 500
    assert peer.is_closed()
    assert house.server.clients == 0


@pytest.mark.plain
def test_CONN_3_nothing_is_served_before_a_descriptor_that_waits_for_room(
    house: Fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_no_descriptor(sock: socket.socket, fd: int, descriptor: int) -> None:
        raise BlockingIOError

    peer = house.peer()
    with peer.park(b"e"):
        with monkeypatch.context() as patch:
            patch.setattr(house.server._conversations, "_pass_on", take_no_descriptor)
            peer.send(find_endp(b"e") + DUMMY + DUMMY + find_endp(b"zz"))
            house.turn(3)
            assert peer.read() == found(b"p")
        house.turn()
        data, taken = peer.read_with_descriptors()
        os.close(taken[0])
        assert data == b"\0"
        house.turn()
        assert peer.read() == MISSED


@pytest.mark.plain
@pytest.mark.parametrize("where", ["_receive", "_send", "carry_out"])
def test_LIFE_5_error_that_nobody_foresaw_ends_one_client(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*given: object) -> None:
        raise ZeroDivisionError

    with Fast(share=1) as house:
        one, other = house.peer(), house.peer()
        one.send(find_endp(b"zz") * 3)
        if where == "carry_out":
            assert one.hear() == MISSED  # what is left is served in the next turns
        with monkeypatch.context() as patch:
            patch.setattr(Requests if where == "carry_out" else house.server._conversations, where, break_down)
            house.turn()
        assert one.is_closed()
        assert other.say(find_endp(b"zz")) == MISSED
        assert house.server.clients == 1
        assert ["unexpected ZeroDivisionError" in line for line in house.log.warnings] == [True]


@pytest.mark.plain
def test_LIFE_5_error_at_the_end_of_a_late_client_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*given: object) -> None:
        raise ZeroDivisionError

    with Fast(Limits(ipc_timeout_s=20)) as house:
        late, other = house.peer(), house.peer()
        assert late.say(b"x") == b""
        with monkeypatch.context() as patch:
            patch.setattr(house.server._conversations, "abandon", break_down)
            house.advance(20)
        assert late.is_closed()
        assert other.say(find_endp(b"zz")) == MISSED
        assert house.server.clients == 1
        assert ["unexpected ZeroDivisionError" in line for line in house.log.warnings] == [False, True]


def test_LIMIT_7_steps_time_out_in_the_order_in_which_they_began() -> None:
    with Fast(Limits(ipc_timeout_s=20)) as house:
        one, two, three = house.peer(), house.peer(), house.peer()
        one.say(b"x")
        house.advance(1)
        two.say(b"x")
        house.advance(1)
        one.say(b"\0\0\0y")  # finishes a list, and begins another
        three.say(b"x")
        house.advance(19)
        assert [peer.is_closed() for peer in (one, two, three)] == [False, True, False]
        house.advance(1)
        assert [peer.is_closed() for peer in (one, three)] == [True, True]


def test_LIMIT_7_untaken_replies_are_an_unfinished_step() -> None:
    with Fast(Limits(ipc_timeout_s=20, output_bytes_max=500_000)) as house:
        deaf = house.peer()
        while not any(client.output for client in house.server._clients.values()):
            deaf.send(find_endp(b"zz") * 50)
            house.turn(3)
        house.turn(10)
        house.advance(20 - 1e-9)
        assert house.server.clients == 1
        house.advance(1e-9)
        assert house.server.clients == 0


def test_LIFE_2_idle_time_counts_from_the_last_clients_leaving() -> None:
    with Fast(Limits(max_idle_s=100)) as house:
        one, two = house.peer(), house.peer()
        house.advance(500)
        assert house.server.is_running
        one.close()
        house.advance(50)
        two.close()
        house.advance(0)
        house.advance(100 - 1e-9)
        assert house.server.is_running
        house.advance(1e-9)
        assert not house.server.is_running


def test_LIFE_3_server_with_a_session_is_not_idle() -> None:
    with Fast(Limits(max_idle_s=100, ttl_limit_s=300)) as house:
        peer = house.peer()
        with peer.park(b"e", ttl=b"300") as far:
            peer.say(save_dest(b"d", b"p", b"e", ttl=b"300"))
            peer.close()
            house.turn()
            house.advance(300 - 1e-9)
            assert house.server.is_running
            house.advance(1e-9)
            assert is_hung_up(far)
            assert not house.server.is_running


def test_LIFE_2_server_without_the_limit_never_ends(house: Fast) -> None:
    house.advance(1_000_000)
    assert house.server.is_running


def test_client_that_comes_in_the_last_turn_is_served() -> None:
    with Fast(Limits(max_idle_s=100)) as house:
        peer = house.peer(greeted=False)
        house.advance(100)
        assert house.server.is_running
        assert peer.read() == GREETING


def test_TTL_6_wait_ends_when_the_next_thing_is_due() -> None:
    limits = Limits(ttl_limit_s=500, status_update_time_s=50, ipc_timeout_s=30, max_idle_s=10)
    with Fast(limits) as house:
        wait_s = house.server._wait_s
        assert wait_s(None) == 10
        assert wait_s(7.5) == 7.5
        assert wait_s(0) == 0
        peer = house.peer()
        assert wait_s(None) == 50
        peer.say(b"x")
        assert wait_s(None) == 30
        house.advance(1)
        with house.peer().park(b"e", ttl=b"7"):
            assert wait_s(None) == 7
            house.clock.now_ns += 8 * NS_PER_S
            assert wait_s(None) == 0


def test_TTL_6_no_wait_is_longer_than_a_minute() -> None:
    with Fast(Limits(status_update_time_s=2_147_483_647)) as house:
        assert house.server._wait_s(None) == 60
        assert house.server._wait_s(1e9) == 60


def test_clock_is_read_once_a_turn_and_the_wait_is_real() -> None:
    with Fast(Limits(ttl_limit_s=500)) as house:
        house.peer()
        house.server.step(0.001)  # a real millisecond, with a clock that stands still
        assert house.server.clients == 1


class Waits:
    """Stands before an epoll: notes how long each wait may be, and lets something happen at a poll.

    By the poller's clock a poll takes a microsecond.
    """

    def __init__(self, house: Fast) -> None:
        poller = house.server._poller
        self._epoll = poller._epoll
        poller._poll = self.poll
        poller._clock = lambda: self.now_ns
        self.now_ns = 0
        self.timeouts_s: list[float] = []
        self.on_poll: Callable[[], None] = lambda: None

    def poll(self, timeout_s: float, events_max: int) -> list[tuple[int, int]]:
        self.timeouts_s.append(timeout_s)
        if not timeout_s:
            self.now_ns += 1_000
            self.on_poll()
        return self._epoll.poll(0, events_max)

    def of(self, turn: Callable[[], None]) -> list[float]:
        """Return the waits of one turn."""
        self.timeouts_s.clear()
        turn()
        return self.timeouts_s.copy()


def test_polls_that_find_nothing_are_left_out_for_more_and_more_waits() -> None:
    with Fast(busy_poll_us=2) as house:
        waits = Waits(house)
        in_vain = []
        for turn in range(300):
            asked = waits.of(lambda: house.server.step(9.0))
            assert asked in ([9.0], [0, 0, 9.0])
            if len(asked) > 1:
                in_vain.append(turn)
        assert in_vain == [0, 2, 6, 14, 30, 62, 126, 190, 254]  # 1, 3, 7 … 63, 63 waits between them


def test_poll_that_finds_something_saves_the_wait_and_brings_back_the_next_poll() -> None:
    with Fast(busy_poll_us=3) as house:
        peer = house.peer()
        waits = Waits(house)

        def ask_at_the_second_poll() -> None:
            if len(waits.timeouts_s) == 2:
                peer.send(find_endp(b"zz"))

        def turn() -> None:
            house.server.step(9.0)

        for _ in range(6):
            turn()
        assert waits.of(turn) == [0, 0, 0, 9.0]  # in vain for the third time
        for _ in range(7):
            assert waits.of(turn) == [9.0]
        waits.on_poll = ask_at_the_second_poll
        assert waits.of(turn) == [0, 0]
        assert peer.read() == MISSED
        waits.on_poll = lambda: None
        assert waits.of(turn) == [0, 0, 0, 9.0]  # the first time after a request
        assert waits.of(turn) == [0, 0, 0, 9.0]
        assert waits.of(turn) == [9.0]
        assert waits.of(turn) == [0, 0, 0, 9.0]


def test_loop_polls_only_while_it_takes_many_turns() -> None:
    with Fast(busy_poll_us=1) as house:
        waits = Waits(house)

        def polls(turn_ns: int) -> int:
            """Return how often the loop polls in 160 turns that are so far apart."""
            polls = 0
            for _ in range(160):
                polls += waits.of(lambda: house.server.step(9.0)).count(0)
                waits.now_ns += turn_ns
            return polls

        polls(400_000)
        assert polls(400_000) == 0
        polls(398_000)
        assert polls(398_000) > 0
        assert house.server.turns == 4 * 160


def test_polls_in_vain_after_a_request_leave_those_after_an_invitation() -> None:
    with Fast(busy_poll_us=1) as house:
        peer = house.peer()
        waits = Waits(house)

        def waits_after(data: bytes) -> list[float]:
            peer.send(data)
            house.turn()
            return waits.of(lambda: house.server.step(9.0))

        ask = find_endp(b"zz")
        assert [waits_after(ask) for _ in range(3)] == [[0, 9.0], [9.0], [0, 9.0]]
        assert waits_after(save_endp(b"e")) == [0, 9.0]
        assert waits_after(b"\0") == [9.0]  # refused, as no descriptor came with it; what comes next is a request
        assert waits_after(save_endp(b"e")) == [9.0]


def test_turn_that_does_not_wait_polls_once() -> None:
    with Fast(busy_poll_us=3) as house:
        assert Waits(house).of(house.turn) == [0]


def test_loop_without_busy_polling_blocks_at_once() -> None:
    with Fast(busy_poll_us=0) as house:
        assert Waits(house).of(lambda: house.server.step(9.0)) == [9.0]


def test_served_counts_lists_that_are_requests(house: Fast) -> None:
    peer = house.peer()
    peer.say(find_endp(b"zz") * 2)
    peer.say(b"\0")
    assert house.server.served == 2


def test_farewell_is_told_before_the_descriptor_is_closed() -> None:
    told: list[bytes] = []

    def farewell(descriptor: int, endpoint: bytes) -> None:
        told.append(endpoint + os.readlink(f"/proc/self/fd/{descriptor}")[:6].encode())

    with Fast(hooks=Hooks(closer=CloseAtOnce(Silence(), farewell))) as house:
        peer = house.peer()
        with peer.park(b"e", ttl=b"1") as one, peer.park(b"e") as two:
            house.advance(1)
            assert told == [b"esocket"]
            assert is_hung_up(one)
            assert not is_hung_up(two)
    assert told == [b"esocket"] * 2  # at the end the other one's turn has come


def test_listener_that_somebody_else_shut_down_costs_no_turns() -> None:
    with Fast() as house:
        peer = house.peer()
        (listener,) = house.server._accepting._listeners.values()
        with listener.dup() as same:
            same.shutdown(socket.SHUT_RDWR)
            house.turn()
            assert house.server._poller._epoll.poll(0) == []
        assert (house.server._wait_s(None) or 0) > 0
        assert peer.say(find_endp(b"zz")) == MISSED
        assert len(house.log.warnings) == 1


def test_turn_is_known_while_it_lasts_and_none_while_the_loop_waits() -> None:
    turns: list[int | None] = []
    near, far = socket.socketpair()
    with Fast() as house, near, far:
        house.server.watch(near.fileno(), lambda: turns.append(house.server.turn))
        far.send(b"x")
        assert house.server.turn is None
        house.turn(3)
        assert house.server.turn is None
        assert turns == [1, 2, 3]


def test_watched_descriptor_calls_back(house: Fast) -> None:
    calls: list[bytes] = []
    near, far = socket.socketpair()
    with near, far:
        house.server.watch(near.fileno(), lambda: calls.append(near.recv(10)))
        house.turn()
        assert calls == []
        far.send(b"x")
        house.turn()
        assert calls == [b"x"]
        far.close()
        house.turn()
        assert calls == [b"x", b""]
        house.server.unwatch(near.fileno())
        house.turn()
        assert len(calls) == 2


def test_number_used_again_within_a_turn_is_not_taken_for_its_former_owner() -> None:
    with Fast(Limits(ipc_timeout_s=20)) as house:
        stale = house.peer()
        stale.say(b"x")
        fd = next(iter(house.server._clients))
        stale.send(b"y")
        newcomer = house.peer(greeted=False)
        # In one turn: an event for the stale client, its end for being too old, and somebody to accept.
        house.advance(20)
        assert next(iter(house.server._clients)) == fd
        assert newcomer.read() == GREETING
        assert newcomer.say(find_endp(b"zz")) == MISSED


def test_several_listeners() -> None:
    listeners, peers = [], []
    for _ in range(3):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")
        listener.listen()
        listeners.append(listener)
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(listener.getsockname())
        peers.append(peer)
    server = Server(listeners, Limits(), clock=Clock())
    server.step(0)
    assert [peer.recv(100) for peer in peers] == [GREETING] * 3
    server.close()
    for peer in peers:
        peer.close()


def test_listening_socket_comes_and_goes_while_the_loop_runs(house: Fast) -> None:
    peer = house.peer()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind("")
        listener.listen()
        address = listener.getsockname()
        house.server.add_listener(listener)
        assert house.server.listeners == 2
        other.connect(address)
        house.turn()
        assert other.recv(100) == GREETING
        house.server.remove_listener(listener)
        house.server.remove_listener(listener)
        assert house.server.listeners == 1
        assert listener.fileno() == -1
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
            late.connect(address)
    assert peer.say(find_endp(b"zz")) == MISSED


def test_listening_socket_that_somebody_else_shuts_down_is_left(house: Fast) -> None:
    peer = house.peer()
    house.listener.shutdown(socket.SHUT_RDWR)
    house.turn()
    assert house.server.listeners == 0
    assert "another process shut a listening socket down" in house.log.warnings[0]
    assert peer.say(find_endp(b"zz")) == MISSED


def test_busy_clients_are_served_for_some_turns_in_a_row() -> None:
    with Fast(Limits(), share=1) as house:
        one, other = house.peer(), house.peer()
        for peer in (one, other):
            peer.sock.sendall(find_endp(b"zz"))
        turns = house.server.turns
        house.server.step(9.0, turns_max=5)
        assert house.server.turns == turns + 1  # then nobody is ready, and the wait is left to the next call
        assert (one.read(), other.read()) == (MISSED, MISSED)


@pytest.mark.parametrize("turns_max", [1, 2, 3])
def test_turns_in_a_row_end_at_their_maximum(turns_max: int) -> None:
    with Fast() as house:
        peers = [house.peer() for _ in range(2)]
        for peer in peers:
            assert peer.say(save_endp(b"e")) == DUMMY
            peer.sock.sendall(b"\0" + 2 * find_endp(b"zz"))  # The byte is read alone, so this takes two turns.
        turns = house.server.turns
        house.server.step(9.0, turns_max)
        assert house.server.turns == turns + min(turns_max, 2)


@pytest.mark.parametrize("what", ["one client alone", "a watched descriptor", "a stop", "work of somebody else"])
def test_turns_in_a_row_end_where_anything_else_is_to_be_done(what: str) -> None:
    near, far = socket.socketpair()
    with Fast() as house, near, far:
        peers = [house.peer() for _ in range(1 if what == "one client alone" else 2)]
        for peer in peers:
            assert peer.say(save_endp(b"e")) == DUMMY
            peer.sock.sendall(b"\0" + find_endp(b"zz"))
        if what == "a watched descriptor":
            house.server.watch(near.fileno(), lambda: None)
            far.sendall(b"x")
        elif what == "a stop":
            house.server.on_turn = house.server.stop
        elif what == "work of somebody else":

            def hurry() -> None:
                house.server.is_hurried = True

            house.server.on_turn = hurry
        turns = house.server.turns
        house.server.step(9.0, turns_max=5)
        assert house.server.turns == turns + 1
