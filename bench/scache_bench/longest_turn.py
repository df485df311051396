"""The longest turn of the production server's loop with a limit full: `python -m scache_bench.longest_turn`.

What a turn has to do is bounded in pieces of work; this says how long that takes. The server is in this process, with
real sockets and its default limits. Times are of the processor, so that whatever else runs on the machine does not
count; nothing is closed, for that is done by other threads. Prints one JSON object a line.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final

from scache_fast.engine.closing import Job
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.server import Server
from scache_spec.vocabulary import NS_PER_S, Limits

CLIENTS: Final = 64
_TURNS_MAX: Final = 20_000
_TTL_S: Final = 60


@dataclass(frozen=True, slots=True)
class Turn:
    """What was full, and how long the longest of so many turns took."""

    what: str
    turns: int
    longest_ms: float


class _Nobody:
    """Takes what is to be closed, and does nothing: the descriptors here are numbers alone."""

    refused_users: Final[frozenset[int]] = frozenset()
    crowded_users: Final[frozenset[int]] = frozenset()

    def close(self, job: Job) -> None:
        job.is_done = True


class House:
    """A server under a clock that stands still, and clients of it."""

    def __init__(self, stack: ExitStack, *, is_dead: bool = False) -> None:
        self.now_ns = NS_PER_S
        self.limits = Limits(ttl_limit_s=_TTL_S, clients_max=CLIENTS)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")
        listener.listen(CLIENTS)
        hooks = Hooks(closer=_Nobody(), is_alive=(lambda session: False) if is_dead else None)
        self.server = Server([listener], self.limits, clock=lambda: self.now_ns, hooks=hooks)
        self.clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(CLIENTS)]
        for client in self.clients:
            client.connect(listener.getsockname())
            client.setblocking(False)
        for _ in range(CLIENTS):
            self.server.step(0)
        for client in self.clients:
            client.recv(1_000)

    def fill(self, *, is_one_label: bool = False) -> None:
        """Park as many sessions as there may be, and bind as much as may be bound to what nobody parks under."""
        table, limits = self.server.table, self.limits
        for number in range(limits.sessions_max):
            label = b"one" if is_one_label else b"%d" % number
            table.save_endp(label, b"p", -1, _TTL_S, self.now_ns, domain=socket.AF_INET)
        for number in range(limits.bindings_max):
            destination = b"d%d" % (number // limits.bindings_per_destination_max)
            table.save_dest(destination, b"p%d" % number, b"nobody's", _TTL_S, self.now_ns)

    def flood(self, data: bytes) -> None:
        """Have every client write as much as its socket takes, and read what came."""
        for client in self.clients:
            try:
                client.recv(1 << 20)
            except BlockingIOError:
                pass
            try:
                client.send(data)
            except BlockingIOError:
                pass

    def longest(self, what: str, between: Callable[[], None], is_over: Callable[[], bool]) -> Turn:
        """Take turns until it is over; return the longest."""
        longest_ns = turns = 0
        while turns < _TURNS_MAX and not is_over():
            between()
            began_ns = time.thread_time_ns()
            self.server.step(0)
            longest_ns = max(longest_ns, time.thread_time_ns() - began_ns)
            turns += 1
        return Turn(what, turns, longest_ns / 1e6)


def measure() -> Iterator[Turn]:
    """Yield what each limit costs a turn."""
    with ExitStack() as stack:
        house = House(stack)
        house.fill()
        house.now_ns += 2 * _TTL_S * NS_PER_S
        table = house.server.table
        yield house.longest("everything is due at once", lambda: None, lambda: not table.sessions + table.bindings)
        house.server.close()
    for what, data, is_dead in (
        ("find_dest over 1 000 bindings that lead nowhere", b"request\0find_dest\0label\0d1\0\0" * 500, False),
        ("lists of 64 attributes", (b"request\0find_endp\0label\0zz\0" + b"a\0b\0" * 62 + b"\0") * 60, False),
        ("finds that miss", b"request\0find_endp\0label\0zz\0\0" * 500, False),
        ("find over 100 000 dead sessions of one label", b"request\0find_endp\0label\0one\0\0", True),
    ):
        with ExitStack() as stack:
            house = House(stack, is_dead=is_dead)
            house.fill(is_one_label=is_dead)
            end_turns = house.server.turns + 300
            yield house.longest(
                f"{what}, from {CLIENTS} clients",
                lambda house=house, data=data: house.flood(data),  # type: ignore[misc]  # the loop's values of now
                lambda house=house, end_turns=end_turns: house.server.turns >= end_turns,  # type: ignore[misc]
            )
            house.server.close()


if __name__ == "__main__":
    for turn in measure():
        print(json.dumps(asdict(turn)), flush=True)
