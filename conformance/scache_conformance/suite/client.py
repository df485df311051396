"""A client of a case. It names endpoints and destinations by texts, and states what it expects of the server.

Each text becomes a label that no other case uses. What a server is expected to do stands in the third person:
`client.finds_endp("e", b"p")` raises Unmet if nothing is found, or another session.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from scache_conformance.suite.requirements import require, require_found, require_miss, require_other_end
from scache_conformance.wire import lists
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DONE, DUMMY_LIST, FAILED
from scache_conformance.wire.peer import Found, Peer
from scache_conformance.wire.transcript import Transcript


def label(prefix: bytes, text: str) -> bytes:
    """Return a label of the shape that real ones have."""
    return b"%b:%b\n" % (prefix, text.encode())


class Client(Peer):
    """A peer that belongs to a case."""

    def __init__(
        self,
        path: Path,
        transcript: Transcript,
        prefix: bytes,
        closing: ExitStack,
        *,
        ttl_s: int,
        name: str,
        deadline_s: float,
        greeted: bool,
        uid: int | None = None,
    ) -> None:
        """Connect. `prefix` begins every label; what is opened is closed with `closing`; `ttl_s` is the longest."""
        self._prefix: Final = prefix
        self._closing: Final = closing
        self._ttl_s: Final = ttl_s
        super().__init__(path, transcript, name=name, deadline_s=deadline_s, greeted=greeted, uid=uid)
        closing.callback(self.close)

    # What it saves.

    def park(self, endpoint: str, properties: bytes = b"", ttl_s: int | None = None) -> Line:
        """Park a new line, insist on status 0, and let go of our copy of its far end."""
        return self.park_under(self._label(endpoint), properties, ttl_s)

    def park_under(self, endpoint: bytes, properties: bytes, ttl_s: int | None = None) -> Line:
        """Park a new line as `park` does, under a label to the byte."""
        line = Line()
        self._closing.callback(line.close)
        self.saves(line.far.fileno(), endpoint, properties, ttl_s)
        line.let_go()
        return line

    def saves(self, fd: int, endpoint: bytes, properties: bytes = b"", ttl_s: int | None = None) -> None:
        """Park a descriptor under a label to the byte, and insist on status 0."""
        require("status of save_endp", self.save_endp(self._granted(ttl_s), endpoint, properties, fd), DONE)

    def begin_save(self, endpoint: str = "e", properties: bytes = b"p", ttl_s: int | None = None) -> None:
        """Ask to park a descriptor, up to the invitation to send it."""
        self.begin_save_endp(self._granted(ttl_s), self._label(endpoint), properties)

    def sends_descriptors(self, fds: Sequence[int], status: int = DONE, data: bytes = b"\0") -> None:
        """Send what the server has invited to, and insist on the status."""
        self.send_bytes(data, fds)
        require("status of save_endp", self.receive_reply(0).status, status)

    def bind(self, destination: str, endpoint: str, properties: bytes = b"", ttl_s: int | None = None) -> None:
        """Save a binding and insist on status 0."""
        self.bind_under(self._label(destination), self._label(endpoint), properties, ttl_s)

    def bind_under(self, destination: bytes, endpoint: bytes, properties: bytes, ttl_s: int | None = None) -> None:
        """Save a binding as `bind` does, of labels to the byte."""
        status = self.save_dest(self._granted(ttl_s), destination, properties, endpoint)
        require("status of save_dest", status, DONE)

    # What it finds.

    def finds_endp(self, endpoint: str, properties: bytes = b"", line: Line | None = None) -> Found:
        """Insist that the endpoint has a session of these properties, and that it is the line's other end."""
        return require_found(f"find_endp of {endpoint}", self.find_endp(self._label(endpoint)), properties, line=line)

    def finds_dest(self, destination: str, *properties: bytes, line: Line | None = None) -> Found:
        """Insist that the destination leads to a session: the properties of the binding, and those of the session."""
        found = self.find_dest(self._label(destination))
        return require_found(f"find_dest of {destination}", found, *properties, line=line)

    def misses_endp(self, endpoint: str = "nothing") -> None:
        """Insist that the endpoint has no session."""
        require_miss(f"find_endp of {endpoint}", self.find_endp(self._label(endpoint)))

    def misses_dest(self, destination: str = "nothing") -> None:
        """Insist that the destination leads nowhere."""
        require_miss(f"find_dest of {destination}", self.find_dest(self._label(destination)))

    def holds_endp(self, endpoint: str, properties: bytes = b"p") -> None:
        """Insist on a session of these properties, up to the reply: the server awaits ready, and holds the session."""
        self.send_bytes(lists.find_endp(self._label(endpoint)))
        self.receives(DONE, properties)

    def parks_and_holds(self, endpoint: str = "e", properties: bytes = b"p") -> Line:
        """Park a new line and have the server hold it, as `holds_endp` does."""
        line = self.park(endpoint, properties)
        self.holds_endp(endpoint, properties)
        return line

    def holds_dest(self, destination: str, *properties: bytes) -> None:
        """Insist on a session that a destination leads to, as `holds_endp` does."""
        self.send_bytes(lists.find_dest(self._label(destination)))
        self.receives(DONE, *properties)

    def says_ready_for(self, line: Line) -> None:
        """Say ready and insist on the line's other end."""
        self.send_bytes(DUMMY_LIST)
        self.receives_end_of(line)

    def receives_end_of(self, line: Line) -> None:
        """Insist on the line's other end, now."""
        require_other_end(line, self.receive_descriptor())

    def takes_end_of(self, line: Line) -> None:
        """Say ready, insist on the line's other end, say received."""
        self.says_ready_for(line)
        self.send_bytes(DUMMY_LIST)

    def receives(self, status: int, *properties: bytes, byte_by_byte: bool = False) -> None:
        """Insist on a reply of this status and these properties; `byte_by_byte` as for `receive`."""
        reply = self.receive_reply(len(properties), byte_by_byte=byte_by_byte)
        require("the reply: status, properties", (reply.status, *reply.properties), (status, *properties))

    def receives_status(self, property_count: int, status: int = FAILED) -> None:
        """Insist on a reply of this status and so many properties."""
        require("status of the reply", self.receive_reply(property_count).status, status)

    def _label(self, text: str) -> bytes:
        return label(self._prefix, text)

    def _granted(self, ttl_s: int | None) -> int:
        return self._ttl_s if ttl_s is None else ttl_s
