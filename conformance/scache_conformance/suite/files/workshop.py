"""What the makers of files work with: a folder, what is kept beside a file, and system calls that Python lacks."""

import ctypes
import errno
import os
import platform
import socket
import tempfile
import termios
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final, TypeVar

from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.wire.folders import place_for

REFUSALS: Final = (OSError, AttributeError, termios.error, Unavailable)
"""What says that a kind cannot be made here. AttributeError: this Python, or this libc, has no function for it."""

LOOPBACK: Final = "127.0.0.1"

PREFIX: Final = "scache-conformance-"
"""Of the folder."""

_libc: Final = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class Workshop:
    """Where files are made. What is kept is closed with `opened`; the file itself is its maker's caller's."""

    def __init__(self, opened: ExitStack, server: Path) -> None:
        """Make a folder. `server` is the path of the server's socket."""
        self.opened: Final = opened
        self.server: Final = server
        place = place_for(PREFIX, "listening")
        self.folder: Final = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=place)))

    def keep(self, thing: AbstractContextManager[T]) -> T:
        """Keep what is needed besides the file until the end."""
        return self.opened.enter_context(thing)

    def keep_fd(self, fd: int) -> int:
        """Keep another file open until the end."""
        self.opened.callback(os.close, fd)
        return fd

    def pair(self, kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
        """Return a kept socket, and the one at its other end."""
        near, far = socket.socketpair(socket.AF_UNIX, kind)
        return self.keep(near), far

    def tcp(self, family: int = socket.AF_INET, host: str = LOOPBACK) -> tuple[socket.socket, socket.socket]:
        """Return a kept socket, and the one at its other end."""
        with socket.create_server((host, 0), family=socket.AddressFamily(family)) as listener:
            near = self.keep(socket.create_connection(listener.getsockname()[:2]))
            return near, listener.accept()[0]

    def file(self, flags: int = os.O_RDWR) -> int:
        """Open a file of some bytes."""
        path = self.folder / "file"
        path.write_bytes(b"some bytes")
        return os.open(path, flags)


def call(name: str, *arguments: object) -> int:
    """Call a function of libc that returns a descriptor. Raises OSError."""
    fd: int = getattr(_libc, name)(*arguments)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"{name} is refused")
    return fd


_NUMBERS: Final = {
    "x86_64": {"bpf": 321, "kcmp": 312, "perf_event_open": 298, "userfaultfd": 323},
    "aarch64": {"bpf": 280, "kcmp": 272, "perf_event_open": 241, "userfaultfd": 282},
}
_NUMBERS_EVERYWHERE: Final = {
    "io_uring_setup": 425,
    "open_tree": 428,
    "fsopen": 430,
    "landlock_create_ruleset": 444,
    "memfd_secret": 447,
}
"""Calls that libc has no function for, by their numbers."""


def syscall(name: str, *arguments: object) -> int:
    number = _NUMBERS_EVERYWHERE.get(name) or _NUMBERS.get(platform.machine(), {}).get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"the number of {name} is not known here")
    return call("syscall", number, *arguments)
