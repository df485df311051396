"""What becomes of a connection cache when something goes wrong: one experiment a fault, for any program.

What is done to the server, and how what it does then is told in a few words. Which words are good is in test_faults.
`python -m tests.postfix.faults` does all of them to Postfix's scache(8) and to scached, and prints a table.
"""

import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.postfix.launcher import scached
from tests.support.client import Client
from tests.support.commands import status_of
from tests.support.messages import DONE, DUMMY, FAILED, GREETING, MISSED, find_endp, found, save_endp
from tests.support.needs import libfaketime
from tests.support.processes import ended

from scache_conformance.servers.postfix import MasterChild, scache_program

NO_ANSWER_S: Final = 3.0
"""How long a client waits before it counts as held up."""

DEATH_MS: Final = 3000
"""How long a server is watched that may be about to die. Postfix's own takes about a second."""

RESERVE: Final = 384
"""What scached keeps of its descriptors by default."""

LIVES_MEASURED: Final = 16
"""Sessions whose life is measured, saved over one second, so that they begin anywhere between two ticks of a clock."""


class Servers:
    """Starts one kind of server, under a private master, as often as an experiment needs one."""

    def __init__(self, stack: ExitStack, folder: Path, name: str) -> None:
        self._stack = stack
        self._folder = folder
        self._is_ours = name == "scached"

    def __call__(
        self, *options: str, environment: Mapping[str, str] | None = None, descriptors_max: int = 0
    ) -> MasterChild:
        """Start one, by a script that sets variables and the hard limit of descriptors, besides our reserve of them."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        # libfaketime 0.9.10 makes clock_nanosleep fail; waiting for postconf(1) is all that it is called for here.
        prelude = "import time; time.sleep = lambda seconds: None" if environment else ""
        inner = scached(folder, prelude) if self._is_ours else scache_program()
        words = " ".join(f"{name}='{value}'" for name, value in (environment or {}).items())
        reserve = RESERVE if self._is_ours else 0
        limit = f"ulimit -n {descriptors_max + reserve}" if descriptors_max else ":"
        program = folder / "start" / inner.name
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\n{limit}\nexec /usr/bin/env {words} {inner} "$@"\n')
        program.chmod(0o755)
        options = tuple(option for option in options if self._is_ours or not option.startswith("scached_"))
        child = MasterChild(program, options=options)
        if environment:
            self._stack.callback(_forget_faketime, child)
        return self._stack.enter_context(child)


def _forget_faketime(child: MasterChild) -> None:
    """Remove what libfaketime shares with nobody but leaves behind: another process of this number would fail."""
    for left in Path("/dev/shm").glob(f"*faketime_*_{child.pid}"):
        left.unlink()


def _is_answered(child: MasterChild) -> bool:
    """Say whether a find by another client has an answer before it gives up."""
    with Client(child.socket_path, greeted=False) as client:
        client.sock.settimeout(NO_ANSWER_S)
        client.send(find_endp(b"nothing"))
        received = b""
        try:
            while len(received) < len(GREETING + MISSED):
                received += client.read()
        except TimeoutError:
            return False
    return True


def client_stalls(start: Servers) -> str:
    """A client stalls in the middle of a request: whether another one's find is answered."""
    child = start()
    told = []
    for name, sent, reply in (
        ("in a list", save_endp(b"endpoint")[:-1], b""),
        ("before the descriptor", save_endp(b"endpoint"), DUMMY),
    ):
        with Client(child.socket_path) as stalled:
            stalled.send(sent)
            assert not reply or stalled.read() == reply
            answered = _is_answered(child)
            stalled.sock.shutdown(socket.SHUT_WR)
            while stalled.read():
                pass  # what the server says to a save that ends here
        told.append(f"{name}: {'answered' if answered else f'no answer in {NO_ANSWER_S:.0f} s'}")
    return ", ".join(told)


def descriptor_table_fills(start: Servers) -> str:
    """All descriptors are used up, then clients come: whether the server lives and finds still work."""
    child = start("connection_cache_ttl_limit=100s", descriptors_max=256)
    with ExitStack() as stack:
        spare = stack.enter_context(socket.socket())
        peer = stack.enter_context(Client(child.socket_path))
        saved, reply = 0, DONE
        while reply == DONE and saved < 300:
            reply = peer.save(b"endpoint", spare.fileno())
            saved += reply == DONE
        crowd = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(40)]
        for client in crowd:
            client.connect(str(child.socket_path))
        if ended(child.pid, DEATH_MS):
            fatal = [line for line in child.log().splitlines() if "fatal" in line]
            return f"{saved} saved, then exit status {child.wait()}: {fatal[0].partition(']: ')[2]}"
        for _ in range(saved):
            peer.pick_up(b"endpoint").close()
        crowd[-1].settimeout(5)
        greeted = crowd[-1].recv(100) == GREETING
    return f"lives; {saved} saved, then {reply!r}; all found again, waiting clients {greeted=}"


def two_descriptors(start: Servers) -> str:
    """Two descriptors come with one save, 50 times: how many more the server holds afterwards."""
    child = start("connection_cache_ttl_limit=1s")
    with Client(child.socket_path) as peer, socket.socket() as one, socket.socket() as other:
        before = child.descriptors()
        for _ in range(50):
            assert peer.say(save_endp(b"endpoint")) == DUMMY
            assert peer.say(b"\0", one.fileno(), other.fileno()) == FAILED
        for _ in range(20):  # they may be closed a moment later
            child.poke()
            if child.descriptors() == before:
                break
        after = child.descriptors()
    return f"{after - before:+d} descriptors"


