r"""What passed over the wire while a case ran, kept with its verdict.

Bytes are shown as they are where they are printable ASCII, a NUL as `\0`, all else escaped, cut where it gets long.
"""

import threading
import time
from dataclasses import dataclass
from enum import Enum
from typing import Final

SHOWN_BYTES_MAX: Final = 600
"""Longer data is cut in the middle. Arbitrary: about eight lines of a terminal."""

SHOWN_EVENTS_MAX: Final = 120
"""Of more events those in the middle are left out. Arbitrary: about three screens."""


DECIDED: Final = "THIS DECIDED"
"""What marks the step that decided."""


class Direction(Enum):
    """Who spoke."""

    SENT = "->"
    RECEIVED = "<-"
    NOTE = "--"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: bytes that passed, or a remark."""

    at_s: float
    peer: str
    direction: Direction
    text: str

    def __str__(self) -> str:
        """Show the event on one line."""
        return f"{self.at_s:8.3f}s  {self.peer:<4} {self.direction.value} {self.text}"


class Transcript:
    """The events of one case in the order in which they happened, from all its peers and threads."""

    def __init__(self) -> None:
        """Begin now: the events' times count from here."""
        self._begin_s: Final = time.monotonic()
        self._events: Final[list[Event]] = []  # as many as a case makes: thousands at most
        self._lock: Final = threading.Lock()

    def sent(self, peer: str, data: bytes, descriptor_count: int = 0) -> None:
        """Keep what a peer sent."""
        self._add(peer, Direction.SENT, show_with_descriptors(data, descriptor_count))

    def received(self, peer: str, data: bytes, descriptor_count: int = 0) -> None:
        """Keep what a peer received."""
        self._add(peer, Direction.RECEIVED, show_with_descriptors(data, descriptor_count))

    def note(self, peer: str, text: str) -> None:
        """Keep a remark: a connection opened or closed, a wait."""
        self._add(peer, Direction.NOTE, text)

    def decided(self, at_s: float, text: str) -> None:
        """Mark the step that decided, at an instant of monotonic time; what came after it is the suite's clean-up."""
        since_s = at_s - self._begin_s
        with self._lock:
            place = sum(event.at_s <= since_s for event in self._events)
            marks = [Event(since_s, "", Direction.NOTE, f"{DECIDED}: {text}")]
            if self._events[place:]:
                marks.append(Event(since_s, "", Direction.NOTE, "what follows is the suite's own clean-up"))
            self._events[place:place] = marks

    def lines(self) -> tuple[str, ...]:
        """Show the events, one a line: of many the first and the last."""
        with self._lock:
            shown = [str(event) for event in self._events]
        if len(shown) <= SHOWN_EVENTS_MAX:
            return tuple(shown)
        half = SHOWN_EVENTS_MAX // 2
        left_out = f"          … {len(shown) - 2 * half} events left out …"
        return (*shown[:half], left_out, *shown[-half:])

    def _add(self, peer: str, direction: Direction, text: str) -> None:
        at_s = time.monotonic() - self._begin_s
        with self._lock:
            self._events.append(Event(at_s, peer, direction, text))


def show_with_descriptors(data: bytes, descriptor_count: int) -> str:
    """Show bytes, and how many descriptors came with them."""
    carried = f"  + {descriptor_count} descriptor{'s' * (descriptor_count != 1)}" if descriptor_count else ""
    return show(data) + carried


def show(data: bytes) -> str:
    r"""Show bytes on one line.

    >>> show(b"status\x002\x00\n\xff")
    'status\\02\\0\\n\\xff'
    """
    if len(data) > SHOWN_BYTES_MAX:
        half = SHOWN_BYTES_MAX // 2
        return f"{_escape(data[:half])} […{len(data) - 2 * half} bytes…] {_escape(data[-half:])}"
    return _escape(data)


def _escape(data: bytes) -> str:
    return repr(b"'" + data)[3:-1].replace(r"\x00", r"\0")
