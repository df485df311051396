"""One connected client, as the loop remembers it, and the states of its conversation.

The changes of state are in conversation.py.
"""

import socket
from enum import IntEnum
from typing import Final

from scache_fast.engine.attributes import Decoder, encode
from scache_fast.engine.closing import Job
from scache_fast.engine.poller import IN, OUT, READ_ON
from scache_fast.engine.table import Session


class State(IntEnum):
    """What the server waits for. Numbers compare faster than other members of enumerations."""

    REQUEST = 0
    """A list with a request."""

    DESCRIPTOR = 1
    """The byte that carries the descriptor of a save_endp."""

    READY = 2
    """The list that says the client is ready for the descriptor that was found."""

    SENDING = 3
    """Room in the socket for the descriptor."""

    RECEIVED = 4
    """The list that says the client has the descriptor."""

    CLOSED = 5
    """Nothing: the socket is to be closed."""


# Bare names: the loop compares states several times for each request, and a global costs half of a class attribute.
REQUEST: Final = State.REQUEST
DESCRIPTOR: Final = State.DESCRIPTOR
READY: Final = State.READY
SENDING: Final = State.SENDING
RECEIVED: Final = State.RECEIVED
CLOSED: Final = State.CLOSED

AT_REST: Final = -1
"""Stands for an instant, so that the compiled form keeps a plain number: None in its place is an object each time."""


class Client:
    """A client's socket and the conversation on it.

    Guarantees: `session` is set in READY and SENDING and in no other state but CLOSED, on the way to its put-back.
    `saving` is meaningful in DESCRIPTOR alone. `decoder` is there while bytes were read that have not been served.
    `received` is a descriptor in DESCRIPTOR alone, and while it is one nothing is read.
    """

    __slots__ = (
        "decoder",
        "fd",
        "interest",
        "is_at_end",
        "is_backlogged",
        "is_in_flight",
        "is_paused",
        "output",
        "pending",
        "pid",
        "received",
        "saving",
        "session",
        "sock",
        "state",
        "step_since_ns",
        "surplus",
        "user",
    )

    def __init__(self, sock: socket.socket, fd: int, interest: int, user: int, pid: int) -> None:
        self.sock = sock
        self.fd = fd
        self.user = user
        """The uid of the process that connected."""
        self.pid = pid
        self.interest = interest
        """The events that epoll was asked for."""
        self.state: State = REQUEST
        self.decoder: Decoder | None = None
        self.output = b""
        """Replies that the socket has not taken yet."""
        self.saving: tuple[bytes, bytes, int] = (b"", b"", 0)
        """Endpoint, properties and ttl of the save_endp whose descriptor is awaited."""
        self.session: Session | None = None
        """The session that was found for this client and is not handed over yet."""
        self.step_since_ns = AT_REST
        """When its unfinished step began (LIMIT-7), `AT_REST` while there is none. Set by the loop alone."""
        self.is_backlogged = False
        """Whole lists may be left that were read and not served, because the client used up its share of a turn or its
        socket was full. They are served before more is read."""

        self.is_in_flight = False
        """A descriptor was sent to it, and was not seen to be read."""
        self.is_at_end = False
        """Its end of file was read: nothing is left in its socket, so closing cannot block. The client counts until its
        socket has taken the replies, as it may have shut down sending alone, and until the descriptor that was sent to
        it is read. Without that, nothing would limit how many are in flight."""
        self.pending: list[bytes] | None = None
        """A request that used up the client's share of a turn before it was carried out. It is carried out first."""
        self.received = -1
        """The descriptor of a save_endp that waits for room, -1 for none."""
        self.surplus: Job | None = None
        """Unwanted descriptors that it passed, until they are closed."""
        self.is_paused = False
        """It is not read from until descriptors that it, or its user, passed are closed."""

    @property
    def name(self) -> str:
        """Return what a log calls it: its number, which later clients may get again, and who it is."""
        return f"client {self.fd} (pid {self.pid}, uid {self.user})"

    @property
    def unserved(self) -> bytes:
        """Return what was read from it and not served."""
        data = b"" if self.pending is None else encode(*self.pending)
        return data if self.decoder is None else data + self.decoder.unserved

    @property
    def is_at_rest(self) -> bool:
        """Say whether nothing is unfinished: no step, no request, no reply."""
        return self.state is REQUEST and self.decoder is None and not self.output and not self.is_backlogged

    @property
    def is_taking_its_last(self) -> bool:
        """Say whether it sends nothing more and has not taken all replies."""
        return self.is_at_end and bool(self.output)

    def wanted_events(self, *, is_output_full: bool) -> int:
        """Return what epoll is to be asked for."""
        if is_output_full or self.state is SENDING or self.is_taking_its_last:
            events = OUT
        elif self.is_in_flight and self.is_backlogged:
            events = READ_ON
        else:
            events = IN | OUT if self.output else IN
        return events & ~IN if self.is_paused else events
