"""`python -m tests.attack.listing`: 100 000 rows through `scachectl list`, while others save and find.

The rows are parked connections, as many as the hard limit of open files allows, and for the rest bindings. What is
there all the time has to be listed exactly once each time. Meanwhile a polite client asks without pause; the
longest of its waits is printed, as it was and without the time in which it or the server waited for a processor. Exit
status 1: a row was missing or came twice, or that wait was longer than the goal.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.attack.__main__ import Wait, longest_wait
from tests.support.client import Client
from tests.support.commands import status_of
from tests.support.messages import DONE, save_dest
from tests.support.processes import environment, module, running

GOAL_MS: Final = 20.0
"""Answers to operators get 1 ms of each turn; the rest is what a turn takes besides, on an ordinary machine."""

SPARE: Final = 1000
"""Descriptors and sessions for those who save and find meanwhile, and for the server itself. More than they take."""

LOADERS: Final = 2

LOAD: Final = """
import socket, sys
from scache_client import Client
mine = socket.socket()
with Client(sys.argv[1]) as cache:
    while True:
        cache.save_endp(sys.argv[2].encode(), b"", 60, mine.dup())
        found = cache.find_endp(sys.argv[2].encode())
        if found is not None:
            found.close()
"""


def main() -> int:
    """Fill a server, list it again and again under load, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.listing", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="how many are parked (default: 100000)")
    parser.add_argument("--lists", type=int, default=3, help="how often all of them are listed (default: 3)")
    given = parser.parse_args()
    sessions = min(given.rows, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 2 * SPARE)
    stays = [f"stays {number}" for number in range(given.rows)]
    print(f"{sessions} connections and {given.rows - sessions} bindings")
    print(f"load of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    longest, wrong, loads = Wait(), 0, list[subprocess.Popen[bytes]]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path, admin = folder / "s", folder / "a"
        limits = [f"--sessions-max={sessions + SPARE}", f"--bindings-max={given.rows - sessions + 1}"]
        server = stack.enter_context(running("--listen", path, "--admin", admin, "--ttl-limit", "1h", *limits))
        fill(path, stays, sessions)
        for number in range(LOADERS):
            load = subprocess.Popen([sys.executable, "-c", LOAD, path, f"load {number}"], env=environment())
            stack.callback(load.wait)
            stack.callback(load.kill)
            loads.append(load)
        for number in range(given.lists):
            with (folder / "rows").open("w+b") as rows:
                began_s = time.monotonic()
                command = [*module("scache_ctl"), "--admin", str(admin), "--timeout", "600", "--json", "list"]
                lister = subprocess.Popen(command, env=environment(), stdout=rows)
                stack.callback(lister.wait)
                stack.callback(lister.kill)
                wait = longest_wait(path, server.process.pid, lister)
                took_s = time.monotonic() - began_s
                assert lister.wait() == 0, "scachectl failed"
                rows.seek(0)
                seen = Counter(row.get("endpoint", row.get("destination")) for row in map(json.loads, rows))
            missing, doubled = [each for each in stays if not seen[each]], [each for each in stays if seen[each] > 1]
            wrong += len(missing) + len(doubled)
            longest = longest.longest(wait)
            print(
                f"list {number + 1}: {seen.total()} rows in at most {took_s:.1f} s; of those that stay {len(missing)} "
                f"are missing, {len(doubled)} came more than once; longest wait {wait.as_it_was_ms:.1f} ms, "
                f"without waits for a processor {wait.without_processor_waits_ms:.1f} ms",
                flush=True,
            )
        assert [load.poll() for load in loads] == [None] * LOADERS, "those who save and find have ended"
    is_slow = longest.without_processor_waits_ms > GOAL_MS
    print(f"goal {GOAL_MS:.0f} ms: {'missed' if is_slow else 'met'}; every row once: {'no' if wrong else 'yes'}")
    return int(is_slow or wrong > 0)


def fill(path: Path, names: Sequence[str], sessions: int) -> None:
    """Park a connection under each of so many names, and bind the others as destinations."""
    with Client(path) as client, socket.socket() as parked:
        for name in names[:sessions]:
            assert client.save(name.encode(), parked.fileno(), ttl=b"3600") == DONE, name
        for name in names[sessions:]:
            assert client.say(save_dest(name.encode(), b"", b"elsewhere", b"3600")) == DONE, name


if __name__ == "__main__":
    sys.exit(status_of(main))
