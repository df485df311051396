"""What happens to a connection round its use, in both leases, with the fake cache in place of a server."""

import asyncio
import errno
import logging
import os
import socket
import ssl
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.support.descriptors import is_hung_up, room_for

from scache_client import (
    Client,
    Leased,
    ProtocolError,
    Refused,
    RequestTooLong,
    ServerGone,
    TimedOut,
    is_quiet,
    lease,
    lease_async,
    lease_dest,
    lease_dest_async,
)
from scache_client.pause import Pause
from scache_client.testing import FakeCache
from scache_spec.vocabulary import Status


class World(ABC):
    """A cache, one kind of lease, and a far end for every connection that is made."""

    def __init__(self) -> None:
        self.cache = FakeCache()
        self.direct = self.cache.client()
        self.far: list[socket.socket] = []
        self.reuses_max: int | None = None
        self.age_s_max: int | None = None

    def connect(self) -> socket.socket:
        mine, far = socket.socketpair()
        self.far.append(far)
        return mine

    def connect_somewhere(self) -> tuple[bytes, socket.socket]:
        return b"endpoint %d" % len(self.far), self.connect()

    def hung_up(self, number: int) -> bool:
        return is_hung_up(self.far[number])

    def park(self, fd: int) -> None:
        self.direct.save_endp(b"e", b"", 100, fd)

    def used(self) -> tuple[bool, bytes]:
        """Lease once, change the properties; return what the lease began with."""
        with self.leasing() as leased:
            before = leased.reused, leased.properties
            leased.properties = b"used"
            return before

    @property
    @abstractmethod
    def pause(self) -> Pause:
        """Return the pause of the client that leases."""

    @abstractmethod
    def leasing(self, *, fails: bool = False) -> AbstractContextManager[Leased]:
        """Lease by endpoint; `fails`: the test for what is usable raises."""

    @abstractmethod
    def leasing_dest(self) -> AbstractContextManager[Leased]:
        """Lease by destination."""

    def close(self) -> None:
        self.cache.close()
        for far in self.far:
            far.close()


def _divide(_: socket.socket) -> bool:
    raise ZeroDivisionError


class Blocking(World):
    def __init__(self) -> None:
        super().__init__()
        self.client = self.cache.client(pause_s=10)

    @property
    def pause(self) -> Pause:
        return self.client.pause

    def leasing(self, *, fails: bool = False) -> AbstractContextManager[Leased]:
        return lease(
            self.client, b"e", connect=self.connect, ttl_s=100, properties=b"new",
            usable=_divide if fails else is_quiet, reuses_max=self.reuses_max, age_s_max=self.age_s_max,
        )  # fmt: skip

    def leasing_dest(self) -> AbstractContextManager[Leased]:
        return lease_dest(
            self.client, b"d", connect=self.connect_somewhere, ttl_s=100,
            reuses_max=self.reuses_max, age_s_max=self.age_s_max,
        )  # fmt: skip


class Asyncio(World):
    def __init__(self) -> None:
        super().__init__()
        self.client = self.cache.async_client(pause_s=10)
        self.runner = asyncio.Runner()

    @property
    def pause(self) -> Pause:
        return self.client.pause

    @contextmanager
    def leasing(self, *, fails: bool = False) -> Iterator[Leased]:
        async def connect() -> socket.socket:
            return self.connect()

        context = lease_async(
            self.client, b"e", connect=connect, ttl_s=100, properties=b"new",
            usable=_divide if fails else self._is_quiet, reuses_max=self.reuses_max, age_s_max=self.age_s_max,
        )  # fmt: skip
        leased = self.runner.run(context.__aenter__())
        try:
            yield leased
        except BaseException as error:
            self.runner.run(context.__aexit__(type(error), error, error.__traceback__))
            raise
        self.runner.run(context.__aexit__(None, None, None))

    @contextmanager
    def leasing_dest(self) -> Iterator[Leased]:
        async def connect() -> tuple[bytes, socket.socket]:
            return self.connect_somewhere()

        context = lease_dest_async(
            self.client, b"d", connect=connect, ttl_s=100, reuses_max=self.reuses_max, age_s_max=self.age_s_max
        )
        leased = self.runner.run(context.__aenter__())
        yield leased
        self.runner.run(context.__aexit__(None, None, None))

    async def _is_quiet(self, connection: socket.socket) -> bool:
        assert not connection.getblocking(), "a task that waits must not block its loop"
        return is_quiet(connection)

    def close(self) -> None:
        super().close()
        self.runner.close()


@pytest.fixture(params=[Blocking, Asyncio], ids=["blocking", "asyncio"])
def world(_no_descriptor_is_left: None, request: pytest.FixtureRequest) -> Iterator[World]:
    opened: World = request.param()
    yield opened
    opened.close()


def test_new_connection_is_parked_and_taken_up_again(world: World) -> None:
    with world.leasing() as first:
        assert not first.reused
        assert world.cache.sessions == []
    with world.leasing() as second:
        assert second.reused
        assert world.cache.sessions == []
    assert len(world.far) == 1
    assert world.cache.sessions == [(b"e", b"new")]