def lives(start: Servers) -> tuple[float, float]:
    """Park sessions with a ttl of 2 s; return the shortest and the longest life of one."""
    child = start()
    spans: list[float] = []
    far: dict[int, tuple[socket.socket, float]] = {}
    poll = select.poll()
    with Client(child.socket_path) as peer:
        for _ in range(LIVES_MEASURED):
            other = peer.park(b"endpoint", ttl=b"2")
            far[other.fileno()] = (other, time.monotonic())
            poll.register(other, select.POLLIN)
            select.select([], [], [], 1 / LIVES_MEASURED)
        while far:
            for fd, _ in poll.poll(10_000):
                poll.unregister(fd)
                other, began = far.pop(fd)
                spans.append(time.monotonic() - began)
                other.close()
    return min(spans), max(spans)


def ttl_of_two_seconds(start: Servers) -> str:
    """Sessions with a ttl of 2 s: how long they live."""
    shortest, longest = lives(start)
    return f"{shortest:.2f} to {longest:.2f} s"


def wall_clock_jumps(start: Servers, *, monotonic_too: bool = False) -> str:
    """The wall clock jumps ahead by an hour: whether a session with a ttl of 100 s is still there."""
    with tempfile.NamedTemporaryFile("w+", prefix="offset-", dir="/tmp") as offset:
        offset.write("+0\n")
        offset.flush()
        os.fchmod(offset.fileno(), 0o644)
        environment = {
            "LD_PRELOAD": str(libfaketime()), "FAKETIME_TIMESTAMP_FILE": offset.name, "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": str(int(not monotonic_too)), "NO_FAKE_STAT": "1",
        }  # fmt: skip
        child = start("connection_cache_ttl_limit=100s", environment=environment)
        with Client(child.socket_path) as peer, peer.park(b"endpoint", ttl=b"100"):
            offset.seek(0)
            offset.write("+3600\n")
            offset.flush()
            child.poke()
            child.poke()
            return {found(b"p"): "kept", MISSED: "lost"}[peer.say(find_endp(b"endpoint"))]


def long_label(start: Servers) -> str:
    """A label of 300 kB is saved: what comes of it."""
    child = start()
    with Client(child.socket_path) as peer:
        try:
            accepted = peer.say(save_endp(b"x" * 300_000)) == DUMMY
        except (BrokenPipeError, ConnectionResetError):
            accepted = False
    child.poke()
    lines = [line.partition("]: ")[2] for line in child.log().splitlines()]
    return "accepted" if accepted else f"refused: {lines}"


def peer_has_hung_up(start: Servers, *options: str) -> str:
    """The other end of a parked connection is closed: whether it is handed out all the same."""
    child = start(*options)
    with Client(child.socket_path) as peer:
        peer.park(b"endpoint").close()
        return "handed out" if peer.say(find_endp(b"endpoint")) == found(b"p") else "not handed out"


def idle_with_sessions(start: Servers) -> str:
    """max_idle of 1 s passes without a client while a session with a ttl of 3 s is parked: how long that lives."""
    child = start("max_idle=1s", "connection_cache_ttl_limit=3s")
    with Client(child.socket_path) as peer:
        far = peer.park(b"endpoint")
    with far:
        began = time.monotonic()
        child.disconnect()
        assert far.recv(1) == b""
        lived_s = time.monotonic() - began
    return f"lives {'on' if lived_s > 2.5 else 'for less than 2.5 s'}, exit status {child.wait()}"


def termination(start: Servers) -> str:
    """SIGTERM: what is printed."""
    child = start()
    with Client(child.socket_path) as peer:
        assert peer.say(find_endp(b"nothing")) == MISSED
    child.signal(signal.SIGTERM)
    child.wait()
    return f"{sum('statistics' in line for line in child.log().splitlines())} lines of statistics"


Experiment = Callable[[Servers], str]

EXPERIMENTS: Final[dict[str, Experiment]] = {
    "client stalls in a request": client_stalls,
    "descriptor table full": descriptor_table_fills,
    "two descriptors with one save, 50 times": two_descriptors,
    "ttl 2 s": ttl_of_two_seconds,
    "wall clock jumps": wall_clock_jumps,
    "label of 300 kB": long_label,
    "peer has hung up": peer_has_hung_up,
    "peer has hung up, scached_liveness=hup": lambda start: peer_has_hung_up(start, "scached_liveness=hup"),
    "max_idle with a session parked": idle_with_sessions,
    "SIGTERM": termination,
}


def experiment(name: str, server: str) -> str:
    """Do one experiment to one server; return what came of it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-", dir="/tmp")))
        return EXPERIMENTS[name](Servers(stack, folder, server))


def main() -> None:
    """Print the table."""
    sys.stdout.write("| fault | Postfix scache | scached |\n|---|---|---|\n")
    for name in EXPERIMENTS:
        sys.stdout.write(f"| {name} | {experiment(name, 'scache')} | {experiment(name, 'scached')} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(status_of(main))
