"""The servers under measurement, each started the way it is run.

Each is told to keep sessions for an hour. To everything else a server is a socket and a process.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from scache_bench import programs
from scache_conformance.servers.postfix import MasterChild
from scache_conformance.servers.target import ServerDied
from scache_conformance.servers.unavailable import Unavailable

_ROOT: Final = Path(__file__).parents[2]

_DISTRIBUTIONS: Final = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")

PYTHON: Final = str(_DISTRIBUTIONS) if _DISTRIBUTIONS.exists() else sys.executable
"""What runs our servers: the distribution's Python, as the distribution's scache is measured, if it is of the version
that compiled the modules. How a Python was built makes a fifth of the speed."""

SOURCES: Final = os.pathsep.join(str(_ROOT / name) for name in ("fast", "reference", "spec", "bench"))
"""Where that Python finds them."""

COMPILED: Final = _ROOT / ".cache/compiled"
TTL_LIMIT_S: Final = 3_600
CLIENTS_MAX: Final = 2_000
"""More than any scenario has; the default is 1000."""
START_S_MAX: Final = 20.0


class StartError(Exception):
    """A server cannot be measured here. The text says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    socket: Path
    pid: int
    start_s: float | None = None
    """From the start of the process to the first client's greeting, 1 ms too much at most; None: somebody else started
    the process."""


@contextmanager
def _process(command: Sequence[str], path: Path, sources: str = SOURCES) -> Iterator[Server]:
    """Run a command until the context is left; its output goes to a file beside the socket at `path`."""
    log = path.with_suffix(".log")
    environment = {**os.environ, "PYTHONPATH": sources}
    began_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    try:
        _await_greeting(process, path, log)
        yield Server(path, process.pid, time.monotonic() - began_s)
    finally:
        process.terminate()
        try:
            process.wait(START_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_greeting(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):  # not listening yet
            probe.settimeout(START_S_MAX)
            probe.connect(str(path))
            if probe.recv(1):
                return
        time.sleep(0.001)
    last = log.read_text(errors="backslashreplace").strip().rpartition("\n")[2]
    raise StartError(f"does not start; exit status {process.poll()} (None: it runs), last words {last!r}")


def _ours(module: str, path: Path, sources: str = SOURCES, *options: str) -> AbstractContextManager[Server]:
    limits = ("--ttl-limit", f"{TTL_LIMIT_S}s", "--clients-max", str(CLIENTS_MAX))
    command = [PYTHON, "-m", module, "--listen", str(path), *limits, *options]
    return _process(command, path, sources)


def _fast(folder: Path, *options: str) -> AbstractContextManager[Server]:
    return _ours("scache_fast", folder / "fast.sock", SOURCES, *options)


def _compiled(folder: Path, *options: str) -> AbstractContextManager[Server]:
    if not COMPILED.is_dir():
        raise StartError("is not there: make compiled")
    return _ours("scache_fast", folder / "compiled.sock", str(COMPILED), *options)


def _reference(folder: Path) -> AbstractContextManager[Server]:
    return _ours("scache_reference", folder / "reference.sock")


@contextmanager
def _scache(_: Path) -> Iterator[Server]:
    try:
        with MasterChild(ttl_limit_s=TTL_LIMIT_S) as child:
            yield Server(child.socket_path, child.pid)
    except (Unavailable, ServerDied) as reason:
        raise StartError(str(reason)) from reason


@contextmanager
def _floor(folder: Path) -> Iterator[Server]:
    path = folder / "floor.sock"
    with _process([_built("floor", folder), str(path)], path) as server:
        yield server


@contextmanager
def _threaded(folder: Path) -> Iterator[Server]:
    path = folder / "threaded.sock"
    options = ("--ttl-limit", str(TTL_LIMIT_S))
    with _process([_built("threaded", folder), "--listen", str(path), *options], path) as server:
        yield server


def _built(name: Literal["floor", "threaded"], folder: Path) -> str:
    try:
        return str(programs.build(name, folder))
    except programs.NoCompilerError as reason:
        raise StartError(str(reason)) from reason


SERVERS: Final[dict[str, Callable[[Path], AbstractContextManager[Server]]]] = {
    "compiled": _compiled,
    "fast": _fast,
    "reference": _reference,
    "scache": _scache,
    "threaded": _threaded,
    "floor": _floor,
}
"""By name, in the order in which tables list them. Each takes a fresh folder; entering raises StartError."""

PACED: Final[dict[str, Callable[[Path], AbstractContextManager[Server]]]] = {
    **{name: start for name, start in SERVERS.items() if name != "reference"},
    "compiled, no busy polling": lambda folder: _compiled(folder, "--busy-poll", "0"),
    "fast, no busy polling": lambda folder: _fast(folder, "--busy-poll", "0"),
}
"""The servers of the table of paces; the first word of each is the name that selects it."""

PARKED_MAX: Final = {"reference": 1_000}
"""Where parking more would take minutes: the reference copies what it knows with every change, and says so."""

DESCRIPTIONS: Final = {
    "compiled": "scached as its packages install it: the engine compiled, its system calls in C",
    "fast": "scached in plain Python",
    "reference": "the specification with sockets around it",
    "scache": "Postfix's own, started as its master(8) does",
    "threaded": "what one would write in an afternoon: C, a thread for each client, one lock; from SPEC.md alone",
    "floor": "a C loop with the same system calls, no checks, no expiry",
}


def has_strace() -> bool:
    """Return whether system calls can be counted."""
    return shutil.which("strace") is not None
