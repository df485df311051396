"""The words of a table of inputs: what is sent to a server, what comes back, and where Postfix's own server differs.

Decides what a step and a case are, and the reasons for which a case may have a second column. Refuses to know how a
step is carried out and which server it meets: test_misbehaviour does.

Silence is never a timeout: after a list that gets no reply, a well-formed find must be the next thing answered.
"""

from dataclasses import dataclass
from typing import Final

from tests.postfix.peer import DONE, DUMMY, find_endp, found, save_endp

ENDPOINT: Final = b"smtp\n192.0.2.1\n25\n0\n"
DESTINATION: Final = b"smtp\n[mail.example]:25\n"
PROPERTIES: Final = b"tls_level=0\nreuse_count=2\n\n"
TTL_LIMIT_S: Final = 100
"""What the servers are started with: no session expires while a case runs."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes in one write, with so many copies of one descriptor attached."""

    data: bytes
    descriptors: int = 0


@dataclass(frozen=True, slots=True)
class Expect:
    """Receive these bytes, and none before them."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Silence:
    """Find that what was sent so far has no more reply: the next thing answered is a find that follows it."""


@dataclass(frozen=True, slots=True)
class Take:
    """Receive a NUL byte that carries the descriptor that was saved."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Find the connection closed by the server."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the connection, and go on with a new one when the server has noticed."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another client finds so many sessions at ENDPOINT, and takes them all."""

    count: int


Step = Send | Expect | Silence | Take | Closed | Leave | Held
Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One input. `postfix` is what Postfix's server does where `because` says that it differs."""

    id: str
    clause: str
    steps: Steps
    postfix: Steps = ()
    because: str = ""
    postfix_leaks: bool = False
    """Whether Postfix's server keeps a descriptor that nobody can ever get from it. Nobody else may."""


WRAPS: Final = "C's unsigned conversion overflows into the valid range"
PURGES: Final = (
    "its stream discards what was read ahead when it turns to writing, and what is read ahead is up to 4096 bytes"
)
STOPS_EARLY: Final = "it stops reading a list at the first name it does not want and takes the rest for another list"
CLOSES: Final = "it closes a session whose hand-over failed"

SMUGGLED: Final = ((b"request", b"find_endp"), (b"label", b"smuggled"))
"""Attributes that are a request, in places where no request is."""

SAVE: Final[Steps] = (Send(save_endp(5, ENDPOINT, PROPERTIES)), Expect(DUMMY))
PARK: Final[Steps] = (*SAVE, Send(b"\0", 1), Expect(DONE))
TO_READY: Final[Steps] = (*PARK, Send(find_endp(ENDPOINT)), Expect(found(PROPERTIES)))
TO_RECEIVED: Final[Steps] = (*TO_READY, Send(DUMMY), Take())
