"""Connecting as another user: what a server sees by SO_PEERCRED."""

import ctypes
import errno
import platform
import socket
import threading
from typing import Final

_SETRESUID: Final = {"x86_64": 117, "aarch64": 147}
"""The number of the call. The function of libc changes the whole process, the call its thread alone."""


def connect(connection: socket.socket, path: str, uid: int | None) -> None:
    """Connect, as another user if one is named. Raises OSError, EPERM where that is not permitted."""
    if uid is None:
        connection.connect(path)
        return
    failures: list[OSError] = []

    def connect_in_a_thread() -> None:
        try:
            _become(uid)
            connection.connect(path)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=connect_in_a_thread)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure


def _become(uid: int) -> None:
    number, libc = _SETRESUID.get(platform.machine()), ctypes.CDLL(None, use_errno=True)
    if number is None:
        raise OSError(errno.ENOSYS, "the number of setresuid is not known here")
    if libc.syscall(number, -1, uid, -1) != 0:
        raise OSError(ctypes.get_errno(), f"may not become user {uid}")
