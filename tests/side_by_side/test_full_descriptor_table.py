"""No room for one more descriptor in the process: the same for both servers, and it costs nothing that lasts."""

import socket
from collections.abc import Iterator

import pytest
from tests.support.descriptors import is_hung_up, none_left_open, open_descriptors, room_for
from tests.support.messages import DUMMY, FAILED, GREETING, MISSED, find_endp, save_endp
from tests.support.servers import SERVERS, InProcessServer

from scache_spec.vocabulary import Limits


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[InProcessServer]:
    with none_left_open(), SERVERS[request.param](Limits(ttl_limit_s=100)) as started:
        yield started


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
