"""`python -m tests.wrong.strangers NAME --listen PATH …`: compile a version of the server in C, and be it.

`right` is the version without a slip.
"""

import os
import signal
import sys

from tests.wrong.strangers.program import compiled
from tests.wrong.strangers.slips import SLIPS


def main(arguments: list[str]) -> None:
    """Run the command."""
    name, *others = arguments
    program = compiled(() if name == "right" else SLIPS[name].edits)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the program would inherit that
    os.execv(program, [str(program), *others])


if __name__ == "__main__":
    main(sys.argv[1:])
