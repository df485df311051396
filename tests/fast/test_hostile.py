"""Messages and clients that nobody would send or be, and what they cost: nothing that lasts."""

import errno
import fcntl
import os
import resource
import select
import socket
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.fast.peer import (
    DONE,
    DUMMY,
    FAILED,
    GREETING,
    MISSED,
    House,
    Peer,
    find_endp,
    found,
    is_hung_up,
    open_descriptors,
    save_dest,
    save_endp,
)

from scache_fast.engine.accepting import ACCEPT_PAUSE_NS
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.table import Session
from scache_spec.vocabulary import NS_PER_S, Limit, Limits


@contextmanager
def descriptor_limit(free: int) -> Iterator[None]:
    """Leave room for so many more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sorted(int(entry.split(":")[0]) for entry in open_descriptors())
    # The limit bounds numbers, so the numbers below it are filled up first.
    filler = [os.dup(used[0]) for _ in range(used[-1] + 1 - len(used))]
    highest = max(*used, *filler) if filler else used[-1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in filler:
            os.close(fd)


@pytest.mark.parametrize("count", [0, 2, 3, 253])
def test_FD_4_anything_but_one_descriptor_is_closed_and_refused(house: House, count: int) -> None:
    peer = house.peer()
    near, far = socket.socketpair()
    far.setblocking(False)
    before = open_descriptors()
    with near, far:
        assert peer.say(save_endp(b"e")) == DUMMY
        reply = peer.give(*[near.fileno()] * count) if count else peer.say(b"\0")
        assert reply == FAILED
        assert open_descriptors() == before
        near.close()
        assert is_hung_up(far)
        assert house.server.table.sessions == 0
        assert peer.say(find_endp(b"e")) == MISSED


@pytest.mark.parametrize("state", ["request", "ready", "received"])
def test_FD_1_descriptor_on_bytes_of_a_list_is_dropped(house: House, state: str) -> None:
    peer = house.peer()
    near, far = socket.socketpair()
    far.setblocking(False)
    with peer.park(b"e"), near, far:
        if state != "request":
            assert peer.say(find_endp(b"e")) == found(b"p")
        if state == "received":
            peer.send(DUMMY)
            house.turn()
            os.close(peer.take_descriptor()[1][0])
        before = open_descriptors()
        peer.send_descriptors(near.fileno(), near.fileno(), data=find_endp(b"zz") if state == "request" else b"x\0\0\0")
        house.turn()
        assert peer.read() == (MISSED if state == "request" else b"")
        assert open_descriptors() == before
        near.close()
        assert is_hung_up(far)


def test_FD_1_descriptor_in_the_middle_of_a_list_is_dropped(house: House) -> None:
    peer = house.peer()
    near, far = socket.socketpair()
    far.setblocking(False)
    with near, far:
        peer.send(b"request\0find_en")
        peer.send_descriptors(near.fileno(), data=b"d")
        peer.send(b"p\0label\0e\0\0")
        house.turn(3)
        assert peer.read() == MISSED
        near.close()
        assert is_hung_up(far)


@pytest.mark.parametrize(("sent", "free"), [(1, 0), (2, 1), (253, 5)])
def test_FD_5_descriptors_that_do_not_fit_are_refused(house: House, sent: int, free: int) -> None:
    peer = house.peer()
    near, far = socket.socketpair()
    far.setblocking(False)
    with near, far:
        assert peer.say(save_endp(b"e")) == DUMMY
        peer.send_descriptors(*[near.fileno()] * sent)
        before = open_descriptors()
        with descriptor_limit(free):
            house.turn()
        assert peer.read() == FAILED
        assert open_descriptors() == before
        assert any("more than could be received" in line for line in house.log.warnings)
        near.close()
        assert is_hung_up(far)
        assert house.server.table.sessions == 0


def test_full_descriptor_table_pauses_accepting_and_nothing_else(house: House) -> None:
    inside = house.peer()
    with inside.park(b"e"):
        waiting = house.peer(greeted=False)
        with descriptor_limit(0):
            house.turn(3)
            assert waiting.read() == b""
            assert house.server.clients == 1
            # Those inside are served, and the loop sleeps until it is time to try again.
            assert inside.say(find_endp(b"e")) == found(b"p")
            assert house.server._epoll.poll(0) == []
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
def test_each_failure_of_accept_ends_in_a_client_accepted_later(house: House, number: int, pauses: bool) -> None:
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


class FailingSocket:
    """A client's socket of which one call fails once."""

    def __init__(self, sock: socket.socket, call: str, number: int) -> None:
        self._sock = sock
        self._call = call
        self._number = number

    def __getattr__(self, name: str) -> object:
        if name == self._call:
            self._call = ""
            return self._fail
        return getattr(self._sock, name)

    def _fail(self, *_: object) -> None:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("call", ["recv", "send", "recvmsg", "sendmsg"])
