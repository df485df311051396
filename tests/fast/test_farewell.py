"""The last bytes on a connection that nobody took: said without waiting, whatever was parked."""

import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from tests.support.client import Client
from tests.support.descriptors import is_hung_up
from tests.support.messages import DONE, DUMMY, find_endp, save_endp
from tests.support.processes import running
from tests.support.servers import Fast

from scache_fast.engine.closing import CloseAtOnce
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.log import Silence
from scache_fast.policy.farewell import Farewells, parse_farewell


def house_with(*farewells: str) -> Fast:
    said = Farewells(tuple(map(parse_farewell, farewells)))
    return Fast(hooks=Hooks(closer=CloseAtOnce(Silence(), said.say)))


@pytest.fixture
def house() -> Iterator[Fast]:
    with house_with(r"smtp*=QUIT\r\n") as opened:
        yield opened


def read(sock: socket.socket) -> bytes:
    try:
        return sock.recv(100_000)
    except BlockingIOError:
        return b"nothing"


def test_TTL_3_farewell_arrives_at_expiry_and_then_the_end(house: Fast) -> None:
    peer = house.peer()
    with peer.park(b"smtp\n1.2.3.4\n25\n", ttl=b"5") as far:
        house.advance(5 - 1e-9)
        assert read(far) == b"nothing"
        house.advance(1e-9)
        assert read(far) == b"QUIT\r\n"
        assert read(far) == b""


def test_TTL_3_nothing_is_sent_without_being_asked_for() -> None:
    with Fast() as house, house.peer().park(b"smtp", ttl=b"5") as far:
        house.advance(5)
        assert read(far) == b""


def test_LIFE_4_farewell_arrives_at_the_end_of_the_server() -> None:
    with house_with(r"smtp*=QUIT\r\n") as house:
        far, other = house.peer().park(b"smtp\n"), house.peer().park(b"lmtp\n")
    with far, other:
        assert read(far) == b"QUIT\r\n"
        assert read(far) == b""
        assert read(other) == b""


def test_farewell_is_not_said_on_what_was_handed_out(house: Fast) -> None:
    peer = house.peer()
    with peer.park(b"smtp", ttl=b"5") as far, peer.pick_up(b"smtp"):
        house.advance(5)
        assert read(far) == b"nothing"


def test_farewell_is_said_where_a_hand_over_failed_too_late(house: Fast) -> None:
    peer = house.peer()
    with peer.park(b"smtp", ttl=b"5") as far:
        peer.say(find_endp(b"smtp"))
        house.advance(5)
        assert read(far) == b"nothing"  # it is held
        peer.close()
        house.turn()
        assert read(far) == b"QUIT\r\n"


def test_first_pattern_that_matches_decides() -> None:
    with house_with("a?=one", r"a\nb=two", "[!z]*=three") as house:
        peer = house.peer()
        labels = {b"ab": b"one", b"a\nb": b"two", b"a\n": b"one", b"b\n\nc": b"three", b"za": b"", b"": b""}
        fars = {label: peer.park(label, ttl=b"1") for label in labels}
        house.advance(1)
        assert {label: read(far) for label, far in fars.items()} == labels
        for far in fars.values():
            far.close()


@pytest.mark.parametrize(
    ("text", "label", "data"),
    [
        (r"a\n*=x", b"a\nwhatever\nfollows", b"x"),
        (r"\x00\xff=\x00\xff\0", b"\x00\xff", b"\x00\xff\x00"),
        ("ü=ä", "ü".encode(), "ä".encode()),
        (r"a\x3db=c=d", b"a=b", b"c=d"),
        (r"a\\=\\", b"a\\", b"\\"),
        ("[*]=x", b"*", b"x"),
        (".=x", b".", b"x"),
    ],
)
def test_pattern_and_bytes_are_read_as_they_are_written(text: str, label: bytes, data: bytes) -> None:
    farewell = parse_farewell(text)
    assert farewell.label.fullmatch(label)
    assert not farewell.label.fullmatch(label + b"\n-") or "*" in text
    assert farewell.data == data


