"""A clock for a program that was never written to be given one: `time(2)` replaced from outside.

The replacement is virtual_clock.c, compiled on the spot. The time is kept in a file of eight bytes, one signed 64-bit
number of whole seconds in native order, mapped by both sides. It cannot make a program look: one that is blocked in
epoll_wait stays blocked.
"""

import mmap
import shutil
import struct
import time
from importlib import resources
from pathlib import Path
from typing import Final, Self

from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.wire import processes

_WORD: Final = struct.Struct("=q")


class VirtualClock:
    """A clock that stands still until it is advanced. Starts at the real time, in whole seconds."""

    def __init__(self, folder: Path) -> None:
        """Make the clock's two files in `folder`. Raises Unavailable where no C compiler is installed."""
        self.shim_path: Final = folder / "virtual_clock.so"
        self.word_path: Final = folder / "virtual_clock.now_s"
        _compile_shim(self.shim_path)
        self.word_path.write_bytes(_WORD.pack(int(time.time())))
        with self.word_path.open("r+b") as word_file:
            self._word = mmap.mmap(word_file.fileno(), _WORD.size)

    @property
    def now_s(self) -> int:
        """Tell the time, in seconds since the epoch."""
        now_s: int = _WORD.unpack(self._word[:])[0]
        return now_s

    def advance(self, seconds: int) -> None:
        """Move the clock forward. A program asleep does not notice before something wakes it."""
        if seconds < 0:
            raise ValueError(f"cannot advance a clock by {seconds} s: time goes forward; name 0 or more")
        self._word[:] = _WORD.pack(self.now_s + seconds)

    def environment(self) -> dict[str, str]:
        """Name the variables that put a program under this clock."""
        return {"LD_PRELOAD": str(self.shim_path), "SCACHE_CLOCK_FILE": str(self.word_path)}

    def governs(self, pid: int) -> bool:
        """Tell whether the process has really loaded the replacement: a static program or ld.so may have ignored it."""
        return str(self.shim_path) in Path(f"/proc/{pid}/maps").read_text()

    def close(self) -> None:
        """Let go of the file; it is removed with its folder."""
        self._word.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _compile_shim(target: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unavailable("a virtual clock needs a C compiler and none of cc, gcc, clang is installed: install gcc")
    with resources.as_file(resources.files(__package__) / "virtual_clock.c") as source:
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(target), str(source)]
        result = processes.run(command)
    if result.returncode != 0:
        raise Unavailable(f"{compiler} cannot build the virtual clock; it says: {result.stderr.strip()}")
