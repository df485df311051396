"""The command `scached`.

Decides who started the process. Everything either way needs is imported here, before anything is done: nothing is
looked for on disk once the loop runs, and nothing can be in a chroot.
"""

import os
import sys
from collections.abc import Sequence

from scache_fast.process import master, standalone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if master.is_child(given, os.environ):
        return master.main(sys.argv[0], given, os.environ)
    return standalone.main(given, os.environ)


if __name__ == "__main__":
    sys.exit(main())