@pytest.mark.parametrize(
    "number",
    [errno.EAGAIN, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS],
)
def test_each_failure_of_a_clients_socket_ends_at_most_that_client(house: House, call: str, number: int) -> None:
    other = house.peer()
    near, far = socket.socketpair()
    far.setblocking(False)
    with other.park(b"held") as held, near, far:
        victim = house.peer()
        client = list(house.server._clients.values())[-1]
        if call == "recvmsg":
            assert victim.say(save_endp(b"e")) == DUMMY
            victim.send_descriptors(near.fileno())
        elif call == "sendmsg":
            assert victim.say(find_endp(b"held")) == found(b"p")
            victim.send(DUMMY)
        else:
            victim.send(find_endp(b"zz"))
        client.sock = FailingSocket(client.sock, call, number)  # type: ignore[assignment]
        house.turn(3)
        near.close()
        if number == errno.EAGAIN:
            assert house.server.clients == 2
            data, taken = victim.take_descriptor()
            assert (data, len(taken)) == {"recvmsg": (DONE, 0), "sendmsg": (b"\0", 1)}.get(call, (MISSED, 0))
            for descriptor in taken:
                os.close(descriptor)
        else:
            assert house.server.clients == 1
            assert victim.is_closed()
            assert house.server.table.sessions == 1  # never found, or found and put back
            assert is_hung_up(far)
            assert not is_hung_up(held)
        assert other.say(find_endp(b"zz")) == MISSED


def fill(peer: Peer, request: bytes, house: House) -> int:
    """Pipeline requests without reading until the server takes no more; return how many bytes went out."""
    sent = 0
    for _ in range(10_000):
        try:
            sent += peer.sock.send(request)
        except BlockingIOError:
            before = house.server._conversations.served
            house.turn(20)
            if house.server._conversations.served == before:
                return sent
        house.turn()
    raise AssertionError("the server goes on reading from a client that does not")


