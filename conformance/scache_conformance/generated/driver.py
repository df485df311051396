"""Carries out the steps of a trace on a server, and compares what it sees with what the trace says.

A server may close a descriptor shortly before or after it replies. The driver therefore waits for the end of a
connection that is expected to end, and looks at every step for ends that are not expected.
"""

from collections.abc import Sequence
from typing import Final, Self, assert_never

from scache_conformance.generated.steps import (
    Connect,
    Descriptor,
    End,
    FindDest,
    FindEndp,
    Found,
    HangUp,
    Item,
    Outcome,
    SaveDest,
    SaveEndp,
    Send,
    Tick,
    Trace,
    TraceStep,
)
from scache_conformance.servers.target import Target
from scache_conformance.wire import lists
from scache_conformance.wire import peer as wire
from scache_conformance.wire.line import Line, identity, readable
from scache_conformance.wire.peer import Peer
from scache_conformance.wire.transcript import Transcript, show
from scache_conformance.wire.unmet import Silence, Unmet


class Divergence(Exception):  # noqa: N818 - it names what a server did, not a mistake of this program.
    """A server diverged from a trace: at which step, what was expected, what was seen, what passed over the wire."""

    def __init__(self, trace: Trace, step_number: int, unmet: Unmet, transcript: Sequence[str]) -> None:
        """Keep all of it."""
        super().__init__(f"trace {trace.id}, step {step_number}: {unmet}")
        self.trace: Final = trace
        self.step_number: Final = step_number
        self.expected: Final = unmet.expected
        self.actual: Final = unmet.actual
        self.is_silence: Final = isinstance(unmet, Silence)
        self.transcript: Final = tuple(transcript)


def drive(target: Target, trace: Trace, *, label_prefix: bytes = b"") -> None:
    """Carry out a trace on a server whose cache knows none of its labels. Raises Divergence.

    Without a clock the trace's last step, if it is a tick, is left out; `label_prefix` then makes labels that nobody
    has used. It goes before the labels of the four verbs, unless there is a Send in the trace, which says its own.
    """
    if any(isinstance(each.step, Send) for each in trace.steps):
        label_prefix = b""
    steps = trace.steps
    if not target.has_clock and steps and isinstance(steps[-1].step, Tick):
        steps = steps[:-1]
    with Driver(target, label_prefix) as driver:
        number = 0
        try:
            for number, each in enumerate(steps, 1):  # noqa: B007 - the number is for the report below.
                driver.do(each)
            driver.finish()
        except Unmet as unmet:
            raise Divergence(trace, number, unmet, driver.transcript.lines()) from unmet


