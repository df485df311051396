"""An operator of a server in this process: one connection to its admin socket, and the socket itself."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self

from tests.support.servers import Fast

from scache_fast.admin.connections import AdminSocket
from scache_fast.admin.protocol import Request, RequestError
from scache_fast.admin.reading import Reading
from scache_fast.admin.steering import Steering
from scache_fast.admin.verbs import verbs

_TURNS_MAX: Final = 100_000


def no_takeover(request: Request) -> Iterator[dict[str, object]]:
    """Stand for the verb in a server that has no process around it."""
    raise RequestError("there is no takeover from a server in this process")


def admin_socket(house: Fast, clock: Callable[[], int] | None = None) -> tuple[AdminSocket, bytes]:
    """Return a new admin socket of a server, and its address."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen(16)
    address: bytes = listener.getsockname()
    reading = Reading(house.server, dict, house.clock)
    steering = Steering(house.server, house.log, house.server.steering.set_verbose, lambda: iter([{"changed": []}]))
    return AdminSocket(
        listener, house.server, verbs(reading, steering, no_takeover), house.log, clock or house.clock
    ), address


class Operator:
    """A connection to an admin socket; the server takes turns while an answer is waited for."""

    def __init__(self, address: bytes, turn: Callable[[], None]) -> None:
        self._turn = turn
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(address)
        self.sock.settimeout(0)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Write all of it, with turns whenever the server has to read."""
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self._turn()

    def line(self) -> dict[str, object]:
        """Return the next line, with turns until it is there."""
        for _ in range(_TURNS_MAX):
            head, newline, rest = self._read.partition(b"\n")
            if newline:
                self._read = rest
                found: dict[str, object] = json.loads(head)
                return found
            self._turn()
            try:
                data = self.sock.recv(1_000_000)
            except BlockingIOError:
                continue
            if not data:
                raise EOFError
            self._read += data
        raise AssertionError("no line came")

    def lines(self) -> Iterator[dict[str, object]]:
        """Yield the lines of one answer, the last one included."""
        while "ok" not in (line := self.line()):
            yield line
        yield line

    def ask(self, verb: str, **parameters: object) -> dict[str, object]:
        """Return the last line of an answer."""
        self.send(json.dumps({"verb": verb, **parameters}).encode() + b"\n")
        *_, last = self.lines()
        return last

    def rows(self, verb: str, **parameters: object) -> list[Mapping[str, object]]:
        """Return the rows of an answer."""
        self.send(json.dumps({"verb": verb, **parameters}).encode() + b"\n")
        *rows, last = self.lines()
        assert last["ok"], last
        return [row for line in rows if isinstance(row := line["row"], dict)]


class Office:
    """A server with an admin socket."""

    def __init__(self, house: Fast) -> None:
        self.house = house
        self.socket, self.address = admin_socket(house)

    def turn(self) -> None:
        """Let the server take a turn, as the loop of a process does."""
        self.house.turn()
        self.socket.after_turn(self.house.server)

    def operator(self) -> Operator:
        """Return a new operator."""
        return Operator(self.address, self.turn)


@contextmanager
def office(house: Fast) -> Iterator[Office]:
    """Open the admin socket of a server."""
    opened = Office(house)
    try:
        yield opened
    finally:
        opened.socket.close()
