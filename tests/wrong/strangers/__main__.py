"""`python -m tests.wrong.strangers NAME --listen PATH …`: compile a server, and be it.

NAME is that of a slip, or of a source, such as `threaded.c`, for the server without one.
"""

import os
import signal
import sys

from tests.wrong.strangers.program import compiled
from tests.wrong.strangers.slips import SLIPS


def main(arguments: list[str]) -> None:
    """Run the command."""
    name, *others = arguments
    slip = SLIPS.get(name)
    program = compiled(slip.source, slip.edits) if slip else compiled(name)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the program would inherit that
    os.execv(program, [str(program), *others])


if __name__ == "__main__":
    main(sys.argv[1:])
