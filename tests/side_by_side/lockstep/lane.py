"""One real server in lockstep: real sockets, real descriptors, and how what they show is compared.

Bytes have to be the same exactly. A descriptor is compared by the open file it stands for and by a byte that passes
through it, a closed descriptor by the end of file at its peer; everywhere else there has to be silence.

What is parked here is the writing end of a pipe; the reading end stays with the lane. When the last copy of the
writing end is closed, the reading end hangs up.
"""

import array
import fcntl
import os
import select
import socket
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Final

from tests.side_by_side.lockstep.oracle import Expected
from tests.support.servers import Fast, InProcessServer

from scache_spec.vocabulary import DESCRIPTOR_BYTE, ClientId, Handle, Limits

TRIES: Final = 5
"""How many more turns an in-process server gets for what it owes. Arbitrary: none is needed as a rule."""


TURNS_MAX: Final = 500
"""How many more turns a server with a share of one gets. Arbitrary: a few dozen are needed."""

QUIET_TURNS: Final = 3
"""After so many turns with nothing put off, what came last has been read, the end of a client included."""


class Mismatch(AssertionError):  # noqa: N818 - it is one, and no error of this code
    """A server did something else than the specification."""


class Lane(ABC):
    """A real server with its clients, and the far ends of what they parked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._clients: dict[ClientId, socket.socket] = {}
        self._parked: dict[Handle, tuple[int, os.stat_result]] = {}
        self._poll = select.poll()

    # What differs between servers.

    @abstractmethod
    def _connect(self) -> socket.socket: ...

    @abstractmethod
    def _try_again(self, attempt: int, fd: int) -> None:
        """Let the server go on: what it owes is not there yet to be read from `fd`.

        Raises Mismatch if it had its chances.
        """

    @abstractmethod
    def let_run(self, expected: Expected) -> None:
        """Let the server do what is expected."""

    @abstractmethod
    def advance(self, now_ns: int) -> None:
        """Move the server's clock."""

    @abstractmethod
    def compare_log(self, expected: Expected) -> None:
        """Compare what the server logged. Raises Mismatch."""

    @abstractmethod
    def print_statistics(self) -> None:
        """Have the server print statistics."""

    @abstractmethod
    def stop(self) -> None:
        """End the server."""

    # What a client does.

    def connect(self, client: ClientId) -> None:
        connection = self._clients[client] = self._connect()
        self._poll.register(connection, select.POLLIN)

    def write(self, client: ClientId, data: bytes, handles: tuple[Handle, ...]) -> None:
        """Write from a client, with a new pipe for each handle; the client keeps no copy of what it passes."""
        connection = self._clients[client]
        if not handles:
            assert connection.send(data) == len(data)
            return
        writers = []
        for handle in handles:
            reader, writer = os.pipe()
            writers.append(writer)
            self._parked[handle] = reader, os.fstat(writer)
            self._poll.register(reader, select.POLLIN)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", writers))
        assert connection.sendmsg([data], [rights]) == len(data)
        for writer in writers:
            os.close(writer)

    def shut(self, client: ClientId) -> None:
        self._clients[client].shutdown(socket.SHUT_WR)

    def close_client(self, client: ClientId) -> None:
        connection = self._clients.pop(client)
        self._poll.unregister(connection)
        connection.close()

    def close(self) -> None:
        """End the server and let go of everything."""
        for client in list(self._clients):
            self.close_client(client)
        self.stop()
        for reader, _ in self._parked.values():
            os.close(reader)
        self._parked.clear()

    # What is compared.

    def compare(self, expected: Expected) -> None:
        """Compare everything that can be seen. Raises Mismatch."""
        for client, items in expected.heard.items():
            if client in self._clients:
                self._hear(client, items)
        for client in expected.disconnected:
            if client in self._clients:
                self._see_end(client)
        for handle in expected.closed:
            self._see_closed(handle)
        if surprises := self._poll.poll(0):
            raise Mismatch(f"{self.name}: {', '.join(self._surprise(fd) for fd, _ in surprises)}; nothing was expected")
        self.compare_log(expected)

    def _hear(self, client: ClientId, items: list[bytes | Handle]) -> None:
        wanted = b""
        for item in items:
            if isinstance(item, bytes):
                wanted += item
                continue
            self._hear_bytes(client, wanted)
            self._take_descriptor(client, item)
            wanted = b""
        self._hear_bytes(client, wanted)

    def _hear_bytes(self, client: ClientId, wanted: bytes) -> None:
        connection, heard, attempt = self._clients[client], b"", 0
        while len(heard) < len(wanted):
            try:
                more = connection.recv(len(wanted) - len(heard), socket.MSG_DONTWAIT)
            except BlockingIOError:
                attempt += 1
                reason = f"client {client} heard {heard!r}, not {wanted!r}"
                self._try_again_for(attempt, connection.fileno(), reason)
                continue
            except ConnectionResetError:
                more = b""
            heard += more
            if not more or not wanted.startswith(heard):
                raise Mismatch(f"{self.name}: client {client} heard {heard!r}, not {wanted!r}")

    def _take_descriptor(self, client: ClientId, handle: Handle) -> None:
        data, fds = self._receive_descriptors(client)
        try:
            if (data, len(fds)) != (DESCRIPTOR_BYTE, 1):
                raise Mismatch(f"{self.name}: client {client} received {data!r} with {len(fds)} descriptors, not one")
            self._inspect(fds[0], handle)
        finally:
            for fd in fds:
                os.close(fd)

    def _receive_descriptors(self, client: ClientId, attempt: int = 1) -> tuple[bytes, list[int]]:
        """Return one byte and what came with it; more than three descriptors are not worth telling from three."""
        try:
            data, fds, _, _ = socket.recv_fds(self._clients[client], 1, 3, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._try_again_for(attempt, self._clients[client].fileno(), f"client {client} has no descriptor")
            return self._receive_descriptors(client, attempt + 1)
        except ConnectionResetError:
            raise Mismatch(f"{self.name}: client {client} was cut off before its descriptor") from None
        return data, fds

    def _inspect(self, fd: int, handle: Handle) -> None:
        """Compare a descriptor with the one that was parked: the file, its status flags, and where bytes come out."""
        reader, parked = self._parked[handle]
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != (parked.st_dev, parked.st_ino):
            others = [other for other, (_, each) in self._parked.items() if each.st_ino == found.st_ino]
            raise Mismatch(f"{self.name}: received descriptor {others}, not {handle}")
        if (flags := fcntl.fcntl(fd, fcntl.F_GETFL)) != os.O_WRONLY:
            raise Mismatch(f"{self.name}: status flags of descriptor {handle} are now {flags:o}")
        token = bytes([handle % 256])
        os.write(fd, token)
        if os.read(reader, 1) != token:
            raise Mismatch(f"{self.name}: descriptor {handle} leads elsewhere")

    def _see_end(self, client: ClientId, attempt: int = 1) -> None:
        try:
            data = self._clients[client].recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._try_again_for(attempt, self._clients[client].fileno(), f"client {client} is still connected")
            self._see_end(client, attempt + 1)
            return
        except ConnectionResetError:  # The server closed with bytes of the client unread.
            data = b""
        if data:
            raise Mismatch(f"{self.name}: client {client} heard {data!r}, not the end")
        self.close_client(client)

    def _see_closed(self, handle: Handle) -> None:
        reader, _ = self._parked[handle]
        one = select.poll()
        one.register(reader, select.POLLIN)
        attempt = 0
        while not one.poll(0):
            attempt += 1
            self._try_again_for(attempt, reader, f"descriptor {handle} is still open")
        self._poll.unregister(reader)
        os.close(reader)
        del self._parked[handle]

    def _try_again_for(self, attempt: int, fd: int, reason: str) -> None:
        try:
            self._try_again(attempt, fd)
        except Mismatch:
            raise Mismatch(f"{self.name}: {reason}") from None

    def _surprise(self, fd: int) -> str:
        for client, connection in self._clients.items():
            if connection.fileno() == fd:
                try:
                    return f"client {client} heard {connection.recv(4096, socket.MSG_DONTWAIT)!r}"
                except ConnectionResetError:
                    return f"client {client} was cut off"
        return f"descriptor {[handle for handle, (reader, _) in self._parked.items() if reader == fd]} was closed"


class InProcessLane(Lane):
    """A lane whose server takes a turn when it is told to."""

    def __init__(self, name: str, server: InProcessServer) -> None:
        super().__init__(name)
        self.server = server

    def _connect(self) -> socket.socket:
        return self.server.peer(greeted=False).sock

    def _try_again(self, attempt: int, fd: int) -> None:
        if attempt > TRIES:
            raise Mismatch
        self.server.step()

    def let_run(self, expected: Expected) -> None:
        for _ in range(expected.turns):
            self.server.step()

    def advance(self, now_ns: int) -> None:
        self.server.clock.now_ns = now_ns
        self.server.step()

    def print_statistics(self) -> None:
        self.server.print_statistics()

    def compare_log(self, expected: Expected) -> None:
        if (printed := self.server.take_statistics()) != expected.statistics:
            raise Mismatch(f"{self.name}: printed {printed}, not {expected.statistics}")
        if sorted(hit := self.server.take_limits(), key=str) != sorted(expected.limits.elements(), key=str):
            raise Mismatch(f"{self.name}: hit limits {hit}, not {list(expected.limits.elements())}")
        self.server.log.lines.clear()

    def stop(self) -> None:
        self.server.close()


class SmallShares(InProcessLane):
    """The production server with a share of one: what is due, and what a client asks for, takes many turns.

    What is due is still there when requests are served: TTL-5 says that nobody can tell, but for the peaks of the
    statistics, which may count it.
    """

    def __init__(self, limits: Limits) -> None:
        self.fast = Fast(limits, share=1)
        super().__init__("fast with a share of 1", self.fast)

    def let_run(self, expected: Expected) -> None:
        super().let_run(expected)
        quiet_turns = 0
        for _ in range(TURNS_MAX):
            quiet_turns = 0 if self.fast.server._backlog or self._is_overdue() else quiet_turns + 1
            if quiet_turns == QUIET_TURNS:
                return
            self.server.step()
        raise Mismatch(f"{self.name}: not done after {TURNS_MAX} turns")

    def compare_log(self, expected: Expected) -> None:
        printed = self.server.take_statistics()
        if [*map(without_peaks, printed)] != [*map(without_peaks, expected.statistics)]:
            raise Mismatch(f"{self.name}: printed {printed}, not {expected.statistics}")
        super().compare_log(replace(expected, statistics=[]))

    def _is_overdue(self) -> bool:
        due_ns = self.fast.server.table.next_expiry_ns
        return due_ns is not None and due_ns <= self.fast.clock.now_ns


def without_peaks(line: str) -> str:
    """Return a line of statistics without what it says of the most that there was at a time."""
    return line.partition("max simultaneous")[0]
