"""Become a child of master(8): the last step before the program starts, run as a script in a process of its own.

Each descriptor gets its number here. `subprocess` cannot do that itself without running Python between fork
and exec, which is not safe in a program with threads. Imports nothing of this package: it is run by path, isolated.

    master_exec.py SOFT_DESCRIPTOR_LIMIT FLOW_READ,FLOW_WRITE,STATUS,LISTEN… PROGRAM ARGV0 [ARGUMENT…]
"""

import fcntl
import os
import resource
import sys

FIRST_FD = 3
"""Postfix's MASTER_FLOW_READ; the others follow in order."""


def become(descriptors_max: int, sources: list[int], program: str, argv: list[str]) -> None:
    """Put the descriptors in their places, set the limit (0: the hard one) and become the program."""
    # Move all of them above every target first, or one dup2 may overwrite the source of the next.
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_FD + 2 * len(sources)) for fd in sources]
    for number, fd in enumerate(above, FIRST_FD):
        os.dup2(fd, number, inheritable=True)
    os.closerange(FIRST_FD + len(above), max(above + sources) + 1)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Master raises its own soft limit to the hard one at start, and its children inherit that.
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max or hard, hard))
    # Python itself adds LC_CTYPE when it starts in the C locale; master(8) passes no such variable.
    os.execve(program, argv, {name: value for name, value in os.environ.items() if name != "LC_CTYPE"})


if __name__ == "__main__":
    become(int(sys.argv[1]), [int(fd) for fd in sys.argv[2].split(",")], sys.argv[3], sys.argv[4:])
