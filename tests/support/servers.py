"""Both servers in this process, on a listening socket of their own, under a clock that stands still.

Decides how a test starts one, lets it take turns and reads what it logs. Refuses to know what is said to it.
"""

import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, Self

from scache_fast.engine.server import Server
from scache_reference.shell import Shell
from scache_spec.vocabulary import Limit, Limits

START_NS: Final = 1_000_000_000_000
"""Where virtual time begins. Arbitrary."""


class Clock:
    """Tells the time it was told."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


class InProcessServer(ABC):
    """A server that takes a turn when it is told to."""

    logs_pauses: ClassVar[bool]
    """Whether it logs that it stops reading from a client that does not read."""

    def __init__(self, limits: Limits) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")  # Linux finds a free name outside of the file system.
        listener.listen(128)
        self.address: bytes = listener.getsockname()
        self._start(listener, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> socket.socket:
        """Return a new connection to the server, which has not accepted it yet."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.address)
        client.setblocking(False)
        return client

    def take_limits(self) -> list[Limit]:
        """Return which limits were hit since the last call, as the log has it, and forget them."""
        taken, self.lines = self.lines, [line for line in self.lines if _limit_in(line) is None]
        return [limit for line in taken if (limit := _limit_in(line)) is not None]

    def take_statistics(self) -> list[str]:
        """Return the lines of statistics since the last call, without the date, and forget them."""
        taken, self.lines = self.lines, [line for line in self.lines if not line.startswith("statistics: ")]
        return [_without_date(line) for line in taken if line.startswith("statistics: ")]

    @abstractmethod
    def _start(self, listener: socket.socket, limits: Limits) -> None: ...

    @property
    @abstractmethod
    def running(self) -> bool:
        """Say whether the server has not decided to exit."""

    @abstractmethod
    def step(self) -> None:
        """Let the server take one turn without waiting."""

    @abstractmethod
    def print_statistics(self) -> None:
        """Have statistics printed."""

    @abstractmethod
    def close(self) -> None:
        """End the server."""


class Reference(InProcessServer):
    """scache_reference."""

    logs_pauses = False

    def _start(self, listener: socket.socket, limits: Limits) -> None:
        self._shell = Shell([listener], limits, clock=self.clock, log=lambda line: self.lines.append(line))

    @property
    def running(self) -> bool:
        return self._shell.running

    def step(self) -> None:
        self._shell.step(0)

    def print_statistics(self) -> None:
        self._shell.print_statistics()

    def close(self) -> None:
        self._shell.close()


class _ListLog:
    """A log of scache_fast that is a list."""

    verbose = False

    def __init__(self, lines: Callable[[str], None]) -> None:
        self._add = lines

    def detail(self, text: str) -> None:
        pass

    def info(self, text: str) -> None:
        self._add(text)

    def warning(self, text: str) -> None:
        self._add(f"warning: {text}")


class Fast(InProcessServer):
    """scache_fast."""

    logs_pauses = True

    def _start(self, listener: socket.socket, limits: Limits) -> None:
        log = _ListLog(lambda line: self.lines.append(line))
        self._server = Server([listener], limits, clock=self.clock, log=log)

    @property
    def running(self) -> bool:
        return self._server.is_running

    def step(self) -> None:
        self._server.step(0)

    def print_statistics(self) -> None:
        self._server.print_statistics()

    def close(self) -> None:
        self._server.close()


SERVERS: Final[dict[str, type[InProcessServer]]] = {"reference": Reference, "fast": Fast}
"""Every server that can be had in process, by name."""

_LIMIT: Final = re.compile(r"^warning: .*\b(" + "|".join(limit.value for limit in Limit) + r")\b")
_DATE: Final = re.compile(r"(?<=^statistics: start interval ).*")


def _limit_in(line: str) -> Limit | None:
    match = _LIMIT.search(line)
    return Limit(match[1]) if match else None


def _without_date(line: str) -> str:
    return _DATE.sub("...", line)
