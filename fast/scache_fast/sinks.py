"""Where lines of the log end up: standard error, syslog(3), or Postfix's postlogd(8).

Decides the bytes of a record and what happens when nobody takes it: the line is lost, and nothing else. A server does
not wait for its log, grow with it or die of it. Refuses to know what lines say.

All of them are connected when they are made, because later the process may be in a chroot.

Sources: sd-daemon(3) for the priorities under journald, syslog(3), postlogd(8) and maillog_client of Postfix.
"""

import os
import socket
import syslog
import time
from typing import Final

from scache_fast.log import Sink

_FACILITIES: Final = {
    "kern": syslog.LOG_KERN, "user": syslog.LOG_USER, "mail": syslog.LOG_MAIL, "daemon": syslog.LOG_DAEMON,
    "auth": syslog.LOG_AUTH, "syslog": syslog.LOG_SYSLOG, "lpr": syslog.LOG_LPR, "news": syslog.LOG_NEWS,
    "uucp": syslog.LOG_UUCP, "cron": syslog.LOG_CRON, "authpriv": syslog.LOG_AUTHPRIV,
    "local0": syslog.LOG_LOCAL0, "local1": syslog.LOG_LOCAL1, "local2": syslog.LOG_LOCAL2,
    "local3": syslog.LOG_LOCAL3, "local4": syslog.LOG_LOCAL4, "local5": syslog.LOG_LOCAL5,
    "local6": syslog.LOG_LOCAL6, "local7": syslog.LOG_LOCAL7,
}  # fmt: skip


def to_stderr(name: str) -> Sink:
    """Return a sink that writes to standard error: `name[pid]: line`, or `<N>line` where journald reads it."""
    # journald adds name and pid itself, and says in this variable which device and inode its end is.
    journal = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:
        return _nowhere  # Standard error is closed.
    is_journal = journal == f"{status.st_dev}:{status.st_ino}"
    prefix = f"{name}[{os.getpid()}]: "

    def sink(priority: int, line: str) -> None:
        head = f"<{priority}>" if is_journal else prefix
        try:
            # One write for one line, so that lines of several processes do not mix.
            os.write(2, f"{head}{line}\n".encode(errors="backslashreplace"))
        except OSError:
            # EPIPE, EIO, ENOSPC, EAGAIN: there is nowhere left to say so.
            pass

    return sink


def to_syslog(name: str, facility: str) -> Sink:
    """Return a sink that gives lines to syslog(3) as `name[pid]`."""
    syslog.openlog(name, syslog.LOG_PID | syslog.LOG_NDELAY, _FACILITIES[facility])
    return syslog.syslog


def to_postlog(path: str, name: str, host: str) -> Sink:
    """Return a sink that sends datagrams to postlogd(8) at its socket; raises OSError if nobody is there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    tag = f"{host} {name}[{os.getpid()}]: "

    def sink(priority: int, line: str) -> None:
        # postlogd writes what it gets; priorities are in the text already.
        try:
            sock.send(f"{time.ctime()[4:19]} {tag}{line}".encode(errors="backslashreplace"))
        except OSError:
            # EAGAIN, ECONNREFUSED, ENOTCONN, EPIPE: postlogd is slow, or gone for a moment.
            pass

    return sink


def _nowhere(priority: int, line: str) -> None:
    pass
