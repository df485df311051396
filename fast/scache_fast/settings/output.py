"""What the command says on standard output and standard error before there is a log."""

import os
import sys
from typing import Final, NoReturn

from scache_fast.settings import journal

PROGRAM: Final = "scached"

_ERROR: Final = "<3>"
"""The priority of an error where journald reads it: `journalctl -p warning` has to show why a service did not start."""


def complain(text: str) -> None:
    """Say on standard error why the command cannot be carried out."""
    say(2, f"{PROGRAM}: error: {text}\n")


def end(text: str) -> NoReturn:
    """Print what was asked for, and end; without its output the command has failed."""
    sys.exit(0 if say(1, text) else 1)


def say(fd: int, text: str) -> bool:
    """Write to a standard descriptor at once; False: it is closed, or its disk is full.

    Neither print nor sys.stderr: they are None when the descriptor was closed at the start, and keep what they could
    not write for another try, with a traceback, when the interpreter ends.
    """
    try:
        if fd == 2 and journal.reads_stderr():
            text = "".join(f"{_ERROR}{line}\n" for line in text.splitlines())
        data = text.encode(errors="backslashreplace")
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        if fd != 2:
            complain(f"cannot write to standard output: {error.strerror}")
        return False
    return True
