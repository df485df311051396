"""The dances, over real sockets, under a clock that stands still."""

import socket

import pytest
from tests.fast.peer import (
    DONE,
    DUMMY,
    FAILED,
    MALFORMED,
    MISSED,
    MISSED_DEST,
    House,
    find_dest,
    find_endp,
    found,
    is_hung_up,
    save_dest,
    save_endp,
)

from scache_fast.engine.hooks import Hooks
from scache_fast.engine.table import Sizes
from scache_spec.vocabulary import Limit, Limits


def test_CONN_1_greeting_comes_once(house: House) -> None:
    peer = house.peer()
    house.turn(2)
    assert peer.read() == b""


def test_FD_13_what_was_saved_is_what_is_found(house: House) -> None:
    with house.peer().park(b"e", b"properties") as far:
        reply, near = house.peer().pick_up(find_endp(b"e"))
        with near:
            assert reply == found(b"properties")
            near.send(b"through")
            assert far.recv(100) == b"through"
        assert is_hung_up(far)  # the server has kept no copy


def test_find_dest_dance(house: House) -> None:
    peer = house.peer()
    with peer.park(b"e", b"of endpoint"):
        assert peer.say(save_dest(b"d", b"of destination", b"e")) == DONE
        reply, near = peer.pick_up(find_dest(b"d"))
        near.close()
        assert reply == found(b"of destination", b"of endpoint")
        assert peer.say(find_dest(b"d")) == MISSED_DEST
        assert (house.server.statistics.dest_hits, house.server.statistics.dest_misses) == (1, 1)
        assert house.server.statistics.endp_hits == 0


@pytest.mark.parametrize(
    ("request_bytes", "reply"),
    [
        (b"\0", b""),
        (b"\0\0\0", b""),
        (b"label\0a\0\0", b""),
        (b"dummy\0\0\0", b""),
        (b"request\0nonsense\0\0", MALFORMED),
        (b"request\0\0\0", MALFORMED),
        (b"request\0request\0ttl\x001\0\0", MALFORMED),
        (b"request\0save_endp\0\0", MALFORMED),
        (b"request\0save_endp\0ttl\x001\0label\0a\0\0", MALFORMED),
        (b"request\0save_endp\0label\0a\0ttl\x001\0property\0p\0\0", MALFORMED),
        (save_endp(b"a", ttl=b"0"), MALFORMED),
        (save_endp(b"a", ttl=b"-1"), MALFORMED),
        (save_endp(b"a", ttl=b"5x"), MALFORMED),
        (save_dest(b"d", b"p", b"e", ttl=b"0x10"), MALFORMED),
        (b"request\0save_dest\0ttl\x001\0label\0d\0property\0p\0\0", MALFORMED),
        (b"request\0find_endp\0\0", b"status\x001\0property\0\0\0"),
        (b"request\0find_endp\0extra\0x\0label\0a\0\0", b"status\x001\0property\0\0\0"),
        (b"request\0find_dest\0property\0a\0\0", b"status\x001\0property\0\0property\0\0\0"),
        (find_endp(b"a"), MISSED),
        (find_dest(b"a"), MISSED_DEST),
        (b"request\0find_endp\0label\0a\0label\0b\0more\0\0\0", MISSED),
        (save_dest(b"", b"", b""), DONE),
        (b"request\0save_dest\0ttl\x001\0label\0d\0property\0p\0label\0e\0extra\0x\0\0", DONE),
    ],
)
@pytest.mark.parametrize("cut", ["whole", "bytewise", "with the next"])
def test_CONN_4_to_CONN_9_replies(house: House, request_bytes: bytes, reply: bytes, cut: str) -> None:
    peer = house.peer()
    if cut == "whole":
        assert peer.say(request_bytes) == reply
    elif cut == "bytewise":
        *early, last = (peer.say(request_bytes[i : i + 1]) for i in range(len(request_bytes)))
        assert set(early) <= {b""}
        assert last == reply
    else:
        assert peer.say(request_bytes + find_endp(b"zz")) == reply + MISSED
    assert peer.say(find_endp(b"zz")) == MISSED
    counted = house.server.statistics
    assert counted.endp_hits + counted.dest_hits == 0


def test_CONN_7_malformed_requests_count_nowhere(house: House) -> None:
    peer = house.peer()
    peer.say(b"request\0find_endp\0\0request\0find_dest\0\0request\0save_dest\0\0")
    assert house.server.statistics.close_interval(0) == []


def test_CONN_3_requests_in_one_write_are_served_in_order(house: House) -> None:
    peer = house.peer()
    pipeline = save_dest(b"d", b"p", b"e") + find_dest(b"d") + b"\0" + b"request\0x\0\0" + find_endp(b"e")
    assert peer.say(pipeline) == DONE + MISSED_DEST + MALFORMED + MISSED


@pytest.mark.parametrize("together", [True, False])
def test_FD_9_received_and_the_next_request_may_come_together(house: House, together: bool) -> None:
    peer = house.peer()
    with peer.park(b"e"):
        assert peer.say(find_endp(b"e")) == found(b"p")
        peer.send(DUMMY)
        house.turn()
        _, taken = peer.take_descriptor()
        socket.socket(fileno=taken[0]).close()
        if together:
            assert peer.say(DUMMY + find_endp(b"e")) == MISSED
        else:
            assert peer.say(DUMMY) == b""
            assert peer.say(find_endp(b"e")) == MISSED


@pytest.mark.parametrize("swallowed", [b"\0", b"dummy\0\0\0", find_endp(b"e"), b"x\0y\0\0", b"dummy\0x\0\0"])
@pytest.mark.parametrize("tail", [b"", find_endp(b"zz")])
def test_FD_9_received_list_is_swallowed_whatever_it_holds(house: House, swallowed: bytes, tail: bytes) -> None:
    peer = house.peer()
    with peer.park(b"e"):
        assert peer.say(find_endp(b"e")) == found(b"p")
        peer.send(DUMMY)
        house.turn()
        _, taken = peer.take_descriptor()
        socket.socket(fileno=taken[0]).close()
        assert peer.say(swallowed + tail) == (MISSED if tail else b"")
        assert peer.say(find_endp(b"zz")) == MISSED


@pytest.mark.parametrize("ready", [b"dummy\0\0\0", b"dummy\0any value\0\0", b"dummy\0\0and\0more\0\0"])
def test_FD_6_ready_list_begins_with_dummy(house: House, ready: bytes) -> None:
    peer = house.peer()
    with peer.park(b"e") as far:
        peer.say(find_endp(b"e"))
        peer.send(ready)
        house.turn()
        data, taken = peer.take_descriptor()
        assert (data, len(taken)) == (b"\0", 1)
        assert not is_hung_up(far)
        socket.socket(fileno=taken[0]).close()


@pytest.mark.parametrize("not_ready", [b"\0", b"x\0dummy\0\0", find_endp(b"zz"), b"x\0y\0dummy\0\0\0"])
def test_FD_7_anything_else_puts_the_session_back(house: House, not_ready: bytes) -> None:
    peer = house.peer()
    with peer.park(b"e", b"first"), peer.park(b"e", b"second"):
        assert peer.say(find_endp(b"e")) == found(b"first")
        assert house.server.table.sessions == 1
        assert peer.say(not_ready) == b""
        assert house.server.table.sessions == 2
        assert house.server.statistics.endp_hits == 1
        reply, near = peer.pick_up(find_endp(b"e"))
        near.close()
        assert reply == found(b"first")


def test_FD_6_whole_dance_in_one_write(house: House) -> None:
    peer = house.peer()
    with peer.park(b"e"):
        peer.send(find_endp(b"e") + DUMMY + DUMMY + find_endp(b"e"))
        house.turn()
        data, taken = peer.take_descriptor()  # a read ends behind the byte with the descriptor
        assert data == found(b"p") + b"\0"
        socket.socket(fileno=taken[0]).close()
        assert peer.read() == MISSED


def test_FD_10_client_that_leaves_before_the_descriptor_is_sent(house: House) -> None:
    stays, leaves = house.peer(), house.peer()
    with stays.park(b"e", b"first"), stays.park(b"e", b"second"):
        assert leaves.say(find_endp(b"e")) == found(b"first")
        leaves.close()
        house.turn()
        reply, near = stays.pick_up(find_endp(b"e"))
        near.close()
        assert reply == found(b"first")


def test_ENDP_6_session_held_too_long_is_closed_when_it_comes_back(house: House) -> None:
    leaves = house.peer()
    with house.peer().park(b"e", ttl=b"3") as far:
        leaves.say(find_endp(b"e"))
        house.advance(3)
        assert not is_hung_up(far)  # it is held, and may still be handed over
        leaves.close()
        house.turn()
        assert is_hung_up(far)
        assert house.server.table.sizes == Sizes(0, 0, 0, 0)


