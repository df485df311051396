"""Every limit that memory depends on, filled as the worst client would, and what the server then takes.

A row of the manual's table is held to what was measured: the resident memory at its peak, from /proc, beyond that of a
server which has nothing to do. What clients have not read is in the kernel and counts for no process's resident memory;
`unread_bytes` asks the server's own socket for it.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.client import Client
from tests.support.messages import DONE, MISSED, find_endp, save_dest
from tests.support.processes import Running, running
from tests.support.servers import Fast

from scache_fast.engine import plain
from scache_fast.settings.sizing import ROWS
from scache_spec.vocabulary import Limits

MARGIN: Final = 1.2
"""How much more than the table says may be measured."""

_AT_ONCE: Final = 100
"""How many saves of a binding are written before their answers are read: less than fills a socket."""

_ANSWERS_AFTER: Final = 3
"""How many answers in a row find the memory unchanged when it has settled. Arbitrary."""


def sessions(path: Path, limits: Limits) -> None:
    """Park as many as there may be, each under a label of its own; have each found and put back."""
    with Client(path) as client, socket.socket() as spare:
        for number in range(limits.sessions_max):
            assert client.save(b"%d" % number, spare.fileno(), ttl=b"3000") == DONE
        assert client.save(b"one more", spare.fileno()) != DONE
        # Whoever is found and put back leaves nothing behind.
        for number in range(limits.sessions_max):
            client.say(find_endp(b"%d" % number))
            client.send(b"\0")  # anything but `dummy`: it is put back


def bindings(path: Path, limits: Limits) -> None:
    """Bind as many as there may be, each of a destination and to an endpoint of its own; renew each."""
    with Client(path) as client:
        for _ in range(2):
            for first in range(0, limits.bindings_max, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, limits.bindings_max))
                client.send(b"".join(save_dest(b"d%d" % n, b"p%d" % n, b"e%d" % n, b"3000") for n in numbers))
                left = len(numbers) * len(DONE)
                while left:
                    left -= len(client.sock.recv(left))
        assert client.say(save_dest(b"one more", b"", b"")) != DONE


def labels(path: Path, limits: Limits) -> None:
    """Park sessions with the longest properties until no more are taken."""
    long = b"x" * (limits.attribute_list_bytes_max - 200)
    with Client(path) as client, socket.socket() as spare:
        number = 0
        while client.save(b"%d" % number, spare.fileno(), long, b"3000") == DONE:
            number += 1
        assert number


def clients(path: Path, limits: Limits, *meanwhile: Callable[[Path, Limits], None]) -> None:
    """Have each client hold the longest session, its socket and output full, and more requests wait behind."""
    long = b"x" * (limits.attribute_list_bytes_max - 200)
    with ExitStack() as stack:
        everybody = [stack.enter_context(Client(path)) for _ in range(limits.clients_max - 2)]
        polite = stack.enter_context(Client(path))
        with socket.socket() as spare:
            for number, client in enumerate(everybody):
                assert client.save(b"%d" % number, spare.fileno(), long, b"3000") == DONE
        for number, client in enumerate(everybody):
            client.sock.setblocking(False)
            # Found and put back again and again; each answer is as long as one may be, and nobody reads it.
            again = (find_endp(b"%d" % number) + b"\0") * 1000
            try:
                while client.sock.send(again):
                    pass
            except BlockingIOError:
                continue
        for _ in range(_ANSWERS_AFTER):
            assert polite.say(find_endp(b"none")) == MISSED
        for filler in meanwhile:
            filler(path, limits)


def nothing(path: Path, limits: Limits) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What one row says, and what was measured."""

    what: str
    table_bytes: int
    measured_bytes: int

    @property
    def is_within(self) -> bool:
        """Say whether the table holds."""
        return self.measured_bytes <= MARGIN * self.table_bytes


FILLERS: Final[dict[str, Callable[[Path, Limits], None]]] = {
    "the process": nothing,
    "parked connections": sessions,
    "bindings": bindings,
    "labels and properties": labels,
    "clients: buffers and unfinished requests": clients,
}
"""By the row's own words."""

IN_THE_KERNEL: Final = "clients: unread replies, in the kernel"


def scaled(scale: int) -> Limits:
    """Return the default limits, with so many times less of everything that can be counted."""
    limits = Limits()
    return limits._replace(
        sessions_max=limits.sessions_max // scale,
        bindings_max=limits.bindings_max // scale,
        cached_bytes_max=limits.cached_bytes_max // scale,
        clients_max=limits.clients_max // scale,
    )


def fill(folder: Path, limits: Limits) -> Iterator[Filled]:
    """Fill each row in a server of its own, and then all of them in one."""
    table = {row.what: row.bytes_of(limits) for row in ROWS if row.bytes_of(limits)}
    path = folder / "s"
    for what, filler in FILLERS.items():
        with _server(path, limits) as server:
            before = 0 if filler is nothing else _peak_bytes(server)
            filler(path, limits)
            yield Filled(what, table[what], _peak_bytes(server) - before)
    yield Filled(IN_THE_KERNEL, table[IN_THE_KERNEL], limits.clients_max * unread_bytes_of_a_client(limits))
    with _server(path, limits) as server:
        clients(path, limits, bindings, labels)
        in_process = sum(table.values()) - table[IN_THE_KERNEL]
        yield Filled("all but the kernel's, in one server", in_process, _peak_bytes(server))


def unread_bytes_of_a_client(limits: Limits) -> int:
    """Return what the kernel keeps of the replies to a client that reads none."""
    with Fast(limits) as house:
        greedy = house.peer()
        greedy.sock.setblocking(False)
        try:
            while greedy.sock.send(find_endp(b"none") * 100):
                house.turn(8)
        except BlockingIOError:
            house.turn(8)
        (client,) = house.server._clients.values()
        return plain.unread_bytes(client.fd)


def _server(path: Path, limits: Limits) -> AbstractContextManager[Running]:
    counts = ("sessions_max", "bindings_max", "cached_bytes_max", "clients_max")
    options = [f"--{name.replace('_', '-')}={getattr(limits, name)}" for name in counts]
    return running("--listen", path, "--ttl-limit", "1h", "--clients-per-user-max", "off", *options)


def _peak_bytes(server: Running) -> int:
    return int(server.status("VmHWM").split()[0]) * 1024
