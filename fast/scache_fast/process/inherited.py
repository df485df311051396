"""Descriptors that this process was started with: standard ones, listening sockets, a channel, a pipe for readiness.

The process that starts this one passes nothing but numbers. Each number is checked here before it is used, and no child
of this process inherits it. systemd.py and master.py know how many there are and where they begin.
"""

import fcntl
import os
import socket
from typing import Final

from scache_fast.process.errors import StartError

_SO_PASSRIGHTS: Final = 83
_ADDING_OPTIONS: Final = (
    socket.SO_PASSCRED,
    29,  # SO_TIMESTAMP
    34,  # SO_PASSSEC
    35,  # SO_TIMESTAMPNS
    37,  # SO_TIMESTAMPING
    40,  # SO_RXQ_OVFL
    76,  # SO_PASSPIDFD, for which the kernel makes a descriptor with each message
)
"""Options of a socket that add something to what is received: <asm-generic/socket.h>. The socket module names one."""


def fill_standard_descriptors() -> None:
    """Open /dev/null for each standard descriptor that is closed.

    Otherwise a listening socket or somebody's connection gets the number, and whatever writes to standard error writes
    there.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            try:
                os.open(os.devnull, os.O_RDWR)  # It gets the lowest free number: this one.
            except OSError:
                return  # There is no /dev here, and nothing that could be done about it.


def listening_socket(fd: int, name: str) -> socket.socket:
    """Take over a listening UNIX stream socket; raises StartError, and it is not taken over then.

    A socket gets its options from the listening socket at the instant at which its client connects.
    """
    wanted = "a listening UNIX stream socket (systemd: ListenStream=PATH, Accept=no)"
    sock = _unix_stream_socket(fd, name, wanted, listens=True)
    if _is_off(sock, _SO_PASSRIGHTS):
        sock.detach()
        raise StartError(
            f"descriptor {fd} ({name}) was passed with SO_PASSRIGHTS off: nothing could ever be parked; leave out "
            "AcceptFileDescriptors=no of the socket unit"
        )
    for option in _ADDING_OPTIONS:
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, 0)
        except OSError:
            pass  # ENOPROTOOPT: a kernel without it.
    return sock


def connected_socket(fd: int, name: str) -> socket.socket:
    """Take over one end of a UNIX stream connection; raises StartError, and it is not taken over then."""
    return _unix_stream_socket(fd, name, "a UNIX stream connection", listens=False)


def writable_descriptor(fd: int, name: str) -> int:
    """Take over a descriptor to write to; raises StartError, and it is not taken over then."""
    try:
        writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        os.set_inheritable(fd, False)
    except OSError as error:
        raise StartError(f"descriptor {fd} ({name}): {error.strerror}; the supervisor has to open it") from None
    if not writable:
        raise StartError(f"descriptor {fd} ({name}) is open for reading only; pass the other end of the pipe")
    return fd


def keep_from_children(fd: int, name: str) -> None:
    """See that a descriptor is there, and that no child gets it; raises StartError."""
    try:
        os.set_inheritable(fd, False)
    except OSError as error:
        raise StartError(f"descriptor {fd} ({name}): {error.strerror}; the supervisor has to open it") from None


def _unix_stream_socket(fd: int, name: str, wanted: str, *, listens: bool) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(f"descriptor {fd} ({name}) was passed and is not {wanted}: {error.strerror}") from None
    kind = sock.family, sock.type, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if kind != (socket.AF_UNIX, socket.SOCK_STREAM, int(listens)):
        sock.detach()
        raise StartError(f"descriptor {fd} ({name}) was passed and is not {wanted}")
    return sock


def _is_off(sock: socket.socket, option: int) -> bool:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, option) == 0
    except OSError:
        return False  # ENOPROTOOPT: a kernel without it, where nothing can be switched off.
