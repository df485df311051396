"""`lease` and `lease_dest` for the tasks of an event loop: the same promises, with waits that do not block the loop.

Cancelling a task anywhere in a lease closes the connection, for nobody knows what is still on its way in it.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from inspect import isawaitable

from scache_client.aio import AsyncClient
from scache_client.dialogue import check_save
from scache_client.errors import CacheError
from scache_client.found import Found
from scache_client.lease import is_quiet
from scache_client.leased import Bounds, Leased, closing


@asynccontextmanager
async def lease_async(
    client: AsyncClient,
    endpoint: bytes,
    *,
    connect: Callable[[], Awaitable[socket.socket]],
    ttl_s: int,
    properties: bytes = b"",
    usable: Callable[[socket.socket], bool | Awaitable[bool]] = is_quiet,
    reuses_max: int | None = None,
    age_s_max: int | None = None,
) -> AsyncIterator[Leased]:
    """Lend a connection as `lease` does: a non-blocking socket, to be used with the loop's `sock_…` calls.

    Streams and transports are no use here: they close the socket they are given, and may have read ahead.

    >>> import asyncio
    >>> from scache_client.testing import FakeCache
    >>> mine, far = socket.socketpair()
    >>> async def connect():
    ...     return mine
    >>> async def main(client):
    ...     for _ in range(2):
    ...         async with lease_async(client, b"db", connect=connect, ttl_s=30) as leased:
    ...             await asyncio.get_running_loop().sock_sendall(leased.connection, b"hello")
    ...             print(leased.reused)
    >>> with far, FakeCache() as cache:
    ...     asyncio.run(main(cache.async_client()))
    False
    True
    """
    _check_client(client)
    check_save(endpoint, properties, ttl_s)
    bounds = Bounds(reuses_max, age_s_max, client.clock)
    leased = await _take_up(client, partial(client.find_endp, endpoint), bounds, usable)
    if leased is None:
        leased = bounds.opened(await connect(), properties)
    with closing(leased):
        leased.connection.setblocking(False)
        yield leased
        await _park(client, endpoint, leased, bounds, ttl_s)


@asynccontextmanager
async def lease_dest_async(
    client: AsyncClient,
    destination: bytes,
    *,
    connect: Callable[[], Awaitable[tuple[bytes, socket.socket]]],
    ttl_s: int,
    properties: bytes = b"",
    usable: Callable[[socket.socket], bool | Awaitable[bool]] = is_quiet,
    reuses_max: int | None = None,
    age_s_max: int | None = None,
) -> AsyncIterator[Leased]:
    """Lend a connection as `lease_dest` does: a non-blocking socket, to be used with the loop's `sock_…` calls.

    >>> import asyncio
    >>> from scache_client.testing import FakeCache
    >>> mine, far = socket.socketpair()
    >>> async def connect():
    ...     return b"192.0.2.1:25", mine
    >>> async def main(client):
    ...     for _ in range(2):
    ...         async with lease_dest_async(client, b"example.org", connect=connect, ttl_s=30) as leased:
    ...             print(leased.reused)
    >>> with far, FakeCache() as cache:
    ...     asyncio.run(main(cache.async_client()))
    False
    True
    """
    _check_client(client)
    check_save(destination, properties, ttl_s)
    bounds = Bounds(reuses_max, age_s_max, client.clock)
    endpoint = b""

    async def find() -> Found | None:
        nonlocal endpoint
        found = await client.find_dest(destination)
        if found is not None:
            endpoint = found.destination_properties
        return found

    leased = await _take_up(client, find, bounds, usable)
    if leased is None:
        endpoint, connection = await connect()
        leased = bounds.opened(connection, properties)
    with closing(leased):
        check_save(endpoint, properties, ttl_s)  # the endpoint is what connect returned
        leased.connection.setblocking(False)
        yield leased
        if await _park(client, endpoint, leased, bounds, ttl_s):
            await _try_to(
                "bind the destination of a connection",
                client,
                partial(client.save_dest, destination, endpoint, endpoint, ttl_s),
            )


def _check_client(client: AsyncClient) -> None:
    if not isinstance(client, AsyncClient):
        raise TypeError(f"{client!r} is not an AsyncClient; with a Client use lease or lease_dest")


async def _take_up(
    client: AsyncClient,
    find: Callable[[], Awaitable[Found | None]],
    bounds: Bounds,
    usable: Callable[[socket.socket], bool | Awaitable[bool]],
) -> Leased | None:
    while client.pause.is_over():
        try:
            found = await find()
        except (CacheError, OSError) as error:
            client.pause.note_failure("find a connection, opening a new one", error)
            return None
        client.pause.note_success()
        if found is None:
            return None
        leased = bounds.taken_up(found)
        if leased is not None:
            with ExitStack() as unwinding:
                unwinding.enter_context(leased.connection)
                leased.connection.setblocking(False)
                verdict = usable(leased.connection)
                if await verdict if isawaitable(verdict) else verdict:
                    unwinding.pop_all()
                    return leased
    return None


async def _park(client: AsyncClient, endpoint: bytes, leased: Leased, bounds: Bounds, ttl_s: int) -> bool:
    properties = bounds.properties_to_park(leased)
    if properties is None:
        return False
    return await _try_to(
        "park a connection, closing it",
        client,
        partial(client.save_endp, endpoint, properties, ttl_s, leased.connection),
    )


async def _try_to(what: str, client: AsyncClient, call: Callable[[], Awaitable[None]]) -> bool:
    if not client.pause.is_over():
        return False
    try:
        await call()
    except (CacheError, OSError) as error:
        client.pause.note_failure(what, error)
        return False
    client.pause.note_success()
    return True
