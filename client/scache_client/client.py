"""The blocking client: how a thread waits for the server, and what happens when threads or a child share a client.

The protocol is in `dialogue`, its system calls in `connection`.
"""

import os
import select
import threading
import time
from collections.abc import Callable
from socket import socket
from types import TracebackType
from typing import Self, TypeVar, assert_never

from scache_client import dialogue, quantities
from scache_client.connection import BACKLOG_PAUSE_S, Connection, Wait, Waiting
from scache_client.errors import TimedOut
from scache_client.forks import start_anew_in_child
from scache_client.found import Found, FoundDest
from scache_client.parkable import close_copy, descriptor_of
from scache_client.pause import PAUSE_S, Pause, boot_time_s
from scache_client.quantities import TIMEOUT_S

T = TypeVar("T")


class Client:
    """Park connections in the cache at `path` and take them up again.

    Nothing is connected before the first request: a client can be made before its server is up, and making one neither
    blocks nor fails. The connection is kept until `close`, the end of the `with` block, or an error.

    Guarantees:
    * A request ends within `timeout_s` of monotonic time, connecting, a second attempt and the wait for other threads
      included. Each request may be given a `timeout_s` of its own. After the descriptor of a find has arrived, no
      timeout and no error loses it.
    * Threads may share a client: a lock lets one request through at a time. For requests side by side, make a client
      for each thread; they cost the server one connection each.
    * A child of fork may go on using the client: it closes its copy of the connection and makes its own. The parent
      notices nothing. In the child, requests that other threads were waiting for do not exist.
    * Nothing is shared between two clients, and a client may be used again after `close`.
    * Failures of the cache are a `CacheError`. Trouble of this process alone, such as EMFILE, is an `OSError`.

    `pause_s` is for `lease`: how long the cache is left alone after a failure. The four verbs here always try.

    >>> with Client("/run/scached/scached.sock", timeout_s=1) as client:
    ...     print(client)
    <Client /run/scached/scached.sock not connected>
    """

    def __init__(
        self, path: str | bytes | os.PathLike[str], *, timeout_s: float = TIMEOUT_S, pause_s: float = PAUSE_S
    ) -> None:
        self._connection = Connection(path)
        self.timeout_s = quantities.timeout(timeout_s)
        self.clock: Callable[[], float] = boot_time_s
        self.pause = Pause(pause_s)
        self._turn = threading.Lock()
        start_anew_in_child(self)

    def save_endp(
        self,
        endpoint: bytes,
        properties: bytes,
        ttl_s: int,
        connection: socket | int,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """Park a connection (a socket or a descriptor) under an endpoint and close the caller's copy.

        The copy is closed only after the server has said that it has the connection. On every exception it is open and
        as it was; if that exception has `maybe_parked` set, close it without another word to the peer.
        The server may cut `ttl_s`, in whole seconds, to its own limit. ValueError for a NUL in a label; TypeError for
        what cannot be parked, such as a TLS connection. Both are raised before a byte is sent.

        >>> from scache_client.testing import FakeCache
        >>> import socket
        >>> mine, far = socket.socketpair()
        >>> with far, FakeCache() as cache:
        ...     cache.client().save_endp(b"db", b"user=web", 30, mine)
        ...     print(cache.sessions)
        [(b'db', b'user=web')]
        """
        self._request(dialogue.save_endp(endpoint, properties, ttl_s, descriptor_of(connection)), timeout_s)
        close_copy(connection)

    def find_endp(self, endpoint: bytes, *, timeout_s: float | None = None) -> Found | None:
        """Take up the connection parked longest under an endpoint; None when there is none.

        >>> from scache_client.testing import FakeCache
        >>> with FakeCache() as cache:
        ...     print(cache.client().find_endp(b"nothing is parked here"))
        None
        """
        return self._request(dialogue.find_endp(endpoint), timeout_s)

    def save_dest(
        self,
        destination: bytes,
        properties: bytes,
        endpoint: bytes,
        ttl_s: int,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """Bind a destination to an endpoint for `ttl_s` seconds; binding the same again renews it.

        >>> from scache_client.testing import FakeCache
        >>> with FakeCache() as cache:
        ...     cache.client().save_dest(b"example.org", b"", b"192.0.2.1:25", 30)
        ...     print(cache.bindings)
        [(b'example.org', b'', b'192.0.2.1:25')]
        """
        self._request(dialogue.save_dest(destination, properties, endpoint, ttl_s), timeout_s)

    def find_dest(self, destination: bytes, *, timeout_s: float | None = None) -> FoundDest | None:
        """Take up a connection from the first endpoint bound to a destination that has one; None when none has.

        >>> from scache_client.testing import FakeCache
        >>> import socket
        >>> mine, far = socket.socketpair()
        >>> with far, FakeCache() as cache, cache.client() as client:
        ...     client.save_endp(b"192.0.2.1:25", b"of the session", 30, mine)
        ...     client.save_dest(b"example.org", b"of the binding", b"192.0.2.1:25", 30)
        ...     found = client.find_dest(b"example.org")
        ...     with found:
        ...         print(found.destination_properties, found.properties)
        b'of the binding' b'of the session'
        """
        return self._request(dialogue.find_dest(destination), timeout_s)

    def close(self) -> None:
        """Close the connection to the server; the next request makes a new one.

        >>> from scache_client.testing import FakeCache
        >>> with FakeCache() as cache:
        ...     client = cache.client()
        ...     client.close()
        ...     print(client.find_endp(b"usable again"))
        None
        """
        with self._turn:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection}>"

    def _request(self, dance: dialogue.Dance[T], own_timeout_s: float | None) -> T:
        timeout_s = quantities.timeout(self.timeout_s if own_timeout_s is None else own_timeout_s)
        deadline = time.monotonic() + timeout_s
        if not self._turn.acquire(timeout=timeout_s):
            raise TimedOut("timed out while other threads used this client; give each thread its own")
        try:
            return self._run(self._connection.request(dance), deadline)
        finally:
            self._turn.release()

    def _run(self, waiting: Waiting[T], deadline: float) -> T:
        try:
            wait = next(waiting)
            while True:
                wait = waiting.send(self._wait(wait, deadline))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            waiting.close()  # an interrupted one closes the connection now, not at some later collection

    def _wait(self, wait: Wait, deadline: float) -> bool:
        """Say whether the wait came to its end in time."""
        left_s = max(0.0, deadline - time.monotonic())
        match wait:
            case Wait.BACKLOG:
                time.sleep(min(left_s, BACKLOG_PAUSE_S))
                return left_s > 0
            case Wait.READABLE:
                mask = select.POLLIN
            case Wait.WRITABLE:
                mask = select.POLLOUT
            case _:
                assert_never(wait)
        # poll, because select ends at descriptor 1023 and this process may well hold more.
        poll = select.poll()
        poll.register(self._connection.fileno(), mask)
        return bool(poll.poll(left_s * 1000))

    def _start_anew_in_child(self) -> None:
        # The lock may have been held by a thread that the child does not have.
        self._turn = threading.Lock()
        self._connection.close()
