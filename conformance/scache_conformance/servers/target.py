"""The server under test: how the suite reaches it, what it may do to it, and what it was told about it.

Three ways to plug one in. `RunningServer`: it serves already, on a socket. `CommandServer`: a command starts it, and
the suite ends it. `scache_conformance.servers.target_postfix.PostfixServer`: Postfix's own, started as master(8) would.

Decides how a server is started, found alive, revived and ended. Refuses to know the protocol beyond the greeting. What
cannot be done with a server of some kind raises Unavailable, and the case that wanted it is skipped with that reason.
"""

import mmap
import os
import re
import resource
import shlex
import signal
import struct
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Self

from scache_conformance.servers import processes
from scache_conformance.suite.unavailable import Unavailable
from scache_conformance.wire.peer import DEADLINE_S, Peer, Unmet
from scache_conformance.wire.transcript import Transcript, show
from scache_spec.vocabulary import Limits

PATIENCE_S: Final = 20.0
"""How long a server may take to start or to end before that counts as never. Arbitrary, for slow machines."""

REST_S_MAX: Final = 0.5
"""How long the suite waits for a server to sleep before it moves its clock. Arbitrary; a turn takes far less."""

_REST_UNSEEN_S: Final = 0.001
"""The same where the process is not known. Arbitrary: there is nothing to be seen and waited for."""

LIMIT_NAMES: Final = frozenset(field.name for field in fields(Limits))
"""What may stand in braces in a command, and be told with `--limit`."""

PLACEHOLDERS: Final = ("socket", "clock", *(field.name for field in fields(Limits)))
"""What stands in braces in a command for something of the suite's."""

DEFAULTS: Final = Limits(max_idle_s=36_000)
"""What a server is started with unless it was told otherwise. max_idle_s is a number for every command to take."""

_CLOCK_WORD: Final = struct.Struct("=q")
CLOCK_BYTES: Final = _CLOCK_WORD.size
_POLL_S: Final = 0.01


class ServerDied(Exception):  # noqa: N818 - what a server did, not a mistake of this program
    """The server under test is gone, or does not greet any more. The text says what is known of its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the implementer told of the server.

    `limits` are its limits by the names of `scache_spec.vocabulary.Limits`. `clock_path` names a file of eight bytes,
    one signed 64-bit number of whole seconds in native order, which is the server's clock. `pid` is that of a
    server that runs already.
    """

    ttl_limit_s: int = 2
    limits: Mapping[str, int] = field(default_factory=dict)
    clock_path: Path | None = None
    pid: int | None = None
    deadline_s: float = DEADLINE_S


