"""The server under test: how the suite reaches it, what it may do to it, and what was declared of it.

There are three kinds of server, each in a module of its own. `target_running` is a server that runs already.
`target_command` is a server that a command starts and the suite ends. `target_postfix` is a child of a private
master(8). If something cannot be done with a kind of server, Unavailable is raised with the reason, and the case that
needed it is skipped for that reason.
"""

import mmap
import os
import resource
import signal
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.wire.peer import DEADLINE_S, Peer
from scache_conformance.wire.transcript import Transcript, show
from scache_conformance.wire.unmet import Silence, Unmet
from scache_spec.vocabulary import Limits

REST_S_MAX: Final = 0.5
"""How long the suite waits for a server to sleep before it moves its clock. Arbitrary; a turn takes far less."""

STOPPED_WITHIN_S: Final = 5.0
"""How long a process may take to stop. Arbitrary: it stops as soon as it is on the processor."""

PATIENCE_S: Final = 20.0
"""How long a server may take to start or to end before that counts as never. Arbitrary, for slow machines."""

_REST_UNSEEN_S: Final = 0.001
"""The same where the process is not known. Arbitrary: there is nothing to be seen and waited for."""

_BETWEEN_LOOKS_S: Final = 0.000_2
"""How long the suite waits after it saw a busy server. Arbitrary; it leaves the processor to the server."""

_STUCK_S: Final = 0.05
"""A thread that no signal wakes for so long waits for a file, and not for this machine. Arbitrary."""

DEFAULTS: Final = Limits(max_idle_s=36_000, clients_per_user_max=Limits().clients_max)
"""What a server is started with where nothing else was declared. All are numbers, for every command to take."""

LIMIT_NAMES: Final = Limits._fields
"""What may stand in braces in a command, and be declared with `--limit`."""

PLACEHOLDERS: Final = ("socket", "clock", *LIMIT_NAMES)
"""What stands in braces in a command for something of the suite's."""

CLOCK_WORD: Final = struct.Struct("=q")
"""What a clock file holds."""


_NO_PID: Final = "needs to know the server's process: use --exec, --postfix or --pid"


LOG_LINES_SHOWN: Final = 4
"""How many lines of a log are shown, of its head and of its end. Arbitrary."""


def head_and_end(log: str) -> str:
    """Show the head and the end of a log on one line: the head often has the cause, the end the consequence."""
    lines = log.splitlines()
    left_out = len(lines) - 2 * LOG_LINES_SHOWN
    if left_out > 0:
        lines[LOG_LINES_SHOWN:-LOG_LINES_SHOWN] = [f"[{left_out} lines left out]"]
    return " | ".join(show(line.encode()) for line in lines) or "nothing"


