"""Descriptors that this process was started with: standard ones, listening sockets, a channel, a pipe for readiness.

Whoever starts the process passes nothing but numbers. Each number is checked here before it is used, and none of them
reaches a child of this process. How many there are and where they begin is known to systemd.py and master.py.
"""

import fcntl
import os
import socket

from scache_fast.process.errors import StartError


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
    """Take over a listening UNIX stream socket; raises StartError, and it is not taken over then."""
    return _unix_stream_socket(fd, name, "a listening UNIX stream socket (systemd: ListenStream=PATH, Accept=no)", True)


def connected_socket(fd: int, name: str) -> socket.socket:
    """Take over one end of a UNIX stream connection; raises StartError, and it is not taken over then."""
    return _unix_stream_socket(fd, name, "a UNIX stream connection", False)


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


def _unix_stream_socket(fd: int, name: str, wanted: str, listens: bool) -> socket.socket:
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
