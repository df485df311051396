"""What a caller gets wrong is raised at once: before the work of a lease, and also while the cache is left alone."""

import asyncio
import decimal
import fractions
import math
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.descriptors import is_hung_up
from tests.support.processes import run

from scache_client import (
    AsyncClient,
    Client,
    ServerGone,
    lease,
    lease_async,
    lease_dest,
    lease_dest_async,
)
from scache_client.testing import FakeCache

NO_NUMBERS = [
    True,
    False,
    "5",
    b"5",
    None,
    [5],
    1j,
    decimal.Decimal("1.5"),
    decimal.Decimal("nan"),
    fractions.Fraction(1),
]
NO_WHOLE_NUMBERS = [*[each for each in NO_NUMBERS if each is not None], 1.5, 5.0, math.nan]
NO_LABELS = [None, "label", 5, ["label"], bytearray(b"label"), memoryview(b"label"), "\udc80"]

Lease = Callable[[FakeCache, dict[str, object]], None]


def _blocking(cache: FakeCache, arguments: dict[str, object]) -> None:
    with lease(cache.client(), **({"endpoint": b"e", "ttl_s": 5} | arguments)):  # type: ignore[arg-type]
        raise AssertionError("the work was begun")


def _blocking_dest(cache: FakeCache, arguments: dict[str, object]) -> None:
    with lease_dest(cache.client(), **_by_destination(arguments)):  # type: ignore[arg-type]
        raise AssertionError("the work was begun")


def _asyncio(cache: FakeCache, arguments: dict[str, object]) -> None:
    async def use() -> None:
        given = {"endpoint": b"e", "ttl_s": 5} | arguments | {"connect": _awaitable(arguments["connect"])}
        async with lease_async(cache.async_client(), **given):  # type: ignore[arg-type]
            raise AssertionError("the work was begun")

    asyncio.run(use())


def _asyncio_dest(cache: FakeCache, arguments: dict[str, object]) -> None:
    async def use() -> None:
        given = _by_destination(arguments)
        async with lease_dest_async(cache.async_client(), **given | {"connect": _awaitable(given["connect"])}):  # type: ignore[arg-type]
            raise AssertionError("the work was begun")

    asyncio.run(use())


def _by_destination(arguments: dict[str, object]) -> dict[str, object]:
    given = {"ttl_s": 5} | arguments
    connect = given["connect"]
    assert callable(connect)
    endpoint = given.pop("endpoint", b"e")
    return given | {"destination": b"d", "connect": lambda: (endpoint, connect())}


class _Opening(ExitStack):
    """Opens connections, and keeps the far end of each."""

    def __init__(self) -> None:
        super().__init__()
        self.far: list[socket.socket] = []

    def connect(self) -> socket.socket:
        mine, far = socket.socketpair()
        self.far.append(self.enter_context(far))
        return mine


def _awaitable(connect: object) -> object:
    async def connect_later() -> object:
        assert callable(connect)
        return connect()

    return connect_later


every_lease = pytest.mark.parametrize("use", [_blocking, _blocking_dest, _asyncio, _asyncio_dest])


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    with FakeCache() as opened:
        yield opened


@every_lease
@pytest.mark.parametrize("works", [True, False], ids=["cache works", "cache fails"])
@pytest.mark.parametrize("name", ["ttl_s", "reuses_max", "age_s_max", "properties", "endpoint"])
def test_wrong_type_is_a_type_error_before_the_work(use: Lease, cache: FakeCache, name: str, works: bool) -> None:
    cache.fail(None if works else ServerGone("no server"))
    for value in NO_LABELS if name in {"properties", "endpoint"} else NO_WHOLE_NUMBERS:
        with _Opening() as opening:
            with pytest.raises(TypeError, match=r"it must be a whole number|labels and properties are bytes"):
                use(cache, {name: value, "connect": opening.connect})
            assert all(map(is_hung_up, opening.far))


