"""What strace does to a running process: system calls that fail, or take their time."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.client import PATIENCE_S
from tests.support.processes import TRY_AGAIN_MS, ended, process_status


@contextmanager
def injected(pid: int, call: str, fault: str) -> Iterator[Path]:
    """Inject a fault into a system call of a process while the block runs; yield strace's log.

    `fault` is what strace(1) takes after `inject=CALL:`, say `error=5` or `delay_enter=1000` (in us).
    """
    what = ["-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        words = ["strace", "-f", "-qq", "-o", str(log), *what, "-p", str(pid)]
        strace = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while any(process_status(int(task), "TracerPid") == "0" for task in os.listdir(f"/proc/{pid}/task")):
                assert not ended(strace.pid, TRY_AGAIN_MS), "strace ended"
            yield log
        finally:
            strace.send_signal(signal.SIGINT)  # It lets go of the process.
            strace.wait(PATIENCE_S)
