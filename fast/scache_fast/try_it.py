"""What a newcomer reads just before the server starts: where it will listen, and what to type elsewhere.

Decides nothing and starts nothing; it prints.
"""

import os
import sys
from typing import Final

_TEXT: Final = """\
Starting scached on {path}
It keeps open connections for other processes. Leave it running, open another terminal in this folder, and type:

    export SCACHE_SOCKET={path}
    .venv/bin/python -m scache_client echo &                            # a peer that numbers its connections
    .venv/bin/python -m scache_client park demo 127.0.0.1:7007          # one process opens a connection, parks it
    .venv/bin/python -m scache_client find demo --send hello --again 60 # another takes it up, and parks it again
    .venv/bin/python -m scache_client find demo --send 'hello again'    # a third one: still the same connection
    kill %1

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
