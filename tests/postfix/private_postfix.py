"""A Postfix that belongs to one test: queue, configuration, ports, log and processes of its own.

Every message leaves by smtp(8) for an smtp-sink, and every connection may be parked. The connection cache is whatever
the service line of master.cf names or, without such a line, whoever listens at `socket_path`.

Sources: postconf(5), master(5), Postfix's CONNECTION_CACHE_README; Debian's postfix 3.7.11, observed.
"""

import fcntl
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.support.client import PATIENCE_S
from tests.support.processes import TRY_AGAIN_MS, await_listener, ended

from scache_conformance.servers.postfix import postfix_parameter

DELIVERY_PATIENCE_S = 60.0

LOG_BYTES_MAX: Final = 1 << 20
"""How much the pipe holds that the log arrives through: 200 messages make about 150 kB, and nobody reads meanwhile."""

SERVICES: Final = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
{cache}{smtpd} inet n - n - - smtpd
"""
"""smtpd comes last: master(8) opens sockets in this order, so that all are there when that one is."""

SETTINGS: Final = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = /dev/stdout
maillog_file_prefixes = /dev/stdout
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = private.example
mydestination =
mynetworks = 127.0.0.0/8
relayhost = {relayhost}
smtp_connection_cache_destinations = static:all
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_relay_restrictions = permit_mynetworks, reject
default_destination_concurrency_limit = 5
alias_maps =
"""

_OUTCOME: Final = re.compile(r"/smtp\[[0-9]+\]: .* status=(?P<status>[a-z]+) ")
_REUSE: Final = re.compile(r" conn_use=([2-9]|[1-9][0-9]+),")
_TROUBLE: Final = re.compile(r"\]: (\w+: )?(warning|error|fatal|panic): ")
_REMOVED: Final = ": removed\n"
_ESTABLISHED: Final = "01"
"""The state of a connection in /proc/net/tcp."""

