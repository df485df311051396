"""What can go wrong between a program and the cache, by what the program can do about it.

Every exception derives from `CacheError` and from the built-in exception that a program is likely to catch already, can
be pickled, and says in its text what was wrong, with what value, and what to do. Trouble of this process alone (EMFILE,
for one) stays the plain `OSError` that it is.
"""

from collections.abc import Callable
from functools import partial

from scache_spec.vocabulary import Status


class CacheError(Exception):
    """The cache did not do what was asked.

    `maybe_parked` is true when a connection had already been passed to the server and its answer did not come: the
    server may hold the connection and hand it to another program. Close your own copy then, and never speak over it.

    >>> from scache_client import Client
    >>> try:
    ...     Client("/nowhere").find_endp(b"db")
    ... except CacheError as error:
    ...     print(type(error).__name__, error.maybe_parked)
    ServerGone False
    """

    def __init__(self, message: str, *, maybe_parked: bool = False) -> None:
        super().__init__(message)
        self.maybe_parked = maybe_parked


class Refused(CacheError):  # noqa: N818 - it names what the server did, and reads so in an except clause.
    """The server answered no; the connection to the server is as good as before.

    >>> from scache_client.testing import FakeCache, Limits
    >>> with FakeCache(Limits(bindings_max=0)) as cache:
    ...     cache.client().save_dest(b"example.org", b"", b"192.0.2.1:25", 30)
    Traceback (most recent call last):
    ...
    scache_client.errors.Refused: save_dest: status 2: ...
    """

    def __init__(self, message: str, *, request: bytes, status: Status) -> None:
        super().__init__(message)
        self.request = request
        self.status = status

    def __reduce__(self) -> tuple[Callable[[str], "Refused"], tuple[str], dict[str, object]]:
        # The inherited method would call the class with the message alone.
        return partial(type(self), request=self.request, status=self.status), (str(self),), self.__dict__


class ServerGone(CacheError, ConnectionError):  # noqa: N818 - as above.
    """No server listens, or the server closed the connection before it had answered.

    >>> from scache_client import Client
    >>> Client("/nowhere").find_endp(b"db")
    Traceback (most recent call last):
    ...
    scache_client.errors.ServerGone: /nowhere: there is no socket; ...
    """


class TimedOut(ServerGone, TimeoutError):  # noqa: N818 - as above.
    """The whole request, connecting included, was not done within its `timeout_s`.

    >>> from scache_client.testing import FakeCache
    >>> with FakeCache() as cache:
    ...     cache.fail(TimedOut("the server is stopped"))
    ...     try:
    ...         cache.client().find_endp(b"db")
    ...     except TimeoutError as error:
    ...         print(error)
    the server is stopped
    """


class RequestTooLong(ServerGone):
    """The server closed the connection on a request longer than servers usually take; the message names the limit.

    >>> from scache_client.testing import FakeCache
    >>> with FakeCache() as cache:
    ...     cache.client().find_endp(b"x" * 70_000)
    Traceback (most recent call last):
    ...
    scache_client.errors.RequestTooLong: ...the request has 70026 bytes...
    """


class ProtocolError(CacheError):
    """The other end does not speak the protocol of a connection cache.

    >>> from scache_client.testing import FakeCache
    >>> with FakeCache() as cache:
    ...     cache.fail(ProtocolError("the greeting is another's"))
    ...     try:
    ...         cache.client().find_endp(b"db")
    ...     except CacheError as error:
    ...         print(error)
    the greeting is another's
    """
