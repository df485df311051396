"""The production server's table alone, in this process, at growing sizes: `python -m scache_bench.growth SIZE…`.

Measures the cost of a save, a find and an expiry, and the memory of an entry, without any socket. Runs as a process of
its own, so that its memory is the table's; prints one JSON object a line, as soon as it is measured.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Final

from scache_bench.probes import resident_bytes
from scache_fast.engine.server import SHARE
from scache_fast.engine.table import Table
from scache_spec.vocabulary import NS_PER_S, Label, Limits, Properties

BATCH: Final = 2_000
"""Operations between two looks at the clock: some milliseconds, as long as it takes to be measured well."""

BATCHES: Final = 11

_TTL_S: Final = 3_600

_PROPERTIES: Final = b"tls_level=0\nreuse_count=2\nendpoint_features=34695\nexpire_time=1795345680\n\n"


@dataclass(frozen=True, slots=True)
class Grown:
    """What one size costs. Times are medians of batches, in microseconds for one operation."""

    entries: int
    save_us: float
    find_us: float
    expire_us: float
    """Of a tenth of the entries, in shares as the loop takes them. Their ttls are in no order."""
    bytes_per_entry: float
    """Beyond label and properties."""


def _label(number: int) -> Label:
    return Label(b"smtp\n10.%d.%d.%d\n25\n0\n" % (number >> 16, number >> 8 & 255, number & 255))


def _properties(number: int) -> Properties:
    # Concatenated at run time, so that each session has bytes of its own, as if they had come over a socket.
    return Properties(_PROPERTIES + b"%d" % number)


def _timed_us(action: Callable[[], None]) -> float:
    start = time.process_time_ns()  # whatever else runs on the machine does not count
    action()
    return (time.process_time_ns() - start) / 1_000 / BATCH


def _expiry_us(table: Table, count: int) -> float:
    """Have about so many entries expire in shares; return the microseconds for each, and put as many new ones in."""
    now_ns = _TTL_S * NS_PER_S * count // table.sessions
    entries = table.sessions
    start_ns = time.process_time_ns()
    expired = table.pop_expired(now_ns, SHARE)
    while expired:
        expired = table.pop_expired(now_ns, SHARE)
    passed_us = (time.process_time_ns() - start_ns) / 1_000
    gone = entries - table.sessions
    for number in range(gone):
        table.save_endp(_label(number), _properties(number), 0, _TTL_S, 0)
    return passed_us / gone


def measure(sizes: Sequence[int]) -> None:
    """Fill one table to each size in turn and print what is measured there."""
    table = Table(
        Limits(ttl_limit_s=_TTL_S, sessions_max=2**31, sessions_per_endpoint_max=2**31, cached_bytes_max=2**62)
    )
    random = Random(1)
    before = resident_bytes(os.getpid())
    payload = filled = 0
    for size in sorted(sizes):
        for number in range(filled, size):
            label, properties = _label(number), _properties(number)
            refusal = table.save_endp(label, properties, number, random.randint(1, _TTL_S), 0)
            assert refusal is None, refusal
            payload += len(label) + len(properties)
        filled = size
        grown = resident_bytes(os.getpid()) - before - payload
        extra = [(_label(size + i), _properties(size + i)) for i in range(BATCH)]

        def save(batch: Sequence[tuple[Label, Properties]] = extra) -> None:
            for label, properties in batch:
                table.save_endp(label, properties, 0, random.randint(1, _TTL_S), 0)

        def find(batch: Sequence[tuple[Label, Properties]] = extra) -> None:
            for label, _ in batch:
                table.find_endp(label)

        times = sorted((_timed_us(save), _timed_us(find)) for _ in range(BATCHES))
        saves, finds = sorted(time[0] for time in times), sorted(time[1] for time in times)
        middle = BATCHES // 2
        expire_us = _expiry_us(table, size // 10)
        print(json.dumps(asdict(Grown(size, saves[middle], finds[middle], expire_us, grown / size))), flush=True)


if __name__ == "__main__":
    measure([int(word) for word in sys.argv[1:]])
