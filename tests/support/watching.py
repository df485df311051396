"""`scache-conformance watch` as a process between clients and a server, and what it printed."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypedDict

from tests.support.client import PATIENCE_S
from tests.support.processes import environment, module


class Event(TypedDict, total=False):
    """A line of JSON: the members that tests ask for."""

    event: str
    side: str
    clauses: list[str]
    text: str
    request: str
    status: int | None
    file: str
    seconds: float
    connections: int
    dances: dict[str, int]
    unknown_sessions: int


class Watcher:
    """A watcher that runs."""

    def __init__(self, path: Path, process: subprocess.Popen[str]) -> None:
        self.path: Final = path
        self.process: Final = process

    def end(self, number: int = signal.SIGTERM, complaint: str = "") -> list[Event]:
        """End it; return the lines it printed. `complaint` is what it had to say about itself."""
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=PATIENCE_S)
        assert errors == complaint
        return [json.loads(line) for line in output.splitlines()]


@contextmanager
def watching(listen: Path, connect: Path, *options: str) -> Iterator[Watcher]:
    """Start a watcher, and wait until it listens."""
    command = [*module("scache_conformance"), "watch", "--json"]
    with subprocess.Popen(
        [*command, "--listen", str(listen), "--connect", str(connect), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == f"listening on {listen}\n"
            yield Watcher(listen, process)
        finally:
            process.kill()  # does nothing to a process that was waited for


def faults(events: list[Event], side: str = "server") -> list[str]:
    """Return the clauses of the faults of a side."""
    return [
        clause for each in events if each["event"] == "fault" and each["side"] == side for clause in each["clauses"]
    ]
