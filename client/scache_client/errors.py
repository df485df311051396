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
    """

    def __init__(self, message: str, *, maybe_parked: bool = False) -> None:
        super().__init__(message)
        self.maybe_parked = maybe_parked


class Refused(CacheError):  # noqa: N818 - it names what the server did, and reads so in an except clause.
    """The server answered no; the connection to the server is as good as before."""

    def __init__(self, message: str, *, request: bytes, status: Status) -> None:
        super().__init__(message)
        self.request = request
        self.status = status

    def __reduce__(self) -> tuple[Callable[[str], "Refused"], tuple[str], dict[str, object]]:
        # The inherited method would call the class with the message alone.
        return partial(type(self), request=self.request, status=self.status), (str(self),), self.__dict__


class ServerGone(CacheError, ConnectionError):  # noqa: N818 - as above.
    """No server listens, or the server closed the connection before it had answered."""


class TimedOut(ServerGone, TimeoutError):  # noqa: N818 - as above.
    """The whole request, connecting included, was not done within its `timeout_s`."""


class RequestTooLong(ServerGone):
    """The server closed the connection on a request longer than servers usually take; the message names the limit."""


class ProtocolError(CacheError):
    """The other end does not speak the protocol of a connection cache."""
