"""Takeovers in a row under load, and takeovers in which one side is killed or stopped: LIFE-12 has what is lost.

Each connection carries its number, written into it before it is parked. Whoever finds it reads the number: it is the
expected one, and a connection that was handed out twice has none left.
"""

import os
import random
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.core import Metric
from tests.support.client import PATIENCE_S, Client
from tests.support.commands import status_of
from tests.support.descriptors import is_hung_up
from tests.support.messages import DONE, DUMMY, MISSED, find_endp, found
from tests.support.processes import COMMAND, Running, running, starting

from scache_ctl.metrics import scrape
from scache_fast.admin.client import AdminClient

OPTIONS: Final = ("--ttl-limit", "3600", "--sessions-max", "100000")
QUEUED_MAX: Final = 5
"""How many connections a client of the load has parked at most."""

SCRAPED_EACH_S: Final = 0.05
"""How often metrics are read: several times in each takeover."""

_NUMBER: Final = struct.Struct("Q")


class LostError(AssertionError):
    """A connection was lost, handed out twice, or handed out in the place of another."""


def park(client: Client, label: bytes, number: int) -> None:
    """Park a connection with a number in it."""
    near, far = socket.socketpair()
    with near, far:
        far.send(_NUMBER.pack(number))
        if client.save(label, near.fileno(), b"%d" % number) != DONE:
            raise LostError(f"{number} cannot be parked")


def pick_up(client: Client, label: bytes, number: int) -> None:
    """Find a connection that has to be the one with this number; raises LostError."""
    answer = client.say(find_endp(label))
    if answer != found(b"%d" % number):
        raise LostError(f"{number} was expected under {label!r}, and {answer!r} was answered")
    with socket.socket(fileno=client.take()) as taken:
        client.send(DUMMY)
        if taken.recv(100) != _NUMBER.pack(number):
            raise LostError(f"{number} was handed out twice")