_CLOCKS: Final = re.compile(r"warning: (file system clock is 1 seconds ahead|resetting file time stamps)")
"""cleanup(8) compares a file's time stamp with time(2). On some kernels the two pass a full second one tick apart."""


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What the log says became of the messages, and what else it complains about."""

    sent: int
    reused: int
    """How many of those went over a connection that had been used before."""

    unsent: tuple[str, ...]
    warnings: tuple[str, ...]


def read_deliveries(log: str) -> Deliveries:
    """Sum up a mail log."""
    outcomes = [(found["status"], line) for line in log.splitlines() if (found := _OUTCOME.search(line))]
    return Deliveries(
        sent=sum(status == "sent" for status, _ in outcomes),
        reused=sum(status == "sent" and bool(_REUSE.search(line)) for status, line in outcomes),
        unsent=tuple(line for status, line in outcomes if status != "sent"),
        warnings=tuple(line for line in log.splitlines() if _TROUBLE.search(line) and not _CLOCKS.search(line)),
    )


class PrivatePostfix:
    """A running Postfix with an smtp-sink to deliver to. A context manager that leaves nothing behind.

    `cache` is the command of the service scache in master.cf: None for no such service. `chroot` is that service's.
    `services` are more lines of master.cf, and `settings` more lines of main.cf.
    """

    def __init__(
        self, cache: str | None = "scache", *, chroot: bool = True, settings: str = "", services: str = ""
    ) -> None:
        """Touch nothing yet. Takes root. Raises Unavailable where Postfix is missing."""
        self._cache: Final = cache
        self._chroot: Final = chroot
        self._settings: Final = settings
        self._services: Final = services
        self._folder = Path()
        self._log = bytearray()
        self._log_end = -1
        self._undo: Final = ExitStack()
        self._smtpd: tuple[str, int] = ("", 0)
        self._sink: tuple[str, int] = ("", 0)
        self._sink_pid = -1

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._undo.close)
            self._prepare()
            self._start_sink()
            self._start_postfix()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def socket_path(self) -> Path:
        """Name the socket at which smtp(8) looks for the connection cache."""
        return self._folder / "queue" / "private" / "scache"

    @property
    def log_fd(self) -> int:
        """Name the descriptor that can be read when the log has grown."""
        return self._log_end

    @property
    def smtpd_address(self) -> tuple[str, int]:
        """Name the host and port at which smtpd(8) takes mail."""
        return self._smtpd

    @property
    def master_pid(self) -> int:
        """Name the process of master(8)."""
        return int((self._folder / "queue" / "pid" / "master.pid").read_text())

    def deliver(self, messages: int, sessions: int = 5) -> Deliveries:
        """Hand in messages, wait until the last one has left the queue, and sum up the log so far."""
        before = read_deliveries(self.log()).sent
        with self.handing_in(messages, sessions):
            pass
        return self.await_sent(before + messages)

    @contextmanager
    def handing_in(self, messages: int, sessions: int = 5) -> Iterator[None]:
        """Hand in messages in the meantime; leaving waits until all of them are in the queue."""
        source = [_program("smtp-source"), "-m", str(messages), "-s", str(sessions)]
        addresses = ["-f", "from@source.example", "-t", "to@sink.example", f"{self._smtpd[0]}:{self._smtpd[1]}"]
        with subprocess.Popen([*source, *addresses]) as process:
            try:
                yield
                assert process.wait(DELIVERY_PATIENCE_S) == 0, "smtp-source could not hand in its messages"
            finally:
                process.kill()  # does nothing to a process that was waited for

    def deliver_at_once(self, messages: int) -> Deliveries:
        """Deliver at most 5 messages, none of which gets an answer of the sink before all wait for one.

        Returns when each smtp(8) has parked its connection: it does so before qmgr(8) removes the message.
        """
        before = self.log().count(_REMOVED)
        os.kill(self._sink_pid, signal.SIGSTOP)
        try:
            with self.handing_in(messages):
                pass
            self._await_waiting_on_sink(messages)
        finally:
            os.kill(self._sink_pid, signal.SIGCONT)
        return read_deliveries(self.await_removed(before + messages))

    def command(self, *words: str) -> None:
        """Run postfix(1) on this Postfix, for example with `reload`."""
        subprocess.run([_program("postfix"), "-c", str(self._folder / "etc"), *words], check=True, env=_environment())

    def await_sent(self, count: int) -> Deliveries:
        """Wait until so many messages have been sent, and sum up the log so far. None may fail to be."""

        def is_there(log: str) -> bool:
            found = read_deliveries(log)
            assert not found.unsent, f"not every message was sent: {found.unsent[:3]}"
            return found.sent >= count

        return read_deliveries(self.await_log(is_there))

    def await_removed(self, count: int) -> str:
        """Wait until qmgr(8) has removed so many messages, which it does once smtp(8) has parked; hand out the log."""
        return self.await_log(lambda log: log.count(_REMOVED) >= count)

    def await_log(self, is_there: Callable[[str], bool]) -> str:
        """Wait until the log holds something, and hand it out."""
        poll = select.poll()
        poll.register(self._log_end, select.POLLIN)
        while not is_there(log := self.log()):
            events = poll.poll(DELIVERY_PATIENCE_S * 1000)
            assert events, f"the log stands still: {log[-2000:]}"
            assert events[0][1] & select.POLLIN, f"the log has ended: {log[-2000:]}"
        return log

    def log(self) -> str:
        """Hand out the mail log so far."""
        while self._log_end >= 0 and (more := _read_available(self._log_end)):
            self._log += more
        return self._log.decode(errors="backslashreplace")

    def children(self) -> list[int]:
        """List the processes of this Postfix, master(8) included."""
        session = self.master_pid
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _session_of(entry) == session]

    def _await_waiting_on_sink(self, count: int) -> None:
        deadline_s = time.monotonic() + DELIVERY_PATIENCE_S
        host, port = self._sink
        address = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
        while (waiting := _unanswered(address)) < count:
            assert time.monotonic() < deadline_s, f"{waiting} of {count} wait for the sink: {self.log()[-2000:]}"
            assert not ended(self._sink_pid, TRY_AGAIN_MS), "the sink has ended"

    def _prepare(self) -> None:
        # Not below $TMPDIR: user postfix must get through every folder above, which only /tmp promises.
        self._folder = Path(tempfile.mkdtemp(prefix="postfix-", dir="/tmp"))
        self._undo.callback(shutil.rmtree, self._folder)
        self._folder.chmod(0o755)
        for name in ("etc", "queue", "data"):
            (self._folder / name).mkdir()
        owner = pwd.getpwnam(postfix_parameter("mail_owner"))
        os.chown(self._folder / "data", owner.pw_uid, owner.pw_gid)
        self._smtpd, self._sink = free_address(), free_address()
        cache = "" if self._cache is None else f"scache unix - - {'y' if self._chroot else 'n'} - 1 {self._cache}\n"
        services = SERVICES.format(cache=cache + self._services, smtpd=f"{self._smtpd[0]}:{self._smtpd[1]}")
        settings = SETTINGS.format(folder=self._folder, relayhost=f"[{self._sink[0]}]:{self._sink[1]}")
        (self._folder / "etc" / "main.cf").write_text(settings + self._settings)
        (self._folder / "etc" / "master.cf").write_text(services)

    def _start_sink(self) -> None:
        sink = subprocess.Popen([_program("smtp-sink"), "-u", "nobody", f"{self._sink[0]}:{self._sink[1]}", "200"])
        self._undo.callback(sink.wait)
        self._undo.callback(sink.terminate)
        self._sink_pid = sink.pid
        await_listener(sink, self._sink)

    def _start_postfix(self) -> None:
        self._log_end, log_start = os.pipe()
        self._undo.callback(self._close_log)
        os.set_blocking(self._log_end, False)
        fcntl.fcntl(self._log_end, fcntl.F_SETPIPE_SZ, LOG_BYTES_MAX)
        try:
            postfix = subprocess.Popen(
                [_program("postfix"), "-c", str(self._folder / "etc"), "start-fg"],
                stdin=subprocess.DEVNULL,
                stdout=log_start,
                stderr=log_start,
                env=_environment(),
            )
        finally:
            os.close(log_start)
        self._undo.callback(self._stop_postfix, postfix)
        await_listener(postfix, self._smtpd)

    def _stop_postfix(self, postfix: subprocess.Popen[bytes]) -> None:
        left: list[int] = []
        try:
            left = self.children()
            os.kill(self.master_pid, signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):  # master never came up, or is gone: its script may be there
            postfix.terminate()
        postfix.wait(PATIENCE_S)
        for pid in left:
            if not ended(pid, int(PATIENCE_S * 1000)):
                os.kill(pid, signal.SIGKILL)

    def _close_log(self) -> None:
        self.log()
        os.close(self._log_end)
        self._log_end = -1


def service_command(program: Path) -> str:
    """Write a program the way master.cf wants it: relative to daemon_directory, wherever it lies."""
    return os.path.relpath(program, postfix_parameter("daemon_directory"))


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def _environment() -> dict[str, str]:
    # Nothing of the tests' environment must reach the mail system: master(8) passes TZ and MAIL_* on.
    return {"PATH": _search_path(), "LANG": "C"}


def _program(name: str) -> str:
    program = shutil.which(name, path=_search_path())
    assert program is not None, f"{name} was there a moment ago"
    return program


def free_address() -> tuple[str, int]:
    """Return a loopback address that no other process takes."""
    # All of 127/8 is loopback. A host number of this process's own means that nobody else can take the port between
    # here and its use: neither a test beside this one nor the kernel, for an outgoing connection.
    high, low = divmod(os.getpid(), 1 << 16)
    host = f"127.{64 + high}.{low >> 8}.{low & 255}"
    with socket.socket() as trial:
        trial.bind((host, 0))
        port: int = trial.getsockname()[1]
    return host, port


def _read_available(fd: int) -> bytes:
    try:
        return os.read(fd, LOG_BYTES_MAX)
    except BlockingIOError:
        return b""


def _unanswered(address: str) -> int:
    """Count the connections to a listener that it has not accepted yet, or has not read from since the last bytes."""
    count = 0
    for fields in map(str.split, Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]):
        local, state, queues, inode = fields[1], fields[3], fields[4], fields[9]
        unread = int(queues.partition(":")[2], 16)
        count += local == address and state == _ESTABLISHED and (unread > 0 or inode == "0")
    return count


def _session_of(pid: str) -> int:
    try:
        return os.getsid(int(pid))
    except ProcessLookupError:  # it ended since the folder was listed
        return -1
