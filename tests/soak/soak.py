"""A long life: one save and one find after the other, under a ttl so long that nothing expires by itself.

The server's resident memory and its descriptors must not grow, seen from outside in /proc. What leaves the table before
its time must leave no trace: with a ttl of 600 s every trace would still be there at the end.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.client import Client
from tests.support.messages import DONE, DUMMY, MISSED, find_endp, found, save_endp
from tests.support.processes import Running

LABELS: Final = 50
"""How many labels take turns."""

PARKED: Final = 200
"""How many connections stay parked all the while."""

DEATH_EVERY: Final = 20
"""After so many pairs another client comes, finds one of those, and dies: the server has no collector of cycles."""

WARM_UP: Final = 5_000
"""Pairs before the first measure: until then tables grow to the size they keep."""

GROWTH_KB_MAX: Final = 200
"""How much the memory may grow afterwards. A trace of 56 bytes for each of 15 000 pairs would be 840 kB; a sound server
was measured to grow by 4 kB in a million pairs."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a server has after so many pairs."""

    pairs: int
    resident_kb: int
    descriptors: int


class GrownError(AssertionError):
    """Memory or descriptors have grown."""


def soak(server: Running, path: Path, pairs: int, measures: int = 20) -> Iterator[Measure]:
    """Save and find so often; yield what the server has now and then; raises GrownError."""
    near, far = socket.socketpair()
    with Client(path) as client, near, far:
        for _ in range(PARKED):
            assert client.save(b"stays", near.fileno()) == DONE
        received = b""
        first: Measure | None = None
        every = max(1, (pairs - WARM_UP) // measures)
        for number in range(1, pairs + 1):
            received = _pair(client.sock, b"label %d" % (number % LABELS), near.fileno(), received)
            if number % DEATH_EVERY == 0:
                with Client(path) as mayfly:
                    assert mayfly.say(find_endp(b"stays")) == found(b"p")  # it is put back when its client is gone
            if number >= WARM_UP and (number - WARM_UP) % every == 0:
                for _ in range(2):  # the second answer means that a turn with all that had happened before is over
                    assert client.say(received + find_endp(b"none")) == MISSED
                    received = b""
                measure = Measure(number, int(server.status("VmRSS").split()[0]), server.descriptors)
                first = first or measure
                yield measure
                if measure.descriptors != first.descriptors:
                    raise GrownError(f"{measure.descriptors} descriptors, not {first.descriptors}")
                if measure.resident_kb > first.resident_kb + GROWTH_KB_MAX:
                    raise GrownError(f"{measure.resident_kb} kB of memory, not {first.resident_kb}")


def _pair(client: socket.socket, label: bytes, descriptor: int, received: bytes) -> bytes:
    """Save and find once; what says "received" is returned, to be written together with the next request."""
    client.sendall(received + save_endp(label, ttl=b"600"))
    assert client.recv(100) == DUMMY
    socket.send_fds(client, [b"\0"], [descriptor])
    assert client.recv(100) == DONE
    client.sendall(find_endp(label))
    assert client.recv(100) == found(b"p")
    client.sendall(DUMMY)
    _, (taken,), _, _ = socket.recv_fds(client, 1, 1)
    os.close(taken)
    return DUMMY