@every_lease
@pytest.mark.parametrize("name", ["properties", "endpoint"])
def test_nul_is_a_value_error_before_the_work(use: Lease, cache: FakeCache, name: str) -> None:
    cache.fail(ServerGone("no server"))
    with _Opening() as opening:
        with pytest.raises(ValueError, match="NUL byte at 1"):
            use(cache, {name: b"a\0b", "connect": opening.connect})
        assert all(map(is_hung_up, opening.far))


@every_lease
def test_ttl_out_of_range_is_a_value_error_before_the_work(use: Lease, cache: FakeCache) -> None:
    for ttl_s in (0, -1, 2**31, 2**70):
        with pytest.raises(ValueError, match=f"ttl_s is {ttl_s};"):
            use(cache, {"ttl_s": ttl_s, "connect": _never})


def _never() -> socket.socket:
    raise AssertionError("a connection was opened for a lease that cannot be")


@every_lease
def test_connect_that_returns_no_socket_is_a_type_error_before_the_work(use: Lease, cache: FakeCache) -> None:
    for what in (None, True, "socket", 7.0, object(), sys.stdin):
        with pytest.raises(TypeError, match="is not a connection; park a socket"):
            use(cache, {"connect": lambda returned=what: returned})


@every_lease
def test_connect_that_returns_a_number_is_a_type_error_and_leaves_it_open(use: Lease, cache: FakeCache) -> None:
    mine, far = socket.socketpair()
    with mine, far:
        with pytest.raises(TypeError, match=f"connect returned {mine.fileno()}; it must return a socket"):
            use(cache, {"connect": mine.fileno})
        assert not is_hung_up(far)


@pytest.mark.parametrize("value", [None, "text", bytearray(b"x")])
def test_properties_that_the_block_sets_are_checked_at_its_end(cache: FakeCache, value: object) -> None:
    def work() -> None:
        with lease(cache.client(), b"e", connect=opening.connect, ttl_s=5, reuses_max=3) as leased:
            leased.properties = value  # type: ignore[assignment]

    with _Opening() as opening:
        with pytest.raises(TypeError, match=r"leased\.properties is .*; properties are bytes"):
            work()
        assert is_hung_up(opening.far[0])


def test_connection_that_the_block_put_in_place_of_the_first_is_closed(cache: FakeCache) -> None:
    def work() -> None:
        with lease(cache.client(), b"e", connect=opening.connect, ttl_s=5) as leased:
            leased.connection = socket.socket(fileno=leased.connection.detach())
            raise ZeroDivisionError

    with _Opening() as opening:
        with pytest.raises(ZeroDivisionError):
            work()
        assert is_hung_up(opening.far[0])


def test_client_of_the_other_kind_is_a_type_error(cache: FakeCache) -> None:
    async def use(client: Client) -> None:
        async with lease_async(client, b"e", connect=_never_awaited, ttl_s=5):  # type: ignore[arg-type]
            raise AssertionError("the work was begun")

    with pytest.raises(TypeError, match="with a Client use lease"):
        asyncio.run(use(cache.client()))
    with (
        pytest.raises(TypeError, match="with an AsyncClient use lease_async"),
        lease(cache.async_client(), b"e", connect=_never, ttl_s=5),  # type: ignore[arg-type]
    ):
        raise AssertionError("the work was begun")


async def _never_awaited() -> socket.socket:
    return _never()


@pytest.mark.parametrize(("said", "is_reused"), [(1, True), ("yes", True), (None, False), (0, False)])
def test_test_of_the_caller_may_say_yes_or_no_in_any_form(cache: FakeCache, said: object, is_reused: bool) -> None:
    def usable(_: socket.socket) -> bool:
        return said  # type: ignore[return-value]

    async def use() -> None:
        async def connect() -> socket.socket:
            return opening.connect()

        async with lease_async(cache.async_client(), b"e", connect=connect, ttl_s=5, usable=usable) as leased:
            assert leased.reused is is_reused

    with _Opening() as opening:
        cache.client().save_endp(b"e", b"", 5, opening.connect())
        asyncio.run(use())
        cache.close()


