"""`python -m tests.attack.listing`: 100 000 parked connections through `scachectl list`, while others save and find.

What is parked all the time has to be listed exactly once each time. Meanwhile a polite client asks without pause; the
longest of its waits is printed, as it was and without the time in which it or the server waited for a processor. Exit
status 1: a row was missing or came twice, or that wait was longer than the goal. It takes root, for the descriptors.
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
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.attack.__main__ import Wait, longest_wait
from tests.support.client import Client
from tests.support.messages import DONE
from tests.support.processes import environment, module, running

GOAL_MS: Final = 20.0
"""Answers to operators get 1 ms of each turn; the rest is what a turn takes besides, on an ordinary machine."""

SPARE: Final = 10_000
"""Descriptors and sessions for those who save and find meanwhile, and for the server itself."""

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
    limit = given.rows + SPARE
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(f"load of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    longest, wrong = Wait(), 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path, admin = folder / "s", folder / "a"
        limits = [f"--{name}-max={limit}" for name in ("sessions", "sessions-per-endpoint")]
        server = stack.enter_context(running("--listen", path, "--admin", admin, "--ttl-limit", "1h", *limits))
        fill(path, given.rows)
        for number in range(LOADERS):
            load = subprocess.Popen([sys.executable, "-c", LOAD, path, f"load {number}"], env=environment())
            stack.callback(load.wait)
            stack.callback(load.kill)
        for number in range(given.lists):
            with (folder / "rows").open("w+b") as rows:
                began_s = time.monotonic()
                command = [*module("scache_ctl"), "--admin", admin, "--timeout", "600", "--json", "list", "endpoints"]
                lister = subprocess.Popen(command, env=environment(), stdout=rows)
                wait = longest_wait(path, server.process.pid, lister)
                took_s = time.monotonic() - began_s
                assert lister.wait() == 0, "scachectl failed"
                rows.seek(0)
                seen = Counter(json.loads(line)["endpoint"] for line in rows)
            stay = [seen[f"stays {each}"] for each in range(given.rows)]
            wrong += len([count for count in stay if count != 1])
            longest = longest.longest(wait)
            print(
                f"list {number + 1}: {seen.total()} rows in at most {took_s:.1f} s; of {given.rows} that stay "
                f"{stay.count(0)} are missing, {len([each for each in stay if each > 1])} came more than once; longest "
                f"wait {wait.as_it_was_ms:.1f} ms, without waits for a processor {wait.without_processor_waits_ms:.1f} ms",
                flush=True,
            )
    is_slow = longest.without_processor_waits_ms > GOAL_MS
    print(f"goal {GOAL_MS:.0f} ms: {'missed' if is_slow else 'met'}; every row once: {'no' if wrong else 'yes'}")
    return int(is_slow or wrong > 0)


def fill(path: Path, count: int) -> None:
    """Park so many connections, which stay."""
    with Client(path) as client, socket.socket() as parked:
        for number in range(count):
            assert client.save(b"stays %d" % number, parked.fileno(), ttl=b"3600") == DONE, number


if __name__ == "__main__":
    sys.exit(main())
