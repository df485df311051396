"""Both servers in this process, on a listening socket of their own, under a clock that stands still."""

import os
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Self

from tests.support.client import Client

from scache_fast.engine.calls import Calls, choose
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.server import SHARE, Server
from scache_reference.shell import Shell
from scache_spec.vocabulary import NS_PER_S, Limit, Limits

CALLS: Final[Calls] = choose(may_accelerate=os.environ.get("SCACHED_ACCELERATOR") != "off")
"""What servers in this process make their system calls with: what a process of its own would choose."""

START_NS: Final = 1_000_000_000_000
"""Where virtual time begins. Arbitrary."""


class Clock:
    """Tells the time it was told."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


class Lines:
    """A log that keeps its lines."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.details: list[str] = []
        self.lines: list[str] = []

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.lines if line.startswith("warning: ")]

    def detail(self, text: str) -> None:
        self.details.append(text)

    def info(self, text: str) -> None:
        self.lines.append(text)

    def warning(self, text: str) -> None:
        self.lines.append(f"warning: {text}")


class InProcessServer(ABC):
    """A server that takes a turn when it is told to."""

    turns_for_a_write: ClassVar = 1
    """How many turns it gets for what a client wrote."""

    def __init__(self, verbose: bool = False) -> None:
        self.clock = Clock()
        self.log = Lines(verbose=verbose)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")  # Linux finds a free name outside of the file system.
        self.listener.listen(512)
        self.address: bytes = self.listener.getsockname()
        self._clients: list[Client] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for client in self._clients:
            client.close()

    def peer(self, *, greeted: bool = True) -> Client:
        """Return a new client of this server."""
        self._clients.append(Client(self.address, lambda: self.turn(self.turns_for_a_write), greeted=greeted))
        return self._clients[-1]

    def turn(self, turns: int = 1) -> None:
        """Let the server take turns."""
        for _ in range(turns):
            self.step()

    def advance(self, seconds: float) -> None:
        """Let time pass, and the server notice."""
        self.clock.now_ns += round(seconds * NS_PER_S)
        self.turn()

    def take_limits(self) -> list[Limit]:
        """Return which limits were hit since the last call, as the log has it, and forget them."""
        taken, self.log.lines = self.log.lines, [line for line in self.log.lines if _limit_in(line) is None]
        return [limit for line in taken if (limit := _limit_in(line)) is not None]

    def take_statistics(self) -> list[str]:
        """Return the lines of statistics since the last call, without the date, and forget them."""
        taken, self.log.lines = self.log.lines, [line for line in self.log.lines if not line.startswith("statistics: ")]
        return [_without_date(line) for line in taken if line.startswith("statistics: ")]

    @property
    @abstractmethod
    def running(self) -> bool:
        """Say whether the server has not decided to exit."""

    @property
    @abstractmethod
    def client_count(self) -> int:
        """Return how many clients the server has."""

    @abstractmethod
    def privilege(self, users: set[int]) -> None:
        """Let these users, and no others, have as many clients as they like."""

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

    turns_for_a_write = 4

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.shell = Shell([self.listener], limits, clock=self.clock, log=self.log.info)

    @property
    def running(self) -> bool:
        return self.shell.running

    @property
    def client_count(self) -> int:
        return len(self.shell._state.clients)

    def privilege(self, users: set[int]) -> None:
        self.shell._privileged = users

    def step(self) -> None:
        self.shell.step(0)

    def print_statistics(self) -> None:
        self.shell.print_statistics()

    def close(self) -> None:
        self.shell.close()


class Fast(InProcessServer):
    """scache_fast, whose loop and tables a test can look into."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        hooks: Hooks | None = None,
        verbose: bool = False,
        busy_poll_us: int = 0,
        share: int = SHARE,
        calls: Calls | None = None,
        after_turn: Sequence[Callable[[Server], None]] = (),
    ) -> None:
        super().__init__(verbose)
        self._after_turn = after_turn
        self.server = Server(
            [self.listener],
            limits or Limits(ttl_limit_s=100),
            clock=self.clock,
            wall_clock=lambda: 0.0,
            log=self.log,
            hooks=hooks,
            busy_poll_us=busy_poll_us,
            share=share,
            calls=calls or CALLS,
        )

    @property
    def running(self) -> bool:
        return self.server.is_running

    @property
    def client_count(self) -> int:
        return self.server.clients

    def privilege(self, users: set[int]) -> None:
        self.server._accepting._privileged = frozenset(users)

    def step(self) -> None:
        self.server.step(0)
        for call in self._after_turn:
            call(self.server)

    def print_statistics(self) -> None:
        self.server.print_statistics()

    def close(self) -> None:
        self.server.close()


SERVERS: Final[dict[str, type[Reference] | type[Fast]]] = {"reference": Reference, "fast": Fast}
"""Every server that can be had in process, by name."""

_LIMIT: Final = re.compile(r"^warning: .*\b(" + "|".join(limit.value for limit in Limit) + r")\b")
_DATE: Final = re.compile(r"(?<=^statistics: start interval ).*")


def _limit_in(line: str) -> Limit | None:
    match = _LIMIT.search(line)
    return Limit(match[1]) if match else None


def _without_date(line: str) -> str:
    return _DATE.sub("...", line)
