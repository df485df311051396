"""The stage on which smtp(8) of a private Postfix is held as a client: the socket of the cache, and messages.

For each message smtp(8) asks find_dest, find_endp if that found nothing, and after the delivery save_dest, save_endp.
"""

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.postfix.private_postfix import PrivatePostfix, read_deliveries

from scache_conformance.clients.stage import GREETING_LIST, Conversation, status
from scache_conformance.wire.line import readable
from scache_conformance.wire.transcript import Transcript
from scache_conformance.wire.unmet import Silence, Unmet
from scache_spec.conversation import FindDest, FindEndp, Request, SaveDest, SaveEndp

PATIENCE_S: Final = 30.0
"""How long anything may take on a busy machine. smtp(8) itself sleeps for a second between two tries."""

AGAIN_WITHIN_S: Final = 2.5
"""How long it is watched whether smtp(8) tries again: it sleeps for one second before."""


@dataclass(frozen=True, slots=True)
class Parked:
    """What smtp(8) parked."""

    fd: int
    destination_properties: bytes
    endpoint_properties: bytes


class Mail:
    """The stage of one case: the socket of the cache, and messages that are handed in."""

    def __init__(self, postfix: PrivatePostfix, transcript: Transcript, closing: ExitStack) -> None:
        """Listen. `closing` closes everything after the case."""
        self.transcript: Final = transcript
        self._postfix: Final = postfix
        self._closing: Final = closing
        self._connections: Final[dict[Conversation, socket.socket]] = {}
        self._files: Final[set[str]] = set()
        self._before = read_deliveries(postfix.log())
        postfix.socket_path.unlink(missing_ok=True)
        self._listener: Final = closing.enter_context(socket.socket(socket.AF_UNIX))
        self._listener.bind(str(postfix.socket_path))
        postfix.socket_path.chmod(0o666)
        self._listener.listen()

    def hand_in(self) -> None:
        """Put a message into the queue."""
        self.transcript.note("", "a message is handed in")
        self._before = read_deliveries(self._postfix.log())
        with self._postfix.handing_in(1, 1):
            pass

    def accept(self) -> Conversation:
        """Insist that smtp(8) connects."""
        if not readable([self._listener.fileno()], PATIENCE_S):
            raise Silence("a connection of smtp(8) to the cache", f"none within {PATIENCE_S} s")
        connection, _ = self._listener.accept()
        self.transcript.note("S", "connection to the cache")
        conversation = Conversation(connection, self.transcript, PATIENCE_S, self._closing)
        self._connections[conversation] = connection
        return conversation

    def accept_greeted(self, *, pieces: int = 0) -> Conversation:
        """Insist that smtp(8) connects, and greet it."""
        conversation = self.accept()
        conversation.insists_on_quiet("nothing before the greeting")
        conversation.sends(GREETING_LIST, pieces=pieces)
        return conversation

    def connections(self) -> Iterator[Conversation]:
        """Yield a connection, and each further one that smtp(8) makes to try again."""
        yield self.accept()
        yield from self.further_connections()

    def further_connections(self) -> Iterator[Conversation]:
        """Yield each further connection that smtp(8) makes to try again."""
        while readable([self._listener.fileno()], AGAIN_WITHIN_S):
            yield self.accept()

    def passes(self, fd: int) -> None:
        """Take note of a descriptor of which smtp(8) is to keep no copy."""
        self._files.add(os.readlink(f"/proc/self/fd/{fd}"))

    def arrives(self, *, reused: bool | None = None) -> None:
        """Insist that the message arrives, over a used connection or not if that is said. What is asked is refused."""
        while (now := read_deliveries(self._postfix.log())).sent == self._before.sent:
            if len(now.unsent) > len(self._before.unsent):
                raise Unmet("the message to be sent", now.unsent[-1])
            self._refuse_next()
        self.transcript.note("", "the message has arrived")
        if reused is not None and (now.reused > self._before.reused) != reused:
            kind = "a used" if reused else "a new"
            raise Unmet(f"the message to go over {kind} connection", "it did not")

    def insist_on_no_copies(self) -> None:
        """Insist that smtp(8) closes every descriptor that passed."""
        began_s = time.monotonic()
        while kept := self._files & {name for pid in smtp_processes(self._postfix) for name in open_files(pid)}:
            if time.monotonic() - began_s > PATIENCE_S:
                raise Unmet("smtp(8) to close what it parked or was handed", f"it has {', '.join(sorted(kept))}")
            self._refuse_next()

    def _refuse_next(self) -> None:
        """Wait a moment for anything that smtp(8) says, or for the log, and refuse what is asked."""
        poll = select.poll()
        for fd in (self._postfix.log_fd, self._listener.fileno(), *map(socket.socket.fileno, self._open_connections())):
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(100)}
        for conversation, connection in list(self._connections.items()):
            if connection.fileno() in ready:
                if connection.recv(1, socket.MSG_PEEK):
                    conversation.sends(_refusal(conversation.expects_request()))
                else:
                    conversation.hangs_up()
        if self._listener.fileno() in ready:
            self.accept_greeted()

    def _open_connections(self) -> list[socket.socket]:
        for conversation, connection in list(self._connections.items()):
            if connection.fileno() < 0:
                del self._connections[conversation]
        return list(self._connections.values())


def _refusal(request: Request) -> bytes:
    match request:
        case FindDest():
            return status(2, b"", b"")
        case FindEndp():
            return status(2, b"")
        case SaveDest() | SaveEndp():
            return status(2 if isinstance(request, SaveDest) else 1)


def smtp_processes(postfix: PrivatePostfix) -> list[int]:
    """Return the processes of smtp(8)."""
    return [pid for pid in postfix.children() if _name_of(pid) == "smtp"]


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def open_files(pid: int) -> Iterator[str]:
    """Yield the kernel's names of what a process has open."""
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError:
        return
    for number in numbers:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue
