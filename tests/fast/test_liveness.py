"""What counts as hung up before a connection is handed out, for TCP and UNIX peers."""

import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.client import Client
from tests.support.descriptors import is_hung_up, tcp_pair
from tests.support.messages import DONE, DUMMY, MISSED, MISSED_DEST, find_dest, find_endp, found, save_dest, save_endp
from tests.support.processes import running
from tests.support.servers import Fast

from scache_fast.engine.hooks import Hooks
from scache_fast.policy.liveness import HealthCheck, Liveness

PAIRS: dict[str, Callable[[], tuple[socket.socket, socket.socket]]] = {"UNIX": socket.socketpair, "TCP": tcp_pair}


def close(far: socket.socket) -> None:
    far.close()


def half_close(far: socket.socket) -> None:
    far.shutdown(socket.SHUT_WR)


def reset(far: socket.socket) -> None:
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


def stay(far: socket.socket) -> None:
    pass


def talk(far: socket.socket) -> None:
    far.send(b"421 too many connections\r\n")


ENDS: dict[str, Callable[[socket.socket], None]] = {
    "alive": stay, "talking": talk, "half-closed": half_close, "closed": close, "reset": reset,
}  # fmt: skip

DROPPED = {
    ("UNIX", "hup"): {"closed", "reset"},
    ("UNIX", "rdhup"): {"half-closed", "closed", "reset"},
    ("TCP", "hup"): {"reset"},  # a TCP peer that has closed looks the same as one that has only half closed
    ("TCP", "rdhup"): {"half-closed", "closed", "reset"},
}
"""Measured with Linux 6; each is a row of the manual page's chapter on liveness."""


def house_with(liveness: Liveness) -> tuple[Fast, HealthCheck]:
    check = HealthCheck(liveness)
    return Fast(hooks=Hooks(is_alive=check.is_alive)), check


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("family", PAIRS)
@pytest.mark.parametrize("liveness", list(Liveness))
def test_connection_that_has_ended_is_dropped_as_far_as_one_looks(liveness: Liveness, family: str, end: str) -> None:
    house, check = (Fast(), None) if liveness is Liveness.OFF else house_with(liveness)
    with house:
        peer = house.peer()
        near, far = PAIRS[family]()
        with near:
            assert peer.say(save_endp(b"e")) == DUMMY
            assert peer.say(b"\0", near.fileno()) == DONE
            ENDS[end](far)
            if end in ("closed", "reset", "half-closed") and family == "TCP":
                # Loopback is quick, but not at once: wait for the fact.
                poll = select.poll()
                poll.register(near, select.POLLRDHUP)
                assert poll.poll(60_000)
        dropped = end in DROPPED.get((family, liveness.value), set())
        assert peer.say(find_endp(b"e")) == (MISSED if dropped else found(b"p"))
        if check is not None:
            assert check.dropped == dropped
        far.close()


def test_next_session_is_tried_and_the_dropped_ones_are_closed() -> None:
    house, check = house_with(Liveness.HUP)
    with house:
        peer = house.peer()
        fars = [peer.park(b"e", properties=b"%d" % number) for number in range(3)]
        base = house.server.table.sessions
        fars[0].close()
        fars[1].close()
        assert peer.say(find_endp(b"e")) == found(b"2")
        assert (base, house.server.table.sessions, check.dropped) == (3, 0, 2)
        statistics = house.server.statistics
        assert (statistics.endp_hits, statistics.endp_misses) == (1, 0)
        fars[2].close()


def test_find_dest_goes_on_to_the_next_endpoint() -> None:
    house, check = house_with(Liveness.HUP)
    with house:
        peer = house.peer()
        peer.say(save_dest(b"d", b"first", b"e"))
        peer.say(save_dest(b"d", b"second", b"f"))
        dead, alive = peer.park(b"e"), peer.park(b"f")
        dead.close()
        assert peer.say(find_dest(b"d")) == found(b"second", b"p")
        assert check.dropped == 1
        assert not is_hung_up(alive)
        alive.close()


def test_miss_is_a_miss_when_all_have_hung_up() -> None:
    house, _ = house_with(Liveness.RDHUP)
    with house:
        peer = house.peer()
        for _ in range(3):
            peer.park(b"e").close()
        assert peer.say(find_endp(b"e")) == MISSED
        assert house.server.statistics.endp_misses == 1


def test_what_is_no_connection_at_all_is_handed_out(tmp_path: Path) -> None:
    house, _ = house_with(Liveness.RDHUP)
    with house, (tmp_path / "f").open("w") as file:
        peer = house.peer()
        peer.say(save_endp(b"e"))
        assert peer.say(b"\0", file.fileno()) == DONE
        assert peer.say(find_endp(b"e")) == found(b"p")


@pytest.mark.parametrize(("how", "reply"), [("off", found(b"p")), ("hup", MISSED), ("rdhup", MISSED)])
def test_option_reaches_the_loop(how: str, reply: bytes, tmp_path: Path) -> None:
    arguments = ["--ttl-limit", "1h", "--liveness", how]
    with running("--listen", tmp_path / "s", *arguments), Client(tmp_path / "s") as client:
        client.park(b"e").close()
        assert client.say(find_endp(b"e")) == reply


def test_dead_sessions_are_passed_over_where_somebody_tells() -> None:
    dead = {b"dead"}
    with Fast(hooks=Hooks(is_alive=lambda session: session.properties not in dead)) as house:
        peer = house.peer()
        with peer.park(b"e", b"dead") as far, peer.park(b"e", b"alive"), peer.park(b"e", b"dead"):
            peer.say(save_dest(b"d", b"b", b"e"))
            peer.pick_up(b"e", b"alive").close()
            assert is_hung_up(far)
            assert peer.say(find_dest(b"d")) == MISSED_DEST
            assert house.server.table.sessions == 0