class Target(ABC):
    """A server under test. A context manager: entering has it serve, leaving ends it if the suite started it."""

    def __init__(self, name: str, told: Told) -> None:
        """Touch nothing yet."""
        self.name = name
        self.told: Final = told

    @property
    @abstractmethod
    def socket_path(self) -> Path:
        """Name the socket it serves on."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Name its process, None if that is not known."""

    @abstractmethod
    def start(self) -> None:
        """Have it serve. Raises ServerDied if it does not come up, Unavailable if something for that is missing."""

    @abstractmethod
    def stop(self) -> None:
        """End it, by force if need be, and remove what was made for it. May be called again."""

    @property
    def can_be_started(self) -> bool:
        """Tell whether the suite can start one of these, and so may end one."""
        return True

    def revive(self) -> None:
        """Start it again after it died. Raises Unavailable if it is not the suite's to start."""
        self.stop()
        self.start()

    def another(self, **limits: int) -> "Target":
        """Return a second server of the same kind, not started yet, under these limits. Raises Unavailable."""
        raise Unavailable("needs a server that the suite can start: use --exec or --postfix")

    def ask_to_exit(self) -> None:
        """Ask the server to exit in good order, and wait until it has. Raises Unavailable, ServerDied."""
        raise Unavailable("needs a server that the suite can end: use --exec or --postfix")

    def leave_alone(self) -> None:  # noqa: B027 - most servers are not kept company
        """Close whatever connection is kept to it besides those of the case."""

    def wait_for_exit(self, within_s: float) -> int | None:
        """Wait for the process to end by itself and return its status; None if it still runs. Raises Unavailable."""
        raise Unavailable("needs a server that the suite can start: use --exec or --postfix")

    def log(self) -> str:
        """Return what it logged so far. Raises Unavailable where that is not known."""
        raise Unavailable("needs a server whose log the suite can read: use --exec or --postfix")

    def limit(self, name: str) -> int:
        """Return a limit that was told, or that the server was started with. Raises Unavailable."""
        if name == "ttl_limit_s":
            return self.told.ttl_limit_s
        if name not in self.told.limits:
            raise Unavailable(f"needs to be told the server's {name}: use --limit {name}=N")
        return self.told.limits[name]

    @property
    def has_clock(self) -> bool:
        """Tell whether time is virtual: it stands still but for `advance`."""
        return self.clock_path is not None

    @property
    def clock_path(self) -> Path | None:
        """Name the file that is its clock, None if time is real."""
        return self.told.clock_path

    def set_clock_forward(self, seconds: int) -> None:
        """Move the server's clock. One that is asleep need not notice. Raises Unavailable where there is no clock."""
        if self.clock_path is None:
            raise Unavailable("needs a virtual clock: use --clock-file or --postfix")
        self.come_to_rest()
        with self.clock_path.open("r+b") as file, mmap.mmap(file.fileno(), _CLOCK_WORD.size) as word:
            word[:] = _CLOCK_WORD.pack(_CLOCK_WORD.unpack(word[:])[0] + seconds)

    def advance(self, seconds: int) -> None:
        """Let time pass on the server's clock; return when what expired by then is gone. Raises Unavailable."""
        self.set_clock_forward(seconds)
        self.poke()

    def come_to_rest(self) -> None:
        """Wait until the server's process sleeps, for `REST_S_MAX` at most.

        A server may take the instant of a turn before it reads, and read on in that turn after we have its reply: what
        it is still busy with belongs to the time before the clock is moved.
        """
        if self.pid is None:
            time.sleep(_REST_UNSEEN_S)
            return
        deadline_s = time.monotonic() + REST_S_MAX
        while time.monotonic() < deadline_s:
            try:
                state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][:1]
            except OSError:
                return  # it has ended, or this is no Linux
            if state not in "RDT":
                return

    def poke(self) -> None:
        """Return when the server has gone through its loop once more. A connection leaves no trace in statistics."""
        self.peer(Transcript(), name="poke").close()

    def descriptor_count(self) -> int:
        """Count the descriptors that its process has open. Raises Unavailable where that cannot be seen."""
        if self.pid is None:
            raise Unavailable("needs to know the server's process: use --exec, --postfix or --pid")
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except (FileNotFoundError, PermissionError) as error:
            raise Unavailable(f"cannot look into process {self.pid}: {error}") from error

    @contextmanager
    def descriptors_exhausted(self) -> Iterator[None]:
        """Forbid its process to open one more descriptor while in the body. Raises Unavailable."""
        if self.pid is None:
            raise Unavailable("needs to know the server's process: use --exec, --postfix or --pid")
        self.come_to_rest()  # what it is still about to close would leave it one
        try:
            taken = {int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")}
            free = min(set(range(len(taken) + 1)) - taken)  # the kernel hands out the lowest number below the limit
            before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (free, before[1]))
        except (FileNotFoundError, PermissionError) as error:
            raise Unavailable(f"cannot limit process {self.pid}: {error}") from error
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, before)

    def check_alive(self, *, greeted: bool = True) -> int:
        """Return the process that listens, 0 if it cannot be named.

        Raises ServerDied unless it takes a connection and, if that is asked for, greets.
        """
        try:
            with self.peer(Transcript(), name="poke", greeted=greeted) as poke:
                if not greeted:
                    poke.take_anything()  # a server may be the worse for a client that leaves before it has greeted
                return poke.server_pid()
        except Unmet as unmet:
            raise ServerDied(f"{self.name} does not serve: {unmet}; {self.fate()}") from unmet

    def fate(self) -> str:
        """Say what is known of the process."""
        return "its process is not the suite's"

    def peer(
        self, transcript: Transcript, *, name: str = "A", greeted: bool = True, deadline_s: float | None = None
    ) -> Peer:
        """Connect to it. Raises Unmet."""
        deadline_s = self.told.deadline_s if deadline_s is None else deadline_s
        return Peer(self.socket_path, transcript, name=name, deadline_s=deadline_s, greeted=greeted)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RunningServer(Target):
    """A server that serves already. Nobody here ends it."""

    def __init__(self, socket_path: Path, told: Told) -> None:
        """Touch nothing yet."""
        super().__init__(str(socket_path), told)
        self._socket_path: Final = socket_path

    @property
    def socket_path(self) -> Path:
        """Name the socket it serves on."""
        return self._socket_path

    @property
    def pid(self) -> int | None:
        """Name the process that was told."""
        return self.told.pid

    @property
    def can_be_started(self) -> bool:
        """Tell that it cannot."""
        return False

    def start(self) -> None:
        """Insist that it takes connections."""
        self.check_alive(greeted=False)

    def stop(self) -> None:
        """Leave it alone."""

    def revive(self) -> None:
        """Raise Unavailable: it is not ours."""
        raise Unavailable(f"the server at {self._socket_path} is not the suite's to start again")


