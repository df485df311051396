"""Several clients at once, and afterwards the question whether one correct server can have given all these answers.

For each operation, three things are recorded: when it was sent, when its answer was there, and the answer. Nothing may
expire in a history, so every ttl is the server's limit. A history that took a large part of that time is made
again.

The machine decides in which order threads run. A seed therefore repeats what is asked, and not what is answered, and a
history that failed is reported in full.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from scache_conformance.generated.linearizability import Operation, PutBack, Verb, linearization
from scache_conformance.generated.rules import RuleSet
from scache_conformance.generated.scenario import CLIENTS, Names
from scache_conformance.generated.steps import FindDest, FindEndp, Found, SaveDest, SaveEndp
from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.wire import lists
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DONE
from scache_conformance.wire.peer import Peer
from scache_conformance.wire.transcript import Transcript
from scache_conformance.wire.unmet import Unmet

OPERATIONS_PER_CLIENT: Final = (40, 80)

STALLED: Final = 0.5
"""In real time, this share of the ttl limit may pass during a history."""

TRIES_MAX: Final = 5

SESSION: Final = b"session "
"""The properties of a session begin so, then comes its number: a reply alone tells which one was found."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A history that no order explains, or in which a client was not answered as a client must be."""

    number: int
    reason: str
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        """Show every operation, in the order of asking."""
        begin = min((each.invoked for each in self.operations), default=0)
        lines = [
            f"{(each.invoked - begin) / 1000:10.1f} {(each.returned - begin) / 1000:10.1f}  {each.verb}"
            + (f" -> {each.found}" if each.found is not None else "")
            for each in sorted(self.operations, key=lambda each: each.invoked)
        ]
        return "\n".join([f"history {self.number}: {self.reason}", "   asked us   answered  operation", *lines])


@dataclass(frozen=True, slots=True)
class Histories:
    """What became of many histories. `overlapping` counts operations during which another client's was under way."""

    seed: int
    histories: int
    operations: int
    overlapping: int
    failure: Failure | None

    def __str__(self) -> str:
        """Say it in a line."""
        verdict = "every one linearizable" if self.failure is None else str(self.failure)
        share = 100 * self.overlapping // max(1, self.operations)
        return (
            f"seed {self.seed}: {self.histories} histories, {self.operations} operations, {share} % overlap, {verdict}"
        )


def run(
    target: Target,
    *,
    count: int,
    seed_number: int,
    rule_set: RuleSet = RuleSet.ALL,
    progress: Callable[[int], None] = lambda done: None,
) -> Histories:
    """Record and judge so many histories, or until one fails; `progress` is told how many there are."""
    operations = overlapping = 0
    with ThreadPoolExecutor(len(CLIENTS)) as threads:
        for number in range(1, count + 1):
            history = _record_undisturbed(target, threads, f"{seed_number}.{number}", rule_set)
            operations += len(history.operations)
            overlapping += _overlapping(history.operations)
            reason = history.complaint
            if not reason and linearization(history.operations) is None:
                reason = "no order of these operations explains the results"
            if reason:
                failure = Failure(number, reason, tuple(history.operations))
                return Histories(seed_number, number, operations, overlapping, failure)
            if target.has_clock:
                # What is left ends, as it does by itself where time is real: a slow server would slow down with it.
                target.set_clock_forward(target.declared.ttl_limit_s)
            progress(number)
    return Histories(seed_number, count, operations, overlapping, None)


@dataclass(slots=True)
class History:
    """What was written down; `complaint` says in which way a client was not answered at all, empty if none was."""

    operations: list[Operation] = field(default_factory=list)
    complaint: str = ""


def record(target: Target, threads: ThreadPoolExecutor, seed_text: str, rule_set: RuleSet) -> History:
    """Let two or three clients loose on a server, then take out what they left; return all that was seen."""
    rng = random.Random(seed_text)
    names = Names.tagged(b"%b:%d." % (seed_text.encode(), time.monotonic_ns()))
    clients = CLIENTS[: rng.randint(2, 3)]
    lines = _Lines()
    actors = [
        _Actor(target, client, number, names, lines, random.Random(f"{seed_text}.{client}"), rule_set)
        for number, client in enumerate(clients)
    ]
    history = History()
    try:
        start = threading.Barrier(len(actors))
        doing = [threads.submit(actor.act, start, rng.randint(*OPERATIONS_PER_CLIENT)) for actor in actors]
        complaints = [each.result() for each in doing]
        complaints.append("" if any(complaints) else actors[0].drain())
        history.complaint = next(filter(None, complaints), "")
    finally:
        for actor in actors:
            history.operations += actor.seen
            actor.peer.close()
        lines.close()
    return history


def _record_undisturbed(target: Target, threads: ThreadPoolExecutor, seed_text: str, rule_set: RuleSet) -> History:
    for _ in range(TRIES_MAX):
        begin_s = time.monotonic()
        history = record(target, threads, seed_text, rule_set)
        # What no client may expect is not explained by an expiry, which is all that a slow machine brings about.
        is_quick = time.monotonic() - begin_s < STALLED * target.declared.ttl_limit_s
        if target.has_clock or history.complaint or is_quick:
            return history
    raise Unavailable(
        f"a history takes too long for a ttl limit of {target.declared.ttl_limit_s} s: tell a --ttl-limit above"
    )