def test_LIMIT_6_client_that_never_reads_is_not_served_on() -> None:
    with House(Limits(output_bytes_max=1000, ipc_timeout_s=30)) as house:
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
        asked, answers = house.server._conversations.served, b""
        for _ in range(10_000):
            piece = deaf.read()
            house.turn()
            if not piece and not house.server._backlog and not client.output:
                break
            answers += piece
        assert answers == MISSED * (len(answers) // len(MISSED))
        assert house.server._conversations.served > asked
        assert client.interest == select.EPOLLIN
        assert deaf.say(find_endp(b"zz")).endswith(MISSED)


def shrink_first_output(house: House) -> None:
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
    with House(limits, hooks=Hooks(is_alive=read_meanwhile)) as house, ExitStack() as lines:
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


def test_client_that_never_reads_and_then_dies_is_dropped() -> None:
    with House(Limits(output_bytes_max=1000)) as house:
        deaf, other = house.peer(), house.peer()
        fill(deaf, find_endp(b"zz") * 50, house)
        deaf.close()
        house.turn()
        assert house.server.clients == 1
        assert other.say(find_endp(b"zz")) == MISSED


def test_FD_10_descriptor_for_a_full_socket_waits_and_comes_back_if_its_client_dies() -> None:
    with House(Limits(output_bytes_max=10_000_000)) as house:
        deaf, other = house.peer(), house.peer()
        with other.park(b"e") as far:
            request = find_endp(b"zz") * 50
            sent = 0
            while not any(client.output for client in house.server._clients.values()):
                sent += deaf.sock.send(request)
                house.turn(3)
            deaf.send(find_endp(b"e") + DUMMY)
            house.turn(10)
            assert house.server.table.sessions == 0
            assert [c.state.name for c in house.server._clients.values() if c.session] == ["SENDING"]
            deaf.close()
            house.turn()
            assert house.server.table.sessions == 1
            assert not is_hung_up(far)
            assert other.say(find_endp(b"e")) == found(b"p")


def test_FD_8_descriptor_for_a_full_socket_goes_out_when_there_is_room() -> None:
    with House(Limits(output_bytes_max=10_000_000)) as house:
        deaf, other = house.peer(), house.peer()
        with other.park(b"e"):
            while not any(client.output for client in house.server._clients.values()):
                deaf.send(find_endp(b"zz") * 50)
                house.turn(3)
            deaf.send(find_endp(b"e") + DUMMY + DUMMY + save_dest(b"d", b"p", b"e"))
            house.turn(10)
            answers, taken = b"", []
            while not answers.endswith(DONE):
                house.turn(2)
                data, more = deaf.take_descriptor()
                answers += data
                taken += more
            assert len(taken) == 1
            os.close(taken[0])
            assert answers.endswith(found(b"p") + b"\0" + DONE)


@pytest.mark.parametrize("stall", ["half a list", "after dummy", "ready", "received", "half a dummy"])
def test_CONN_2_stalled_client_holds_up_nobody(house: House, stall: str) -> None:
    stalled, other = house.peer(), house.peer()
    with other.park(b"e"), other.park(b"f"):
        if stall == "half a list":
            stalled.send(find_endp(b"f")[:-1])
        elif stall == "after dummy":
            assert stalled.say(save_endp(b"g")) == DUMMY
        else:
            assert stalled.say(find_endp(b"f")) == found(b"p")
            if stall == "half a dummy":
                stalled.send(DUMMY[:-1])
            elif stall == "received":
                stalled.send(DUMMY)
                house.turn()
                os.close(stalled.take_descriptor()[1][0])
        house.turn()
        reply, near = other.pick_up(find_endp(b"e"))
        near.close()
        assert reply == found(b"p")


def test_client_that_floods_gets_its_share_and_no_more(house: House) -> None:
    flood, other = house.peer(), house.peer()
    flood.send(find_endp(b"zz") * 500)
    other.send(find_endp(b"zz"))
    house.turn()
    served = house.server._conversations.served
    assert 2 <= served <= 65
    assert other.read() == MISSED
    assert house.server._wait_s(None) == 0  # the rest is not forgotten
    house.turn(30)
    assert flood.read() == MISSED * 500
    assert house.server._backlog == {}


def test_client_with_a_backlog_is_not_read_from(house: House) -> None:
    flood = house.peer()
    flood.send(find_endp(b"zz") * 2000)
    (client,) = house.server._clients.values()
    house.turn()
    left = fcntl.ioctl(client.sock, termios.FIONREAD, b"1234")
    house.turn(3)
    assert fcntl.ioctl(client.sock, termios.FIONREAD, b"1234") == left != b"\0\0\0\0"
    house.turn(80)
    assert flood.read() == MISSED * 2000


def test_hang_up_that_comes_alone_closes_its_client(house: House) -> None:
    house.peer()
    (client,) = house.server._clients.values()
    house.server._serve(client, select.EPOLLHUP)
    assert house.server.clients == 0


def test_LIMIT_1_list_that_does_not_end_closes_its_client_after_what_came_before() -> None:
    with House(Limits(attribute_list_bytes_max=40)) as house:
        request = find_endp(b"x" * (40 - len(find_endp(b""))))
        for pieces in (
            [request[:-1] + b"more"],
            [request[:-1], b"x"],
            [request[i : i + 1] for i in range(39)] + [b"x"],
        ):
            peer = house.peer()
            assert peer.say(request) == MISSED
            *early, last = pieces
            for piece in early:
                assert peer.say(piece) == b""
            assert peer.say(request * 2 + last if not early else last) == (MISSED * 2 if not early else b"")
            assert peer.is_closed()
        assert house.server.statistics.limit_hits[Limit.ATTRIBUTE_LIST_BYTES] == 3
        assert len(house.log.warnings) == 3


@pytest.mark.parametrize("length", [40, 41])
def test_LIMIT_1_whole_list_in_one_write_on_each_side_of_the_limit(length: int) -> None:
    with House(Limits(attribute_list_bytes_max=40)) as house:
        peer = house.peer()
        reply = peer.say(find_endp(b"x" * (length - len(find_endp(b"")))))
        assert reply == (MISSED if length == 40 else b"")
        assert peer.is_closed() is (length > 40)


def test_LIMIT_1_overlong_list_puts_a_held_session_back() -> None:
    with House(Limits(attribute_list_bytes_max=80)) as house:
        peer = house.peer()
        with house.peer().park(b"e"):
            peer.say(find_endp(b"e"))
            peer.say(b"dummy\0" + b"x" * 80)
            assert peer.is_closed()
            assert house.server.table.sessions == 1
