"""Borrow a connection: take one up or open one, use it, and park it again.

Decides what happens to a connection round its use. Refuses to know the protocol spoken over it, and what makes two
connections alike: that is in the caller's label. The cache makes work faster and is not needed for it, so its trouble
is logged and never fails the work; the programs that lease run on when no server does.
"""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from scache_client.client import Client
from scache_client.errors import CacheError
from scache_client.found import Found

_log = logging.getLogger("scache_client")


@dataclass(slots=True)
class Leased:
    """A connection for the time of a `with` block."""

    connection: socket.socket
    """A blocking socket."""

    properties: bytes
    """What it was parked with, empty for a new one. Set them: they go with it when it is parked again."""

    reused: bool
    """Whether it was taken up; if not, it is new and has seen no greeting or handshake."""


def is_quiet(connection: socket.socket) -> bool:
    """Say whether a connection is open and its peer has nothing to say.

    A parked connection is at rest: bytes that wait in it are an end of file, an error or a farewell of the peer.
    """
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        # Whatever is wrong with it, this connection is of no use, and the next one may be.
        return False
    return False


@contextmanager
def lease(
    client: Client,
    endpoint: bytes,
    *,
    connect: Callable[[], socket.socket],
    ttl_s: int,
    properties: bytes = b"",
    usable: Callable[[socket.socket], bool] = is_quiet,
) -> Iterator[Leased]:
    """Lend the connection parked longest under `endpoint`, or a new one from `connect`, and park it at a clean exit.

    A connection taken up that is not `usable` is closed, and the next one tried. After an exception in the block it is
    closed, for nobody knows what is still on its way in it; and so it is when it cannot be parked.
    """
    leased = _take_up(partial(client.find_endp, endpoint), usable) or Leased(connect(), properties, reused=False)
    with leased.connection:
        yield leased
        _park(client, endpoint, leased, ttl_s)


@contextmanager
def lease_dest(
    client: Client,
    destination: bytes,
    *,
    connect: Callable[[], tuple[bytes, socket.socket]],
    ttl_s: int,
    properties: bytes = b"",
    usable: Callable[[socket.socket], bool] = is_quiet,
) -> Iterator[Leased]:
    """Lend a connection of any endpoint bound to `destination`, or a new one, and park it as `lease` does.

    `connect` returns the endpoint it chose along with the connection. A find by destination does not tell the endpoint,
    which has to be known for parking again; so the endpoint's label is what the binding carries as its properties.
    """
    endpoint = b""

    def find() -> Found | None:
        nonlocal endpoint
        found = client.find_dest(destination)
        if found is not None:
            endpoint = found.destination_properties
        return found

    leased = _take_up(find, usable)
    if leased is None:
        endpoint, connection = connect()
        leased = Leased(connection, properties, reused=False)
    with leased.connection:
        yield leased
        if _park(client, endpoint, leased, ttl_s):
            _try_to("bind the destination of", partial(client.save_dest, destination, endpoint, endpoint, ttl_s))


def _take_up(find: Callable[[], Found | None], usable: Callable[[socket.socket], bool]) -> Leased | None:
    while True:
        try:
            found = find()
        except CacheError as error:
            _log.warning("cannot take up a connection, opening one: %s", error)
            return None
        if found is None:
            return None
        with found:  # closes it, should it be no socket
            connection = found.socket()
        with ExitStack() as unwinding:
            unwinding.enter_context(connection)
            if usable(connection):
                unwinding.pop_all()
                return Leased(connection, found.properties, reused=True)


def _park(client: Client, endpoint: bytes, leased: Leased, ttl_s: int) -> bool:
    return _try_to("park", partial(client.save_endp, endpoint, leased.properties, ttl_s, leased.connection))


def _try_to(what: str, call: Callable[[], None]) -> bool:
    try:
        call()
    except CacheError as error:
        _log.warning("cannot %s a connection, going on without: %s", what, error)
        return False
    return True
