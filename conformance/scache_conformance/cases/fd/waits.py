"""Cases: files that can block a server which closes them or asks about them. The server must serve others meanwhile.

There are three kinds: a connection that lingers at its close, because nobody reads what was sent to it; a file whose
close waits for an answer that never comes, and whose wait no signal ends; a connection that another process keeps
locked.
"""

import mmap
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from scache_conformance.cases.fd.closing import fewest_descriptors
from scache_conformance.servers.target import PATIENCE_S, Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.client import Client
from scache_conformance.suite.files.fuse import FILE_BYTES, FLUSH, READ, Fuse
from scache_conformance.suite.lab import Lab
from scache_conformance.suite.registry import Schedule, add
from scache_conformance.suite.requirements import require
from scache_conformance.wire import lists, processes
from scache_conformance.wire.lists import DUMMY_LIST

LINGER_S = 60
"""Longer than any case waits."""

TRIES = 5
"""How often another client asks meanwhile, 50 ms apart, because the server may come late to the file. Arbitrary."""


@contextmanager
def _lingering(server: Target) -> Iterator[int]:
    """Yield a connection whose last close waits until what was sent is read."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_S))
        far.setblocking(False)
        try:
            while True:
                far.send(bytes(65_536))
        except BlockingIOError:
            yield far.detach()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends the other's lingering


@contextmanager
def _unanswered(server: Target) -> Iterator[int]:
    """Yield a file in user space whose every close by the server waits."""
    if server.pid is None:
        raise Unavailable("needs to know the server's process: use --exec, --postfix or --pid")
    with Fuse([FLUSH], from_pid=server.pid) as fuse:
        yield fuse.open()


@contextmanager
def _locked(server: Target) -> Iterator[int]:
    """Yield a connection that is locked: a send from memory that never comes is under way."""
    with Fuse([READ]) as fuse, ExitStack() as opened:
        fd = fuse.open()
        memory = opened.enter_context(mmap.mmap(fd, FILE_BYTES, prot=mmap.PROT_READ))
        os.close(fd)
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        near = opened.enter_context(socket.create_connection(listener.getsockname()))
        sender = threading.Thread(target=_send, args=[near, memory], daemon=True)
        sender.start()
        opened.callback(sender.join)
        opened.callback(fuse.abort)
        yield os.dup(near.fileno())


def _send(connection: socket.socket, memory: mmap.mmap) -> None:
    try:
        connection.send(memory)
    except OSError:
        pass  # EFAULT: the file has ended


WAITING = {"lingering": _lingering, "unanswered": _unanswered, "locked": _locked}
"""The kinds of file, each as a context manager: it blocks others until it is left. The caller closes the file."""


WHAT = {
    "lingering": "a connection that lingers at its close",
    "unanswered": "a file whose close is never answered",
    "locked": "a connection that another process keeps locked",
}


# What is done with it.


@contextmanager
def _last_copy(server: Target, fd: int) -> Iterator[None]:
    """Stop the server in the body and close our copy at its end, so that the server reads the last copy."""
    with server.stopped():
        yield
        processes.close_number(fd)


def _expires(lab: Lab, server: Target, peer: Client, fd: int) -> None:
    peer.saves(fd, lab.label("e"), b"p", 1)
    processes.close_number(fd)
    if server.has_clock:
        server.set_clock_forward(2)
    else:
        lab.sleep(2)


def _rides_along(lab: Lab, server: Target, peer: Client, fd: int) -> None:
    with _last_copy(server, fd):
        peer.send_bytes(lists.find_endp(lab.label("nothing")), [fd])


def _is_urgent(lab: Lab, server: Target, peer: Client, fd: int) -> None:
    """Send it with an urgent byte. By default recvmsg skips that byte and closes its descriptor within the call."""
    with _last_copy(server, fd):
        try:
            peer.send_urgent_byte([fd])
        except OSError as refusal:
            raise Unavailable(f"this kernel has no urgent bytes on UNIX sockets: {refusal.strerror}") from None
        peer.hang_up()


def _is_refused(lab: Lab, server: Target, peer: Client, fd: int) -> None:
    peer.begin_save("e")
    with _last_copy(server, fd):
        # Not the first: that one is received also where there is room for one, and the kernel closes the others.
        peer.send_bytes(b"\0", [lab.line().far.fileno(), fd, fd])


def _is_left_unread(lab: Lab, server: Target, peer: Client, fd: int) -> None:
    """Leave it unread in the queue of a client that goes away, because that client has a descriptor in flight."""
    peer.parks_and_holds()
    peer.send_bytes(DUMMY_LIST)
    require("whether the descriptor comes", peer.has_something_to_read(), True)
    with _last_copy(server, fd):
        peer.send_bytes(lists.find_endp(lab.label("nothing")), [fd])
        peer.hang_up()


def _is_put_back_too_late(lab: Lab, server: Target, peer: Client, fd: int) -> None:
    peer.saves(fd, lab.label("e"), b"p", 1)
    processes.close_number(fd)
    peer.holds_endp("e")
    if server.has_clock:
        server.set_clock_forward(2)
    else:
        lab.sleep(2)
    peer.send((b"label", b"not ready"))


def _is_sent_by_a_client_too_many(lab: Lab, server: Target, peer: Client, fd: int) -> None:
    """Leave it unread in the queue of a client that the server has no room for."""
    with _last_copy(server, fd):
        one_too_many = lab.peer("C", target=server, greeted=False)
        one_too_many.send_bytes(b"\0", [fd])


def _case(
    kind: str,
    slug: str,
    happens: str,
    clause: str,
    way: Callable[[Lab, Target, Client, int], None],
    **limits: int,
) -> None:
    def function(lab: Lab) -> None:
        with lab.server(**limits) as server:
            other, before = lab.stranger(server), fewest_descriptors(lab, server, enough=0)
            with WAITING[kind](server) as fd, lab.peer(target=server) as peer:
                way(lab, server, peer, fd)
                for _ in range(TRIES):
                    other.misses_endp()
                    lab.sleep(0.05)
            left = fewest_descriptors(lab, server, enough=before)
            require("how many descriptors the server has open when nobody waits any more", left, before)

    title = f"Other users are served while {WHAT[kind]} {happens}."
    add(f"fd/{kind}-{slug}", title, ("FD-15", clause), function, schedule=Schedule.OWN_SERVERS)


def _at_exit(kind: str) -> None:
    def function(lab: Lab) -> None:
        with lab.server() as server:
            other = lab.stranger(server)
            with WAITING[kind](server) as fd, lab.peer(target=server) as peer:
                line = peer.park("e", b"1")
                peer.saves(fd, lab.label("e"), b"2")
                processes.close_number(fd)
                last = peer.park("e", b"3")
                server.begin_exit()
                other.insist_on_hangup()
                peer.insist_on_hangup()
                for each in (line, last):
                    each.insist_on_hangup("each of the others", peer.deadline_s)
            # An uninterruptible wait keeps the process: until now, and no longer.
            require("whether it has exited in the end", server.wait_for_exit(PATIENCE_S) is not None, True)

    title = f"A server that exits closes all other descriptors while it waits for {WHAT[kind]}."
    clauses = "FD-15", "LIFE-4"
    add(f"fd/{kind}-at-exit", title, clauses, function, schedule=Schedule.OWN_SERVERS)


for _kind in WAITING:
    _case(_kind, "expires", "is parked and expires", "TTL-3", _expires)
    _case(_kind, "rides-along", "comes with a request and is closed", "FD-1", _rides_along)
    _case(_kind, "refused", "is refused", "FD-4", _is_refused)
    _case(_kind, "left-unread", "is left unread by a client that goes away", "CONN-11", _is_left_unread)
    _at_exit(_kind)
_case("lingering", "urgent", "comes with an urgent byte", "FD-1", _is_urgent)
_case("lingering", "put-back-too-late", "expires while it is held and comes back", "ENDP-6", _is_put_back_too_late)
_case(
    "lingering",
    "client-too-many",
    "is sent by a client too many",
    "LIMIT-5",
    _is_sent_by_a_client_too_many,
    clients_max=2,
)