def test_properties_go_with_the_connection(world: World) -> None:
    assert [world.used(), world.used()] == [(False, b"new"), (True, b"used")]
    assert world.cache.sessions == [(b"e", b"used")]


def test_connection_is_in_the_mode_that_the_kind_of_lease_promises(world: World) -> None:
    for _ in range(2):
        with world.leasing() as leased:
            assert leased.connection.getblocking() == isinstance(world, Blocking)


def test_connection_is_closed_after_an_exception(world: World) -> None:
    with pytest.raises(ZeroDivisionError), world.leasing():
        raise ZeroDivisionError
    assert world.cache.sessions == []
    assert world.hung_up(0)


def test_connection_that_the_block_has_closed_is_not_parked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with world.leasing() as leased:
        leased.connection.close()
    assert world.cache.sessions == []
    assert caplog.records == []


def test_connection_whose_peer_left_is_passed_over(world: World) -> None:
    world.used()
    world.far[0].close()
    assert world.used() == (False, b"new")
    assert len(world.far) == 2


def test_connection_that_speaks_unasked_is_passed_over(world: World) -> None:
    world.used()
    world.far[0].send(b"421 closing\r\n")
    with world.leasing() as leased:
        assert not leased.reused
        with pytest.raises(ConnectionResetError):  # closed with our words unread
            world.far[0].recv(1)


def test_next_one_is_tried_when_the_first_is_of_no_use(world: World) -> None:
    with world.leasing(), world.leasing():
        pass
    world.far[1].close()  # the inner one, parked first
    assert world.used() == (True, b"new")
    assert len(world.far) == 2


def test_what_is_no_socket_is_closed_and_the_next_one_tried(world: World) -> None:
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as file:
        for fd in (os.dup(file.fileno()), os.open("/dev/null", os.O_RDWR), writing):
            world.park(fd)
    world.park(world.connect().detach())
    assert world.used()[0]
    assert os.read(reading, 1) == b"", "the other end of the pipe was closed"
    os.close(reading)
    assert len(world.far) == 1


def test_test_of_the_caller_decides_and_may_fail(world: World) -> None:
    world.used()
    with pytest.raises(ZeroDivisionError), world.leasing(fails=True):
        pass
    assert world.hung_up(0)


def test_connection_that_cannot_be_parked_is_a_type_error_before_the_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = world.connect
    monkeypatch.setattr(world, "connect", lambda: _encrypted(connect()))
    with pytest.raises(TypeError, match="its keys stay"), world.leasing():
        raise AssertionError("the work was begun")
    assert world.hung_up(0)


def _encrypted(connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    return context.wrap_socket(connection, do_handshake_on_connect=False)


# Trouble of the cache.

BEGINS_A_PAUSE: list[Exception] = [ServerGone("no server"), TimedOut("late"), ProtocolError("no cache")]
BEGINS_NONE: list[Exception] = [
    Refused("full", request=b"save_endp", status=Status.FAILED),
    RequestTooLong("70000 bytes"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ETOOMANYREFS, "Too many references"),
    OSError(errno.EPERM, "Operation not permitted"),
]


def _name(error: Exception) -> str:
    return errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)


@pytest.mark.parametrize("failure", BEGINS_A_PAUSE + BEGINS_NONE, ids=_name)
def test_work_goes_on_without_the_cache(world: World, failure: Exception) -> None:
    world.cache.fail(failure)
    for number in range(2):
        with world.leasing() as leased:
            assert not leased.reused
        assert world.hung_up(number)


@pytest.mark.parametrize("failure", BEGINS_A_PAUSE + BEGINS_NONE, ids=_name)
def test_work_goes_on_when_parking_fails(world: World, failure: Exception) -> None:
    with world.leasing():
        world.cache.fail(failure)
    assert world.hung_up(0)
    world.cache.fail(None)
    with world.leasing_dest():
        world.cache.fail(failure)
    assert world.hung_up(1)


@pytest.mark.parametrize("failure", BEGINS_A_PAUSE, ids=_name)
def test_cache_is_left_alone_for_a_while_after_a_failure(world: World, failure: Exception) -> None:
    world.used()
    world.cache.fail(failure)
    world.used()
    world.cache.fail(None)
    world.cache.advance(9.99)
    assert world.used() == (False, b"new"), "not asked"
    assert world.cache.sessions == [(b"e", b"used")], "nor given anything"
    world.cache.advance(0.01)
    assert world.used() == (True, b"used"), "asked again"


def test_cache_that_fails_on_is_asked_once_in_a_pause(world: World) -> None:
    world.cache.fail(TimedOut("late"))
    world.used()
    world.cache.advance(10)
    world.used()
    world.cache.fail(None)
    world.cache.advance(9.99)
    world.used()
    assert world.cache.sessions == []
    world.cache.advance(0.01)
    world.used()
    assert world.cache.sessions == [(b"e", b"used")]


