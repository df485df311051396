"""A session that was taken up: a descriptor with one owner, and the properties it was parked with."""

import os
import socket as sockets
import warnings
from types import TracebackType
from typing import NoReturn, Self

from scache_spec.vocabulary import Properties


class Found:
    """A connection taken up from the cache; it belongs to this object until `detach` or `socket` moves it on.

    Guarantees:
    * Exactly one of `close`, `detach`, `socket`, the end of a `with` block and the finalizer disposes of the
      descriptor; the later ones do nothing (`close`) or raise ValueError (the others).
    * An object that is dropped while it owns the descriptor closes it, so nothing leaks, and says so with a
      ResourceWarning, as files and sockets of the standard library do. A dropped find is a connection lost to
      everybody, which is worth knowing and not worth a crash; a program tested with warnings as errors finds it.
    * The descriptor is close-on-exec.
    * It can be neither copied nor pickled: two objects would close one descriptor, or one of another process.

    >>> mine, far = sockets.socketpair()
    >>> with far, Found(mine.detach(), Properties(b"user=web")) as found:
    ...     print(found.properties, found.closed)
    b'user=web' False
    """

    __slots__ = ("_fd", "properties")

    def __init__(self, fd: int, properties: Properties) -> None:
        self._fd = fd
        self.properties = properties

    @property
    def closed(self) -> bool:
        """Say whether the descriptor has been closed or moved on.

        >>> mine, far = sockets.socketpair()
        >>> with far, Found(mine.detach(), Properties(b"")) as found:
        ...     with found.socket():
        ...         print(found.closed)
        True
        """
        return self._fd < 0

    def fileno(self) -> int:
        """Return the descriptor, which stays with this object; ValueError when it has gone.

        >>> mine, far = sockets.socketpair()
        >>> with far, Found(mine.detach(), Properties(b"")) as found:
        ...     print(os.write(found.fileno(), b"hello"))
        5
        """
        if self._fd < 0:
            raise ValueError("the descriptor was closed or passed on; find another connection")
        return self._fd

    def detach(self) -> int:
        """Return the descriptor and leave closing it to the caller; ValueError when it has gone.

        >>> mine, far = sockets.socketpair()
        >>> found = Found(mine.detach(), Properties(b""))
        >>> with far:
        ...     os.close(found.detach())
        >>> found.closed
        True
        """
        fd, self._fd = self.fileno(), -1
        return fd

    def socket(self) -> sockets.socket:
        """Return a blocking socket that owns the descriptor from now on; OSError when it is no socket.

        >>> mine, far = sockets.socketpair()
        >>> with far, Found(mine.detach(), Properties(b"")).socket() as connection:
        ...     connection.sendall(b"hello")
        ...     print(far.recv(10))
        b'hello'
        """
        # Non-blocking mode belongs to the open file and so arrives with it: whoever parked the connection may have
        # used timeouts. Python would assume a blocking socket without looking, and fail with EAGAIN at the first wait.
        connection = sockets.socket(fileno=self.fileno())
        self._fd = -1
        connection.setblocking(True)
        return connection

    def close(self) -> None:
        """Close the descriptor, if it is still here.

        >>> mine, far = sockets.socketpair()
        >>> found = Found(mine.detach(), Properties(b""))
        >>> found.close()
        >>> with far:
        ...     print(far.recv(10))
        b''
        """
        if self._fd >= 0:
            os.close(self.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0:
            fd = self._fd
            self.close()  # first: where warnings are errors, the next line raises
            warnings.warn(f"a found connection was dropped, descriptor {fd} closed", ResourceWarning, stacklevel=2)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a found connection can be neither copied nor pickled, as its descriptor has one owner in one process; "
            "pass socket() to another thread, or park it for another process"
        )

    def __repr__(self) -> str:
        where = "closed or passed on" if self.closed else f"descriptor {self._fd}"
        return f"<{type(self).__name__} {where} properties={self.properties!r}>"


class FoundDest(Found):
    """A connection found by its destination: it also brings the properties of the binding that led to it.

    >>> mine, far = sockets.socketpair()
    >>> with far, FoundDest(mine.detach(), Properties(b"session"), Properties(b"binding")) as found:
    ...     print(found.destination_properties)
    b'binding'
    """

    __slots__ = ("destination_properties",)

    def __init__(self, fd: int, properties: Properties, destination_properties: Properties) -> None:
        super().__init__(fd, properties)
        self.destination_properties = destination_properties
