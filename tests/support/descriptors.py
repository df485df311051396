"""Descriptors of this process, and whether the far end of one is open."""

import os
import resource
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def open_descriptors() -> set[tuple[str, str]]:
    """Return each descriptor of this process with what it is."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
        except FileNotFoundError:
            pass  # the one that listed the folder
    return found


@contextmanager
def none_left_open() -> Iterator[None]:
    """Fail if there is another descriptor afterwards."""
    before = open_descriptors()
    yield
    assert open_descriptors() - before == set()


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """Let this process open so many more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name, _ in open_descriptors())
    # The limit is one on numbers: those below the highest are used up first.
    filler = [os.dup(0)]
    while filler[-1] <= highest:
        filler.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (filler[-1] + 1 + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filler:
            os.close(descriptor)


def is_hung_up(far: socket.socket) -> bool:
    """Say whether every copy of the other end of a connection is closed now; nothing may have been written to it."""
    return bool(select.select([far], [], [], 0)[0]) and far.recv(1) == b""


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far