def _state_of(pid: int) -> str:
    """Return the letter for the state of a process. Raises OSError."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1]


@dataclass(frozen=True, slots=True)
class _Task:
    """One thread of a process at one look: the letter for its state, and how often it has left a processor."""

    state: str
    switches: tuple[str, ...]


def _tasks_of(pid: int) -> dict[str, _Task]:
    """Return every thread of a process by its number. Raises OSError."""
    tasks = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        try:
            lines = (folder / "status").read_text(errors="replace").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        switches = tuple(value for name, value in told.items() if name.endswith("ctxt_switches"))
        tasks[folder.name] = _Task(told["State"].split()[0], switches)
    return tasks


@dataclass(frozen=True, slots=True)
class Work:
    """What one thread has done so far: its CPU time in seconds, and how often it blocked. Does it block now?"""

    cpu_s: float
    blocked: int
    is_blocked: bool


_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


def _work_of(pid: int) -> dict[str, Work]:
    """Return the work of every thread of a process by its number. Raises OSError."""
    work = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()
            lines = (folder / "status").read_text(errors="replace").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        ticks = int(fields[11]) + int(fields[12])  # utime and stime of proc(5)
        blocked = next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
        work[folder.name] = Work(ticks * _TICK_S, blocked, fields[0] != "R")
    return work


class ServerDied(Exception):  # noqa: N818 - what a server did, not a mistake of this program
    """The server under test is gone, or does not greet any more. The text says what is known of its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the implementer declares of the server.

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

    def __init__(self, name: str, declared: Declared) -> None:
        """Touch nothing yet."""
        self.name = name
        self.declared: Final = declared
        self.remark: Callable[[str], None] = lambda text: None
        """Where is told what was done to the server besides talking to it."""

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

    def in_real_time(self) -> "Target":
        """Return a second server of the same kind, not started yet, with the machine's clock. Raises Unavailable."""
        raise Unavailable("needs a server that the suite can start: use --exec or --postfix")

    def without_standard_input(self) -> "Target":
        """Return a second server of the same kind, not started yet, that has no descriptor 0. Raises Unavailable."""
        raise Unavailable("needs a server that a command starts: use --exec")

    def in_zone(self, zone: str) -> "Target":
        """Return a second server of the same kind, not started yet, whose TZ is this. Raises Unavailable."""
        raise Unavailable("needs a server that a command starts: use --exec")

    def begin_exit(self) -> None:
        """Ask the server to exit in good order. Raises Unavailable."""
        raise Unavailable("needs a server that the suite can end: use --exec or --postfix")

    def ask_to_exit(self) -> None:
        """Ask the server to exit in good order, and wait until it has. Raises Unavailable, ServerDied."""
        self.begin_exit()
        if self.wait_for_exit(PATIENCE_S) is None:
            raise ServerDied(f"{self.name} did not exit within {PATIENCE_S} s of being asked to")

    def admit_strangers(self) -> None:
        """Let other users reach its socket. Raises Unavailable."""
        raise Unavailable("needs a server whose socket the suite may open to other users: use --exec or --postfix")

    def leave_alone(self) -> None:  # noqa: B027 - most servers are not kept company
        """Close whatever connection is kept to it besides those of the case."""

    def wait_for_exit(self, within_s: float) -> int | None:
        """Wait for the process to end by itself and return its status; None if it still runs. Raises Unavailable."""
        raise Unavailable("needs a server that the suite can start: use --exec or --postfix")

    def log(self) -> str:
        """Return what it logged so far. Raises Unavailable where that is not known."""
        raise Unavailable("needs a server whose log the suite can read: use --exec or --postfix")

    def is_told(self, limit: str) -> bool:
        """Tell whether the suite itself starts the server with this limit, by its name."""
        return False

    def limit(self, name: str) -> int:
        """Return a limit that was declared, or that the server was started with. Raises Unavailable."""
        if name == "ttl_limit_s":
            return self.declared.ttl_limit_s
        if name not in self.declared.limits:
            raise Unavailable(f"needs to know the server's {name}: use --limit {name}=N")
        return self.declared.limits[name]

    @property
    def has_clock(self) -> bool:
        """Tell whether time is virtual: it stands still but for `advance`."""
        return self.clock_path is not None

    @property
    def clock_path(self) -> Path | None:
        """Name the file that is its clock, None if time is real."""
        return self.declared.clock_path

    def set_clock_forward(self, seconds: int) -> None:
        """Move the server's clock. One that is asleep need not notice. Raises Unavailable where there is no clock."""
        self.come_to_rest()
        self.move_clock(seconds)

    def move_clock(self, seconds: int) -> None:
        """Move the server's clock, whatever it is doing: for one that is stopped. Raises Unavailable."""
        if self.clock_path is None:
            raise Unavailable("needs a virtual clock: use --clock-file or --postfix")
        with self.clock_path.open("r+b") as file, mmap.mmap(file.fileno(), CLOCK_WORD.size) as word:
            word[:] = CLOCK_WORD.pack(CLOCK_WORD.unpack(word[:])[0] + seconds)

    def advance(self, seconds: int) -> None:
        """Let time pass on the server's clock; return when what expired by then is gone. Raises Unavailable."""
        self.set_clock_forward(seconds)
        self.poke()

    def come_to_rest(self) -> None:
        """Wait until every thread of the server's process sleeps, for `REST_S_MAX` at most.

        A server may take the instant of a turn before it reads, and read on in that turn after we have its reply: what
        it is still busy with belongs to the time before the clock is moved. Threads are looked at twice: if each
        sleeps at both looks, and none has left a processor between, there was a moment at which all of them slept.
        """
        if self.pid is None:
            time.sleep(_REST_UNSEEN_S)
            return
        began_s = time.monotonic()
        before: dict[str, _Task] = {}
        while time.monotonic() - began_s < REST_S_MAX:
            try:
                tasks = _tasks_of(self.pid)
            except OSError:
                return  # it has ended, or this is no Linux
            busy = "RT" if time.monotonic() - began_s >= _STUCK_S else "RDT"
            if tasks == before and not any(task.state in busy for task in tasks.values()):
                return
            if before and tasks != before:
                time.sleep(_BETWEEN_LOOKS_S)
            before = tasks

    def work(self) -> dict[str, Work]:
        """Return what each thread of its process has done so far, by the thread's number. Raises Unavailable."""
        if self.pid is None:
            raise Unavailable(_NO_PID)
        try:
            return _work_of(self.pid)
        except OSError as error:
            raise Unavailable(f"cannot look into process {self.pid}: {error}") from error

    def poke(self) -> None:
        """Return when the server has gone through its loop once more. A connection leaves no trace in statistics.

        Where all clients that it may have are there, the server closes the connection, and has woken up as well.
        Raises Silence if it does neither.
        """
        with self.peer(Transcript(), name="poke", greeted=False) as poke:
            if not poke.has_something_to_read():
                raise Silence("the greeting", f"nothing within {poke.deadline_s} s")

    def descriptor_count(self) -> int:
        """Count the descriptors that its process has open. Raises Unavailable where that cannot be seen."""
        if self.pid is None:
            raise Unavailable(_NO_PID)
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except (FileNotFoundError, PermissionError) as error:
            raise Unavailable(f"cannot look into process {self.pid}: {error}") from error

    @contextmanager
    def descriptors_limited(self, count: int) -> Iterator[None]:
        """Have its process open no descriptor of a number above, and have no more in flight. Raises Unavailable."""
        if self.pid is None:
            raise Unavailable(_NO_PID)
        try:
            before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (count, before[1]))
            self.remark(f"its limit of open files is lowered from {before[0]} to {count}")
        except (ProcessLookupError, PermissionError) as error:
            raise Unavailable(f"cannot limit process {self.pid}: {error}") from error
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, before)

    @contextmanager
    def descriptors_exhausted(self, left: int = 0) -> Iterator[None]:
        """Let its process open so many more descriptors, and none beyond, while in the body. Raises Unavailable."""
        if self.pid is None:
            raise Unavailable(_NO_PID)
        self.come_to_rest()  # what it is still about to close would leave it one
        try:
            taken = {int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")}
        except (FileNotFoundError, PermissionError) as error:
            raise Unavailable(f"cannot look into process {self.pid}: {error}") from error
        # The kernel hands out the lowest number that is free, below the limit.
        free = sorted(set(range(len(taken) + left + 1)) - taken)
        with self.descriptors_limited(free[left]):
            yield

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have its process stand still in the body. Raises Unavailable."""
        if self.pid is None:
            raise Unavailable(_NO_PID)
        try:
            os.kill(self.pid, signal.SIGSTOP)
        except (PermissionError, ProcessLookupError) as error:
            raise Unavailable(f"cannot stop process {self.pid}: {error}") from error
        try:
            deadline_s = time.monotonic() + STOPPED_WITHIN_S
            while _state_of(self.pid) != "T":
                if time.monotonic() >= deadline_s:
                    raise Unavailable(f"process {self.pid} does not stop within {STOPPED_WITHIN_S} s")
                time.sleep(0.000_5)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

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
        deadline_s = self.declared.deadline_s if deadline_s is None else deadline_s
        return Peer(self.socket_path, transcript, name=name, deadline_s=deadline_s, greeted=greeted)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
