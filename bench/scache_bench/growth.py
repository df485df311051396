"""The production server's table alone, in this process, at growing sizes: `python -m scache_bench.growth SIZE…`.

Measures the cost of a save and a find and the memory of an entry without any socket. Runs as a process of its own, so
that its memory is the table's; prints one JSON object a line, as soon as it is measured.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from scache_bench.probes import resident_bytes
from scache_fast.engine.table import Table
from scache_spec.vocabulary import Label, Limits, Properties

BATCH: Final = 2_000
"""Operations between two looks at the clock: some milliseconds, as long as it takes to be measured well."""

BATCHES: Final = 11

_PROPERTIES: Final = b"tls_level=0\nreuse_count=2\nendpoint_features=34695\nexpire_time=1795345680\n\n"


@dataclass(frozen=True, slots=True)
class Grown:
    """What one size costs. Times are medians of batches, in microseconds for one operation."""

    entries: int
    save_us: float
    find_us: float
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


def measure(sizes: Sequence[int]) -> None:
    """Fill one table to each size in turn and print what is measured there."""
    table = Table(Limits(ttl_limit_s=3_600, sessions_max=2**31, sessions_per_endpoint_max=2**31))
    before = resident_bytes(os.getpid())
    payload = filled = 0
    for size in sorted(sizes):
        for number in range(filled, size):
            label, properties = _label(number), _properties(number)
            table.save_endp(label, properties, number, 3_600, number * 1_000)
            payload += len(label) + len(properties)
        filled = size
        grown = resident_bytes(os.getpid()) - before - payload
        extra = [(_label(size + i), _properties(size + i)) for i in range(BATCH)]
        now_ns = size * 1_000

        def save(batch: Sequence[tuple[Label, Properties]] = extra, now_ns: int = now_ns) -> None:
            for label, properties in batch:
                table.save_endp(label, properties, 0, 3_600, now_ns)

        def find(batch: Sequence[tuple[Label, Properties]] = extra) -> None:
            for label, _ in batch:
                table.find_endp(label)

        times = sorted((_timed_us(save), _timed_us(find)) for _ in range(BATCHES))
        saves, finds = sorted(time[0] for time in times), sorted(time[1] for time in times)
        middle = BATCHES // 2
        print(json.dumps(asdict(Grown(size, saves[middle], finds[middle], grown / size))), flush=True)


if __name__ == "__main__":
    measure([int(word) for word in sys.argv[1:]])
