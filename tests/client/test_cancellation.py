"""Every await of the asyncio client is cancelled once, against a real server.

After each, this process has the descriptors it had before, the client's next requests get the answers that belong to
them, and the connection that was parked or found is open in one place at most: here, in the cache, or nowhere.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.client import PATIENCE_S
from tests.support.processes import module, running

from scache_client import AsyncClient, Client, lease_async, lease_dest_async

T = TypeVar("T")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    address = tmp_path_factory.mktemp("cancellation") / "s"
    with running("--listen", address, "--ttl-limit", "1h", command=module("scache_fast")):
        yield address


class CancelledAt:
    """Awaits something, and has its own task cancelled at the n-th time that it waits (0: the first)."""

    def __init__(self, what: Awaitable[object], number: int) -> None:
        self.what, self.number, self.was_cancelled = what, number, False

    def __await__(self) -> Generator[object, object, object]:
        steps = self.what.__await__()
        count = 0
        try:
            waited_for = next(steps)
            while True:
                if count == self.number:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                    self.was_cancelled = True
                count += 1
                try:
                    arrived = yield waited_for
                except BaseException as error:  # noqa: BLE001 - handed on, as `await` does
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(arrived)
        except StopIteration as stop:
            return stop.value


async def save(client: AsyncClient, mine: socket.socket) -> None:
    await client.save_endp(b"e", b"mine", 100, mine)


async def find(client: AsyncClient, mine: socket.socket) -> None:
    mine.close()
    found = await client.find_endp(b"parked")
    assert found is not None
    with found:
        assert found.properties == b"before"


async def find_dest(client: AsyncClient, mine: socket.socket) -> None:
    mine.close()
    found = await client.find_dest(b"d")
    assert found is not None
    with found:
        assert found.destination_properties == b"parked"


async def save_dest(client: AsyncClient, mine: socket.socket) -> None:
    mine.close()
    await client.save_dest(b"other", b"", b"e", 100)


async def lease_anew(client: AsyncClient, mine: socket.socket) -> None:
    async def connect() -> socket.socket:
        await asyncio.sleep(0)
        return mine

    with mine:
        async with lease_async(client, b"e", connect=connect, ttl_s=100) as leased:
            assert not leased.reused
            await asyncio.sleep(0)


async def lease_parked(client: AsyncClient, mine: socket.socket) -> None:
    mine.close()

    async def connect() -> socket.socket:
        raise AssertionError("there is one to be taken up")

    async def usable(_: socket.socket) -> bool:
        await asyncio.sleep(0)
        return True

    async with lease_async(client, b"parked", connect=connect, ttl_s=100, usable=usable) as leased:
        assert leased.properties == b"before"
        await asyncio.sleep(0)


async def lease_dest_anew(client: AsyncClient, mine: socket.socket) -> None:
    async def connect() -> tuple[bytes, socket.socket]:
        await asyncio.sleep(0)
        return b"e", mine

    with mine:
        async with lease_dest_async(client, b"unbound", connect=connect, ttl_s=100) as leased:
            assert not leased.reused
            await asyncio.sleep(0)


async def lease_dest_parked(client: AsyncClient, mine: socket.socket) -> None:
    mine.close()

    async def connect() -> tuple[bytes, socket.socket]:
        raise AssertionError("there is one to be taken up")

    async with lease_dest_async(client, b"d", connect=connect, ttl_s=100) as leased:
        assert leased.properties == b"before"
        await asyncio.sleep(0)


async def wait_for_the_turn(client: AsyncClient, mine: socket.socket) -> None:
    mine.close()
    other = asyncio.ensure_future(client.find_endp(b"nothing"))
    await asyncio.sleep(0)
    try:
        await save_dest(client, mine)
    finally:
        await asyncio.wait([other])


REQUESTS = [
    save, find, find_dest, save_dest, lease_anew, lease_parked, lease_dest_anew, lease_dest_parked, wait_for_the_turn
]  # fmt: skip


@pytest.mark.parametrize("kept", [False, True], ids=["connecting", "connected"])
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.__name__)
def test_each_await_may_be_cancelled(
    path: Path, request_: Callable[[AsyncClient, socket.socket], Awaitable[None]], kept: bool
) -> None:
    number = 0
    while cancelled(path, request_, kept, number):
        number += 1
    assert number >= (1 if kept and request_ is save_dest else 2), "so many awaits were tried"


def cancelled(
    path: Path, request: Callable[[AsyncClient, socket.socket], Awaitable[None]], kept: bool, number: int
) -> bool:
    """Cancel a request at its n-th wait; say whether it waited so often."""
    parked, far_of_parked = socket.socketpair()
    mine, far = socket.socketpair()
    with far_of_parked, mine, far, Client(path, timeout_s=PATIENCE_S) as witness:
        witness.save_endp(b"parked", b"before", 100, parked)
        witness.save_dest(b"d", b"parked", b"parked", 100)  # as a lease binds it

        async def run() -> bool:
            async with AsyncClient(path, timeout_s=PATIENCE_S) as client:
                if kept:
                    assert await client.find_endp(b"nothing") is None
                with none_left_open_but(client, mine):
                    cancelling = CancelledAt(request(client, mine), number)
                    with suppress(asyncio.CancelledError):
                        await asyncio.ensure_future(_awaited(cancelling))
                # In step: each answer is of another shape than the one that may be under way.
                assert await client.find_dest(b"nothing") is None
                await client.save_dest(b"after", b"", b"after", 100)
                assert await client.find_endp(b"nothing") is None
                return cancelling.was_cancelled

        waited = asyncio.run(run())
        mine.close()
        # Whatever is in the cache still is one working copy, and it is the only one.
        for endpoint, one_far in ((b"parked", far_of_parked), (b"e", far)):
            found = witness.find_endp(endpoint)
            if found is not None:
                with found.socket() as connection:
                    connection.sendall(b"through")
                    assert one_far.recv(100) == b"through"
            assert witness.find_endp(endpoint) is None
            one_far.settimeout(PATIENCE_S)
            assert one_far.recv(1) == b"", "every copy is closed now"
    return waited


async def _awaited(what: CancelledAt) -> None:
    await what


class none_left_open_but:  # noqa: N801 - reads as a context
    """Fail if another descriptor is open afterwards than the client's own connection."""

    def __init__(self, client: AsyncClient, mine: socket.socket) -> None:
        self.client, self.mine = client, mine

    def __enter__(self) -> None:
        self.before = len(os.listdir("/proc/self/fd")) - self._own()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            assert len(os.listdir("/proc/self/fd")) - self._own() == self.before

    def _own(self) -> int:
        return (self.client._connection.fileno() >= 0) + (self.mine.fileno() >= 0)
