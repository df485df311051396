"""Borrow a connection: take one up or open one, use it, and park it again.

The cache makes work faster and is not needed for it, so its trouble is logged and never fails the work: programs that
lease run on when no server does. The protocol spoken over a connection is the caller's, and what makes two connections
alike is in the caller's label.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from inspect import isawaitable
from typing import Final

from scache_client.client import Client
from scache_client.dialogue import check_save
from scache_client.errors import CacheError
from scache_client.found import Found
from scache_client.leased import Bounds, Leased, closing

_SILENCE_TELLS: Final = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})
"""Families in which silence says that the peer is there. A netlink socket names a peer and is silent, connected or not;
what other families say (packet, vsock, Bluetooth) is not known here."""


def is_quiet(connection: socket.socket) -> bool:
    """Say whether a connection is open and its peer has nothing to say.

    A parked connection is at rest: bytes that wait in it are an end of file, an error or a farewell of the peer. A
    socket of a family other than AF_INET, AF_INET6 and AF_UNIX is never quiet, as its silence says nothing: a lease of
    such connections needs a `usable` of its own.

    >>> mine, far = socket.socketpair()
    >>> with mine, far:
    ...     before = is_quiet(mine)
    ...     far.sendall(b"421 closing")
    ...     print(before, is_quiet(mine))
    True False
    """
    if connection.family not in _SILENCE_TELLS:
        return False
    try:
        connection.getpeername()  # fails for what was never connected: an unbound datagram socket is silent, too
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
    reuses_max: int | None = None,
    age_s_max: int | None = None,
) -> Iterator[Leased]:
    """Lend the connection parked longest under `endpoint`, or a new one from `connect`, and park it at a clean exit.

    A connection taken up that is not `usable` is closed, and the next one tried. After an exception in the block it is
    closed, for nobody knows what is still on its way in it; it is closed, too, when it cannot be parked. One that the
    block has closed is not parked.

    With `reuses_max` or `age_s_max` (seconds), a connection is taken up so many times at most, and for so long after
    it was opened; how often and when is noted in front of its properties, for the next lease to read.

    When the cache fails, it is left alone for the client's `pause_s`: leases open connections and close them again.
    What the caller gets wrong is raised before the work begins: TypeError from a `connect` that returns a TLS
    connection or no socket, ValueError for a NUL in a label, and so on. What the block sets is checked when it ends.

    A process that is forked inside of the block closes its copy there: the connection is its parent's to park.

    >>> from scache_client.testing import FakeCache
    >>> mine, far = socket.socketpair()
    >>> def connect():
    ...     return mine  # called once: the second lease takes up what the first has parked
    >>> with far, FakeCache() as cache:
    ...     for _ in range(2):
    ...         with lease(cache.client(), b"db", connect=connect, ttl_s=30) as leased:
    ...             leased.connection.sendall(b"hello")
    ...             print(leased.reused)
    False
    True
    """
    _check_client(client)
    check_save(endpoint, properties, ttl_s)
    bounds = Bounds(reuses_max, age_s_max, client.clock)
    leased = _take_up(client, partial(client.find_endp, endpoint), bounds, usable)
    if leased is None:
        leased = bounds.opened(connect(), properties)
    with closing(leased):
        yield leased
        _park(client, endpoint, leased, bounds, ttl_s)


@contextmanager
def lease_dest(
    client: Client,
    destination: bytes,
    *,
    connect: Callable[[], tuple[bytes, socket.socket]],
    ttl_s: int,
    properties: bytes = b"",
    usable: Callable[[socket.socket], bool] = is_quiet,
    reuses_max: int | None = None,
    age_s_max: int | None = None,
) -> Iterator[Leased]:
    """Lend a connection of any endpoint bound to `destination`, or a new one, and park it as `lease` does.

    `connect` returns the endpoint it chose along with the connection. A find by destination does not tell the endpoint,
    which has to be known for parking again; so the endpoint's label is what the binding carries as its properties.

    >>> from scache_client.testing import FakeCache
    >>> mine, far = socket.socketpair()
    >>> def connect():
    ...     return b"192.0.2.1:25", mine
    >>> with far, FakeCache() as cache:
    ...     for _ in range(2):
    ...         with lease_dest(cache.client(), b"example.org", connect=connect, ttl_s=30) as leased:
    ...             print(leased.reused)
    False
    True
    """
    _check_client(client)
    check_save(destination, properties, ttl_s)
    bounds = Bounds(reuses_max, age_s_max, client.clock)
    endpoint = b""

    def find() -> Found | None:
        nonlocal endpoint
        found = client.find_dest(destination)
        if found is not None:
            endpoint = found.destination_properties
        return found

    leased = _take_up(client, find, bounds, usable)
    if leased is None:
        endpoint, connection = connect()
        leased = bounds.opened(connection, properties)
    with closing(leased):
        check_save(endpoint, properties, ttl_s)  # the endpoint is what connect returned
        yield leased
        if _park(client, endpoint, leased, bounds, ttl_s):
            _try_to(
                "bind the destination of a connection",
                client,
                partial(client.save_dest, destination, endpoint, endpoint, ttl_s),
            )


def _check_client(client: Client) -> None:
    if not isinstance(client, Client):
        raise TypeError(f"{client!r} is not a Client; with an AsyncClient use lease_async or lease_dest_async")


def _take_up(
    client: Client, find: Callable[[], Found | None], bounds: Bounds, usable: Callable[[socket.socket], bool]
) -> Leased | None:
    while client.pause.is_over():
        try:
            found = find()
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
                verdict: object = usable(leased.connection)
                if isawaitable(verdict):
                    raise TypeError(
                        "usable returned something to await, which is true without an answer: use lease_async"
                    )
                if verdict:
                    unwinding.pop_all()
                    return leased
    return None


def _park(client: Client, endpoint: bytes, leased: Leased, bounds: Bounds, ttl_s: int) -> bool:
    properties = bounds.properties_to_park(leased)
    if properties is None:
        return False
    return _try_to(
        "park a connection, closing it",
        client,
        partial(client.save_endp, endpoint, properties, ttl_s, leased.connection),
    )


def _try_to(what: str, client: Client, call: Callable[[], None]) -> bool:
    if not client.pause.is_over():
        return False
    try:
        call()
    except (CacheError, OSError) as error:
        client.pause.note_failure(what, error)
        return False
    client.pause.note_success()
    return True