@pytest.mark.parametrize("failure", BEGINS_NONE, ids=_name)
def test_trouble_that_says_nothing_of_the_cache_begins_no_pause(world: World, failure: Exception) -> None:
    world.used()
    world.cache.fail(failure)
    world.used()
    world.cache.fail(None)
    assert world.used() == (True, b"used")


def test_trouble_is_said_once_until_it_is_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "scache_client"):
        for _ in range(3):
            world.cache.fail(ServerGone("no server"))
            world.used()
            world.used()
            world.cache.advance(10)
            world.used()
            world.cache.fail(None)
            world.cache.advance(10)
            world.used()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot find a connection, opening a new one: no server; the cache is not used for 10 s",
        "the connection cache works again",
    ] * 3


def test_one_caller_tries_for_all_when_the_pause_is_over(world: World) -> None:
    world.cache.fail(ServerGone("no server"))
    world.used()
    world.cache.advance(10)
    assert [world.pause.is_over(), world.pause.is_over()] == [True, False]


def test_table_of_descriptors_that_is_full_does_not_fail_the_work(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The real thing: no descriptor is left for the connection to the cache."""
    mine, far = socket.socketpair()
    with far, Client(tmp_path / "none") as client:
        with room_for(0), lease(client, b"e", connect=lambda: mine, ttl_s=5):
            pass
        assert is_hung_up(far)
    assert "Too many open files" in caplog.records[0].getMessage()


# Limits on the life of a connection.


def test_connection_is_taken_up_so_often_and_then_closed(world: World) -> None:
    world.reuses_max = 2
    assert [world.used() for _ in range(3)] == [(False, b"new"), (True, b"used"), (True, b"used")]
    assert world.cache.sessions == []
    assert world.hung_up(0)
    assert world.used() == (False, b"new")


def test_connection_is_kept_until_it_has_an_age_and_then_closed(world: World) -> None:
    world.age_s_max = 60
    world.used()
    world.cache.advance(59)
    assert world.used() == (True, b"used")
    world.cache.advance(1)
    assert world.used() == (False, b"new")
    assert world.hung_up(0)
    assert not world.hung_up(1)


def test_connection_that_grew_too_old_in_use_is_not_parked(world: World) -> None:
    world.age_s_max = 60
    with world.leasing():
        world.cache.advance(60)
    assert world.hung_up(0)


def test_history_is_kept_by_leases_without_limits(world: World) -> None:
    world.reuses_max = 3
    world.used()
    world.reuses_max = None
    assert world.used() == (True, b"used"), "its user sees nothing of it"
    world.reuses_max = 3
    assert world.used() == (True, b"used")
    assert world.used() == (True, b"used")
    assert world.hung_up(0), "after the third"


def test_history_travels_in_front_of_the_properties(world: World) -> None:
    world.reuses_max = 3
    world.used()
    world.used()
    assert world.cache.sessions == [(b"e", b"lease reuses=1 opened=1000\nused")]


def test_connection_without_a_history_counts_as_new(world: World) -> None:
    world.park(world.connect().detach())
    world.reuses_max = world.age_s_max = 1
    assert world.used()[0]
    assert world.cache.sessions == []
    assert world.hung_up(0)


def test_limits_hold_by_destination_too(world: World) -> None:
    world.reuses_max = 1
    for reused in (False, True, False):
        with world.leasing_dest() as leased:
            assert leased.reused is reused
    assert world.hung_up(0)


@pytest.mark.parametrize("limit", ["reuses_max", "age_s_max"])
def test_limit_below_one_is_a_value_error(world: World, limit: str) -> None:
    setattr(world, limit, 0)
    with pytest.raises(ValueError, match=f"{limit} is 0; it must be at least 1"):
        world.used()


def test_endpoint_travels_with_the_binding(world: World) -> None:
    for expected in (False, True, True):
        with world.leasing_dest() as leased:
            assert leased.reused is expected
    assert [endpoint for endpoint, _ in world.cache.sessions] == [b"endpoint 0"]
    assert world.cache.bindings == [(b"d", b"endpoint 0", b"endpoint 0")]


def test_what_has_no_peer_is_not_quiet() -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as alone:
            assert not is_quiet(alone)


def test_silence_of_a_family_without_peers_is_not_quiet() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
        assert netlink.getpeername() == (0, 0), "the kernel names itself as the peer"
        assert not is_quiet(netlink)


def test_lease_closes_a_parked_netlink_socket(world: World) -> None:
    world.park(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).detach())
    with world.leasing() as leased:
        assert not leased.reused
        assert leased.connection.family == socket.AF_UNIX
        assert world.cache.sessions == []


def test_quiet_is_open_and_silent() -> None:
    mine, far = socket.socketpair()
    with mine, far:
        assert is_quiet(mine)
        far.send(b"x")
        assert not is_quiet(mine)
        assert mine.recv(2) == b"x", "looking takes nothing away"
        far.close()
        assert not is_quiet(mine)
    assert not is_quiet(mine), "a closed one is of no use"


def test_clock_of_the_fake_cache_does_not_go_back() -> None:
    with FakeCache() as cache:
        cache.advance(0)
        with pytest.raises(ValueError, match="seconds is -1; time does not go back"):
            cache.advance(-1)
