"""Run one of our servers under a clock that is read from a file, with no option for that in the server.

    under_virtual_clock.py CLOCK_FILE MODULE [ARGUMENT…]

The file's eight bytes, one signed 64-bit number of whole seconds in native order, stand where the module would read a
clock that does not jump. With an empty word for the file, the module has the machine's clock. Any module will do that
reads time.monotonic_ns as it is when the module is imported, or calls time.clock_gettime_ns.
"""

import mmap
import runpy
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

WORD = struct.Struct("=q")
NS_PER_S = 1_000_000_000


def clock_in(path: Path) -> Callable[[], int]:
    """Return a clock that counts nanoseconds, in steps of the whole seconds that the file holds."""
    with path.open("rb") as file:
        word = mmap.mmap(file.fileno(), WORD.size, prot=mmap.PROT_READ)

    def now_ns() -> int:
        seconds: int = WORD.unpack_from(word)[0]
        return seconds * NS_PER_S

    return now_ns


def main() -> None:
    """Put the clock in its place, then be the module."""
    path, module, *arguments = sys.argv[1:]
    sys.path[0] = str(Path(__file__).parents[2])
    sys.argv = [module, *arguments]
    if path:
        now_ns = time.monotonic_ns = clock_in(Path(path))
        time.clock_gettime_ns = lambda _: now_ns()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
