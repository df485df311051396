"""What one client can cost at most, and what it cannot take from the others: the same for both servers."""

import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import ExitStack

import pytest
from tests.support.descriptors import is_hung_up, none_left_open, open_descriptors, room_for
from tests.support.messages import (
    DUMMY,
    FAILED,
    GREETING,
    MISSED,
    find_endp,
    save_endp,
)
from tests.support.servers import SERVERS, InProcessServer

from scache_spec.vocabulary import Limits

Start = Callable[[Limits], InProcessServer]


@pytest.fixture(params=SERVERS)
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    with none_left_open(), ExitStack() as stack:
        yield lambda limits: stack.enter_context(SERVERS[request.param](limits))


@pytest.fixture
def server(start: Start) -> InProcessServer:
    return start(Limits(ttl_limit_s=100, ipc_timeout_s=10))


# No room for one more descriptor in the process.


@pytest.mark.parametrize(("sent", "room"), [(1, 0), (2, 1), (253, 1), (253, 20)])
def test_FD_5_descriptors_that_do_not_fit_into_the_process_are_refused(
    server: InProcessServer, sent: int, room: int
) -> None:
    peer, (near, far) = server.peer(), socket.socketpair()
    with near, far:
        assert peer.say(save_endp(b"e")) == DUMMY
        before = open_descriptors()
        peer.send(b"!", *[near.fileno()] * sent)
        with room_for(room):
            server.step()
        assert peer.hear() == FAILED
        assert open_descriptors() == before
        near.close()
        assert is_hung_up(far)
        assert peer.say(find_endp(b"e")) == MISSED
        peer.park(b"e").close()


def test_LIMIT_8_client_that_finds_the_descriptor_table_full_is_accepted_later(server: InProcessServer) -> None:
    inside, waiting = server.peer(), server.peer(greeted=False)
    with room_for(0):
        assert waiting.hear() == b""
        assert inside.say(find_endp(b"e")) == MISSED
        server.advance(1)
        assert waiting.hear() == b""
    server.advance(1)
    assert waiting.hear() == GREETING
    assert waiting.say(find_endp(b"e")) == MISSED
    assert server.running


# Counts.


@pytest.mark.parametrize("privileged", [True, False])
def test_LIMIT_12_users_have_so_many_clients_and_privileged_ones_more(start: Start, privileged: bool) -> None:
    server = start(Limits(clients_per_user_max=1))
    server.privilege({os.getuid()} if privileged else set())
    first, second = server.peer(), server.peer(greeted=False)
    assert second.hear() == (GREETING if privileged else b"")
    assert second.is_closed() is not privileged
    first.close()
    second.close()
    server.turn()
    server.peer()


# A descriptor in flight.


def counts_one_byte(descriptor: int, request: int, answer: bytes | MutableSequence[int]) -> bytes | int:
    """Answer as the kernel does while it frees what was read: room is told of first, the last byte goes afterwards."""
    if isinstance(answer, bytes):
        return struct.pack("i", 1)
    answer[0] = 1
    return 0


def test_FD_14_byte_that_the_kernel_still_counts_has_been_read(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.peer()
    with client.park(b"e"):
        client.send(find_endp(b"e") + DUMMY + DUMMY + find_endp(b"zz"))
        server.turn(4)
        client.take_found()
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "ioctl", counts_one_byte)
            server.turn(4)
        assert client.read() == MISSED


def test_FD_14_client_that_does_not_read_is_too_slow_in_the_end(server: InProcessServer) -> None:
    client = server.peer()
    with client.park(b"e"):
        client.send(find_endp(b"e") + DUMMY + DUMMY + find_endp(b"zz"))
        server.turn(4)
        server.advance(9)
        assert server.client_count == 1
        server.advance(1)
        assert server.client_count == 0


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_FD_14_client_that_shuts_its_end_keeps_its_place_until_it_has_read(server: InProcessServer, how: int) -> None:
    client = server.peer()
    with client.park(b"e"):
        client.send(find_endp(b"e") + DUMMY)
        server.turn(4)
        client.sock.shutdown(how)
        server.turn(4)
        assert server.client_count == 1
        client.take_found()
        server.turn(4)
        assert server.client_count == 0


def test_FD_14_client_that_dies_with_its_descriptor_unread_is_forgotten(server: InProcessServer) -> None:
    client = server.peer()
    with client.park(b"e") as far:
        client.send(find_endp(b"e") + DUMMY)
        server.turn(4)
        assert not is_hung_up(far)
        client.close()
        server.turn(4)
        assert server.client_count == 0
        assert is_hung_up(far)


# A turn that comes late.
