"""What can be learned about a server from outside: its memory and its system calls."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

ATTACH_S_MAX: Final = 10.0


def resident_bytes(pid: int) -> int:
    """Return how much of a process is in memory."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Rss:\s+(\d+) kB", rollup, re.MULTILINE)
    if found is None:
        raise ValueError(f"no Rss line in /proc/{pid}/smaps_rollup; it says {rollup!r}")
    return int(found[1]) * 1024


def count_system_calls(pid: int, folder: Path, load: Callable[[], int]) -> dict[str, float]:
    """Count a process's system calls while `load` runs, by name, for each of the operations it says it did.

    Raises OSError where tracing is not allowed.
    """
    summary = folder / "strace.txt"
    strace = subprocess.Popen(
        ["strace", "-f", "-c", "-U", "calls,name", "-o", summary, "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _await_attachment(pid, strace)
        operations = load()
    finally:
        if strace.poll() is None:
            strace.send_signal(signal.SIGINT)  # it detaches and writes its summary
        strace.communicate()
    lines = re.findall(r"^\s*(\d+) (\w+)$", summary.read_text(), re.MULTILINE)
    return {name: int(calls) / operations for calls, name in lines if name != "total"}


def _await_attachment(pid: int, strace: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + ATTACH_S_MAX
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if strace.poll() is not None:
            said = strace.stderr.read().strip() if strace.stderr else ""
            raise OSError(f"strace cannot trace process {pid}; it says {said!r}")
        if time.monotonic() > deadline:
            raise OSError(f"strace has not attached to process {pid} in {ATTACH_S_MAX} s")
        time.sleep(0.01)
