"""`python -m tests.attack`: the longest wait of a polite client beside each attack, and beside none.

The polite client is a process of its own, kept on the other processor. It asks again and again for a label that nobody
has, and notes how long each answer took. `--command` measures another server: one that attacks hold up is the negative
control. Exit status 1: a wait was longer than the goal.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.attack.attacks import ATTACKS, LASTS_S
from tests.support.client import Client
from tests.support.messages import find_endp
from tests.support.processes import COMMAND, environment

GOAL_MS = 200.0
"""On an idle machine no wait is longer. A fiftieth of what Postfix's smtp(8) waits for a reply."""

BEHIND_S = 2.0
"""How long is measured on after an attack: what it left behind expires then."""


def longest_wait_ms(path: Path, until: subprocess.Popen[bytes]) -> float:
    """Ask until an attack and what follows it are over; return how long the slowest answer took, inf if none came."""
    longest_s, end_s = 0.0, None
    try:
        with Client(path) as polite:
            polite.sock.settimeout(20)
            while end_s is None or time.monotonic() < end_s:
                began_s = time.monotonic()
                if not polite.say(find_endp(b"nobody's")):
                    return float("inf")
                longest_s = max(longest_s, time.monotonic() - began_s)
                if end_s is None and (until.poll() is not None):
                    end_s = time.monotonic() + BEHIND_S
    except OSError:
        return float("inf")
    return longest_s * 1000


def measure(name: str, command: list[str]) -> float:
    """Start a server, attack it, and return the longest wait of a polite client in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        words = [word.replace("{socket}", str(path)) for word in command]
        server = subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
        try:
            while not path.exists() and server.poll() is None:
                time.sleep(0.01)
            time.sleep(0.2)
            attacker = subprocess.Popen(
                [sys.executable, "-c", "import sys; from tests.attack.attacks import attack; attack(*sys.argv[1:])",
                 name, str(path)], env=environment(), stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                return longest_wait_ms(path, attacker)
            finally:
                attacker.kill()
                attacker.wait()
        finally:
            server.kill()
            server.wait()


def main() -> int:
    """Measure every attack so many times; print the longest wait beside each."""
    default = [*COMMAND, "--listen", "{socket}", "--ttl-limit", "1h"]
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--command", type=shlex.split, default=default, help="a server; {socket} stands for its path")
    parser.add_argument("--repeats", type=int, default=1, help="how often each attack is measured (default: 1)")
    parser.add_argument("attacks", nargs="*", help=f"{', '.join(ATTACKS)} (default: all)")
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    longest_ms = 0.0
    print(f"longest wait of a polite client, {given.repeats} times {LASTS_S:.0f} s, in ms; goal {GOAL_MS:.0f}")
    for name in given.attacks or ATTACKS:
        waits_ms = [measure(name, given.command) for _ in range(given.repeats)]
        longest_ms = max(longest_ms, *waits_ms)
        verdict = "" if max(waits_ms) <= GOAL_MS else "  above the goal"
        print(f"  {name:24}{max(waits_ms):10.1f}{verdict}   {(ATTACKS[name].__doc__ or '').strip()}", flush=True)
    return int(longest_ms > GOAL_MS)


if __name__ == "__main__":
    sys.exit(main())
