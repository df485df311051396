"""What a hostile client does to a server. Each attack causes one kind of wait or work, and gets the path of the server.

An attack runs in a process of its own. It ends after a few seconds; if not, the measurement (__main__.py) ends it. A
timer interrupts its system calls: the attacker itself may have to close what it passed, and this close may block.
"""

import array
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.support.client import Client
from tests.support.messages import DONE, DUMMY, find_dest, find_endp, save_dest, save_endp

from scache_conformance.suite.files.fuse import FLUSH, POLL, Fuse

LASTS_S: Final = 3.0
"""Duration of an attack. Arbitrary."""


def nothing(path: str) -> None:
    """Nobody attacks."""


def odd_family(path: str) -> None:
    """Parked sockets of AF_VSOCK, which know no SO_LINGER."""
    with Client(path) as client:
        for _ in range(20):
            with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as odd:
                client.save(b"odd", odd.fileno(), ttl=b"1")


def lingering_unwanted(path: str) -> None:
    """Lingering sockets, passed with plain bytes."""
    for _ in _again():
        with _holding(250) as holder, Client(path) as client:
            client.send(find_endp(b"zz"), holder)
            os.close(holder)
            client.read()


def lingering_expired(path: str) -> None:
    """Lingering sockets, parked until they expire."""
    with Client(path) as client, ExitStack() as stack:
        for _ in range(3):
            holder = stack.enter_context(_holding(250))
            client.save(b"lingering", holder, ttl=b"1")
            os.close(holder)
        time.sleep(LASTS_S)


def lingering_handed_over(path: str) -> None:
    """Lingering sockets, found and closed at once, so that the server has the last copy."""
    with Client(path) as client:
        for _ in _again():
            with _holding(250) as holder:
                client.save(b"l", holder)
                os.close(holder)
                client.say(find_endp(b"l"))
                os.close(client.take())
                client.send(DUMMY)


def packet_sockets(path: str) -> None:
    """250 packet sockets on one byte, each of which takes 14 ms to close."""
    sockets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in range(250)]
    with Client(path) as client:
        assert client.say(save_endp(b"e")) == DUMMY
        client.send(b"\0", *(each.fileno() for each in sockets))


def packet_sockets_urgent(path: str) -> None:
    """250 packet sockets that come with an urgent byte, which a reader skips unless it asks for it."""
    with Client(path) as client:
        sockets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in range(250)]
        near, far = socket.socketpair()
        socket.send_fds(far, [b"x"], [each.fileno() for each in sockets])
        for each in sockets:
            each.close()
        rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [near.fileno()])
        client.sock.sendmsg([b"x"], [rights], socket.MSG_OOB)
        near.close()
        client.sock.shutdown(socket.SHUT_WR)
        client.read()


def much_memory(path: str) -> None:
    """A file in memory of 2 GiB. To free it takes the kernel a while."""
    file = os.memfd_create("much")
    for _ in range(2048):
        os.write(file, bytes(1 << 20))
    with Client(path) as client:
        client.save(b"much", file, ttl=b"1")
    os.close(file)


