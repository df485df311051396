"""Postfix's own scache(8), or any program in its place, started the way master(8) starts its children.

A child finds what master(8) gives it: descriptors, arguments, environment, configuration, working directory. The
machine's own mail system is left alone: queue and configuration are private, and gone at the end together with the
process.

Sources: Postfix's master_spawn.c and multi_server.c; Debian's postfix 3.7.11, observed.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from scache_conformance.servers.master_channels import Channels, StatusMessage
from scache_conformance.servers.target import ServerDied
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.servers.virtual_clock import VirtualClock
from scache_conformance.wire import lists, processes
from scache_conformance.wire.folders import place_for
from scache_conformance.wire.line import readable

_GREETING: Final = lists.encode(*lists.GREETING)

IDLE_S_MAX: Final = 36_000
"""Postfix's own max_idle of 100 s would end a server whose clock jumps, even with a client connected."""

LONGEST_SOCKET: Final = f"queue/private/{'x' * 20}"
"""The longest socket of a private queue that is planned for. Arbitrary: services have short names."""

PATIENCE_S: Final = 20.0
"""How long a child may take to greet or to exit before that counts as never."""

_TAKEN_OVER: Final = ("MAIL_DEBUG", "MAIL_LOGTAG", "TZ")
"""The variables that master(8) passes on if it has them itself."""


def postfix_parameter(name: str) -> str:
    """Ask the installed Postfix for the default of a parameter. Raises Unavailable where none is installed."""
    return _postconf("-dh", name)[0]