class Load(threading.Thread):
    """A client that parks and finds without a pause, on one connection and under a label of its own."""

    def __init__(self, path: Path, number: int) -> None:
        super().__init__()
        self._client = Client(path)
        self._label = b"load %d" % number
        self._number = number << 32
        self._queue: deque[int] = deque()
        self._random = random.Random(number)
        self.is_wanted = True
        self.pairs = 0
        self.longest_s = 0.0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Go on until told to end; then find everything that is left."""
        try:
            with self._client:
                while self.is_wanted or self._queue:
                    began_s = time.monotonic()
                    if self.is_wanted and len(self._queue) < self._random.randint(1, QUEUED_MAX):
                        self._number += 1
                        park(self._client, self._label, self._number)
                        self._queue.append(self._number)
                    else:
                        pick_up(self._client, self._label, self._queue.popleft())
                        self.pairs += 1
                    self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                if self._client.say(find_endp(self._label)) != MISSED:
                    raise LostError("there is more than was parked")
        except (OSError, AssertionError, ValueError) as error:
            self.error = error


class Scraper(threading.Thread):
    """Reads the metrics of a server every 50 ms, as an exporter does, and compares each reading with the one before."""

    def __init__(self, admin: Path, sessions: range) -> None:
        super().__init__()
        self._scrape = scrape(str(admin), PATIENCE_S)
        self._sessions = sessions
        """How many there may be at any time."""
        self._counts: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._is_over = threading.Event()
        self.answered = self.unanswered = 0
        self.error: BaseException | None = None

    def stop(self) -> None:
        """End it."""
        self._is_over.set()
        self.join()

    def check(self) -> None:
        """Raise LostError if a reading was wrong."""
        if self.error is not None:
            raise LostError(f"metrics: {self.error!r}") from self.error
        if not self.answered:
            raise LostError("metrics: no reading was answered")

    def run(self) -> None:
        """Read until told to end."""
        is_last = False
        try:
            while not is_last:
                is_last = self._is_over.wait(SCRAPED_EACH_S)
                self._judge(list(self._scrape.collect()))
        except (LostError, KeyError) as error:
            self.error = error

    def _judge(self, families: list[Metric]) -> None:
        values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }
        if not values["scached_up", ()]:
            self.unanswered += 1
            if any(family.name.startswith("scached_") and family.name != "scached_up" for family in families):
                raise LostError("the server did not answer, and there are values of it")
            return
        self.answered += 1
        if values["scached_sessions", ()] not in self._sessions:
            raise LostError(f"{values['scached_sessions', ()]} sessions, {self._sessions} were parked")
        kinds = {sample.name: family.type for family in families for sample in family.samples}
        counts = {series: value for series, value in values.items() if kinds[series[0]] in {"counter", "histogram"}}
        fallen = {
            series: (count, counts.get(series))
            for series, count in self._counts.items()
            if counts.get(series, -1) < count
        }
        if fallen:
            raise LostError(f"counters have fallen: {fallen}")
        self._counts = counts


@dataclass(frozen=True, slots=True)
class Result:
    """What became of takeovers in a row."""

    takeovers: int
    pairs: int
    longest_s: float
    scrapes: int
    unanswered: int
    """How many of the scrapes found no server."""


def in_a_row(folder: Path, parked: int, clients: int, takeovers: int) -> Result:
    """Take over so often, with so much parked and under the load of so many clients; raises LostError."""
    path, admin = folder / "s", folder / "a"
    with ExitStack() as stack:
        first = stack.enter_context(running("--listen", path, "--admin", admin, *OPTIONS))
        keeper = stack.enter_context(Client(path))
        server = stack.enter_context(running("--takeover", admin, *OPTIONS))
        first.wait()
        keeper.say(find_endp(b"none"))  # When that is answered, the end of the old process has been noticed.
        descriptors = server.descriptors
        for number in range(parked):
            park(keeper, b"parked %d" % (number // 3), number)
        loads = [Load(path, 1 + number) for number in range(clients)]
        for load in loads:
            load.start()
        scraper = Scraper(admin, range(parked, parked + clients * QUEUED_MAX + 1))
        scraper.start()
        try:
            for _ in range(1, takeovers):
                old, server = server, stack.enter_context(running("--takeover", admin, *OPTIONS))
                old.wait()
        finally:
            scraper.stop()
            for load in loads:
                load.is_wanted = False
            for load in loads:
                load.join()
        scraper.check()
        for load in loads:
            if load.error is not None:
                raise LostError(f"a client failed: {load.error!r}") from load.error
        for number in range(parked):
            pick_up(keeper, b"parked %d" % (number // 3), number)
        with AdminClient(str(admin)) as operator:
            if list(operator.rows("list")):
                raise LostError("there is more than was parked")
        server.await_descriptors(descriptors)
        server.end()
    pairs = sum(load.pairs for load in loads)
    longest_s = max(load.longest_s for load in loads)
    return Result(takeovers, pairs, longest_s, scraper.answered + scraper.unanswered, scraper.unanswered)


# One side is killed or stopped.

PARKED_MAX: Final = 600
STEPS_MAX: Final = {"old": 26, "new": 24}
"""A little more than there are steps of each side: some takeovers are to succeed."""


class Attempt:
    """One takeover, in which one side gets a signal at a random step."""

    def __init__(self, folder: Path, choice: random.Random, number: signal.Signals, stack: ExitStack) -> None:
        self.path, self.note = folder / "s", folder / "note"
        self._side = choice.choice(("old", "new"))
        self._step = choice.randint(1, STEPS_MAX[self._side])
        self._parked = choice.choice((0, 3, PARKED_MAX))
        admin = folder / "a"
        for left in (self.path, admin, self.note):
            left.unlink(missing_ok=True)
        dying = (sys.executable, "-m", "tests.soak.dying", str(self.note), str(self._step), str(int(number)))
        command = dying if self._side == "old" else COMMAND
        self.old = stack.enter_context(running("--listen", self.path, "--admin", admin, *OPTIONS, command=command))
        keeper = stack.enter_context(Client(self.path))
        for each in range(self._parked):
            park(keeper, b"e", each)
        near, self.far = socket.socketpair()
        stack.enter_context(self.far)
        with near:
            keeper.save(b"far", near.fileno())
        command = dying if self._side == "new" else COMMAND
        self.new = stack.enter_context(starting("--takeover", admin, *OPTIONS, command=command))
        self.victim, self.other = (self.old, self.new) if self._side == "old" else (self.new, self.old)

    def when(self) -> str:
        """Return which side got the signal, and when."""
        return self.note.read_text() if self.note.exists() else "nobody"

    def find_everything(self) -> None:
        """Find all that was parked; raises LostError."""
        with Client(self.path) as finder:
            for number in range(self._parked):
                pick_up(finder, b"e", number)
            _pick_up_far(finder, self.far)

    def failed(self, error: Exception) -> LostError:
        """Return an error that says what was tried and how it ended."""
        what = f"{self._side}, step {self._step} ({self.when()}), {self._parked} parked"
        return LostError(f"{what}: {error!r}; {self.old.lines} {self.new.lines}")


def with_a_kill(folder: Path, choice: random.Random) -> str:
    """Take over once, with one side killed at a random step; return who was killed, and when. Raises LostError."""
    with ExitStack() as stack:
        tried = Attempt(folder, choice, signal.SIGKILL, stack)
        try:
            killed = _await(tried.old, tried.new, tried.note)
            if killed == "old before its offer":
                _is_lost(tried.path, tried.far)
            elif killed == "new after it took":
                _is_refused(tried.path)
            else:
                tried.find_everything()
        except (LostError, AssertionError, OSError) as error:
            raise tried.failed(error) from error
        return killed


def with_a_stop(folder: Path, choice: random.Random) -> str:
    """Take over once, with one side stopped at a random step until the other one has decided: nothing is lost.

    Returns who was stopped, and when. Raises LostError.
    """
    with ExitStack() as stack:
        tried = Attempt(folder, choice, signal.SIGSTOP, stack)
        try:
            tried.other.line("listening on |cannot take over|has taken over|the takeover failed")
            tried.victim.process.send_signal(signal.SIGCONT)
            tried.find_everything()
        except (LostError, AssertionError, OSError) as error:
            raise tried.failed(error) from error
        return tried.when()


def _await(old: Running, heir: Running, note: Path) -> str:
    """Wait until the takeover has come to an end; return who was killed, and when."""
    try:
        heir.line("listening on ")
    except AssertionError:
        heir.process.wait()
    if note.exists() and note.read_text().startswith("new before"):
        old.line("the takeover failed")
    else:
        status = old.process.wait(PATIENCE_S)  # It may be killed after it was taken over.
        if (status == 0) is (note.exists() and note.read_text().startswith("old")):
            raise LostError(f"the old process ended with {status}: {old.lines} {heir.lines}")
    return note.read_text() if note.exists() else "nobody"


def _is_lost(path: Path, far: socket.socket) -> None:
    try:
        with Client(path) as finder:
            if finder.say(find_endp(b"e")) != MISSED:
                raise LostError("something was handed out that was lost")
    except ConnectionRefusedError:
        pass  # The old process died before it had given its sockets away.
    far.settimeout(PATIENCE_S)
    if far.recv(1) != b"":
        raise LostError("the peer of what was lost is not told")


def _is_refused(path: Path) -> None:
    try:
        Client(path).close()
    except ConnectionRefusedError:
        return
    raise LostError("somebody listens, and both processes are gone")


def _pick_up_far(finder: Client, far: socket.socket) -> None:
    """Find the connection whose peer is here."""
    if is_hung_up(far):
        raise LostError("a parked connection was closed")
    with finder.pick_up(b"far") as taken:
        taken.send(b"x")
        if far.recv(1) != b"x":
            raise LostError("another connection was found")


def main() -> int:
    """`python -m tests.soak.takeover [PARKED CLIENTS TAKEOVERS KILLS STOPS]`; return 1 if anything was lost."""
    given = [int(each) for each in sys.argv[1:]]
    parked, clients, takeovers, kills, stops = [*given, *(10_000, 8, 50, 200, 20)[len(given) :]]
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = in_a_row(Path(folder), parked, clients, takeovers)
            print(
                f"{result.takeovers} takeovers, {parked} parked, {result.pairs} pairs of {clients} clients: none lost, "
                "none twice, no descriptor left over; the longest pause a client saw: "
                f"{result.longest_s * 1000:.0f} ms; {result.scrapes} scrapes, "
                f"{result.unanswered} of them without an answer: no counter fell",
                flush=True,
            )
            seed = int.from_bytes(os.urandom(4), "big")
            print(f"{kills} takeovers with a kill, {stops} with a stop, seed {seed}", flush=True)
            choice = random.Random(seed)
            for what, attempt, count in (("killed", with_a_kill, kills), ("stopped", with_a_stop, stops)):
                judged = Counter(attempt(Path(folder), choice) for _ in range(count))
                print(f"{what}: {', '.join(f'{when}: {times}' for when, times in sorted(judged.items()))}", flush=True)
    except LostError as error:
        print(f"LOST: {error}")
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(status_of(main))