def much_that_is_due(path: str) -> None:
    """15 000 sessions and 50 000 bindings that expire at one instant."""
    with Client(path) as client, socket.socket() as spare:
        for _ in range(15_000):
            if client.save(b"due", spare.fileno(), ttl=b"12") != DONE:
                break
        for first in range(0, 50_000, 100):
            client.send(
                b"".join(save_dest(b"d%d" % (n // 1000), b"%d" % n, b"due", b"3") for n in range(first, first + 100))
            )
            left = 100 * len(DONE)
            while left:
                left -= len(client.sock.recv(left))


def empty_bindings(path: str) -> None:
    """Pipelines of find_dest over a thousand bindings that lead nowhere, from 32 clients."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(path)) for _ in range(32)]
        for n in range(1000):
            clients[0].say(save_dest(b"d", b"%d" % n, b"nowhere"))
        _flood(clients, find_dest(b"d") * 50)


def many_fields(path: str) -> None:
    """Lists of as many attributes as there may be, from 64 clients."""
    _flood_from(path, 64, (b"request\0find_endp\0label\0zz\0" + b"a\0b\0" * 62 + b"\0") * 20)


def many_pipelines(path: str) -> None:
    """Pipelines from 900 clients, nine tenths of all that there may be."""
    _flood_from(path, 900, find_endp(b"zz") * 300)


def many_mistakes(path: str) -> None:
    """Pipelines of wrong requests from 900 clients, each of which is a line for the log."""
    _flood_from(path, 900, b"request\0save_endp\0\0" * 300)


def newcomers(path: str) -> None:
    """Clients that connect and leave in a loop."""
    for _ in _again():
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as newcomer:
                newcomer.connect(path)


def stuck_files(path: str) -> None:
    """Files of a FUSE server whose close never ends."""
    with Fuse([FLUSH, POLL]) as files:
        passed = [files.open() for _ in range(3)]
        with Client(path) as client:
            for each in passed:
                client.save(b"stuck", each, ttl=b"1")
            time.sleep(LASTS_S)
        files.abort()


ATTACKS: Final[dict[str, Callable[[str], None]]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        nothing, odd_family, lingering_unwanted,
        lingering_expired, lingering_handed_over, packet_sockets, packet_sockets_urgent, much_memory, much_that_is_due,
        empty_bindings, many_fields, many_pipelines, many_mistakes, newcomers, stuck_files,
    )
}  # fmt: skip


def attack(name: str, path: str) -> None:
    """Carry out one attack. Every answer of the server is accepted."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        ATTACKS[name](path)
    except (OSError, AssertionError):
        pass  # The server refused, or has ended. The measurement watches what the other clients get.
    os._exit(0)


def _again() -> Iterator[None]:
    end_s = time.monotonic() + LASTS_S
    while time.monotonic() < end_s:
        yield


def _flood_from(path: str, count: int, data: bytes) -> None:
    """Flood from so many clients."""
    with ExitStack() as stack:
        _flood([stack.enter_context(Client(path)) for _ in range(count)], data)


def _flood(clients: list[Client], data: bytes) -> None:
    """Write as much as the clients' sockets accept, and read all replies, for the duration of an attack."""
    poll = select.poll()
    by_fd = {client.sock.fileno(): client.sock for client in clients}
    for fd, sock in by_fd.items():
        sock.setblocking(False)
        poll.register(fd, select.POLLIN | select.POLLOUT)
    for _ in _again():
        for fd, event in poll.poll(100):
            try:
                if event & select.POLLIN:
                    by_fd[fd].recv(1 << 20)
                if event & select.POLLOUT:
                    by_fd[fd].send(data)
            except BlockingIOError:
                pass


@contextmanager
def _holding(count: int) -> Iterator[int]:
    """Yield a socket with so many lingering sockets in its queue, and no other copy of them. The caller closes it.

    Closing a copy of it is quick while another process has one. Closing the last copy closes all that is queued.
    """
    near, far = socket.socketpair()
    with far, _lingering(count) as sockets:
        socket.send_fds(far, [b"x"], [each.fileno() for each in sockets])
        for each in sockets:
            each.close()
        yield near.detach()


@contextmanager
def _lingering(count: int) -> Iterator[list[socket.socket]]:
    """Yield TCP sockets with unsent data and SO_LINGER; their peers read nothing."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # Each gets it from the listening socket.
        sockets = []
        for _ in range(count):
            near = stack.enter_context(socket.socket())
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            near.connect(listener.getsockname())
            stack.enter_context(listener.accept()[0])
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
            near.setblocking(False)
            try:
                while True:
                    near.send(bytes(65_536))
            except BlockingIOError:
                pass
            sockets.append(near)
        yield sockets
