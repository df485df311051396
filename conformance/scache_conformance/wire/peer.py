"""One connection to a server: a client that does what it is told, even if that is wrong, and checks what it gets.

Every wait has a deadline. Every read has room for descriptors, so that a descriptor on a wrong byte is noticed. Which
reply is right is not decided here: the reply is returned, and `Unmet` is raised if none came or none that can be read.
"""

import array
import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from scache_conformance.wire import lists, processes, users
from scache_conformance.wire.line import readable
from scache_conformance.wire.lists import (
    DONE,
    DUMMY,
    DUMMY_LIST,
    FAILED,
    GREETING,
    MALFORMED,
    Attribute,
    Attributes,
    decode,
    describe,
)
from scache_conformance.wire.transcript import Transcript, show, show_with_descriptors
from scache_conformance.wire.unmet import Silence, Unmet

DEADLINE_S: Final = 2.0
"""How long a server may take for one reply. Good ones take less than a millisecond; Postfix's own client grants 5 s."""

_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid
_POLL_S: Final = 0.000_2
_NOT_TAKEN_S: Final = 0.5  # arbitrary: a server that reads at all has read by then
_READ_BYTES: Final = 65_536
_DESCRIPTORS_MAX: Final = 253  # SCM_MAX_FD: the kernel passes no more with one message
CONTROL_BYTES: Final = socket.CMSG_SPACE(_DESCRIPTORS_MAX * array.array("i").itemsize)
"""Room for the control data of any message."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the usual shape: a status, then properties."""

    status: int
    properties: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a find gave: the properties of its reply, and the descriptor, which its peer owns."""

    properties: tuple[bytes, ...]
    fd: int


class Peer:
    """One connection to a server."""

    def __init__(
        self,
        path: Path,
        transcript: Transcript | None = None,
        *,
        name: str = "A",
        deadline_s: float = DEADLINE_S,
        greeted: bool = True,
        uid: int | None = None,
    ) -> None:
        """Connect, as another user if one is named; with `greeted`, also insist that the greeting is right."""
        self.name: Final = name
        self.transcript: Final = transcript if transcript is not None else Transcript()
        self.deadline_s: Final = deadline_s
        self._socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(deadline_s)
        self._unread = b""
        self._fds: Final[list[int]] = []
        try:
            users.connect(self._socket, str(path), uid)
        except OSError as error:
            # Whatever it is, the server cannot be reached: nobody listens, no permission, another kind of socket or of
            # file, a path that is too long.
            self._socket.close()
            raise Unmet(f"the server to take a connection at {path}", str(error)) from error
        self.transcript.note(name, "connected")
        if greeted:
            self.insist_on_greeting()

    def server_pid(self) -> int:
        """Return the process that listens on the socket, as the kernel knows it; 0 if it is in no namespace of ours."""
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(credentials)[0]
        return pid

    def fileno(self) -> int:
        """Return the descriptor of the connection, to wait for what comes."""
        return self._socket.fileno()

    # What is sent.

    def send_bytes(self, data: bytes, fds: Sequence[int] = (), control: Sequence[tuple[int, int, bytes]] = ()) -> None:
        """Send bytes as they are, in one write; descriptors, and other control data, ride on their first byte."""
        self.transcript.sent(self.name, data, len(fds))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
        try:
            sent = self._socket.sendmsg([data], [*rights, *control]) if rights or control else 0
            self._socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Unmet(f"the server to take {show(data)}", f"it closed the connection: {error}") from error
        except TimeoutError as error:
            raise Unmet(f"the server to take {show(data)}", f"it did not within {self.deadline_s} s") from error

    def send(self, *attributes: Attribute) -> None:
        """Send one attribute list."""
        self.send_bytes(lists.encode(*attributes))

    def send_urgent_byte(self, fds: Sequence[int]) -> None:
        """Send one byte out of band, with descriptors. Raises OSError where the kernel has none on UNIX sockets."""
        self.transcript.note(self.name, f"sends an urgent byte with {len(fds)} descriptors")
        self._socket.sendmsg(
            [b"u"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())], socket.MSG_OOB
        )

    def request(self, name: bytes, *attributes: Attribute) -> None:
        """Send one request."""
        self.send((b"request", name), *attributes)

    def send_as_much_as_is_taken(self, data: bytes, bytes_max: int, rest: Callable[[], None] | None = None) -> int:
        """Send the bytes over and over until no more of them are taken or it is enough; return how many were.

        A server that waits for a processor takes nothing either. With `rest`, which waits until the server sleeps, no
        more has to be taken after that.
        """
        taken = 0
        self.transcript.note(self.name, f"sends over and over: {show(data[:100])}")
        self._socket.settimeout(_NOT_TAKEN_S)
        has_rested = False
        try:
            while taken < bytes_max:
                try:
                    taken += self._socket.send(data[taken % len(data) :])
                    has_rested = False
                except TimeoutError:
                    if rest is None or has_rested:
                        raise
                    rest()
                    has_rested = True
        except (TimeoutError, BrokenPipeError, ConnectionResetError) as end:
            self.transcript.note(self.name, f"the server takes no more: {end}")
        finally:
            self._socket.settimeout(self.deadline_s)
        self.transcript.note(self.name, f"{taken} bytes were taken")
        return taken

    def wait_until_taken(self, within_s: float = 0.2) -> bool:
        """Wait until the server has read all that was sent; tell whether it has."""
        deadline_s = time.monotonic() + within_s
        while self._untaken_bytes():
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_POLL_S)
        return True

    # What is received.

    def unread_bytes(self) -> int:
        """Count the bytes that have come and were not read."""
        count: int = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)))[0]
        return count

    def receive(self, expected: str = "an attribute list", *, byte_by_byte: bool = False) -> Attributes:
        """Return the next attribute list. Raises Unmet if there is none in time or a descriptor comes with it.

        `byte_by_byte` is for where a descriptor is due right after the list: one read may give both.
        """
        deadline_s = time.monotonic() + self.deadline_s
        while (decoded := decode(self._unread)) is None:
            data, fds = self._read(deadline_s, expected, 1 if byte_by_byte else _READ_BYTES)
            if fds:
                raise Unmet(f"{expected}, plain bytes", show_with_descriptors(data, len(fds)))
            if not data:
                so_far = f" after {show(self._unread)}" if self._unread else ""
                raise Unmet(expected, f"the server closed the connection{so_far}")
            self._unread += data
            if time.monotonic() >= deadline_s and decode(self._unread) is None:
                raise Unmet(expected, f"{len(self._unread)} bytes, and no end of it within {self.deadline_s} s")
        attributes, byte_count = decoded
        self._unread = self._unread[byte_count:]
        return attributes

    def receive_reply(self, property_count: int, *, byte_by_byte: bool = False) -> Reply:
        """Return the next list, read as a reply of `status` and so many properties."""
        expected = f"a reply of status and {property_count} properties"
        attributes = self.receive(expected, byte_by_byte=byte_by_byte)
        names = [name for name, _ in attributes]
        statuses = {b"%d" % status: status for status in (DONE, MALFORMED, FAILED)}
        if names != [b"status", *[b"property"] * property_count] or attributes[0][1] not in statuses:
            raise Unmet(expected, describe(attributes))
        return Reply(statuses[attributes[0][1]], tuple(value for _, value in attributes[1:]))

    def receive_descriptor(self) -> int:
        """Return the descriptor that comes with the next byte, which is NUL and alone."""
        expected = "one NUL byte that carries exactly one descriptor"
        if self._unread:
            raise Unmet(expected, f"plain bytes {show(self._unread)}")
        data, fds = self._read(time.monotonic() + self.deadline_s, expected)
        if len(fds) != 1 or data != b"\0":
            raise Unmet(expected, show_with_descriptors(data, len(fds)) if data else "the server closed the connection")
        return fds[0]

    def take_anything(self) -> None:
        """Read whatever comes first, the connection's end included, or nothing until the deadline has passed."""
        if readable([self._socket.fileno()], self.deadline_s):
            self._read(time.monotonic() + self.deadline_s, "anything")

    def insist_on_silence(self, seconds: float) -> None:
        """Raise Unmet if anything at all comes within so many seconds, the connection's end included."""
        if not self._unread and not readable([self._socket.fileno()], seconds):
            self.transcript.note(self.name, f"nothing for {seconds} s")
            return
        data, fds = (self._unread, []) if self._unread else self._read(time.monotonic(), "silence")
        raise Unmet("silence", show_with_descriptors(data, len(fds)) if data else "the server closed the connection")

    def insist_on_hangup(self) -> None:
        """Raise Unmet unless the server closes the connection, without another byte."""
        data, fds = (self._unread, []) if self._unread else self._read(time.monotonic() + self.deadline_s, "a hangup")
        if data:
            raise Unmet("the server to close the connection without a reply", show_with_descriptors(data, len(fds)))

    def has_something_to_read(self) -> bool:
        """Wait until something has come, and tell whether it has; it is not read."""
        return bool(readable([self._socket.fileno()], self.deadline_s))

    def has_ended(self) -> bool:
        """Tell whether the server has closed the connection and everything before that was read."""
        return bool(readable([self._socket.fileno()], 0)) and not self.unread_bytes()

    # The four verbs, spoken properly.

    def save_endp(self, ttl_s: int, endpoint: bytes, properties: bytes, fd: int) -> int:
        """Park a descriptor; return the status."""
        self.begin_save_endp(ttl_s, endpoint, properties)
        self.send_bytes(b"\0", [fd])
        return self.receive_reply(0).status

    def begin_save_endp(self, ttl_s: int, endpoint: bytes, properties: bytes) -> None:
        """Ask to park a descriptor, up to the server's invitation to send it."""
        self.send_bytes(lists.save_endp(ttl_s, endpoint, properties))
        self.insist_on_invitation()

    def insist_on_invitation(self) -> None:
        """Raise Unmet unless the next list invites to send the descriptor."""
        invitation = self.receive("dummy=, the invitation to send the descriptor")
        if invitation != DUMMY:
            raise Unmet("dummy=, the invitation to send the descriptor", describe(invitation))

    def save_dest(self, ttl_s: int, destination: bytes, properties: bytes, endpoint: bytes) -> int:
        """Bind a destination to an endpoint; return the status."""
        self.send_bytes(lists.save_dest(ttl_s, destination, properties, endpoint))
        return self.receive_reply(0).status

    def find_endp(self, endpoint: bytes) -> Found | None:
        """Take up a session of an endpoint; None if there is none."""
        reply = self.begin_find_endp(endpoint)
        return Found(reply.properties, self.take()) if reply.status == DONE else None

    def find_dest(self, destination: bytes) -> Found | None:
        """Take up a session that a destination leads to; None if there is none."""
        reply = self.begin_find_dest(destination)
        return Found(reply.properties, self.take()) if reply.status == DONE else None

    def begin_find_endp(self, endpoint: bytes) -> Reply:
        """Ask for a session of an endpoint; if the status is 0 the server waits for `take` now."""
        self.send_bytes(lists.find_endp(endpoint))
        return self._insist_on_found_or_not(self.receive_reply(1))

    def begin_find_dest(self, destination: bytes) -> Reply:
        """Ask for a session that a destination leads to; if the status is 0 the server waits for `take` now."""
        self.send_bytes(lists.find_dest(destination))
        return self._insist_on_found_or_not(self.receive_reply(2))

    def take(self) -> int:
        """Say ready, receive the descriptor, say received; return the descriptor."""
        self.send_bytes(DUMMY_LIST)
        fd = self.receive_descriptor()
        self.send_bytes(DUMMY_LIST)
        return fd

    def give_up(self, fd: int) -> int:
        """Return a descriptor that came over this connection; closing it is the caller's now."""
        self._fds.remove(fd)
        return fd

    # The end.

    def shut_down_sending(self) -> None:
        """Let the server read the end of the stream, and go on reading."""
        self.transcript.note(self.name, "shut down sending")
        self._socket.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """Close the connection. Descriptors received stay open until `close`."""
        if self._socket.fileno() >= 0:
            self.transcript.note(self.name, "hung up")
            processes.close(self._socket)

    def close_received(self) -> None:
        """Close every descriptor that came over the connection, and keep the connection."""
        while self._fds:
            os.close(self._fds.pop())

    def close(self) -> None:
        """Close the connection and every descriptor that came over it."""
        self.hang_up()
        self.close_received()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _untaken_bytes(self) -> int:
        # SIOCOUTQ has the number of TIOCOUTQ; for a UNIX socket it counts the memory of what was not read yet.
        byte_count: int = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))[0]
        return byte_count

    def insist_on_greeting(self) -> None:
        """Raise Unmet, and close the connection, unless the next list is the greeting."""
        try:
            greeting = self.receive("the greeting")
        except Unmet:
            self.close()
            raise
        if greeting != GREETING:
            self.close()
            raise Unmet(f"the greeting {describe(GREETING)}", describe(greeting))

    def _insist_on_found_or_not(self, reply: Reply) -> Reply:
        if reply.status == MALFORMED or (reply.status == FAILED and any(reply.properties)):
            raise Unmet("status 0, or status 2 with empty properties", str(reply))
        return reply

    def _read(self, deadline_s: float, expected: str, byte_count: int = _READ_BYTES) -> tuple[bytes, list[int]]:
        """Return what one read gives: bytes, none at the end of the stream, and the descriptors they carried."""
        self._socket.settimeout(max(deadline_s - time.monotonic(), 0.000_001))  # 0 would mean non-blocking
        try:
            data, control, flags, _ = self._socket.recvmsg(byte_count, CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError as error:
            so_far = f", only {show(self._unread)}" if self._unread else ""
            self.transcript.note(self.name, "the deadline passed")
            raise Silence(expected, f"nothing within {self.deadline_s} s{so_far}") from error
        except ConnectionResetError:  # a server that went away with bytes of ours unread
            data, control, flags = b"", [], 0
        finally:
            self._socket.settimeout(self.deadline_s)
        fds = descriptors(control)
        self._fds.extend(fds)
        self.transcript.received(self.name, data, len(fds)) if data else self.transcript.note(
            self.name, "end of stream"
        )
        if flags & socket.MSG_CTRUNC:
            raise Unmet(expected, "control data that the kernel cut short: this process is out of descriptors")
        return data, fds


def descriptors(control: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors of the control data that recvmsg gave."""
    fds = array.array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)
