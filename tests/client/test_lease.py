"""What happens to a connection round its use, with a cache of three lines in place of a server."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scache_client import Client, Found, FoundDest, Refused, ServerGone, is_quiet, lease, lease_dest
from scache_spec.vocabulary import Properties, Status


class Cache(Client):
    """Keeps what is parked in a list, by the promises of the four verbs; fails when told to."""

    def __init__(self) -> None:
        super().__init__("unused")
        self.parked: list[tuple[bytes, bytes, int]] = []
        self.bound: dict[bytes, tuple[bytes, bytes]] = {}
        self.failure: Exception | None = None

    def save_endp(self, endpoint: bytes, properties: bytes, ttl_s: int, connection: socket.socket | int) -> None:
        self._fail()
        assert isinstance(connection, socket.socket)
        self.parked.append((endpoint, properties, connection.detach()))

    def find_endp(self, endpoint: bytes) -> Found | None:
        self._fail()
        for one in self.parked:
            if one[0] == endpoint:
                self.parked.remove(one)
                return Found(one[2], Properties(one[1]))
        return None

    def save_dest(self, destination: bytes, properties: bytes, endpoint: bytes, ttl_s: int) -> None:
        self._fail()
        self.bound[destination] = (properties, endpoint)

    def find_dest(self, destination: bytes) -> FoundDest | None:
        self._fail()
        properties, endpoint = self.bound.get(destination, (b"", b""))
        found = self.find_endp(endpoint)
        return None if found is None else FoundDest(found.detach(), found.properties, Properties(properties))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class World:
    """A cache, and a far end for every connection that is made."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.far: list[socket.socket] = []

    def connect(self) -> socket.socket:
        mine, far = socket.socketpair()
        self.far.append(far)
        return mine

    def connect_somewhere(self) -> tuple[bytes, socket.socket]:
        return b"endpoint %d" % len(self.far), self.connect()

    def hung_up(self, number: int) -> bool:
        self.far[number].setblocking(False)
        try:
            return self.far[number].recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def world(_no_descriptor_is_left: None) -> Iterator[World]:
    opened = World()
    yield opened
    for far in opened.far:
        far.close()
    for _, _, fd in opened.cache.parked:
        os.close(fd)


@contextmanager
def leasing(world: World) -> Iterator[tuple[bool, bytes]]:
    with lease(world.cache, b"e", connect=world.connect, ttl_s=5, properties=b"new") as leased:
        yield leased.reused, leased.properties
        leased.properties = b"used"


def test_new_connection_is_parked_and_taken_up_again(world: World) -> None:
    with leasing(world) as first:
        assert world.cache.parked == []
    with leasing(world) as second:
        assert world.cache.parked == []
    assert (first, second) == ((False, b"new"), (True, b"used"))
    assert len(world.far) == 1
    assert [endpoint for endpoint, _, _ in world.cache.parked] == [b"e"]


def test_connection_is_closed_after_an_exception(world: World) -> None:
    with pytest.raises(ZeroDivisionError), leasing(world):
        raise ZeroDivisionError
    assert world.cache.parked == []
    assert world.hung_up(0)


def test_connection_whose_peer_left_is_passed_over(world: World) -> None:
    with leasing(world):
        pass
    world.far[0].close()
    with leasing(world) as (reused, _):
        assert not reused
    assert len(world.far) == 2


def test_connection_that_speaks_unasked_is_passed_over(world: World) -> None:
    with leasing(world):
        pass
    world.far[0].send(b"421 closing\r\n")
    with leasing(world) as (reused, _):
        assert not reused
        with pytest.raises(ConnectionResetError):  # closed with our words unread
            world.far[0].recv(1)


def test_next_one_is_tried_when_the_first_is_of_no_use(world: World) -> None:
    with leasing(world), leasing(world):
        pass
    world.far[1].close()  # the inner one, parked first
    with leasing(world) as (reused, _):
        assert reused
    assert len(world.far) == 2


def test_test_of_the_caller_decides_and_may_fail(world: World) -> None:
    def usable(_: socket.socket) -> bool:
        raise ZeroDivisionError

    with leasing(world):
        pass
    with pytest.raises(ZeroDivisionError), lease(world.cache, b"e", connect=world.connect, ttl_s=5, usable=usable):
        pass
    assert world.hung_up(0)


@pytest.mark.parametrize(
    "failure", [ServerGone("no server"), Refused("full", request=b"save_endp", status=Status.FAILED)]
)
def test_work_goes_on_without_the_cache(world: World, failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    world.cache.failure = failure
    with caplog.at_level(logging.WARNING, "scache_client"), leasing(world) as (reused, _):
        assert not reused
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot take up a connection, opening one: {failure}",
        f"cannot park a connection, going on without: {failure}",
    ]
    assert world.hung_up(0)


def test_endpoint_travels_with_the_binding(world: World) -> None:
    for expected in (False, True, True):
        with lease_dest(world.cache, b"d", connect=world.connect_somewhere, ttl_s=5) as leased:
            assert leased.reused is expected
    assert [endpoint for endpoint, _, _ in world.cache.parked] == [b"endpoint 0"]
    assert world.cache.bound == {b"d": (b"endpoint 0", b"endpoint 0")}


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
