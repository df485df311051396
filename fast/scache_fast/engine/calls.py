"""The calls that the engine makes for each request, and the choice of their form: plain.py, or its twin in C.

plain.py has all of them and is always there. `_wire.c` has the same functions in C, to make requests cheaper; it is
there if a C compiler was. The engine gets one of the two forms when it is made, so the tests can try both.
"""

import select
import socket
from collections.abc import Callable
from typing import Final, Protocol


class Calls(Protocol):
    """The functions, which are described in wire.py, plain.py and attributes.py."""

    def poller(self, epoll: select.epoll, /) -> Callable[[float, int], list[tuple[int, int]]]:
        """See wire.poller."""

    def receive(self, sock: socket.socket, fd: int, bytes_max: int, passed: list[int], /) -> bytes:
        """See wire.receive."""

    def send(self, sock: socket.socket, fd: int, data: bytes, /) -> int:
        """See wire.send."""

    def send_descriptor(self, sock: socket.socket, fd: int, descriptor: int, /) -> None:
        """See wire.send_descriptor."""

    def unread_bytes(self, fd: int, /) -> int:
        """See plain.unread_bytes."""

    def domain_of(self, descriptor: int, /) -> int:
        """See plain.domain_of."""

    def may_wait(self, descriptor: int, domain: int, /) -> bool:
        """See plain.may_wait."""

    def close_at_once(self, descriptor: int, domain: int, /) -> bool:
        """See plain.close_at_once."""

    def whole_list(self, data: bytes, attributes_max: int, /) -> list[bytes] | None:
        """See attributes.whole_list."""


def _twin() -> Calls | None:
    try:
        from scache_fast.engine import _wire
    except ImportError:
        return None
    return _wire


ACCELERATED: Final = _twin()
"""The twin in C; None: it was not built."""


def choose(*, may_accelerate: bool) -> Calls:
    """Return the twin in C if it may be used and was built, and otherwise the functions in Python.

    They are imported here: before the process is in a chroot.
    """
    if may_accelerate and ACCELERATED is not None:
        return ACCELERATED
    from scache_fast.engine import plain

    return plain
