"""Where lines of the log end up: standard error, syslog(3), or Postfix's postlogd(8).

When nobody takes a record, a bounded number of records waits; records that come after that are lost and counted. A
server does not wait for its log, grow with it or die of it.

Every sink is connected when it is made, because later the process may be in a chroot. When the other end is gone, the
sink looks for it again at the same path, which then is one inside the chroot.

The C library's own syslog(3) is not used: it waits for a daemon that does not read, and the whole server with it.

Sources: sd-daemon(3) for the priorities under journald; RFC 3164 and syslog(3) of glibc and musl, both of which send
datagrams to /dev/log; postlogd(8) of Postfix 3.7, whose records were observed.
"""

import os
import select
import socket
import time
from collections import deque
from typing import Final

from scache_fast.process.logger import Priority, Sink
from scache_fast.settings import journal
from scache_fast.settings.values import FACILITIES

SYSLOG_PATH: Final = "/dev/log"

WAITING_RECORDS_MAX: Final = 200
"""How many records wait for a reader that is slow or gone: about 20 kB. Arbitrary; Linux itself queues 11 or more."""

_FINISH_MS: Final = 200
"""How long the last records of a process may wait. Arbitrary; master(8) does nothing else until its child has ended."""

_LOCAL0: Final = 16
"""<syslog.h>: the facilities have the numbers 0 to 11, then there is a gap for the system, then come local0 to 7."""


def to_stderr(name: str) -> Sink:
    """Return a sink that writes to standard error: `name[pid]: line`, or `<N>line` where journald reads it."""
    try:
        is_journal = journal.reads_stderr()
    except OSError:
        return _nowhere  # Standard error is closed.
    prefix = f"{name}[{os.getpid()}]: "
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    lost = 0

    def sink(priority: int, line: str) -> None:
        nonlocal lost
        head = f"<{priority}>" if is_journal else prefix
        notice = f"{head}warning: {lost} lines of this log are lost: they were not accepted in time\n" if lost else ""
        # One write for one line, so that lines of several processes do not mix. The descriptor is blocking and shared
        # with others, so its flags are not ours to change: a pipe that polls writable has room for PIPE_BUF bytes, and
        # files and terminals always have.
        data = f"{notice}{head}{line}\n".encode(errors="backslashreplace")
        if len(data) > select.PIPE_BUF:
            data = data[: select.PIPE_BUF - 1] + b"\n"
        try:
            if not poll.poll(0):
                lost += 1
                return
            os.write(2, data)
        except OSError:
            # EPIPE, EIO, ENOSPC, EAGAIN: there is nowhere left to say so.
            lost += 1
        else:
            lost = 0

    return sink


class Datagrams:
    """A sink that sends each line as a datagram to whoever reads at a path, in order and without waiting.

    `facility` None: no priority is sent, because the reader knows none. `host` is sent if there is one.
    """

    def __init__(self, path: str, name: str, *, host: str = "", facility: int | None = None) -> None:
        self._path = path
        self._head = f"{host} {name}[{os.getpid()}]: ".lstrip()
        self._facility = facility
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)

    def __call__(self, priority: int, line: str) -> None:
        """Send a line, behind those that wait."""
        if len(self._waiting) < WAITING_RECORDS_MAX:
            self._waiting.append(self._record(priority, line))
        else:
            self._lost += 1
        self.flush()

    def after_turn(self, server: object) -> None:
        """Send what waits, if anything does; the loop calls it after each turn."""
        if self._waiting:
            self.flush()

    def connect(self) -> None:
        """Look for the reader; raises OSError if nobody is there."""
        self._sock.connect(self._path)

    def flush(self) -> None:
        """Send what waits, as far as it is taken at once."""
        while self._waiting:
            if not self._send(self._waiting[0]):
                return
            self._waiting.popleft()
            if self._lost and not self._waiting:
                text = f"warning: {self._lost} lines of this log are lost: they were not accepted in time"
                self._lost = 0
                self._waiting.append(self._record(Priority.WARNING, text))

    def finish(self) -> None:
        """Send what waits, for a fifth of a second at most, and close; a second time does nothing."""
        if self._sock.fileno() < 0:
            return
        deadline_ns = time.monotonic_ns() + _FINISH_MS * 1_000_000
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLOUT)
        self.flush()
        while left := len(self._waiting):
            patience_ms = (deadline_ns - time.monotonic_ns()) / 1_000_000
            if patience_ms <= 0 or not poll.poll(patience_ms):
                break
            self.flush()
            if len(self._waiting) >= left:
                break  # The reader is gone: there is nothing to wait for.
        self._sock.close()

    def _record(self, priority: int, line: str) -> bytes:
        level = "" if self._facility is None else f"<{self._facility * 8 + priority}>"
        # ctime reads "Sat Nov 22 11:03:25 2025".
        return f"{level}{time.ctime()[4:19]} {self._head}{line}".encode(errors="backslashreplace")

    def _send(self, record: bytes) -> bool:
        """Send a record; False: nobody takes it now."""
        for _ in range(2):
            try:
                self._sock.send(record, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError:
                # ECONNREFUSED, ENOTCONN, ECONNRESET, EPIPE: the reader is gone; another may be there by now.
                try:
                    self.connect()
                except OSError:
                    return False
            else:
                return True
        return False


def to_syslog(name: str, facility: str, path: str = SYSLOG_PATH) -> Datagrams:
    """Return a sink that gives lines to syslogd as `name[pid]`; one that comes up later gets the later lines."""
    index = FACILITIES.index(facility)
    local = FACILITIES.index("local0")
    sink = Datagrams(path, name, facility=index if index < local else _LOCAL0 + index - local)
    try:
        sink.connect()
    except OSError:
        pass  # ENOENT, ECONNREFUSED: each line tries again.
    return sink


def to_postlog(path: str, name: str, host: str) -> Datagrams:
    """Return a sink that sends lines to postlogd(8) at its socket; raises OSError if nobody is there."""
    sink = Datagrams(path, name, host=host)
    try:
        sink.connect()
    except OSError:
        sink.finish()
        raise
    return sink


def _nowhere(priority: int, line: str) -> None:
    pass
