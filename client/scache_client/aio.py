"""The asyncio client: how a task waits for the server, and what cancelling it means.

The protocol is in `dialogue`, its system calls in `connection`. A task waits for the bare descriptor (`add_reader`)
because the loop's own socket calls and streams can neither send nor receive a descriptor, and read more than asked.
"""

import asyncio
import os
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


class AsyncClient:
    """The verbs of `Client` for tasks of one event loop.

    Guarantees:
    * A request ends within `timeout_s` of the loop's time, connecting, a second attempt and the wait for other tasks
      included, as far as the loop itself gets its turn.
    * Tasks of one loop may share a client: one request is let through at a time. For requests side by side make
      several clients. Loops that run at the same time need a client each: a second one gets a RuntimeError. When a loop
      has ended, the next loop may use its client.
    * Cancelling a request closes the connection if the dance had begun, and leaks nothing: a half-done dance is never
      gone on with, and the next request makes a new connection. A `save_endp` that was cancelled may have parked the
      connection: close your copy without another word to the peer, as after an exception with `maybe_parked`.
    * A child of fork may go on using the client in an event loop of its own: in the child, the client's copy of the
      connection is closed, and the next request makes a new one. The parent notices nothing.

    >>> from scache_client.testing import FakeCache
    >>> async def main(client):
    ...     async with client:
    ...         print(await client.find_endp(b"nothing"), await client.find_dest(b"nothing"))
    >>> with FakeCache() as cache:
    ...     asyncio.run(main(cache.async_client()))
    None None
    """

    def __init__(
        self, path: str | bytes | os.PathLike[str], *, timeout_s: float = TIMEOUT_S, pause_s: float = PAUSE_S
    ) -> None:
        self._connection = Connection(path)
        self.timeout_s = quantities.timeout(timeout_s)
        self.clock: Callable[[], float] = boot_time_s
        self.pause = Pause(pause_s)
        self._turn = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # that used this client last
        start_anew_in_child(self)

    async def save_endp(
        self,
        endpoint: bytes,
        properties: bytes,
        ttl_s: int,
        connection: socket | int,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """Park a connection (a socket or a descriptor) and close the caller's copy, as `Client.save_endp` does.

        A transport's socket belongs to its transport and is a TypeError.

        >>> from scache_client.testing import FakeCache
        >>> import socket
        >>> mine, far = socket.socketpair()
        >>> with far, FakeCache() as cache:
        ...     asyncio.run(cache.async_client().save_endp(b"db", b"user=web", 30, mine))
        ...     print(cache.sessions)
        [(b'db', b'user=web')]
        """
        await self._request(dialogue.save_endp(endpoint, properties, ttl_s, descriptor_of(connection)), timeout_s)
        close_copy(connection)

    async def find_endp(self, endpoint: bytes, *, timeout_s: float | None = None) -> Found | None:
        """Take up the connection parked longest under an endpoint; None when there is none.

        >>> from scache_client.testing import FakeCache
        >>> with FakeCache() as cache:
        ...     print(asyncio.run(cache.async_client().find_endp(b"nothing is parked here")))
        None
        """
        return await self._request(dialogue.find_endp(endpoint), timeout_s)

    async def save_dest(
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
        ...     asyncio.run(cache.async_client().save_dest(b"example.org", b"", b"192.0.2.1:25", 30))
        ...     print(cache.bindings)
        [(b'example.org', b'', b'192.0.2.1:25')]
        """
        await self._request(dialogue.save_dest(destination, properties, endpoint, ttl_s), timeout_s)

    async def find_dest(self, destination: bytes, *, timeout_s: float | None = None) -> FoundDest | None:
        """Take up a connection from the first endpoint bound to a destination that has one; None when none has.

        >>> from scache_client.testing import FakeCache
        >>> with FakeCache() as cache:
        ...     print(asyncio.run(cache.async_client().find_dest(b"bound to nothing")))
        None
        """
        return await self._request(dialogue.find_dest(destination), timeout_s)

    async def close(self) -> None:
        """Close the connection to the server, after the request that is under way; the next one makes a new one.

        >>> asyncio.run(AsyncClient("/run/scached/scached.sock").close())
        """
        async with self._turn_in_this_loop():
            self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection}>"

    def _start_anew_in_child(self) -> None:
        # A task that held the turn is one of the parent's loop.
        self._turn, self._loop = asyncio.Lock(), None
        self._connection.close()

    def _turn_in_this_loop(self) -> asyncio.Lock:
        """Return the lock; RuntimeError while another loop runs."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError(f"{self!r} is used in another event loop that runs; make a client for each loop")
            # The tasks that hold or await the lock of a loop that has ended will never release it.
            self._turn, self._loop = asyncio.Lock(), loop
        return self._turn

    async def _request(self, dance: dialogue.Dance[T], own_timeout_s: float | None) -> T:
        timeout_s = quantities.timeout(self.timeout_s if own_timeout_s is None else own_timeout_s)
        deadline = asyncio.get_running_loop().time() + timeout_s
        turn = self._turn_in_this_loop()
        try:
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
        except TimeoutError as error:
            raise TimedOut("timed out while other tasks used this client; give each task its own") from error
        try:
            return await self._run(self._connection.request(dance), deadline)
        finally:
            turn.release()

    async def _run(self, waiting: Waiting[T], deadline: float) -> T:
        try:
            wait = next(waiting)
            while True:
                wait = waiting.send(await self._wait(wait, deadline))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            waiting.close()  # a cancelled one closes the connection now, not at some later collection

    async def _wait(self, wait: Wait, deadline: float) -> bool:
        """Say whether the wait came to its end in time."""
        try:
            async with asyncio.timeout_at(deadline):
                match wait:
                    case Wait.BACKLOG:
                        await asyncio.sleep(BACKLOG_PAUSE_S)
                    case Wait.READABLE:
                        await self._readable()
                    case Wait.WRITABLE:
                        await self._writable()
                    case _:
                        assert_never(wait)
        except TimeoutError:
            return False
        return True

    async def _readable(self) -> None:
        loop, fd, ready = asyncio.get_running_loop(), self._connection.fileno(), asyncio.Event()
        loop.add_reader(fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(fd)

    async def _writable(self) -> None:
        loop, fd, ready = asyncio.get_running_loop(), self._connection.fileno(), asyncio.Event()
        loop.add_writer(fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(fd)
