"""The command `scached`: finds out who started the process.

Only what the way of starting needs is imported, and all of it before anything is served: nothing is looked for on disk
once the loop runs, and nothing can be in a chroot.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    # From the first instant on: what comes before there is a handler must not end the process.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    given = sys.argv[1:] if arguments is None else arguments
    if is_child_of_master(given, os.environ):
        from scache_fast.process import master

        return master.main(sys.argv[0], given, os.environ)
    if arguments is None:
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)
    from scache_fast.process import standalone

    return standalone.main(given, os.environ)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End a process that has not begun to serve, as the loop ends one that serves: no socket file is left behind."""
    sys.exit(0)


def is_child_of_master(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Say whether Postfix's master(8) started this process, or somebody who does as it does.

    master(8) passes GENERATION and options of one letter; scached's own, but -v and -h, are of several.
    """
    return "GENERATION" in environment or any(
        len(each) > 1 and each[0] == "-" and each[1] in "cdDilmnosStuVz" for each in arguments
    )


if __name__ == "__main__":
    sys.exit(main())
