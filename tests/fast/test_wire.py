"""The functions of plain.py and of their twin in C, held to the same facts: what is read, sent, refused and counted."""

import array
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.descriptors import is_hung_up
from tests.support.messages import find_dest, find_endp, save_dest, save_endp

from scache_fast.engine import plain
from scache_fast.engine.attributes import whole_list
from scache_fast.engine.calls import ACCELERATED, Calls
from scache_fast.engine.conversation import READ_BYTES_MAX
from scache_fast.engine.wire import DESCRIPTORS_MAX, DROPPED

TWINS = [pytest.param(plain, id="Python"), *([pytest.param(ACCELERATED, id="C")] if ACCELERATED else [])]

pytestmark = pytest.mark.parametrize("calls", TWINS)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return a client's end and the server's, which does not block."""
    far, near = socket.socketpair()
    with far, near:
        far.settimeout(5)
        near.setblocking(False)
        yield far, near


def send_with(far: socket.socket, data: bytes, fds: list[int]) -> None:
    far.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


@pytest.mark.parametrize("bytes_max", [1, 100, READ_BYTES_MAX])
def test_bytes_are_read_up_to_the_maximum(
    calls: Calls, bytes_max: int, pair: tuple[socket.socket, socket.socket]
) -> None:
    far, near = pair
    sent = os.urandom(READ_BYTES_MAX + 1)
    far.sendall(sent)
    passed: list[int] = []
    assert calls.receive(near, near.fileno(), bytes_max, passed) == sent[:bytes_max]
    far.close()
    left = b""
    while data := calls.receive(near, near.fileno(), READ_BYTES_MAX, passed):
        left += data
    assert not passed
    assert left == sent[bytes_max:]


def test_nothing_to_read_is_said_as_the_operating_system_says_it(
    calls: Calls, pair: tuple[socket.socket, socket.socket]
) -> None:
    far, near = pair
    with pytest.raises(BlockingIOError):
        calls.receive(near, near.fileno(), 1, [])
    far.setblocking(True)
    near.setblocking(False)
    far.sendall(b"unread")
    near.close()
    with pytest.raises(ConnectionResetError):
        calls.receive(far, far.fileno(), 1, [])
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        calls.receive(near, near.fileno(), 1, [])


@pytest.mark.parametrize("count", [1, 2, DESCRIPTORS_MAX])
def test_descriptors_are_received_wherever_bytes_are(
    calls: Calls, count: int, pair: tuple[socket.socket, socket.socket]
) -> None:
    far, near = pair
    with ExitStack() as stack:
        for _ in range(2):
            passed, kept = socket.socketpair()
            stack.enter_context(kept)
            with passed:
                send_with(far, b"abc", [passed.fileno()] * count)
            descriptors: list[int] = []
            data = calls.receive(near, near.fileno(), 100, descriptors)
            assert (data, len(descriptors), len(set(descriptors))) == (b"abc", count, count)
            for descriptor in descriptors:
                assert not os.get_inheritable(descriptor)
                assert not is_hung_up(kept)
                os.close(descriptor)
            assert is_hung_up(kept)


def test_descriptors_that_do_not_fit_are_said_to_be_truncated(
    calls: Calls, pair: tuple[socket.socket, socket.socket]
) -> None:
    import resource

    far, near = pair
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    send_with(far, b"x", [0] * 5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, hard))
    try:
        passed: list[int] = []
        data = calls.receive(near, near.fileno(), 1, passed)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for descriptor in passed[:-1]:
        os.close(descriptor)
    assert data == b"x"
    assert len(passed) < 5
    assert passed[-1] == DROPPED
    assert DROPPED not in passed[:-1]


def test_pidfd_that_comes_unasked_is_closed(calls: Calls, pair: tuple[socket.socket, socket.socket]) -> None:
    far, near = pair
    try:
        near.setsockopt(socket.SOL_SOCKET, 76, 1)  # SO_PASSPIDFD
    except OSError:
        return  # This kernel has none.
    before = len(os.listdir("/proc/self/fd"))
    far.sendall(b"abc")
    passed: list[int] = []
    assert calls.receive(near, near.fileno(), 100, passed) == b"abc"
    assert not passed
    assert len(os.listdir("/proc/self/fd")) == before


def test_bytes_are_sent_as_far_as_there_is_room(calls: Calls, pair: tuple[socket.socket, socket.socket]) -> None:
    far, near = pair
    assert calls.send(near, near.fileno(), b"abc\0") == 4
    assert far.recv(100) == b"abc\0"
    sent = calls.send(near, near.fileno(), bytes(10_000_000))
    assert 0 < sent < 10_000_000
    with pytest.raises(BlockingIOError):
        [calls.send(near, near.fileno(), b"x") for _ in range(10_000_000)]
    far.close()
    with pytest.raises(BrokenPipeError):
        calls.send(near, near.fileno(), b"x")


def test_descriptor_is_sent_with_its_byte_and_stays_ours(
    calls: Calls, pair: tuple[socket.socket, socket.socket]
) -> None:
    far, near = pair
    passed, kept = socket.socketpair()
    with kept:
        calls.send_descriptor(near, near.fileno(), passed.fileno())
        passed.send(b"still open")
        passed.close()
        assert kept.recv(100) == b"still open"
        data, fds, _, _ = socket.recv_fds(far, 100, 2)
        assert (data, len(fds)) == (b"\0", 1)
        os.close(fds[0])
        assert is_hung_up(kept)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        calls.send_descriptor(near, near.fileno(), 1_000_000)


def test_what_the_peer_has_not_read_is_counted(calls: Calls, pair: tuple[socket.socket, socket.socket]) -> None:
    far, near = pair
    assert calls.unread_bytes(near.fileno()) == 0
    calls.send(near, near.fileno(), b"a")
    assert calls.unread_bytes(near.fileno()) > 0
    far.recv(1)
    assert calls.unread_bytes(near.fileno()) == 0


def test_family_of_a_socket_is_told(calls: Calls, pair: tuple[socket.socket, socket.socket]) -> None:
    with socket.socket(socket.AF_INET) as inet:
        assert calls.domain_of(inet.fileno()) == socket.AF_INET
    assert calls.domain_of(pair[0].fileno()) == socket.AF_UNIX
    assert calls.domain_of(1_000_000) == -1
    with open("/dev/null", "rb") as file:
        assert calls.domain_of(file.fileno()) == -1


def test_poller_says_which_descriptors_are_ready_and_for_what(
    calls: Calls, pair: tuple[socket.socket, socket.socket]
) -> None:
    far, near = pair
    with select.epoll() as epoll:
        poll = calls.poller(epoll)
        epoll.register(near, select.EPOLLIN)
        epoll.register(far, select.EPOLLOUT)
        assert poll(0, 64) == poll(5.0, 64) == [(far.fileno(), select.EPOLLOUT)]
        epoll.modify(far, 0)
        before_s = time.monotonic()
        assert poll(0.0101, 64) == []
        assert time.monotonic() - before_s >= 0.0101
        far.send(b"x")
        epoll.modify(far, select.EPOLLOUT)
        assert sorted(poll(5.0, 64)) == sorted([(near.fileno(), 1), (far.fileno(), 4)])
        assert len(poll(5.0, 1)) == 1
        with pytest.raises(TypeError):
            poll(0, 64, 0)  # type: ignore[call-arg]
    with pytest.raises((OSError, ValueError)):
        poll(0, 64)


def test_wait_of_a_poller_is_ended_by_a_signal(calls: Calls) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with select.epoll() as epoll:
            poll = calls.poller(epoll)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            with pytest.raises(TimeoutError):
                poll(60.0, 64)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_closing_what_is_known_not_to_wait_is_told_from_the_rest(
    calls: Calls, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    far, near = pair
    assert calls.may_wait(near.fileno(), socket.AF_UNIX) is False
    far.send(b"queued")
    assert calls.may_wait(near.fileno(), socket.AF_UNIX) is True
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(family) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            assert calls.may_wait(tcp.fileno(), family) is False
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("2i", 1, 5))
            assert calls.may_wait(tcp.fileno(), family) is True
            assert calls.may_wait(udp.fileno(), family) is True
        with socket.socket(family) as listening:
            listening.listen()
            assert calls.may_wait(listening.fileno(), family) is True
    for name, has_path in (("\0 no path", False), (str(tmp_path / "s"), True)):
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(name)
            listener.listen()
            assert calls.may_wait(listener.fileno(), socket.AF_UNIX) is has_path
            client.connect(name)
            with listener.accept()[0] as accepted:  # It holds on to the path, too.
                assert calls.may_wait(accepted.fileno(), socket.AF_UNIX) is has_path
                assert calls.may_wait(client.fileno(), socket.AF_UNIX) is False
    assert calls.may_wait(near.fileno(), socket.AF_PACKET) is True
    with open("/dev/null", "rb") as file:
        assert calls.may_wait(file.fileno(), -1) is True


def test_descriptor_is_closed_at_once_unless_that_may_wait(
    calls: Calls, pair: tuple[socket.socket, socket.socket]
) -> None:
    far, near = pair
    far.send(b"queued")
    assert calls.close_at_once(near.fileno(), socket.AF_UNIX) is False
    assert not is_hung_up(far)
    near.recv(100)
    assert calls.close_at_once(near.fileno(), socket.AF_UNIX) is True
    assert is_hung_up(far)
    near.detach()


def test_events_of_descriptors_whose_numbers_have_much_in_common_are_told_apart(calls: Calls) -> None:
    with select.epoll() as epoll, ExitStack() as stack:
        poll = calls.poller(epoll)
        for _ in range(3):
            near, far = map(stack.enter_context, socket.socketpair())
            first = near.fileno()
            numbers = [first, *(fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, first + 1024 * n) for n in (1, 2))]
            for number in numbers:
                epoll.register(number, select.EPOLLIN)
            far.send(b"x")
            for _ in range(2):
                assert sorted(poll(5.0, 64)) == [(number, select.EPOLLIN) for number in numbers]
            for number in numbers:
                epoll.unregister(number)
            for number in numbers[1:]:
                os.close(number)


LISTS = (
    b"", b"\0", b"\0\0", b"a\0", b"a\0\0", b"a\0b\0", b"a\0b\0\0", b"a\0\0\0", b"\0a\0\0", b"a\0b\0\0x", b"a\0b\0\0\0",
    b"a\0b\0c\0d\0\0", b"a\0b\0\0d\0\0", b"a\0b\0c\0d\0e\0f\0\0", b"a", b"abc\0d",
    save_endp(b"e"), find_endp(b"e"), save_dest(b"d", b"p", b"e"), find_dest(b"d"),
)  # fmt: skip


@pytest.mark.parametrize("attributes_max", [0, 1, 2, 3, 100])
def test_list_is_split_where_it_is_exactly_one(calls: Calls, attributes_max: int) -> None:
    for data in LISTS:
        assert calls.whole_list(data, attributes_max) == whole_list(data, attributes_max), data


def test_references_are_counted(calls: Calls, pair: tuple[socket.socket, socket.socket]) -> None:
    """What is made anew is gone with its last user, and what is given is not kept."""
    far, near = pair
    data = find_endp(b"a label that nobody else has")
    before = sys.getrefcount(near), sys.getrefcount(data)
    for _ in range(100):
        send_with(far, data, [0])
        descriptors: list[int] = []
        received = calls.receive(near, near.fileno(), 1000, descriptors)
        os.close(descriptors[0])
        fields = calls.whole_list(data, 100)
        assert fields is not None
        assert sys.getrefcount(received) == 2
        assert sys.getrefcount(descriptors) == 2
        assert sys.getrefcount(fields) == 2
        assert sys.getrefcount(fields[3]) == 3  # the list, this expression, the call
        calls.send(near, near.fileno(), data)
        far.recv(1000)
    assert (sys.getrefcount(near), sys.getrefcount(data)) == before


@pytest.mark.parametrize(
    "arguments", [(), (None, None), (None, None, None), (None, "x", None), (None, "x", 1, None), ("x", 1)]
)
def test_wrong_arguments_are_an_error(calls: Calls, arguments: tuple[object, ...]) -> None:
    for name in ("receive", "send", "send_descriptor", "whole_list"):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            getattr(calls, name)(*arguments)