class Driver:
    """The clients of one trace, and the near ends of the connections they parked."""

    def __init__(self, target: Target, label_prefix: bytes = b"") -> None:
        """Connect nobody yet."""
        self.transcript: Final = Transcript()
        self._target: Final = target
        self._prefix: Final = label_prefix
        self._peers: Final[dict[str, Peer]] = {}
        self._hung_up: Final[list[Peer]] = []
        self._lines: Final[dict[int, Line]] = {}
        self._handed_out: Final[set[int]] = set()
        self._ended: Final[set[int]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in (*self._peers.values(), *self._hung_up):
            peer.close()
        for line in self._lines.values():
            line.close()

    def do(self, each: TraceStep) -> None:
        """Take one step and insist on its outcome. Raises Unmet."""
        step, expected = each.step, each.outcome
        match step:
            case Connect(client):
                self._peers[client] = self._target.peer(self.transcript, name=client)
            case HangUp(client):
                self._hang_up(client)
            case Tick(seconds):
                self.transcript.note("", f"{seconds} s pass")
                self._target.advance(seconds)
            case SaveEndp(client, ttl_s, endpoint, properties, session):
                line = self._lines[session] = Line()
                saved = ttl_s, self._prefix + endpoint, properties, line.far.fileno()
                _insist_on_status(expected, self._peers[client].save_endp(*saved))
                line.let_go()
            case SaveDest(client, ttl_s, destination, properties, endpoint):
                labels = self._prefix + destination, properties, self._prefix + endpoint
                _insist_on_status(expected, self._peers[client].save_dest(ttl_s, *labels))
            case FindEndp(client, endpoint):
                self._insist_on_found(expected.found, self._peers[client].find_endp(self._prefix + endpoint))
            case FindDest(client, destination):
                self._insist_on_found(expected.found, self._peers[client].find_dest(self._prefix + destination))
            case Send(client, data, sessions):
                self._send(self._peers[client], data, sessions)
                for item in expected.received:
                    self._insist_on_item(self._peers[client], item)
            case _:
                assert_never(step)
        self._insist_on_ends(expected.closed)

    def finish(self) -> None:
        """Insist that nothing more came, and that the server kept no copy of what it handed out. Raises Unmet."""
        for peer in self._peers.values():
            peer.insist_on_silence(0)
        for peer in (*self._peers.values(), *self._hung_up):
            peer.close()
        for session in sorted(self._handed_out):
            if not self._lines[session].hung_up(self._target.declared.deadline_s):
                raise Unmet(f"the server to keep no copy of session {session}, which it handed out", "it kept one")

    def _hang_up(self, client: str) -> None:
        peer = self._peers.pop(client)
        self._hung_up.append(peer)
        # Only the stream's end is sent first: when the server closes its side it is done with this client.
        peer.shut_down_sending()
        peer.insist_on_hangup()
        peer.hang_up()

    def _send(self, peer: Peer, data: bytes, sessions: tuple[int, ...]) -> None:
        lines = [Line() for _ in sessions]
        self._lines.update(zip(sessions, lines, strict=True))
        peer.send_bytes(data, [line.far.fileno() for line in lines])
        for line in lines:
            line.let_go()

    def _insist_on_item(self, peer: Peer, item: Item) -> None:
        match item:
            case bytes():
                while item and (decoded := lists.decode(item)) is not None:
                    expected, byte_count = decoded
                    if (attributes := peer.receive(lists.describe(expected))) != expected:
                        raise Unmet(lists.describe(expected), lists.describe(attributes))
                    item = item[byte_count:]
            case Descriptor(session):
                self._insist_on_session(session, peer.receive_descriptor())
            case End():
                peer.insist_on_hangup()
            case _:
                assert_never(item)

    def _insist_on_found(self, expected: Found | None, found: wire.Found | None) -> None:
        if expected is None:
            if found is not None:
                raise Unmet("status 2, nothing found", _describe(self._session_of(found.fd), found.properties))
            return
        wanted = _describe(expected.session, expected.properties)
        if found is None:
            raise Unmet(wanted, "status 2, nothing found")
        if found.properties != expected.properties:
            raise Unmet(wanted, _describe(self._session_of(found.fd), found.properties))
        self._insist_on_session(expected.session, found.fd)

    def _insist_on_session(self, expected: int, fd: int) -> None:
        session = self._session_of(fd)
        if session != expected:
            raise Unmet(f"the descriptor of session {expected}", f"that of session {session}")
        if not self._lines[expected].is_other_end_of(fd):
            raise Unmet(f"the descriptor of session {expected}", "one that no byte passes through")
        self._handed_out.add(expected)

    def _session_of(self, fd: int) -> int | None:
        parked = identity(fd)
        return next((session for session, line in self._lines.items() if line.identity == parked), None)

    def _insist_on_ends(self, expected: tuple[int, ...]) -> None:
        for session in expected:
            if not self._lines[session].hung_up(self._target.declared.deadline_s):
                raise Unmet(f"the descriptor of session {session} to be closed", "it is open")
        self._ended.update(expected)
        watched = {line.near.fileno(): session for session, line in self._lines.items() if session not in self._ended}
        if ended := sorted(watched[each] for each in readable(watched, 0)):
            raise Unmet(f"the descriptors of sessions {ended} to stay open", "they are closed")


def _insist_on_status(expected: Outcome, status: int) -> None:
    if status != expected.status:
        raise Unmet(f"status {expected.status}", f"status {status}")


def _describe(session: int | None, properties: tuple[bytes, ...]) -> str:
    whose = "a descriptor that nobody saved" if session is None else f"session {session}"
    return f"{whose} with properties {', '.join(show(each) or 'none' for each in properties)}"
