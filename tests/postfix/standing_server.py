"""A server of ours as a process of its own, on a socket of its own.

Decides how it is started, when it counts as up, and that it must end with exit status 0 on SIGTERM. Refuses to know
who its clients are.
"""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 20.0

ROOT = Path(__file__).parents[2]
FOLDERS = ("spec", "reference", "fast", "client", "conformance")

LOOK_AGAIN_MS = 20
"""How often a starting process is tried. Its death is noticed at once."""


def ended(pid: int, within_ms: int) -> bool:
    """Wait until a process has ended, at most so long; tell whether it has. Does not reap it."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(within_ms))
    finally:
        os.close(pidfd)


def await_listener(process: subprocess.Popen[bytes], address: str | tuple[str, int]) -> None:
    """Return when somebody listens at the address, a path or a host and port; fail if the process ends before."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    for _ in range(int(PATIENCE_S * 1000 / LOOK_AGAIN_MS)):
        with socket.socket(family) as trial:
            if trial.connect_ex(address) == 0:
                return
        assert not ended(process.pid, LOOK_AGAIN_MS), f"{process.args!r} ended with {process.wait()}"
    raise AssertionError(f"nobody listens at {address!r} after {PATIENCE_S} s: {process.args!r}")


@contextmanager
def standing_server(module: str, socket_path: Path, options: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m module --listen socket_path`, and hold it to a clean end. Its log goes to the test's stderr."""
    command = [sys.executable, "-m", module, "--listen", str(socket_path), *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in FOLDERS)}
    # The socket must let every user in, as those of Postfix do: the folder around it decides who gets there.
    with subprocess.Popen(command, umask=0, env=environment) as process:
        try:
            await_listener(process, str(socket_path))
            yield process
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()  # does nothing to a process that was waited for
    assert not socket_path.exists(), f"{module} left its socket file behind"
