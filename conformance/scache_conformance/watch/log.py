"""What a watcher prints: dances, faults and the summary, as lines for people or as JSON, one object a line.

Lines are written by a thread of its own: a terminal or a pipe that takes nothing does not hold up the traffic. What
does not fit into the queue meanwhile is left out and counted. Faults are kept for the summary in any case.

In JSON a byte is the code point of its number, as in the protocol of the admin socket.
"""

import json
import queue
import sys
import threading
from collections import Counter
from typing import Final

from scache_conformance.watch.conversation import Dance
from scache_conformance.watch.faults import Fault
from scache_conformance.watch.relay import Side
from scache_conformance.wire.transcript import show
from scache_spec.conversation import FindDest, FindEndp, SaveDest, SaveEndp
from scache_spec.vocabulary import NS_PER_S

LINES_MAX: Final = 10_000
"""Most lines that wait to be written. Arbitrary: about a megabyte."""

FAULTS_SHOWN: Final = 20
"""How many faults the summary repeats. Arbitrary: a screen."""

WRITTEN_WITHIN_S: Final = 5.0
"""How long the end waits for the last lines to be written. Arbitrary."""


class Log:
    """Counts what happened, and prints it."""

    def __init__(self, begin_ns: int, *, as_json: bool, quiet: bool) -> None:
        """Begin to write. `quiet` leaves out the dances."""
        self.faults: Final[list[Fault]] = []
        """The first ones: as many as the summary shows."""
        self._begin_ns: Final = begin_ns
        self._as_json: Final = as_json
        self._quiet: Final = quiet
        self._connections = 0
        self._dances: Final[Counter[str]] = Counter()
        self._faults: Final[Counter[tuple[Side, str]]] = Counter()
        self._left_out = 0
        self._lines: Final[queue.Queue[str | None]] = queue.Queue(LINES_MAX)
        self._thread: Final = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    @property
    def has_faults(self) -> bool:
        """Tell whether any fault was seen."""
        return bool(self._faults)

    def connected(self) -> int:
        """Return the number of a new connection."""
        self._connections += 1
        return self._connections

    def dance(self, dance: Dance, at_ns: int) -> None:
        """Print a dance that is over."""
        self._dances[_kind(dance)] += 1
        if self._quiet:
            return
        took_ns = at_ns - dance.begin_ns
        if self._as_json:
            self._print(json.dumps({**self._head("dance", at_ns), **_fields(dance), "seconds": took_ns / NS_PER_S}))
        else:
            text = f"#{dance.connection:<4} {_request(dance)} -> {_outcome(dance)}"
            self._print(f"{self._since(at_ns):11.6f}s  {text}  ({took_ns / 1000:.0f} us)")

    def fault(self, fault: Fault, at_ns: int) -> None:
        """Print a fault."""
        for clause in fault.clauses:
            self._faults[fault.side, clause] += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(fault)
        if self._as_json:
            told = {"side": fault.side.value, "clauses": fault.clauses, "connection": fault.connection}
            self._print(json.dumps({**self._head("fault", at_ns), **told, "text": fault.text}))
        else:
            self._print(f"{self._since(at_ns):11.6f}s  {fault}")

    def end(self, at_ns: int, unknown: int) -> None:
        """Print the summary, and wait until all is written."""
        if self._as_json:
            told = {
                "connections": self._connections,
                "dances": dict(self._dances),
                "faults": {
                    side.value: {clause: n for (of, clause), n in self._faults.items() if of is side} for side in Side
                },
                "unknown_sessions": unknown,
                "lines_left_out": self._left_out,
            }
            self._print(json.dumps({**self._head("summary", at_ns), **told}))
        else:
            for line in self._summary(at_ns, unknown):
                self._print(line)
        try:
            self._lines.put(None, timeout=WRITTEN_WITHIN_S)
        except queue.Full:
            return  # nobody takes what is written
        self._thread.join(WRITTEN_WITHIN_S)

    def _summary(self, at_ns: int, unknown: int) -> list[str]:
        dances = ", ".join(f"{number} {kind}" for kind, number in sorted(self._dances.items())) or "none"
        lines = [
            "",
            f"watched for {self._since(at_ns):.1f} s: {self._connections} connections, {self._dances.total()} dances",
            f"  dances: {dances}",
        ]
        if unknown:
            lines.append(f"  {unknown} of the sessions handed out were saved before, or not this way: not judged")
        if self._left_out:
            lines.append(f"  {self._left_out} lines were left out: they were not taken in time")
        if not self._faults:
            return [*lines, "no fault seen"]
        for side in Side:
            counts = {clause: n for (of, clause), n in sorted(self._faults.items(), key=str) if of is side}
            if counts:
                told = ", ".join(f"{clause} {number}" for clause, number in counts.items())
                lines.append(f"faults of the {side.value}: {told}")
        lines += [f"  {fault}" for fault in self.faults]
        if self._faults.total() > len(self.faults) == FAULTS_SHOWN:
            lines.append("  and more")
        return lines

    def _head(self, event: str, at_ns: int) -> dict[str, str | float]:
        return {"event": event, "at": self._since(at_ns)}

    def _since(self, at_ns: int) -> float:
        return (at_ns - self._begin_ns) / NS_PER_S

    def _print(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._left_out += 1

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                print(line, flush=self._lines.empty())
            except (BrokenPipeError, ValueError):  # whoever read has seen enough; the traffic goes on
                return
        sys.stdout.flush()


def _kind(dance: Dance) -> str:
    name = show(dance.name)
    if dance.outcome or dance.status is None:
        return f"{name} broken off"
    if isinstance(dance.request, FindEndp | FindDest):
        return f"{name} {'hit' if dance.status == 0 else 'miss'}"
    return f"{name} status {dance.status}" if dance.status else name


def _request(dance: Dance) -> str:
    match dance.request:
        case SaveEndp(ttl_s, endpoint, properties):
            return f"save_endp {_show(endpoint)} {_show(properties)} for {ttl_s} s: {dance.file or 'no descriptor'}"
        case SaveDest(ttl_s, destination, properties, endpoint):
            return f"save_dest {_show(destination)} {_show(properties)} to {_show(endpoint)} for {ttl_s} s"
        case FindEndp(endpoint):
            return f"find_endp {_show(endpoint)}"
        case FindDest(destination):
            return f"find_dest {_show(destination)}"
        case None:
            return f"malformed {_show(dance.name)}"


def _outcome(dance: Dance) -> str:
    words = [] if dance.status is None else [f"status {dance.status}"]
    if dance.status == 0:
        words += [_show(each) for each in dance.properties]
        words += [dance.file] if isinstance(dance.request, FindEndp | FindDest) and dance.file else []
    return " ".join([*words, dance.outcome]).strip()


def _show(value: bytes) -> str:
    return f'"{show(value)}"'


def _fields(dance: Dance) -> dict[str, str | int | list[str] | None]:
    told: dict[str, str | int | list[str] | None] = {
        "connection": dance.connection,
        "request": _text(dance.name),
        "status": dance.status,
        "properties": [_text(each) for each in dance.properties],
        "file": dance.file,
        "outcome": dance.outcome,
    }
    match dance.request:
        case SaveEndp(ttl_s, endpoint, properties):
            told |= {"ttl": ttl_s, "endpoint": _text(endpoint), "saved_properties": _text(properties)}
        case SaveDest(ttl_s, destination, properties, endpoint):
            told |= {"ttl": ttl_s, "destination": _text(destination), "endpoint": _text(endpoint)}
            told["saved_properties"] = _text(properties)
        case FindEndp(endpoint):
            told["endpoint"] = _text(endpoint)
        case FindDest(destination):
            told["destination"] = _text(destination)
        case None:
            pass
    return told


def _text(value: bytes) -> str:
    return value.decode("latin-1")
