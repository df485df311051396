"""A server that a command starts, in the foreground, and SIGTERM ends."""

import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from scache_conformance.servers.target import (
    CLOCK_WORD,
    DEFAULTS,
    LIMIT_NAMES,
    PATIENCE_S,
    PLACEHOLDERS,
    Declared,
    ServerDied,
    Target,
    head_and_end,
)
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.wire import processes
from scache_conformance.wire.folders import place_for

FOLDER_PREFIX: Final = "scache-conformance-"
"""Of the folder that holds socket, clock and log of a server."""

_POLL_S: Final = 0.01


class CommandServer(Target):
    """A server that a command starts: the process stays in the foreground and ends at SIGTERM.

    In the command `{socket}` stands for the path to serve on, `{clock}` for that of the clock file, and the name of any
    limit, such as `{ttl_limit_s}` or `{sessions_max}`, for its value. It is run without a shell. A server with
    `{clock}` in its command has a clock; where none was declared it is a file of its own. Nothing stands for `{clock}`
    where the server is to have the machine's clock.
    """

    def __init__(
        self,
        command: str,
        declared: Declared,
        *,
        name: str = "",
        limits: Mapping[str, int] | None = None,
        is_main: bool = True,
        real_time: bool = False,
        prefix: Sequence[str] = (),
    ) -> None:
        """Touch nothing yet. Raises ValueError where the command cannot be used."""
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"--exec {command!r}: {error}") from error
        super().__init__(name or (Path(words[0]).name if words else ""), declared)
        if "{socket}" not in command:
            raise ValueError(f"the command {command!r} has no path to listen on: write {{socket}} in its place")
        for name in re.findall(r"\{(\w+)\}", command):
            # Other braces are the command's own; what is nearly a name is a slip that would go unnoticed.
            meant = get_close_matches(name, PLACEHOLDERS, n=1, cutoff=0.8)
            if meant and name not in PLACEHOLDERS:
                raise ValueError(f"the command has {{{name}}}: did you mean {{{meant[0]}}}?")
        self.command: Final = command
        self._words: Final = words
        self._limits: Final = dict(limits or {})
        self._is_main: Final = is_main
        self._real_time: Final = real_time
        self._prefix: Final = prefix
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
        """Tell whether a clock was declared, or it is given one."""
        return not self._real_time and (self.declared.clock_path is not None or "{clock}" in self.command)

    @property
    def clock_path(self) -> Path | None:
        """Name the file that is its clock."""
        if not self.has_clock:
            return None
        return (
            self.declared.clock_path if self._is_main and self.declared.clock_path is not None else self._path("clock")
        )

    def start(self) -> None:
        """Start the command and wait until it takes a connection; whether it greets is for the cases to say."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=place_for(FOLDER_PREFIX, "socket"))
        self.socket_path.unlink(missing_ok=True)
        if self.clock_path is not None:
            try:
                self.clock_path.write_bytes(CLOCK_WORD.pack(int(time.time())))
            except OSError as error:
                raise Unavailable(f"cannot write the clock: {error}") from error
        with self._path("log").open("ab") as log, processes.STARTING:
            try:
                self._process = subprocess.Popen(
                    self._filled_in(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=processes.marked(self._folder.name),
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

    def revive(self) -> None:
        """Start it again in its folder, where it would find what it wrote before."""
        self._end_process()
        self.start()

    def another(self, **limits: int) -> Target:
        """Return a second server of the same command. Raises Unavailable if a limit has no place in the command."""
        for name in limits:
            if not self.is_told(name):
                raise Unavailable(f"needs a server with another {name}: put {{{name}}} into the command of --exec")
        if self.has_clock and "{clock}" not in self.command:
            raise Unavailable("needs a second server with a clock of its own: put {clock} into the command of --exec")
        return self._another({**self._limits, **limits}, real_time=self._real_time)

    def in_real_time(self) -> Target:
        """Return a second server of the same command, in which nothing stands for `{clock}`. Raises Unavailable."""
        if "{clock}" not in self.command:
            raise Unavailable("needs a server without a clock of the suite's: put {clock} into the command of --exec")
        return self._another(self._limits, real_time=True)

    def without_standard_input(self) -> Target:
        """Return a second server of the same command, started with descriptor 0 closed."""
        prefix = ["sh", "-c", 'exec "$@" <&-', "sh"]
        return self._another(self._limits, real_time=self._real_time, prefix=prefix)

    def in_zone(self, zone: str) -> Target:
        """Return a second server of the same command whose TZ is this."""
        return self._another(self._limits, real_time=self._real_time, prefix=["env", f"TZ={zone}"])

    def _another(self, limits: Mapping[str, int], *, real_time: bool, prefix: Sequence[str] = ()) -> Target:
        return CommandServer(
            self.command,
            self.declared,
            name=self.name,
            limits=limits,
            is_main=False,
            real_time=real_time,
            prefix=prefix or self._prefix,
        )

    def begin_exit(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None, "start() comes first"
        self._process.send_signal(signal.SIGTERM)

    def admit_strangers(self) -> None:
        """Open the folder, which is the suite's, and the socket in it."""
        self.socket_path.parent.chmod(0o711)
        self.socket_path.chmod(0o666)

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

    def is_told(self, limit: str) -> bool:
        """Tell whether the command has a place for this limit."""
        return f"{{{limit}}}" in self.command

    def limit(self, name: str) -> int:
        """Return a limit that the command was given, or that was declared. Raises Unavailable."""
        return self._value(name) if self.is_told(name) else super().limit(name)

    def fate(self) -> str:
        """Say how the process ended, and the head and the end of its log."""
        status = self._process.poll() if self._process is not None else None
        state = "its process runs" if status is None else f"exit status {status}"
        log = self.log() if self._folder is not None else ""
        return f"{state}; its log: {head_and_end(log)}"

    def _path(self, name: str) -> Path:
        assert self._folder is not None, "start() comes first"
        return Path(self._folder.name) / name

    def _filled_in(self) -> Sequence[str]:
        values = {name: str(self._value(name)) for name in LIMIT_NAMES}
        values |= {"socket": str(self.socket_path), "clock": str(self.clock_path or "")}
        words = list(self._prefix)
        for word in self._words:
            for name, value in values.items():
                word = word.replace(f"{{{name}}}", value)  # not str.format: other braces are the command's own
            words.append(word)
        return words

    def _value(self, name: str) -> int:
        declared = {**self.declared.limits, "ttl_limit_s": self.declared.ttl_limit_s}
        value: int = self._limits.get(name, declared.get(name, getattr(DEFAULTS, name)))
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
        if self._process is not None:
            processes.end_group(self._process, PATIENCE_S)
            # Another process listens, or it is not known which one does: it may have left the session, as daemons do.
            if self._folder is not None and self._listening_pid != self._process.pid:
                processes.end_marked(self._folder.name)
