"""What cannot be parked is refused before a byte is sent: here nobody listens, and no connection is tried."""

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest
from tests.client.shells import Shell
from tests.support.messages import DONE, DUMMY, GREETING
from tests.support.scripted import Pair, Scripted, hear, say, take

from scache_client import AsyncClient, Client


@pytest.fixture(params=["blocking", "asyncio"])
def park(request: pytest.FixtureRequest, tmp_path: Path) -> "Park":
    return Park(request.param, tmp_path / "none")


class Park:
    """Parks with either client; ServerGone would tell that it got as far as connecting."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self.path = kind, path

    def __call__(self, connection: object, ttl_s: object = 5) -> None:
        if self.kind == "blocking":
            # As a program does that is not checked by mypy.
            Client(self.path).save_endp(b"e", b"", ttl_s, connection)  # type: ignore[arg-type]
        else:
            asyncio.run(AsyncClient(self.path).save_endp(b"e", b"", ttl_s, connection))  # type: ignore[arg-type]


def test_tls_connection_is_a_type_error_and_stays_open(park: Park) -> None:
    mine, far = socket.socketpair()
    context = ssl.create_default_context()
    context.check_hostname = False
    with far, context.wrap_socket(mine, do_handshake_on_connect=False) as wrapped:
        with pytest.raises(TypeError, match="its keys stay in this process"):
            park(wrapped)
        assert wrapped.fileno() >= 0


def test_socket_of_a_transport_is_a_type_error(tmp_path: Path) -> None:
    async def ask() -> None:
        mine, far = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=mine)
        with far:
            with pytest.raises(TypeError, match="belongs to an asyncio transport"):
                await AsyncClient(tmp_path / "none").save_endp(b"e", b"", 5, writer.get_extra_info("socket"))
            writer.close()
            await writer.wait_closed()

    asyncio.run(ask())


@pytest.mark.parametrize("what", [True, False, None, "7", 7.0, b"7", object()])
def test_what_is_no_connection_is_a_type_error(park: Park, what: object) -> None:
    with pytest.raises(TypeError, match="is not a connection; park a socket"):
        park(what)


def test_number_that_is_no_descriptor_is_an_os_error(park: Park) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        park(1_000_000)


@pytest.mark.parametrize("ttl_s", [1.5, 5.0, True, "5", None])
def test_ttl_that_is_no_whole_number_is_a_type_error(park: Park, pair: Pair, ttl_s: object) -> None:
    with pytest.raises(TypeError, match="it must be a whole number: round it"):
        park(pair.mine, ttl_s)
    assert pair.mine.fileno() >= 0


def test_descriptor_zero_may_be_parked(shell: Shell, peer: Scripted, pair: Pair) -> None:
    """0 is a descriptor, though False is none."""
    saved = os.dup(0)
    os.dup2(pair.mine.fileno(), 0)
    try:
        peer.serve([say(GREETING), hear, say(DUMMY), take, say(DONE)])
        shell.save_endp(b"e", b"", 5, 0)
        peer.finish()
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    os.write(peer.taken[0], b"through")
    assert pair.far.recv(7) == b"through"


@pytest.mark.parametrize("number", [2**31, 2**40, 2**70])
def test_number_too_large_for_a_descriptor_is_no_open_descriptor(park: Park, number: int) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        park(number)