@pytest.mark.parametrize("text", ["", "=", "a=", "=b", "a", r"a=\q", r"a=\x1", "a=\\", r"\z=a"])
def test_what_is_no_farewell_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_farewell(text)


def test_hostile_label_costs_no_time() -> None:
    """Linear work even where a backtracking matcher would need years."""
    pattern = parse_farewell("*a" * 30 + "b=x").label
    assert not pattern.fullmatch(b"a" * 2000)


# What may have been parked.


@contextmanager
def patience() -> Iterator[None]:
    """Fail instead of waiting for ever."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the server waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def expire(house: Fast, descriptor: int) -> None:
    peer: Client = house.peer()
    assert peer.say(save_endp(b"smtp", ttl=b"1")) == DUMMY
    assert peer.say(b"\0", descriptor) == DONE
    os.close(descriptor)
    house.advance(1)
    assert house.server.table.sessions == 0
    peer.close()
    house.turn()


def test_full_socket_is_closed_without_it(house: Fast) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        far.setblocking(False)
        while True:
            try:
                near.send(b"x" * 10_000)
            except BlockingIOError:
                break
        near.setblocking(True)  # a send without a flag of its own would wait for ever
        with patience():
            expire(house, near.detach())
        data = b""
        while piece := read(far):
            data += piece
        assert data == b"x" * len(data)


def test_full_pipe_is_closed_without_it(house: Fast) -> None:
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write_end, b"x" * 4096)
    expire(house, write_end)
    assert os.read(read_end, 10_000) == b"x" * 4096
    assert os.read(read_end, 1) == b""
    os.close(read_end)


def test_file_stays_as_it_is(house: Fast, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"content")
    expire(house, os.open(path, os.O_RDWR))
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("kind", ["closed", "half closed by us", "datagram", "listening", "unconnected TCP", "epoll"])
def test_whatever_else_it_is_it_is_closed_and_the_server_lives(kind: str, house: Fast) -> None:
    near, far = socket.socketpair()
    if kind == "closed":
        far.close()
    elif kind == "half closed by us":
        near.shutdown(socket.SHUT_WR)
    elif kind != "epoll":
        near.close()
        near = {
            "datagram": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
            "listening": lambda: socket.create_server(("127.0.0.1", 0)),
            "unconnected TCP": lambda: socket.socket(),
        }[kind]()
    descriptor = near.detach()
    if kind == "epoll":
        os.close(descriptor)
        descriptor = os.eventfd(0)
    before = len(os.listdir("/proc/self/fd"))
    expire(house, descriptor)
    assert len(os.listdir("/proc/self/fd")) == before - 1
    if kind == "half closed by us":
        assert far.recv(10) == b""
    far.close()
    assert house.peer().say(b"request\0x\0\0") == b"status\x001\0\0"


def test_it_passes_over_tcp_and_the_blocking_mode_stays(house: Fast) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        with far, near.dup() as kept:
            expire(house, near.detach())
            far.settimeout(60)
            assert far.recv(100) == b"QUIT\r\n"
            assert kept.getblocking()
            assert not fcntl.fcntl(kept, fcntl.F_GETFL) & os.O_NONBLOCK


def test_FD_13_options_of_a_socket_that_its_saver_kept_are_not_changed(house: Fast) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
        with far, near.dup() as kept:
            expire(house, near.detach())
            assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 3600)


def test_real_process_says_it_at_the_end(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", "--ttl-limit", "1h", "--farewell", r"smtp*=QUIT\r\n") as server:
        with Client(tmp_path / "s") as client:
            far = client.park(b"smtp\nhost\n")
        with far:
            assert not is_hung_up(far)
            server.end()
            assert far.recv(100) == b"QUIT\r\n"
            assert far.recv(100) == b""
