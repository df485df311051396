"""The server that a client is held against: what a case of a client has it do, step by step.

A case says what the client must send next and what the server answers; `Unmet` is raised where the client sends
something else. Every wait has a deadline. Connections that a case does not take part in are not served.
"""

import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from scache_conformance.wire import lists
from scache_conformance.wire.line import Line, readable
from scache_conformance.wire.lists import DUMMY_LIST, GREETING
from scache_conformance.wire.peer import CONTROL_BYTES, descriptors
from scache_conformance.wire.transcript import Transcript, show, show_with_descriptors
from scache_conformance.wire.unmet import Silence, Unmet
from scache_spec.conversation import Input, Request, State, classify_list

QUIET_S: Final = 0.05
"""How long the server waits to see that a client sends nothing ahead. Arbitrary: a wrong client sends at once."""

ENDPOINT: Final = "endpoint"
DESTINATION: Final = "destination"
PROPERTIES: Final = "properties"
TTL_S: Final = 2

GREETING_LIST: Final = lists.encode(*GREETING)


def status(number: int, *properties: bytes) -> bytes:
    """Return a reply as bytes."""
    return lists.encode((b"status", b"%d" % number), *((b"property", each) for each in properties))


class Conversation:
    """One connection of a client, seen from the server."""

    def __init__(
        self, connection: socket.socket, transcript: Transcript, patience_s: float, closing: ExitStack
    ) -> None:
        """Take over a connection that was accepted."""
        self._socket: Final = connection
        self._transcript: Final = transcript
        self._patience_s: Final = patience_s
        self._closing: Final = closing
        self._unread = b""
        closing.callback(connection.close)

    def greets(self) -> None:
        """Send nothing at first, insist that the client sends nothing either, then greet."""
        self.insists_on_quiet("nothing before the greeting")
        self.sends(GREETING_LIST)

    def sends(self, data: bytes, fds: Sequence[int] = (), *, pieces: int = 0) -> None:
        """Send bytes, or as many pieces of that many bytes, each on its own and a little later than the one before."""
        self._transcript.sent("S", data, len(fds))
        try:
            if fds:
                socket.send_fds(self._socket, [data], list(fds))
            for at in range(0, 0 if fds else len(data), pieces or len(data)):
                self._socket.sendall(data[at : at + (pieces or len(data))])
                if pieces:
                    time.sleep(0.001)  # a piece of its own for whoever reads at once
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Unmet(f"the client to take {show(data)}", f"it closed the connection: {error}") from error

    def expects(self, data: bytes, what: str, *, alone: bool = True) -> None:
        """Insist that the client sends these bytes and, if they are to come alone, nothing more for a moment."""
        while len(self._unread) < len(data):
            more, fds = self._read(f"{what}: {show(data)}")
            if fds:
                raise Unmet(f"{what}, plain bytes", show_with_descriptors(more, len(fds)))
            if not more:
                raise Unmet(f"{what}: {show(data)}", f"the client closed the connection after {show(self._unread)}")
            self._unread += more
        if not self._unread.startswith(data):
            raise Unmet(f"{what}: {show(data)}", show(self._unread))
        self._unread = self._unread[len(data) :]
        if alone:
            self.insists_on_quiet(f"nothing after {what} before the reply")

    def expects_request(self) -> Request:
        """Insist on a well-formed request, of whatever labels, and nothing more for a moment; return it."""
        expected = "a well-formed request"
        while (decoded := lists.decode(self._unread)) is None:
            more, fds = self._read(expected)
            if fds:
                raise Unmet(f"{expected}, plain bytes", show_with_descriptors(more, len(fds)))
            if not more:
                raise Unmet(expected, f"the client closed the connection after {show(self._unread) or 'nothing'}")
            self._unread += more
        attributes, byte_count = decoded
        self._unread = self._unread[byte_count:]
        request = classify_list(State.REQUEST, attributes)
        if isinstance(request, Input):
            raise Unmet(expected, lists.describe(attributes))
        self.insists_on_quiet("nothing after the request before the reply")
        return request

    def expects_save_endp(self) -> None:
        """Insist on the request to park."""
        request = lists.save_endp(TTL_S, ENDPOINT.encode(), PROPERTIES.encode())
        self.expects(request, "save_endp")

    def expects_find_endp(self) -> None:
        """Insist on the request for a session of the endpoint."""
        self.expects(lists.find_endp(ENDPOINT.encode()), "find_endp")

    def expects_ready(self) -> None:
        """Insist on the list that says ready."""
        self.expects(DUMMY_LIST, "dummy=, ready")

    def expects_received(self) -> None:
        """Insist on the list that says received."""
        self.expects(DUMMY_LIST, "dummy=, received")

    def expects_descriptor(self) -> int:
        """Insist on one byte with exactly one descriptor; return it, which is closed at the end of the case."""
        expected = "one byte that carries exactly one descriptor"
        data, fds = self._read(expected)
        if len(data) != 1 or len(fds) != 1:
            raise Unmet(expected, show_with_descriptors(data, len(fds)) if data else "the client closed the connection")
        return fds[0]

    def expects_end(self) -> None:
        """Insist that the client closes the connection and sends nothing before."""
        data, fds = self._read("the end of the connection")
        if data:
            raise Unmet("the end of the connection", show_with_descriptors(data, len(fds)))

    def insists_on_quiet(self, what: str) -> None:
        """Raise Unmet if the client sends anything for a moment; its end is no fault."""
        if self._unread:
            raise Unmet(what, show(self._unread))
        if readable([self._socket.fileno()], QUIET_S):
            data = self._socket.recv(65_536, socket.MSG_PEEK)
            if data:
                raise Unmet(what, show(data))

    def hangs_up(self) -> None:
        """Close the connection."""
        self._transcript.note("S", "hung up")
        self._socket.close()

    def _read(self, expected: str) -> tuple[bytes, list[int]]:
        self._socket.settimeout(self._patience_s)
        try:
            data, control, _, _ = self._socket.recvmsg(65_536, CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError as error:
            raise Silence(expected, f"nothing within {self._patience_s} s") from error
        except ConnectionResetError:
            data, control = b"", []
        fds = descriptors(control)
        for fd in fds:
            self._closing.callback(os.close, fd)
        self._transcript.received("S", data, len(fds)) if data else self._transcript.note("S", "end of stream")
        return data, fds


class Stage:
    """The listening socket of one case, and what the client is told to park."""

    def __init__(self, folder: Path, transcript: Transcript, patience_s: float, closing: ExitStack) -> None:
        """Listen, on one socket as the cache and on another as the peer of what is parked."""
        self.socket_path: Final = folder / "cache"
        self.peer_path: Final = folder / "peer"
        self.transcript: Final = transcript
        self.patience_s: Final = patience_s
        self._closing: Final = closing
        self._listener: Final = self._listen(self.socket_path)
        self._peers: Final = self._listen(self.peer_path)

    def accept(self) -> Conversation:
        """Insist that the client connects."""
        return Conversation(
            self._accepted(self._listener, "the cache"), self.transcript, self.patience_s, self._closing
        )

    def accept_greeted(self) -> Conversation:
        """Insist that the client connects, and greet it."""
        conversation = self.accept()
        conversation.greets()
        return conversation

    def another(self, within_s: float) -> Conversation | None:
        """Return a further connection if the client makes one in time: it may try again, and need not."""
        if not readable([self._listener.fileno()], within_s):
            return None
        return self.accept()

    def parked_peer(self) -> socket.socket:
        """Return the other end of what the client was told to park."""
        return self._accepted(self._peers, "the peer of what it parks")

    def line(self) -> Line:
        """Open a connection to hand out."""
        line = Line()
        self._closing.callback(line.close)
        return line

    def insist_on_use_and_close(self, line: Line) -> None:
        """Insist that the client writes `!` into what it was handed, and closes it."""
        line.let_go()
        seen = b""
        while readable([line.near.fileno()], self.patience_s):
            more = line.near.recv(100)
            seen += more
            if not more:
                break
        else:
            raise Unmet("what was handed out used and closed", f"it is open, {show(seen) or 'nothing'} was written")
        if seen != b"!":
            raise Unmet("`!` written into what was handed out", show(seen) or "nothing was written")

    def insist_on_closed(self, line: Line, what: str) -> None:
        """Insist that the client has closed its copy."""
        line.let_go()
        if not line.hung_up(self.patience_s):
            raise Unmet(f"{what} closed by the client", "it is open")

    def _listen(self, path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        self._closing.callback(listener.close)
        listener.bind(str(path))
        listener.listen()
        return listener

    def _accepted(self, listener: socket.socket, what: str) -> socket.socket:
        if not readable([listener.fileno()], self.patience_s):
            raise Silence(f"a connection of the client to {what}", f"none within {self.patience_s} s")
        connection, _ = listener.accept()
        self.transcript.note("S", f"connection to {what}")
        self._closing.callback(connection.close)
        return connection
