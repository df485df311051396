"""Messages and clients that nobody would send or be, and what they cost: nothing that lasts."""

import errno
import fcntl
import os
import select
import socket
import termios
from contextlib import ExitStack

import pytest
from tests.support.client import Client
from tests.support.descriptors import room_for
from tests.support.messages import DUMMY, GREETING, MISSED, find_endp, found, save_dest
from tests.support.servers import Fast

from scache_fast.engine.accepting import ACCEPT_PAUSE_NS
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.table import Session
from scache_spec.vocabulary import NS_PER_S, Limit, Limits


def test_full_descriptor_table_pauses_accepting_and_nothing_else(house: Fast) -> None:
    inside = house.peer()
    with inside.park(b"e"):
        waiting = house.peer(greeted=False)
        with room_for(0):
            house.turn(3)
            assert waiting.read() == b""
            assert house.server.clients == 1
            # Those inside are served, and the loop sleeps until it is time to try again.
            assert inside.say(find_endp(b"e")) == found(b"p")
            assert house.server._poller._epoll.poll(0) == []
            assert 0 < (house.server._wait_s(None) or 0) <= ACCEPT_PAUSE_NS / NS_PER_S
            house.advance(ACCEPT_PAUSE_NS / NS_PER_S)
            house.advance(ACCEPT_PAUSE_NS / NS_PER_S)
            assert waiting.read() == b""
        assert len(house.log.warnings) == 1  # said once for the whole time
        house.turn()
        assert waiting.read() == b""
        house.advance(ACCEPT_PAUSE_NS / NS_PER_S)
        assert waiting.read() == GREETING
        assert waiting.say(find_endp(b"zz")) == MISSED


class FailingListener(socket.socket):
    """A listening socket whose accept fails first."""

    errors: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.mark.parametrize(
    ("number", "pauses"),
    [
        (errno.ECONNABORTED, False),
        (errno.EAGAIN, False),
        (errno.ENFILE, True),
        (errno.ENOBUFS, True),
        (errno.ENOMEM, True),
    ],
)
def test_each_failure_of_accept_ends_in_a_client_accepted_later(house: Fast, number: int, pauses: bool) -> None:
    fd, plain = house.server._accepting._listeners.popitem()
    listener = FailingListener(fileno=plain.detach())
    listener.setblocking(False)
    listener.errors = [number]
    house.server._accepting._listeners[fd] = listener
    waiting = house.peer(greeted=False)
    house.turn()
    house.turn()
    assert (waiting.read() == b"") is pauses
    house.advance(ACCEPT_PAUSE_NS / NS_PER_S)
    assert (waiting.read() == GREETING) is pauses
    assert house.server.clients == 1


def fill(peer: Client, request: bytes, house: Fast) -> int:
    """Pipeline requests without reading until the server takes no more; return how many bytes went out."""
    sent = 0
    for _ in range(10_000):
        try:
            sent += peer.sock.send(request)
        except BlockingIOError:
            before = house.server.served
            house.turn(20)
            if house.server.served == before:
                return sent
        house.turn()
    raise AssertionError("the server goes on reading from a client that does not")


def test_LIMIT_6_client_that_never_reads_is_not_served_on() -> None:
    with Fast(Limits(output_bytes_max=1000, ipc_timeout_s=30)) as house:
        deaf, other = house.peer(), house.peer()
        fill(deaf, find_endp(b"zz") * 50, house)
        client = next(c for c in house.server._clients.values() if c.output)
        assert 1000 < len(client.output) <= 1000 + len(MISSED)
        assert client.interest == select.EPOLLOUT
        assert house.server.statistics.limit_hits[Limit.OUTPUT_BYTES] == 1
        assert other.say(find_endp(b"zz")) == MISSED
        # Nothing to do, nothing done: no turn without a wait.
        assert (house.server._wait_s(None) or 0) > 1
        # It starts to read: everything it asked is answered, in order.
        asked, answers = house.server.served, b""
        for _ in range(10_000):
            piece = deaf.read()
            house.turn()
            if not piece and not house.server._backlog and not client.output:
                break
            answers += piece
        assert answers == MISSED * (len(answers) // len(MISSED))
        assert house.server.served > asked
        assert client.interest == select.EPOLLIN
        assert deaf.say(find_endp(b"zz")).endswith(MISSED)


def shrink_first_output(house: Fast) -> None:
    """Let the socket of the server's first client take little."""
    client = next(iter(house.server._clients.values()))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel makes it 4608


def test_CONN_3_client_that_reads_while_it_is_held_up_is_served_on() -> None:
    """Race 3: there is room again between what its lists needed and what the end of the turn writes."""
    taken = bytearray()

    def read_meanwhile(session: Session) -> bool:
        if session.endpoint == b"other":
            taken.extend(deaf.read())
        return True

    limits = Limits(ttl_limit_s=100, output_bytes_max=10_000_000)
    with Fast(limits, hooks=Hooks(is_alive=read_meanwhile)) as house, ExitStack() as lines:
        deaf, other = house.peer(), house.peer()
        shrink_first_output(house)
        for _ in range(6):
            lines.enter_context(other.park(b"e", b"p" * 2_000))
        lines.enter_context(other.park(b"other"))
        house.turn()  # epoll has nothing more to say of `other`, which would come first
        deaf.send((find_endp(b"e") + DUMMY + DUMMY) * 6)
        other.send(find_endp(b"other"))
        house.turn()  # `deaf` first: its socket is full after some, and empty when `other` has been served
        assert taken
        for _ in range(100):
            house.turn()
            taken.extend(deaf.read())
        assert taken.count(b"status\x000\0") == 6


def test_client_that_floods_gets_its_share_and_no_more(house: Fast) -> None:
    flood, other = house.peer(), house.peer()
    flood.send(find_endp(b"zz") * 500)
    other.send(find_endp(b"zz"))
    house.turn()
    served = house.server.served
    assert 2 <= served <= 65
    assert other.read() == MISSED
    assert house.server._wait_s(None) == 0  # the rest is not forgotten
    house.turn(30)
    assert flood.read() == MISSED * 500
    assert house.server._backlog == {}


def test_client_with_a_backlog_is_not_read_from(house: Fast) -> None:
    flood = house.peer()
    flood.send(find_endp(b"zz") * 2000)
    (client,) = house.server._clients.values()
    house.turn()
    left = fcntl.ioctl(client.sock, termios.FIONREAD, b"1234")
    house.turn(3)
    assert fcntl.ioctl(client.sock, termios.FIONREAD, b"1234") == left != b"\0\0\0\0"
    house.turn(80)
    assert flood.read() == MISSED * 2000


def test_hang_up_that_comes_alone_closes_its_client(house: Fast) -> None:
    house.peer()
    (client,) = house.server._clients.values()
    house.server._on_event(client, select.EPOLLHUP)
    house.server._settle(client)
    assert house.server.clients == 0


def test_peers_bytes_are_escaped_in_the_log() -> None:
    with Fast(verbose=True) as house:
        peer = house.peer()
        peer.say(b"request\0evil\nscached[1]: forged\x1b[31m\0\0")
        peer.say(b"request\0find_endp\0\x7fx\n\0" + b"y" * 500 + b"\0\0")
        peer.say(save_dest(b"d\n", b"\x00"[:0], b"e\xff"))
        text = "".join(house.log.warnings + house.log.details)
        assert "forged" in text
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 1000
        assert r"'save_dest' '600' 'd\n' '' 'e\xff': done" in house.log.details[-1]
