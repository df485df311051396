"""What can go wrong between a program and the cache, by what the program can do about it.

Decides the exceptions and what each of them promises. Refuses to know the protocol and the operating system: whoever
raises one of these says in its text what was wrong, with what value, and what to do.
"""

from scache_spec.vocabulary import Status


class CacheError(Exception):
    """The cache did not do what was asked.

    `maybe_parked` is true when a connection had already been passed to the server and its answer did not come: the
    server may hold it and hand it to somebody else. Close your own copy then, and never speak over it.
    """

    def __init__(self, message: str, *, maybe_parked: bool = False) -> None:
        super().__init__(message)
        self.maybe_parked = maybe_parked


class Refused(CacheError):  # noqa: N818 - it names what the server did, and reads so in an except clause.
    """The server understood that something was asked and answered no; the connection to it is as good as before."""

    def __init__(self, message: str, *, request: bytes, status: Status) -> None:
        super().__init__(message)
        self.request = request
        self.status = status


class ServerGone(CacheError):  # noqa: N818 - as above.
    """No server listens, or it closed the connection before it had answered."""


class TimedOut(ServerGone):
    """The whole request, connecting included, was not done within the client's `timeout_s`."""


class ProtocolError(CacheError):
    """The other end does not speak the protocol of a connection cache."""
