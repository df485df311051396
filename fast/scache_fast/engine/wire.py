"""The system calls that the engine makes on a client's socket, on a parked descriptor, and to let somebody in.

They stand together so that all of them can be hardened, counted, made to fail, or replaced: those that every request
takes have a twin in C (calls.py), which takes and returns the same. Three more are in plain.py. Functions that get a
socket also get its number: Python uses the socket, C the number, and asking a socket for its number costs as much as a
system call. Nothing here decides what is said or kept; errors are raised as they are, and closing alone ignores them.
"""

import array
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Final

from scache_fast.engine.log import Log
from scache_spec.vocabulary import DESCRIPTOR_BYTE

DESCRIPTORS_MAX: Final = 253
"""The kernel's SCM_MAX_FD: more cannot ride on one message. With room for all of them, none is left unseen."""

DROPPED: Final = -1
"""Stands behind the descriptors of a message when the kernel dropped others for want of free numbers (MSG_CTRUNC)."""

_DESCRIPTOR: Final = struct.Struct("i")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(DESCRIPTORS_MAX * _DESCRIPTOR.size)
_CARRIER: Final = (DESCRIPTOR_BYTE,)
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_SHORT: Final = struct.pack("ll", 0, 1)  # struct timeval: seconds and microseconds
_PIDFD: Final = 4  # SCM_PIDFD of <linux/socket.h>; the socket module does not name it

# Plain numbers: the enumerations of the socket module cost more than a system call when they are combined.
_LEVEL: Final = int(socket.SOL_SOCKET)
_RIGHTS: Final = int(socket.SCM_RIGHTS)
_CLOSE_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
_TRUNCATED: Final = int(socket.MSG_CTRUNC)


def accept(listener: socket.socket) -> socket.socket:
    """Take the next connection of a listening socket."""
    return listener.accept()[0]


def limit_wait_of_accept(listener: socket.socket) -> None:
    """Have `accept` wait for a tick of the kernel's clock at most.

    O_NONBLOCK does not do for it: a listening socket may be shared with the process that passed it, or with another
    server, and each of them can switch that flag off for all.
    """
    listener.setsockopt(_LEVEL, socket.SO_RCVTIMEO, _SHORT)


def lowest_free(sock: socket.socket) -> int:
    """Return the number that the next descriptor would get; raises OSError when there is none."""
    number = os.dup(sock.fileno())
    os.close(number)
    return number


def poller(epoll: select.epoll) -> Callable[[float, int], list[tuple[int, int]]]:
    """Return the function that waits, so many seconds at most, for so many events at most, and returns them."""
    return epoll.poll


def receive(sock: socket.socket, fd: int, bytes_max: int, passed: list[int]) -> bytes:
    """Read once; return the bytes, and put the descriptors that came with them into `passed`, which is empty before.

    No bytes mean the end. There is always room for all descriptors that one message can carry: what does not fit the
    kernel closes by itself, inside this call, and closing may wait. `DROPPED` stands last where the kernel did so.
    """
    data, ancillary, flags, _ = sock.recvmsg(bytes_max, _ANCILLARY_BYTES, _CLOSE_ON_EXEC)  # FD-1
    for level, kind, payload in ancillary:
        if level != _LEVEL:
            continue
        if kind == _PIDFD:
            # The listening socket has SO_PASSPIDFD, and this one inherited it. It tells nothing that is wanted here.
            os.close(_DESCRIPTOR.unpack(payload)[0])
        elif kind == _RIGHTS:
            # Truncated control data may end in the middle of a number that names nothing.
            whole = payload[: len(payload) - len(payload) % _DESCRIPTOR.size]
            passed += array.array("i", whole)
    if flags & _TRUNCATED:
        passed.append(DROPPED)
    return data


def descriptors_among(passed: list[int]) -> list[int]:
    """Return what `receive` put into a list, without what it says about the kernel."""
    return [each for each in passed if each != DROPPED]


def user_of(sock: socket.socket) -> tuple[int, int]:
    """Return the uid and the pid of the process that connected."""
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(_LEVEL, socket.SO_PEERCRED, _CREDENTIALS.size))
    return uid, pid


def take_urgent_in_line(sock: socket.socket) -> None:
    """Have urgent bytes (MSG_OOB) come where they were sent, as any others.

    By default recvmsg skips such a byte, and the kernel closes within that call whatever descriptors came with it.
    """
    sock.setsockopt(_LEVEL, socket.SO_OOBINLINE, 1)


def send(sock: socket.socket, fd: int, data: bytes) -> int:
    """Write as much as the socket takes; return how many bytes."""
    return sock.send(data)


def send_descriptor(sock: socket.socket, fd: int, descriptor: int) -> None:
    """Send the byte that carries a descriptor; our copy stays open."""
    sock.sendmsg(_CARRIER, ((_LEVEL, _RIGHTS, _DESCRIPTOR.pack(descriptor)),))


def close_socket(sock: socket.socket, log: Log) -> None:
    """Close a listening socket or a client's. Whatever close reports, Linux has let go of it: close(2)."""
    try:
        sock.close()
    except OSError as error:
        log.warning(f"closing a socket: {error.strerror}")


def close(descriptor: int, log: Log) -> None:
    """Close a descriptor. It may wait, if there is no other copy.

    Whatever close reports, Linux has let go of the descriptor (close(2)): there is nothing to be tried again. Which
    errors there are depends on the file behind it (EIO, ENOSPC, EDQUOT of a disk, EINTR of a network file system), so
    none is named here. EBADF alone would be a mistake in this program, and the line in the log is where it shows.
    """
    try:
        os.close(descriptor)
    except OSError as error:
        log.warning(f"closing a descriptor: {error.strerror}")
