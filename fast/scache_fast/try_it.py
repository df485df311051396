"""What a newcomer reads just before the server starts: where it will listen, and what to type elsewhere.

Decides nothing and starts nothing; it prints.
"""

import os
import sys
from typing import Final

_TEXT: Final = """\
Starting scached on {path}
It keeps open connections for other processes. Leave it running, open another terminal in this folder, and type:

    .venv/bin/python -m scache_client {path}

Press Ctrl-C here to stop it.
"""


def main() -> int:
    """Print the text for the socket named on the command line."""
    if len(sys.argv) != 2:
        print("usage: python -m scache_fast.try_it SOCKET", file=sys.stderr)
        return 2
    print(_TEXT.format(path=os.path.relpath(sys.argv[1])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
