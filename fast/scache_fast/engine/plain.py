"""The calls that the engine makes for each request, in Python: those of wire.py, and what Python cannot ask a socket.

Python's own socket(fileno=…) reads the socket's name, which may block. ctypes asks for one option alone. ctypes takes
0.6 MB, so this module is imported only where the accelerator is not used (calls.py).
"""

import array
import ctypes
import fcntl
import os
import select
import socket
import termios
from typing import Final

from scache_fast.engine.attributes import whole_list as whole_list
from scache_fast.engine.wire import poller as poller
from scache_fast.engine.wire import receive as receive
from scache_fast.engine.wire import send as send
from scache_fast.engine.wire import send_descriptor as send_descriptor

_LEVEL: Final = int(socket.SOL_SOCKET)
_DOMAIN: Final = int(socket.SO_DOMAIN)
_PROTOCOL: Final = int(socket.SO_PROTOCOL)
_LINGER: Final = int(socket.SO_LINGER)
_LISTENS: Final = int(socket.SO_ACCEPTCONN)
_UNIX: Final = int(socket.AF_UNIX)
_INTERNET: Final = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
_TCP: Final = int(socket.IPPROTO_TCP)
_answer: Final = array.array("i", [0])

_getsockopt: Final = ctypes.CDLL(None).getsockopt
_getsockname: Final = ctypes.CDLL(None).getsockname
# Their argument types are not declared: converting an argument to a declared type costs more than the system call.
_value: Final = ctypes.c_int(0)
_size: Final = ctypes.c_uint(ctypes.sizeof(_value))
_value_at: Final = ctypes.byref(_value)
_size_at: Final = ctypes.byref(_size)
_FAMILY_BYTES: Final = 2
"""How long the name of a UNIX socket that has none is: the family alone."""
_name: Final = ctypes.create_string_buffer(_FAMILY_BYTES + 1)
_name_size: Final = ctypes.c_uint(0)
_name_size_at: Final = ctypes.byref(_name_size)


FREED_BYTES_MAX: Final = 64
"""While the kernel frees what the peer has read, it wakes whoever waits for room, and counts one byte of it until it is
done (sock_wfree). Whoever is quick sees that byte, and no further wake follows. What is unread counts as hundreds."""


def unread_bytes(fd: int) -> int:
    """Return how much of what was sent the peer has not read: 0, or what the kernel keeps for it."""
    fcntl.ioctl(fd, termios.TIOCOUTQ, _answer)
    return _answer[0] if _answer[0] > FREED_BYTES_MAX else 0


def domain_of(descriptor: int) -> int:
    """Return the address family of a socket (AF_INET, …), -1 for what is no socket. Never waits.

    Python's own socket(fileno=…) asks for the socket's name as well, which waits for as long as somebody holds the
    lock of that socket; so does fstat for the file's owner, if it is a file of a FUSE server.
    """
    return _option(descriptor, _DOMAIN)


def may_wait(descriptor: int, domain: int) -> bool:
    """Say whether closing the last copy of a descriptor may wait; `domain` is what domain_of said. Never waits itself.

    Known not to wait: a TCP connection without SO_LINGER, and a UNIX socket that has no path and in which nothing is
    queued. What is queued in a UNIX socket is closed with it, and may be anything; so are the connections that a
    listening TCP socket has not accepted, up to net.core.somaxconn of them, each of which takes 20 µs. The path of a
    UNIX socket may lead into a file system that is unmounted with it. Every other family has closes that wait: one of
    AF_PACKET takes 14 ms, a datagram socket in a multicast group waits for whoever changes the network's configuration.
    """
    if domain == _UNIX:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0)) or _has_path(descriptor)
    return (
        domain not in _INTERNET
        or _option(descriptor, _PROTOCOL) != _TCP
        or _option(descriptor, _LINGER) != 0
        or _option(descriptor, _LISTENS) != 0
    )


def close_at_once(descriptor: int, domain: int) -> bool:
    """Close a descriptor, unless `may_wait` says that closing may wait; return whether it was closed.

    Raises OSError of close(2). Whatever it reports, Linux has let go of the descriptor.
    """
    if may_wait(descriptor, domain):
        return False
    os.close(descriptor)
    return True


def _has_path(descriptor: int) -> bool:
    """Say whether a UNIX socket is bound to a path. For this family, unlike others, the kernel takes no lock for it."""
    _name_size.value = _FAMILY_BYTES + 1
    if _getsockname(descriptor, _name, _name_size_at) != 0:
        return True
    return _name_size.value > _FAMILY_BYTES and _name.raw[_FAMILY_BYTES] != 0  # NUL: a name that is no path


def _option(descriptor: int, option: int) -> int:
    """Return the first number of a socket's option, -1 if it cannot be had."""
    if _getsockopt(descriptor, _LEVEL, option, _value_at, _size_at) != 0:
        return -1
    return int(_value.value)