def _postconf(*arguments: str) -> list[str]:
    """Return what postconf(1) prints, one line each. Raises Unavailable where none is installed."""
    postconf = shutil.which("postconf", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if postconf is None:
        raise Unavailable("Postfix is not installed here: no postconf found; install the package postfix")
    result = processes.run([postconf, *arguments])
    if result.returncode != 0:
        raise Unavailable(f"{postconf} {' '.join(arguments)} failed; it says: {result.stderr.strip()}")
    return result.stdout.splitlines()


def scache_program() -> Path:
    """Find the installed scache(8). Raises Unavailable where there is none."""
    program = Path(postfix_parameter("daemon_directory")) / "scache"
    if not program.exists():
        raise Unavailable(f"Postfix is installed but {program} is not there: install the whole package")
    return program


def version_of(program: Path) -> str | None:
    """Return which version of Postfix a program belongs to, None if it is none of Postfix's.

    Each of its programs has the stamp `mail_version=` in it, for whoever finds a core file (mail_version.h). Raises
    OSError.
    """
    stamp = re.search(rb"\0mail_version=([0-9A-Za-z.-]+)\0", program.read_bytes())
    return stamp[1].decode() if stamp is not None else None


class MasterChild:
    """A private master(8) with one child. A context manager: entering starts the child, leaving removes everything.

    `arguments` replaces what master(8) itself puts on the command line; `options` (`name=value`) are added as `-o`.
    """

    def __init__(
        self,
        program: Path | None = None,
        *,
        ttl_limit_s: int = 2,
        options: Sequence[str] = (),
        virtual_clock: bool = False,
        drop_privileges: bool = False,
        chroot: bool = False,
        service: str = "scache",
        arguments: Sequence[str] | None = None,
        generation: str = "1",
        configuration: Sequence[str] = (),
        descriptors_max: int = 0,
    ) -> None:
        """Prepare; nothing is touched yet.

        `program` None is the installed scache(8). `configuration` are further lines of main.cf. `generation` is what
        the variable says, octal if it is to be valid. `descriptors_max` 0 is the hard limit. Raises Unavailable
        where Postfix, or the right to change user or root, is missing.
        """
        if (drop_privileges or chroot) and os.geteuid() != 0:
            raise Unavailable("only root may start a child that changes its user or its root: run as root")
        self._program: Final = program or scache_program()
        standard = ["-l", *(["-n", service] if service != self._program.name else []), "-t", "unix"]
        switches = [*(["-u"] if drop_privileges else []), *(["-c"] if chroot else [])]
        limits = [f"connection_cache_ttl_limit={ttl_limit_s}s", f"max_idle={IDLE_S_MAX}s"]
        words = standard + switches if arguments is None else list(arguments)
        settings = [*(limits if arguments is None else ()), *options]
        self._argv: Final = [self._program.name, *words, *(word for pair in settings for word in ("-o", pair))]
        self._service: Final = service
        self._virtual: Final = virtual_clock
        self._generation: Final = generation
        self._configuration: Final = tuple(configuration)
        self._descriptors_max: Final = descriptors_max
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channels: Channels | None = None
        self._listener: socket.socket | None = None
        self._keeper: socket.socket | None = None
        self.clock: VirtualClock | None = None

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.prepare()
            self.start()
            self.await_greeting()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def queue_directory(self) -> Path:
        """Name the private queue directory."""
        return self._prepared_folder / "queue"

    @property
    def socket_path(self) -> Path:
        """Name the socket on which the child serves."""
        return self.queue_directory / "private" / self._service

    @property
    def pid(self) -> int:
        """Name the child's process."""
        return self._started_process.pid

    @property
    def _prepared_folder(self) -> Path:
        if self._folder is None:
            raise RuntimeError("there is no folder before prepare(): use MasterChild in a with statement")
        return self._folder

    @property
    def _started_process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("there is no child before start(): use MasterChild in a with statement")
        return self._process

    @property
    def _open_channels(self) -> Channels:
        if self._channels is None:
            raise RuntimeError("there is no channel before prepare(): use MasterChild in a with statement")
        return self._channels

    def prepare(self) -> None:
        """Make the folders, the configuration, the listening socket and the clock. Needed once, before start()."""
        self._folder = Path(tempfile.mkdtemp(prefix="master-", dir=place_for("master-", LONGEST_SOCKET)))
        self._folder.chmod(0o755)  # a child that dropped its privileges must still get through
        for name in ("etc", "queue", "queue/private", "queue/public"):
            (self._folder / name).mkdir()
        self._write_configuration(self._folder)
        if self._virtual:
            self.clock = VirtualClock(self._folder)
        self._channels = Channels(self.queue_directory / "public" / "postlog")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.socket_path))
        self.socket_path.chmod(0o666)
        self._listener.listen(100)  # Postfix's INET_LISTEN backlog
        self._listener.setblocking(False)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(postfix_parameter("mail_owner"))
            os.chown(self.queue_directory / "private", owner.pw_uid, -1)
        (self.queue_directory / "private").chmod(0o700)

    def _write_configuration(self, folder: Path) -> None:
        lines = [
            "compatibility_level = 3.6",
            f"queue_directory = {folder}/queue",
            f"maillog_file = {folder}/mail.log",  # set, so that the child logs through public/postlog
            f"maillog_file_prefixes = {folder}",
            "myhostname = private.example",
            *self._configuration,
        ]
        main_cf = folder / "etc" / "main.cf"
        main_cf.write_text("".join(f"{line}\n" for line in lines))
        # Postfix takes a file younger than a second for one still being written, and waits: under a clock that
        # stands still for ever.
        os.utime(main_cf, (0, 0))
        (folder / "etc" / "master.cf").write_text("")

    def _environment(self) -> dict[str, str]:
        """Return what master(8) passes on; tests/data/master-child.json is a recording of it."""
        folder = str(self._prepared_folder / "etc")
        names = ("syslog_name", "maillog_file", "postlog_service_name", "myhostname")
        tag, maillog_file, postlog, host = _postconf("-c", folder, "-xh", *names)
        service = str(self.queue_directory / "public" / postlog)
        return {
            "MAIL_CONFIG": folder,
            "MAIL_LOGTAG": tag,
            "LANG": "C",
            **({"POSTLOG_SERVICE": service, "POSTLOG_HOSTNAME": host} if maillog_file else {}),
            "GENERATION": self._generation,
            **{name: os.environ[name] for name in _TAKEN_OVER if name in os.environ},
            **(self.clock.environment() if self.clock is not None else {}),
        }

    def start(self) -> None:
        """Start the child, or the next one after the last has ended. Does not wait for anything."""
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"child {self._process.pid} still runs: a service like this has one at a time")
        assert self._listener is not None, "prepare() comes before start()"
        self.disconnect()
        environment = self._environment()
        flow_read, flow_write = os.pipe()
        status = self._open_channels.open_status()
        given = [flow_read, flow_write, status.fileno(), self._listener.fileno()]
        for fd in (flow_read, flow_write):
            os.set_blocking(fd, False)
        launcher = str(Path(__file__).with_name("master_exec.py"))
        numbers = ",".join(str(fd) for fd in given)
        command = [sys.executable, "-IS", launcher, str(self._descriptors_max), numbers, str(self._program)]
        try:
            with processes.STARTING:
                self._process = subprocess.Popen(
                    [*command, *self._argv],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=given,
                    cwd=self.queue_directory,
                    umask=0o077,
                    env=environment,
                    restore_signals=True,
                )
        finally:
            status.close()
            os.close(flow_read)
            os.close(flow_write)

    def await_greeting(self) -> None:
        """Wait until the child serves, and stay connected, so that it never counts as idle. Raises ServerDied."""
        self._keeper = self._greeted_connection()
        if self.clock is not None and not self.clock.governs(self.pid):
            raise Unavailable(f"{self._program} runs without the virtual clock: it is static, or ld.so refused it")

    def _greeted_connection(self) -> socket.socket:
        with ExitStack() as undo:
            connection = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.connect(str(self.socket_path))
            greeting = b""
            while len(greeting) < len(_GREETING):
                greeting += self._receive(connection, len(_GREETING) - len(greeting))
            if greeting != _GREETING:
                raise ServerDied(f"{self._program} greets with {greeting!r}, not with {_GREETING!r}: {self._fate()}")
            undo.pop_all()
        return connection

    def _receive(self, connection: socket.socket, size: int) -> bytes:
        # The listening socket is held here too and outlives the child: a dead child looks like one that says nothing.
        if self._started_process.poll() is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                ready = readable([connection.fileno(), pidfd], PATIENCE_S)
            finally:
                os.close(pidfd)
            if connection.fileno() in ready and (received := connection.recv(size)):
                return received
        raise ServerDied(f"no greeting from {self._program}: {self._fate()}")

    def _fate(self) -> str:
        return f"exit status {self._started_process.poll()} (None: it runs), log {self.log()!r}"

    def poke(self) -> None:
        """Return when the child has gone through its loop once more, everything that was due included.

        A fresh connection does it: timers run before accept, and unlike any request it leaves no trace in log or
        statistics. It is seen to be gone on the child's side too, so that descriptors may be counted.
        """
        with self._greeted_connection() as connection:
            connection.settimeout(PATIENCE_S)
            connection.shutdown(socket.SHUT_WR)
            if unasked := connection.recv(1):
                raise ServerDied(f"{self._program} answers {unasked!r} to nothing: {self._fate()}")

    def advance(self, seconds: int) -> None:
        """Move the virtual clock, and return when everything that has expired by then is closed."""
        if self.clock is None:
            raise RuntimeError("this child lives in real time: start it with virtual_clock=True")
        self.clock.advance(seconds)
        self.poke()

    def log(self) -> str:
        """Hand out the log so far, one record a line."""
        return "".join(f"{record}\n" for record in self._open_channels.log_records())

    def read_status_messages(self) -> list[StatusMessage]:
        """Hand out what the child said to its master since the last call, oldest first."""
        return self._open_channels.take_status_messages()

    def descriptors(self) -> int:
        """Count the descriptors that the child has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def hang_up(self) -> None:
        """Close the status channel, as a master does that reloads or dies. The child is expected to exit."""
        self._open_channels.close_status()

    def disconnect(self) -> None:
        """Close the one connection that is kept: from now on the child may count as idle."""
        if self._keeper is not None:
            processes.close(self._keeper)
            self._keeper = None

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal."""
        self._started_process.send_signal(number)

    def wait(self) -> int:
        """Wait for the child to exit; the status is negative for a signal. Raises subprocess.TimeoutExpired."""
        return self._started_process.wait(PATIENCE_S)

    def stop(self) -> None:
        """End the child, by force if need be, and remove everything. May be called again, and at any time."""
        self.disconnect()
        if self._process is not None:
            processes.end(self._process, PATIENCE_S)
        if self._listener is not None:
            self._listener.close()
        if self._channels is not None:
            self._channels.close()
            self._channels = None
        if self.clock is not None:
            self.clock.close()
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None
