"""Postfix's own scache(8) in lockstep, under a clock of whole seconds.

How to wait for a process that runs when it likes, and how to read its statistics. What it does otherwise than
the specification, and no Postfix client ever notices, is kept from it elsewhere: see `rules.py` (WHOLE_DANCES).

A lane acknowledges each descriptor as soon as it has it, before anything else is compared: this server closes its copy
only then. The acknowledgement that the script sends later is held back.
"""

import re
import select
import socket
from typing import Final

from tests.side_by_side.lockstep.lane import Lane, Mismatch
from tests.side_by_side.lockstep.oracle import Expected

from scache_conformance.servers.postfix import MasterChild
from scache_conformance.wire.lists import DUMMY_LIST
from scache_spec.vocabulary import NS_PER_S, ClientId, Handle

PATIENCE_MS: Final = 10_000
"""How long to wait for what must come. Generous: the machine may be busy."""

_STATISTICS: Final = re.compile(r"(statistics: (?:start interval )?)(.*)")


class RealLane(Lane):
    """A lane whose server is a process."""

    def __init__(self, child: MasterChild) -> None:
        super().__init__("scache(8)")
        assert child.clock is not None
        self._child, self._clock = child, child.clock
        self._acknowledged: set[ClientId] = set()
        self._lines_seen = len(child.log().splitlines())

    @property
    def now_ns(self) -> int:
        """Return the time by the server's clock."""
        return self._clock.now_s * NS_PER_S

    def write(self, client: ClientId, data: bytes, handles: tuple[Handle, ...]) -> None:
        if client in self._acknowledged:
            self._acknowledged.remove(client)
            assert data.startswith(DUMMY_LIST)
            data = data.removeprefix(DUMMY_LIST)
        if data:
            super().write(client, data, handles)

    def let_run(self, expected: Expected) -> None:
        if not expected.heard:
            self._child.poke()

    def advance(self, now_ns: int) -> None:
        self._child.advance((now_ns - self.now_ns) // NS_PER_S)

    def print_statistics(self) -> None:
        raise NotImplementedError("scache(8) prints statistics by the clock alone")

    def compare_log(self, expected: Expected) -> None:
        # Reading the log costs more than a request, so it is read when there must be something new, or may be.
        if not expected.statistics and expected.heard:
            return
        lines = self._child.log().splitlines()
        new, self._lines_seen = lines[self._lines_seen :], len(lines)
        printed = [match[1] + match[2] for line in new if (match := _STATISTICS.search(line))]
        printed = [re.sub("(?<=^statistics: start interval ).*", "...", line) for line in printed]
        if printed != expected.statistics:
            raise Mismatch(f"{self.name}: printed {printed}, not {expected.statistics}")

    def stop(self) -> None:
        """Leave the process to whoever started it."""

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._child.socket_path))
        connection.setblocking(False)
        return connection

    def _try_again(self, attempt: int, fd: int) -> None:
        # Only this one is waited for: others may be readable for long. A descriptor that the server drops as it reads
        # a request is seen closed before the reply to that request is written.
        one = select.poll()
        one.register(fd, select.POLLIN)
        if not one.poll(PATIENCE_MS):
            raise Mismatch

    def _take_descriptor(self, client: ClientId, handle: Handle) -> None:
        super()._take_descriptor(client, handle)
        super().write(client, DUMMY_LIST, ())
        # It throws away what it reads together with the acknowledgement: that has to be read before anything follows.
        self._child.poke()
        self._acknowledged.add(client)