@pytest.mark.parametrize("alive", [True, False])
def test_ENDP_6_put_back_on_each_side_of_its_expiry(house: House, alive: bool) -> None:
    leaves = house.peer()
    with house.peer().park(b"e", ttl=b"3") as far:
        leaves.say(find_endp(b"e"))
        house.clock.now_ns += 3_000_000_000 - alive
        leaves.say(b"\0")
        assert house.server.table.sessions == alive
        assert is_hung_up(far) is not alive


def test_TTL_5_expiry_goes_before_the_requests_of_its_turn(house: House) -> None:
    peer = house.peer()
    with peer.park(b"e", ttl=b"3") as far:
        peer.send(find_endp(b"e"))
        house.advance(3)
        assert peer.read() == MISSED
        assert is_hung_up(far)


def test_FD_3_descriptor_byte_may_have_any_value(house: House) -> None:
    peer = house.peer()
    near, far = socket.socketpair()
    with near, far:
        assert peer.say(save_endp(b"e")) == DUMMY
        peer.send_descriptors(near.fileno(), data=b"\xff")
        house.turn()
        assert peer.read() == DONE


def test_FD_12_byte_that_came_with_the_request_carries_nothing(house: House) -> None:
    peer = house.peer()
    assert peer.say(save_endp(b"e") + b"\0" + find_endp(b"e")) == DUMMY + FAILED + MISSED
    assert peer.say(save_endp(b"e") + b"r") == DUMMY + FAILED
    assert peer.say(find_endp(b"e")) == MISSED
    # The byte is the first of the next list's: the rest is a list of another kind, swallowed.
    assert peer.say(save_endp(b"e") + find_endp(b"e")) == DUMMY + FAILED
    assert peer.say(find_endp(b"e")) == MISSED


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (Limits(sessions_max=1), Limit.SESSIONS),
        (Limits(sessions_per_endpoint_max=1), Limit.SESSIONS_PER_ENDPOINT),
    ],
)
def test_LIMIT_2_LIMIT_3_session_beyond_a_limit_is_closed_and_refused(limits: Limits, limit: Limit) -> None:
    with House(limits) as house:
        peer = house.peer()
        near, far = socket.socketpair()
        far.setblocking(False)
        with peer.park(b"e"), far:
            with near:
                assert peer.say(save_endp(b"e")) == DUMMY
                assert peer.give(near.fileno()) == FAILED
            assert is_hung_up(far)
            assert house.server.statistics.limit_hits[limit] == 1
            assert [line for line in house.log.warnings if limit.value in line] == house.log.warnings
            assert len(house.log.warnings) == 1
            assert house.server.statistics.sessions_max == 1


def test_LIMIT_4_binding_beyond_the_limit_is_refused_a_renewal_is_not() -> None:
    with House(Limits(bindings_max=1)) as house:
        peer = house.peer()
        assert peer.say(save_dest(b"d", b"p", b"e")) == DONE
        assert peer.say(save_dest(b"d", b"p", b"f")) == FAILED
        assert peer.say(save_dest(b"d", b"p", b"e")) == DONE
        assert house.server.statistics.limit_hits[Limit.BINDINGS] == 1


def test_dead_sessions_are_passed_over_where_somebody_tells() -> None:
    dead = {b"dead"}
    with House(hooks=Hooks(is_alive=lambda session: session.properties not in dead)) as house:
        peer = house.peer()
        with peer.park(b"e", b"dead") as far, peer.park(b"e", b"alive"), peer.park(b"e", b"dead"):
            peer.say(save_dest(b"d", b"b", b"e"))
            reply, near = peer.pick_up(find_endp(b"e"))
            near.close()
            assert reply == found(b"alive")
            assert is_hung_up(far)
            assert peer.say(find_dest(b"d")) == MISSED_DEST
            assert house.server.table.sessions == 0


def test_peers_bytes_are_escaped_in_the_log() -> None:
    with House(verbose=True) as house:
        peer = house.peer()
        peer.say(b"request\0evil\nscached[1]: forged\x1b[31m\0\0")
        peer.say(b"request\0find_endp\0\x7fx\n\0" + b"y" * 500 + b"\0\0")
        peer.say(save_dest(b"d\n", b"\x00"[:0], b"e\xff"))
        text = "".join(house.log.warnings + house.log.details)
        assert "forged" in text
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 1000
        assert r"'save_dest' '10' 'd\n' '' 'e\xff': answered" in house.log.details[-1]