class _Lines:
    """The connections that were parked, by the number of their session. Used by several threads."""

    def __init__(self) -> None:
        self._lines: Final[dict[int, Line]] = {}

    def open(self, session: int) -> Line:
        """Open a connection to park."""
        line = self._lines[session] = Line()  # one assignment: atomic between threads
        return line

    def count(self) -> int:
        """Return how many were parked."""
        return len(self._lines)

    def insist_on(self, session: int, fd: int) -> None:
        """Raise Unmet unless the descriptor is the session's."""
        line = self._lines.get(session)
        if line is None or not line.is_other_end_of(fd):
            raise Unmet(f"the descriptor of session {session}, as the properties say", "another one")

    def close(self) -> None:
        """Close every end that is still open here."""
        for line in self._lines.values():
            line.close()


class _Actor:
    """One client: what it does, and what it saw."""

    def __init__(
        self, target: Target, name: str, number: int, names: Names, lines: _Lines, rng: random.Random, rule_set: RuleSet
    ) -> None:
        self.peer: Final[Peer] = target.peer(Transcript(), name=name)
        self.seen: Final[list[Operation]] = []
        self._ttl_s: Final = target.declared.ttl_limit_s
        self._name: Final = name
        self._next_session = 1000 * number
        self._names: Final = names
        self._lines: Final = lines
        self._rng: Final = rng
        self._rule_set: Final = rule_set

    def act(self, start: threading.Barrier, operation_count: int) -> str:
        """Do so many operations; return what the server did that no client may expect, empty if nothing."""
        start.wait()
        try:
            for _ in range(operation_count):
                self._do_anything()
        except Unmet as unmet:
            return f"client {self._name}: {unmet}"
        return ""

    def drain(self) -> str:
        """Find until nothing is left, or more than was ever saved; return a complaint as `act` does."""
        finds: list[FindEndp | FindDest] = [FindDest(self._name, label) for label in self._names.destinations]
        finds += [FindEndp(self._name, label) for label in self._names.endpoints]
        left = self._lines.count()
        try:
            for find in finds:
                while left >= 0 and self._find(find) is not None:
                    left -= 1
        except Unmet as unmet:
            return f"client {self._name}, at the end: {unmet}"
        return ""

    def _do_anything(self) -> None:
        endpoint, destination = self._rng.choice(self._names.endpoints), self._rng.choice(self._names.destinations)
        kinds = ["save_endp"] * 5 + ["find_endp"] * 2 + ["find_dest"] * 3 + ["save_dest"]
        if self._rule_set is RuleSet.ALL:
            kinds += ["refuse"]
        match self._rng.choice(kinds):
            case "save_endp":
                self._save_endp(endpoint)
            case "find_endp":
                self._find(FindEndp(self._name, endpoint))
            case "find_dest":
                self._find(FindDest(self._name, destination))
            case "save_dest":
                self._save_dest(destination, self._rng.choice((b"p", b"q")), endpoint)
            case _:
                self._refuse(FindEndp(self._name, endpoint))

    def _save_endp(self, endpoint: bytes) -> None:
        self._next_session += 1
        session = self._next_session
        properties = SESSION + b"%d" % session
        with self._lines.open(session).far as far:
            self.peer.begin_save_endp(self._ttl_s, endpoint, properties)
            invoked = time.monotonic_ns()
            self.peer.send_bytes(b"\0", [far.fileno()])
            self._insist_on_done(self.peer.receive_reply(0).status)
        self._note(SaveEndp(self._name, self._ttl_s, endpoint, properties, session), None, invoked)

    def _save_dest(self, destination: bytes, properties: bytes, endpoint: bytes) -> None:
        invoked = time.monotonic_ns()
        self._insist_on_done(self.peer.save_dest(self._ttl_s, destination, properties, endpoint))
        self._note(SaveDest(self._name, self._ttl_s, destination, properties, endpoint), None, invoked)

    def _ask(self, find: FindEndp | FindDest) -> Found | None:
        """Find, up to the reply."""
        invoked = time.monotonic_ns()
        if isinstance(find, FindEndp):
            reply = self.peer.begin_find_endp(find.endpoint)
        else:
            reply = self.peer.begin_find_dest(find.destination)
        found = _found(reply.properties) if reply.status == DONE else None
        self._note(find, found, invoked)
        return found

    def _find(self, find: FindEndp | FindDest) -> Found | None:
        found = self._ask(find)
        if found is not None:
            self._lines.insist_on(found.session, self.peer.take())
        return found

    def _refuse(self, find: FindEndp) -> None:
        """Find, and do not say "ready". The reply to the next request tells that the session is back."""
        found = self._ask(find)
        if found is None:
            return
        invoked = time.monotonic_ns()
        self.peer.send_bytes(b"\0" + lists.find_endp(self._names.nobodys))
        self.peer.receive_reply(1)
        self._note(PutBack(self._name, find.endpoint, found.properties[0], found.session), None, invoked)

    def _note(self, verb: Verb, found: Found | None, invoked: int) -> None:
        self.seen.append(Operation(verb, found, invoked, time.monotonic_ns()))

    def _insist_on_done(self, status: int) -> None:
        if status != DONE:
            raise Unmet("status 0 of a save", f"status {status}")


def _found(properties: tuple[bytes, ...]) -> Found:
    number = properties[-1].removeprefix(SESSION)
    if not number.isdigit():
        raise Unmet("the properties of a session that was saved", repr(properties))
    return Found(int(number), properties)


def _overlapping(operations: Sequence[Operation]) -> int:
    """Count the operations during which one of another client was under way."""
    latest: dict[str, int] = {}
    overlapping = 0
    for each in sorted(operations, key=lambda each: each.invoked):
        overlapping += any(each.invoked < end for client, end in latest.items() if client != each.verb.client)
        latest[each.verb.client] = each.returned
    return overlapping