class CommandServer(Target):
    """A server that a command starts: the process stays in the foreground and ends at SIGTERM.

    In the command `{socket}` stands for the path to serve on, `{clock}` for that of the clock file, and the name of any
    limit, such as `{ttl_limit_s}` or `{sessions_max}`, for its value. It is run without a shell. A server with
    `{clock}` in its command has a clock; where none was told it is a file of its own.
    """

    def __init__(
        self, command: str, told: Told, *, name: str = "", limits: Mapping[str, int] | None = None, is_main: bool = True
    ) -> None:
        """Touch nothing yet. Raises ValueError where the command cannot be used."""
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"--exec {command!r}: {error}") from error
        super().__init__(name or (Path(words[0]).name if words else ""), told)
        if "{socket}" not in command:
            raise ValueError(f"the command {command!r} does not say where to serve: put {{socket}} where the path goes")
        for name in re.findall(r"\{(\w+)\}", command):
            # Other braces are the command's own; what is nearly a name is a slip that would go unnoticed.
            meant = get_close_matches(name, PLACEHOLDERS, n=1, cutoff=0.8)
            if meant and name not in PLACEHOLDERS:
                raise ValueError(f"the command has {{{name}}}: did you mean {{{meant[0]}}}?")
        self.command: Final = command
        self._words: Final = words
        self._limits: Final = dict(limits or {})
        self._is_main: Final = is_main
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._listening_pid = 0

    @property
    def socket_path(self) -> Path:
        """Name the socket it serves on."""
        return self._path("socket")

    @property
    def pid(self) -> int | None:
        """Name its process: that which listens, and not one that only started it."""
        return self._listening_pid or None

    @property
    def has_clock(self) -> bool:
        """Tell whether it was told of a clock, or is given one."""
        return self.told.clock_path is not None or "{clock}" in self.command

    @property
    def clock_path(self) -> Path | None:
        """Name the file that is its clock."""
        if not self.has_clock:
            return None
        return self.told.clock_path if self._is_main and self.told.clock_path is not None else self._path("clock")

    def start(self) -> None:
        """Start the command and wait until it takes a connection; whether it greets is for the cases to say."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="scache-conformance-")
        self.socket_path.unlink(missing_ok=True)
        if self.clock_path is not None:
            try:
                self.clock_path.write_bytes(_CLOCK_WORD.pack(int(time.time())))
            except OSError as error:
                raise Unavailable(f"cannot write the clock: {error}") from error
        with self._path("log").open("ab") as log, processes.STARTING:
            try:
                self._process = subprocess.Popen(
                    self._filled_in(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # whoever interrupts the suite leaves the server's end to it
                )
            except OSError as error:
                raise ServerDied(f"cannot start {self.command!r}: {error}") from error
        self._await_connection(self._process)

    def stop(self) -> None:
        """End the process and remove its folder."""
        self._end_process()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def another(self, **limits: int) -> Target:
        """Return a second server of the same command. Raises Unavailable if a limit has no place in the command."""
        for name in limits:
            if f"{{{name}}}" not in self.command:
                raise Unavailable(f"needs a server with another {name}: put {{{name}}} into the command of --exec")
        if self.told.clock_path is not None and "{clock}" not in self.command:
            raise Unavailable("needs a second server with a clock of its own: put {clock} into the command of --exec")
        return CommandServer(self.command, self.told, name=self.name, limits={**self._limits, **limits}, is_main=False)

    def ask_to_exit(self) -> None:
        """Send SIGTERM and wait for the end."""
        assert self._process is not None, "start() comes first"
        self._process.send_signal(signal.SIGTERM)
        if self.wait_for_exit(PATIENCE_S) is None:
            raise ServerDied(f"{self.name} did not exit within {PATIENCE_S} s of SIGTERM")

    def wait_for_exit(self, within_s: float) -> int | None:
        """Wait for the process to end by itself and return its status; None if it still runs."""
        assert self._process is not None, "start() comes first"
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def log(self) -> str:
        """Return its standard output and standard error so far."""
        return self._path("log").read_text(errors="backslashreplace") if self._path("log").exists() else ""

    def limit(self, name: str) -> int:
        """Return a limit that the command was given, or that was told. Raises Unavailable."""
        return self._value(name) if f"{{{name}}}" in self.command else super().limit(name)

    def fate(self) -> str:
        """Say how the process ended, and the end of its log."""
        status = self._process.poll() if self._process is not None else None
        state = "its process runs" if status is None else f"exit status {status}"
        last = self.log().splitlines()[-5:] if self._folder is not None else []
        return f"{state}; the end of its log: {show(' | '.join(last).encode()) or 'nothing'}"

    def _path(self, name: str) -> Path:
        assert self._folder is not None, "start() comes first"
        return Path(self._folder.name) / name

    def _filled_in(self) -> Sequence[str]:
        values = {"socket": str(self.socket_path), "clock": str(self.clock_path)}
        values |= {name: str(self._value(name)) for name in LIMIT_NAMES}
        words = []
        for word in self._words:
            for name, value in values.items():
                word = word.replace(f"{{{name}}}", value)  # not str.format: other braces are the command's own
            words.append(word)
        return words

    def _value(self, name: str) -> int:
        told = {**self.told.limits, "ttl_limit_s": self.told.ttl_limit_s}
        value: int = self._limits.get(name, told.get(name, getattr(DEFAULTS, name)))
        return value

    def _await_connection(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while process.poll() is None:
            try:
                self._listening_pid = self.check_alive(greeted=False)
            except ServerDied as nobody:
                if time.monotonic() >= deadline_s:
                    self._end_process()
                    raise ServerDied(f"{self.name} takes no connection within {PATIENCE_S} s: {nobody}") from nobody
                time.sleep(_POLL_S)
            else:
                return
        raise ServerDied(f"{self.command!r} ended before it served: {self.fate()}")

    def _end_process(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)  # what a shell left behind
            except (ProcessLookupError, PermissionError):
                pass  # nothing, or nothing that is ours any more
