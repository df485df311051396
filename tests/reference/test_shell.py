"""What the reference server's shell adds to the specification: the sockets' part of its clauses."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NoReturn
from unittest import mock

import pytest
from tests.support.messages import DUMMY, MISSED, find_endp, found
from tests.support.servers import Reference

from scache_spec.vocabulary import ClientId, Limits


@pytest.fixture
def server() -> Iterator[Reference]:
    with Reference(Limits(ttl_limit_s=100, ipc_timeout_s=10)) as started:
        yield started


# A descriptor in flight.


def test_FD_14_reading_the_descriptor_ends_a_step_that_waits(server: Reference) -> None:
    client = server.peer()
    with closing(client.park(b"e")):
        client.send(find_endp(b"e") + DUMMY + DUMMY + find_endp(b"e"))
        server.turn(4)
        client.take_found()
        server.shell.step(20)
        assert client.unread_bytes() == len(MISSED)


class Unwilling:
    """A client's socket that sends no descriptor."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self._connection, self._number = connection, number

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def sendmsg(self, *_: object) -> NoReturn:
        raise OSError(self._number, os.strerror(self._number))


def test_FD_10_session_comes_back_when_the_kernel_takes_no_more_descriptors(server: Reference) -> None:
    """As root a process never sees ETOOMANYREFS."""
    client, other = server.peer(), server.peer()
    with closing(client.park(b"e")) as far:
        sockets = server.shell._sockets
        sockets[ClientId(1)] = Unwilling(sockets[ClientId(1)], errno.ETOOMANYREFS)  # type: ignore[assignment]
        assert client.say(find_endp(b"e")) == found(b"p")
        assert client.say(DUMMY) == b""
        assert client.is_closed()
        assert server.log.warnings == ["warning: client 1 closed: Too many references: cannot splice"]
        with other.pick_up(b"e") as near:
            near.send(b"through")
            assert far.recv(7) == b"through"


# A turn that comes late.


def test_LIMIT_7_what_came_after_the_poll_is_read_too(server: Reference) -> None:
    client = server.peer()
    assert client.say(find_endp(b"e")[:-1]) == b""
    client.send(b"\0")
    selector, is_first = server.shell._selector, iter([True, False])
    poll = selector.select
    with mock.patch.object(selector, "select", lambda timeout_s: [] if next(is_first) else poll(timeout_s)):
        server.advance(100)
    assert client.read() == MISSED


def test_long_waits_are_cut() -> None:
    """epoll counts milliseconds in a C int."""
    with Reference(Limits(status_update_time_s=100_000_000)) as server:
        wait = mock.Mock(return_value=[])
        with mock.patch.object(server.shell._selector, "select", wait):
            server.shell.step()
        wait.assert_called_once_with(60.0)


# What nobody foresaw.


def test_LIFE_5_error_at_one_client_ends_that_client_alone(server: Reference) -> None:
    client, other = server.peer(), server.peer()
    right: Callable[[ClientId], None] = server.shell._read_bytes

    def read_bytes(who: ClientId) -> None:
        if who == 1:
            raise TypeError("nobody foresaw this")
        right(who)

    with mock.patch.object(server.shell, "_read_bytes", read_bytes):
        client.send(find_endp(b"e"))
        server.turn()
        assert client.is_closed()
        assert other.say(find_endp(b"e")) == MISSED
    assert [line.splitlines()[-1] for line in server.log.warnings] == ["TypeError: nobody foresaw this"]


def test_LIFE_5_error_of_a_descriptor_that_is_closed_is_no_news(server: Reference) -> None:
    client, close = server.peer(), os.close

    def close_badly(descriptor: int) -> NoReturn:
        close(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with closing(client.park(b"e")):
        with mock.patch.object(os, "close", close_badly):
            server.advance(100)
        assert client.say(find_endp(b"e")) == MISSED
        assert server.log.lines == []