def test_test_that_has_to_be_awaited_is_a_type_error_in_a_blocking_lease(cache: FakeCache) -> None:
    verdict: asyncio.Future[bool]

    def usable(_: socket.socket) -> bool:
        return verdict  # type: ignore[return-value]

    with _Opening() as opening, asyncio.Runner() as runner:
        verdict = runner.get_loop().create_future()
        cache.client().save_endp(b"e", b"", 5, opening.connect())
        with (
            pytest.raises(TypeError, match="use lease_async"),
            lease(cache.client(), b"e", connect=_never, ttl_s=5, usable=usable),
        ):
            raise AssertionError("the work was begun")
        assert is_hung_up(opening.far[0])


FORKING = """
import os, socket
from scache_client import lease
from scache_client.testing import FakeCache

mine, far = socket.socketpair()
cache = FakeCache()
with lease(cache.client(), b"e", connect=lambda: mine, ttl_s=5):
    child = os.fork()
if child:
    os.waitpid(child, 0)
print(f"{len(cache.sessions)} parked, own descriptor {mine.fileno()}", flush=True)
cache.close()
"""


def test_child_of_a_fork_inside_of_a_lease_does_not_park() -> None:
    """Parked by both, one connection would have two users."""
    result = run("-c", FORKING, command=[sys.executable])
    expected = "0 parked, own descriptor -1\n1 parked, own descriptor -1\n"
    assert result.stdout == expected, result.stderr


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_time_that_is_no_number_is_a_type_error(kind: type[Client] | type[AsyncClient], value: object) -> None:
    with pytest.raises(TypeError, match=r"timeout_s is .*; it must be an int or a float"):
        kind("s", timeout_s=value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"pause_s is .*; it must be an int or a float"):
        kind("s", pause_s=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [each for each in NO_NUMBERS if each is not None])
def test_timeout_of_a_request_that_is_no_number_is_a_type_error(value: object) -> None:
    client = Client("s")
    with pytest.raises(TypeError, match="timeout_s is"):
        client.find_endp(b"e", timeout_s=value)  # type: ignore[arg-type]
    client.timeout_s = value  # type: ignore[assignment]
    with pytest.raises(TypeError, match="timeout_s is"):
        client.find_endp(b"e")


@pytest.mark.parametrize("pause_s", [-1, math.nan, math.inf, 10**400])
def test_pause_out_of_range_is_a_value_error(pause_s: float) -> None:
    with pytest.raises(ValueError, match="pause_s is"):
        Client("s", pause_s=pause_s)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_path_that_names_no_socket_is_a_value_error(kind: type[Client] | type[AsyncClient]) -> None:
    with pytest.raises(ValueError, match="the path of the socket is empty"):
        kind("")
    with pytest.raises(ValueError, match=r"^/tmp/a\\x00b has a NUL byte"):
        kind("/tmp/a\0b")
    for path in (5, None, ["s"]):
        with pytest.raises(TypeError, match="expected str, bytes or"):
            kind(path)  # type: ignore[arg-type]


def test_path_may_be_text_bytes_or_a_path() -> None:
    for path in ("/tmp/ä", os.fsencode("/tmp/ä"), Path("/tmp/ä")):
        assert repr(Client(path)) == "<Client /tmp/ä not connected>"


def test_name_of_a_socket_is_printed_escaped() -> None:
    assert repr(Client("\0a\0b\n\udc80")) == r"<Client @a\x00b\n\udc80 not connected>"


def test_path_that_no_socket_has_is_server_gone(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null"), Path("s\nt")):
        with pytest.raises(ServerGone, match="give the path on which it listens"):
            Client(path).find_endp(b"e")
