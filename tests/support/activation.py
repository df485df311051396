"""What systemd does before it starts a service: listening sockets and others are passed under the numbers from 3 on."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.processes import COMMAND

PASSING = """
import fcntl, os, sys
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in os.environ["PASSED"].split()]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number, inheritable=True)
    os.close(fd)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
os.environ.setdefault("LISTEN_FDS", str(len(high)))
from scache_fast.__main__ import main
status = main()
left = {name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "FDSTORE"))}
print("left in the environment:", sorted(left), file=sys.stderr)
sys.exit(status)
"""
"""What systemd does before it starts a service."""


def passing(*passed: socket.socket | int) -> tuple[list[str], dict[str, str], list[int]]:
    """Return the command, environment and descriptors to start a server with these passed to it."""
    fds = [each if isinstance(each, int) else each.fileno() for each in passed]
    return [COMMAND[0], "-c", PASSING], {"PASSED": " ".join(map(str, fds))}, fds


@contextmanager
def listeners(*paths: Path) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        socks = []
        for path in paths:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.bind(str(path))
            sock.listen()
            socks.append(sock)
        yield socks
