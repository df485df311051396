"""Real mail: what a cache costs while a Postfix of its own delivers messages through it.

Messages go from smtp-source by smtpd(8), the queue and smtp(8) to an smtp-sink; master(8) starts the cache. It takes
root and Postfix.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.postfix.launcher import scached
from tests.postfix.private_postfix import PrivatePostfix, service_command

from scache_bench.probes import resident_bytes
from scache_bench.results import Mailed
from scache_bench.servers import COMPILED, PYTHON
from scache_conformance.servers.unavailable import Unavailable

CACHES: Final = ("compiled", "fast", "scache")
"""The servers that master(8) can start."""

AT_ONCE: Final = 20
BATCH: Final = 200
"""The log of so many messages fits the pipe through which it comes."""

WARM: Final = 40
"""Messages before the measurement: processes are there, and the cache is."""

SETTINGS: Final = f"""\
smtp_destination_concurrency_limit = {AT_ONCE}
initial_destination_concurrency = {AT_ONCE}
"""


class MailError(Exception):
    """No mail can be delivered here. The text says why."""


def mailed(server: str, messages: int) -> Mailed:
    """Deliver messages through one of the caches. Raises MailError."""
    if os.geteuid() != 0:
        raise MailError("only root may start a Postfix: run as root")
    # In /tmp, as user postfix has to get there.
    with tempfile.TemporaryDirectory(prefix="scache-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            return _mailed(server, messages, folder)
        except Unavailable as reason:
            raise MailError(str(reason)) from reason


def _mailed(server: str, messages: int, folder: Path) -> Mailed:
    command = "scache"
    if server != "scache":
        prelude = f"sys.path.insert(0, {str(COMPILED)!r})" if server == "compiled" else ""
        command = service_command(scached(folder, prelude, interpreter=PYTHON))
    with PrivatePostfix(command, chroot=False, settings=SETTINGS) as postfix:
        before = reused = postfix.deliver(WARM, AT_ONCE).reused
        pid = next(each for each in postfix.children() if _is_cache(each))
        start_s = _cpu_s(pid)
        for first in range(0, messages, BATCH):
            reused = postfix.deliver(min(BATCH, messages - first), AT_ONCE).reused
        return Mailed(server, messages, reused - before, _cpu_s(pid) - start_s, resident_bytes(pid))


def _is_cache(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return any(word.rpartition(b"/")[2] in (b"scache", b"scached") for word in words[:3])


def _cpu_s(pid: int) -> float:
    # The number of a process's clock, as clock_getcpuclockid(3) makes it: all of its threads, to the nanosecond.
    return time.clock_gettime(~pid << 3 | 2)
