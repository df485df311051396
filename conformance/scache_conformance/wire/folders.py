"""Where a temporary folder is made that is to hold a UNIX socket."""

import os
import tempfile
from pathlib import Path
from typing import Final

PATH_BYTES_MAX: Final = 107
"""The longest path of a UNIX socket: 108 bytes of sockaddr_un with the closing NUL."""

RANDOM: Final = "x" * 8
"""As many letters tempfile appends to the prefix of a folder."""

SHORT: Final = "/tmp"
"""Where a folder is made if the path of TMPDIR is too long for a socket."""


def place_for(prefix: str, socket_name: str) -> str:
    """Return the folder in which to make a temporary folder of this prefix with a socket of this name in it.

    That is the one of TMPDIR, as everywhere, but /tmp if the socket's path would be too long there.
    """
    usual = tempfile.gettempdir()
    longest = Path(usual, prefix + RANDOM, socket_name)
    return usual if len(os.fsencode(longest)) <= PATH_BYTES_MAX else SHORT
