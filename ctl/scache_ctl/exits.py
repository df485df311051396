"""Exit statuses of scachectl, and how it ends when something goes wrong: one line on standard error."""

import os
import signal
import sys
from typing import Final

from scache_client.errors import CacheError, Refused, ServerGone, TimedOut
from scache_ctl.shown import harmless
from scache_fast.admin.client import AdminError, AdminTimeoutError, AdminUnavailableError

DONE: Final = 0
NOTHING_THERE: Final = 1
"""Nothing is parked there, or a connection was closed that was to be parked again."""
WRONG: Final = 2
"""The command line is wrong, or something failed on this side."""
REFUSED: Final = 3
"""The server refused the request."""
NO_SERVER: Final = 4
"""There is no server, it went away, or it does not speak this protocol."""
TIMED_OUT: Final = 5
"""The server did not answer in time."""
INTERRUPTED: Final = 128 + signal.SIGINT
CUT_OFF: Final = 128 + signal.SIGPIPE
"""Nobody reads standard output any more. Shells show these two for a program that the signal ended."""

HELP: Final = """\
exit status:
  0    done
  1    nothing is parked under this label, or a connection was closed that --again should have parked
  2    the command line is wrong, or something failed in scachectl itself
  3    the server refused; the reason is on standard error
  4    no server listens, or it ended
  5    the server did not answer in time
  130  interrupted by Ctrl-C
  141  the program that read the output has ended
"""

MEANT: Final = (AdminError, AdminUnavailableError, CacheError, OSError, ValueError)
"""What ends a command with a line on standard error."""


def status_of(error: Exception) -> int:
    """Return the exit status that an error ends the command with."""
    match error:
        case AdminTimeoutError() | TimedOut():
            return TIMED_OUT
        case AdminUnavailableError() | ServerGone():
            return NO_SERVER
        case AdminError() | Refused():
            return REFUSED
        case _:
            return WRONG


def complain(error: Exception) -> int:
    """Say what went wrong and what to do; return the exit status."""
    status = status_of(error)
    advice = ""
    if isinstance(error, AdminTimeoutError):
        advice = "; check that the server is not stopped, or raise --timeout"
    elif isinstance(error, AdminUnavailableError):
        advice = "; check that scached runs with --admin and this path, and that you are root or its user"
    print(f"scachectl: {harmless(str(error))}{advice}", file=sys.stderr)
    return status


def keep_output() -> None:
    """Have standard output discarded if descriptor 1 is closed, as in `scachectl resume >&-`."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def leave_output() -> int:
    """Have nothing written to standard output any more, also not at the end of the interpreter."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return CUT_OFF
