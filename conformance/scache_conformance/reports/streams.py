"""Standard output and standard error, of which each may be closed or on a full disk."""

import errno
import os
import sys
from typing import Final

NOT_TAKEN: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Why nobody takes what is written."""


def fill() -> None:
    """Open /dev/null for each standard descriptor that is closed: a socket would get its number otherwise."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number: this one
    # Python has none for a descriptor that was closed at its start.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - it stays open
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - it stays open
