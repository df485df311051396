"""Every system call that the engine makes on a client's socket, on a parked descriptor, and to let somebody in.

They stand together so that all of them can be hardened, counted, made to fail, or replaced by a twin in another
language. Nothing here decides what is said or kept; errors are raised as they are, and closing alone swallows them.
"""

import os
import socket
import struct
from typing import Final

from scache_fast.engine.log import Log
from scache_spec.vocabulary import DESCRIPTOR_BYTE

DESCRIPTORS_MAX: Final = 253
"""The kernel's SCM_MAX_FD: more cannot ride on one message. With room for all of them, none is left unseen."""

_DESCRIPTOR: Final = struct.Struct("i")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(DESCRIPTORS_MAX * _DESCRIPTOR.size)
_CARRIER: Final = (DESCRIPTOR_BYTE,)
_NO_LINGER: Final = struct.pack("ii", 0, 0)

# Plain numbers: the enumerations of the socket module cost more than a system call when they are combined.
_LEVEL: Final = int(socket.SOL_SOCKET)
_RIGHTS: Final = int(socket.SCM_RIGHTS)
_CLOSE_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
_TRUNCATED: Final = int(socket.MSG_CTRUNC)


def accept(listener: socket.socket) -> socket.socket:
    """Take the next connection of a listening socket."""
    return listener.accept()[0]


def receive(sock: socket.socket, bytes_max: int) -> bytes:
    """Read once, b"" at the end."""
    return sock.recv(bytes_max)


def receive_descriptors(sock: socket.socket, bytes_max: int) -> tuple[bytes, list[int], bool]:
    """Read once; return the bytes, the descriptors that came with them, and whether the kernel dropped some."""
    data, ancillary, flags, _ = sock.recvmsg(bytes_max, _ANCILLARY_BYTES, _CLOSE_ON_EXEC)
    descriptors: list[int] = []
    for level, kind, payload in ancillary:
        if level == _LEVEL and kind == _RIGHTS:
            if len(payload) == _DESCRIPTOR.size:  # the cheap way, for what everybody sends
                descriptors += _DESCRIPTOR.unpack(payload)
                continue
            # Truncated control data may end in the middle of a number that names nothing.
            whole = payload[: len(payload) - len(payload) % _DESCRIPTOR.size]
            descriptors += [descriptor for (descriptor,) in _DESCRIPTOR.iter_unpack(whole)]
    return data, descriptors, bool(flags & _TRUNCATED)


def send(sock: socket.socket, data: bytes) -> int:
    """Write as much as the socket takes; return how many bytes."""
    return sock.send(data)


def send_descriptor(sock: socket.socket, descriptor: int) -> None:
    """Send the byte that carries a descriptor; our copy stays open."""
    sock.sendmsg(_CARRIER, ((_LEVEL, _RIGHTS, _DESCRIPTOR.pack(descriptor)),))


def close_socket(sock: socket.socket, log: Log) -> None:
    """Close a listening socket or a client's. Whatever close reports, Linux has let go of it: close(2)."""
    try:
        sock.close()
    except OSError as error:
        log.warning(f"closing a socket: {error.strerror}")


def close(descriptor: int, log: Log) -> None:
    """Close our copy of a descriptor that somebody else has too.

    Whatever close reports, Linux has let go of the descriptor (close(2)): there is nothing to be tried again. Which
    errors there are depends on the file behind it (EIO, ENOSPC, EDQUOT of a disk, EINTR of a network file system), so
    none is named here. EBADF alone would be a mistake in this program, and the line in the log is where it shows.
    """
    try:
        os.close(descriptor)
    except OSError as error:
        log.warning(f"closing a parked descriptor: {error.strerror}")


def discard(descriptor: int, log: Log) -> None:
    """Close a descriptor that nobody may have but us.

    The last close of a TCP socket with SO_LINGER waits for its peer, O_NONBLOCK or not (measured: the whole linger time
    if the peer reads nothing, a round trip otherwise). Without the option the kernel finishes the connection by itself.
    """
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        pass  # ENOTSOCK: a pipe or a file
    else:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            pass  # A family that knows no such option does not linger either.
        finally:
            sock.detach()
    close(descriptor, log)
