"""The cases for clients: each is a script for the client, and what the server does meanwhile."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scache_conformance.clients.stage import (
    DESTINATION,
    ENDPOINT,
    GREETING_LIST,
    PROPERTIES,
    TTL_S,
    Conversation,
    Stage,
    status,
)
from scache_conformance.wire import lists
from scache_conformance.wire.line import readable
from scache_conformance.wire.lists import DUMMY_LIST
from scache_conformance.wire.unmet import Unmet

SAVE: Final = f"save_endp {ENDPOINT} {PROPERTIES} {TTL_S} {{peer}}"
BIND: Final = f"save_dest {DESTINATION} {PROPERTIES} {ENDPOINT} {TTL_S}"
FIND: Final = f"find_endp {ENDPOINT}"
FIND_DEST: Final = f"find_dest {DESTINATION}"

TRIED_AGAIN_WITHIN_S: Final = 0.3
"""How long a case waits for the client to connect again. Arbitrary."""


@dataclass(frozen=True, slots=True)
class ClientCase:
    """One case. `words` are the results that the client may report for each step of its script, in order."""

    slug: str
    title: str
    clauses: tuple[str, ...]
    script: tuple[str, ...]
    words: tuple[frozenset[str], ...]
    serve: Callable[[Stage], None]


CASES: Final[list[ClientCase]] = []


def case(
    slug: str, *clauses: str, script: tuple[str, ...], words: tuple[str, ...]
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register the decorated function; the first line of its docstring is the title. `a|b` stands for either word."""

    def register(serve: Callable[[Stage], None]) -> Callable[[Stage], None]:
        title = (serve.__doc__ or "").partition("\n")[0]
        allowed = tuple(frozenset(each.split("|")) for each in words)
        CASES.append(ClientCase(f"client/{slug}", title, clauses, script, allowed, serve))
        return serve

    return register


# Right dances.


def _parks(stage: Stage, client: Conversation, *, pieces: int = 0) -> None:
    client.expects_save_endp()
    client.sends(DUMMY_LIST, pieces=pieces)
    client.expects_descriptor()
    client.insists_on_quiet("nothing after the descriptor before the status")
    client.sends(status(0), pieces=pieces)


def _hands_out(stage: Stage, client: Conversation, *properties: bytes, pieces: int = 0) -> None:
    client.sends(status(0, *properties), pieces=pieces)
    client.expects_ready()
    line = stage.line()
    client.sends(b"\0", [line.far.fileno()])
    client.expects_received()
    stage.insist_on_use_and_close(line)


@case("save-endp", "CLNT-1", "CLNT-2", "CLNT-3", "CLNT-9", script=(SAVE,), words=("saved",))
def _(stage: Stage) -> None:
    """To park, a client sends one request and one byte with one descriptor, and then closes its own copy."""
    client = stage.accept_greeted()
    _parks(stage, client)


@case("find-endp", "CLNT-2", "CLNT-5", "CLNT-9", script=(FIND,), words=("found",))
def _(stage: Stage) -> None:
    """To find, a client sends its request, "ready" and "received"; it uses the descriptor and closes it."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    _hands_out(stage, client, b"p")


@case("save-dest", "CLNT-2", script=(BIND,), words=("saved",))
def _(stage: Stage) -> None:
    """To bind, a client sends one save_dest with every attribute in its place."""
    client = stage.accept_greeted()
    request = lists.save_dest(TTL_S, DESTINATION.encode(), PROPERTIES.encode(), ENDPOINT.encode())
    client.expects(request, "save_dest")
    client.sends(status(0))


@case("find-dest", "CLNT-2", "CLNT-5", script=(FIND_DEST,), words=("found",))
def _(stage: Stage) -> None:
    """After a find_dest, a client takes two properties, and the descriptor as after a find_endp."""
    client = stage.accept_greeted()
    client.expects(lists.find_dest(DESTINATION.encode()), "find_dest")
    _hands_out(stage, client, b"d", b"e")


@case("miss-then-hit", "CLNT-4", script=(FIND, FIND), words=("nothing", "found"))
def _(stage: Stage) -> None:
    """After status 2 of a find, a client does not send "ready"; its next request comes over the same connection."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(2, b""))
    client.expects_find_endp()
    _hands_out(stage, client, b"p")


@case("one-byte-at-a-time", "CLNT-6", script=(SAVE, FIND), words=("saved", "found"))
def _(stage: Stage) -> None:
    """A greeting and replies that come byte by byte are taken as if they had come whole."""
    client = stage.accept()
    client.sends(GREETING_LIST, pieces=1)
    _parks(stage, client, pieces=1)
    client.expects_find_endp()
    _hands_out(stage, client, b"p" * 10, pieces=1)


@case("late-replies", "CLNT-6", "CLNT-8", script=(FIND,), words=("found",))
def _(stage: Stage) -> None:
    """A client waits for a reply that comes late, but within the client's own time."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.insists_on_quiet("nothing while the reply is awaited")
    client.insists_on_quiet("nothing while the reply is awaited")
    _hands_out(stage, client, b"p")


@case("long-properties", "CLNT-6", script=(FIND,), words=("found",))
def _(stage: Stage) -> None:
    """A client takes properties of 60 000 bytes whole."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    _hands_out(stage, client, b"p" * 60_000)


# Refusals.


@case("find-malformed", "CLNT-4", script=(FIND, FIND), words=("failed|nothing", "nothing"))
def _(stage: Stage) -> None:
    """After status 1 of a find, a client does not send "ready"."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(1, b""))
    _misses_over_any_connection(stage, client)


@case("save-refused-at-once", "CLNT-4", "CLNT-9", script=(SAVE,), words=("failed",))
def _(stage: Stage) -> None:
    """After status 1 in place of the invitation, a client sends no descriptor."""
    client = stage.accept_greeted()
    client.expects_save_endp()
    client.sends(status(1))
    client.expects_end()
    _insist_on_end(stage)


@case("save-refused-afterwards", "CLNT-3", "CLNT-4", "CLNT-9", script=(SAVE,), words=("failed",))
def _(stage: Stage) -> None:
    """After status 2 for its descriptor, a client reports that the connection is not parked."""
    client = stage.accept_greeted()
    client.expects_save_endp()
    client.sends(DUMMY_LIST)
    client.expects_descriptor()
    client.sends(status(2))
    client.expects_end()


@case("bind-refused", "CLNT-4", script=(BIND,), words=("failed",))
def _(stage: Stage) -> None:
    """After status 2 of a save_dest, a client reports that there is no binding."""
    client = stage.accept_greeted()
    request = lists.save_dest(TTL_S, DESTINATION.encode(), PROPERTIES.encode(), ENDPOINT.encode())
    client.expects(request, "save_dest")
    client.sends(status(2))
    client.expects_end()


# Servers that go away, and servers that are none.


@case("wrong-greeting", "CLNT-1", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """After a wrong greeting a client sends nothing and closes the connection, as often as it tries."""
    client: Conversation | None = stage.accept()
    while client is not None:
        client.sends(lists.encode((b"protocol", b"another_protocol")))
        client.expects_end()
        client = stage.another(TRIED_AGAIN_WITHIN_S)


@case("ends-before-greeting", "CLNT-8", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When the server closes before its greeting, a client closes too, reports it and goes on."""
    stage.accept().hangs_up()
    _misses_if_tried_again(stage)


@case("ends-after-request", "CLNT-8", "CLNT-9", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When the server closes after the request, a client closes too, reports it and goes on."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.hangs_up()
    _misses_if_tried_again(stage)


@case("ends-in-reply", "CLNT-6", "CLNT-8", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When the server closes in the middle of a reply, a client closes too, reports it and goes on."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(0, b"properties")[:-3])
    client.hangs_up()
    _misses_if_tried_again(stage)


@case("ends-after-ready", "CLNT-8", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When the server closes in place of sending the descriptor, a client closes too, reports it and goes on."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(0, b"p"))
    client.expects_ready()
    client.hangs_up()
    _misses_if_tried_again(stage)


@case("ends-after-descriptor", "CLNT-5", "CLNT-9", script=(FIND,), words=("found|failed",))
def _(stage: Stage) -> None:
    """When the server closes right after it sent the descriptor, a client uses the descriptor or closes it."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(0, b"p"))
    client.expects_ready()
    line = stage.line()
    client.sends(b"\0", [line.far.fileno()])
    client.hangs_up()
    stage.insist_on_closed(line, "what was handed out")


@case("ends-after-parked", "CLNT-8", "CLNT-9", script=(SAVE,), words=("failed",))
def _(stage: Stage) -> None:
    """When the server closes after the client sent its descriptor, the client does not send it again."""
    client = stage.accept_greeted()
    client.expects_save_endp()
    client.sends(DUMMY_LIST)
    client.expects_descriptor()
    client.hangs_up()
    again = stage.another(TRIED_AGAIN_WITHIN_S)
    if again is not None:
        again.greets()
        again.expects_end()


@case("silent-before-greeting", "CLNT-8", script=(FIND,), words=("failed",))
def _(stage: Stage) -> None:
    """When the server never sends a greeting, a client gives up within its own time."""
    stage.accept().expects_end()


@case("silent-after-request", "CLNT-8", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When the server never replies, a client gives up within its own time."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.expects_end()


@case("silent-before-descriptor", "CLNT-8", "CLNT-9", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When the server never sends the descriptor of a find, a client gives up within its own time."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(0, b"p"))
    client.expects_ready()
    client.expects_end()


# What comes instead of a descriptor.


@case("no-descriptor", "CLNT-7", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When the byte comes without a descriptor, the find has failed for the client."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(0, b"p"))
    client.expects_ready()
    client.sends(b"\0")
    client.expects_end()
    _misses_if_tried_again(stage)


@case("two-descriptors", "CLNT-7", "CLNT-9", script=(FIND,), words=("failed|nothing",))
def _(stage: Stage) -> None:
    """When two descriptors come with the byte, a client closes both."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(0, b"p"))
    client.expects_ready()
    lines = stage.line(), stage.line()
    client.sends(b"\0", [line.far.fileno() for line in lines])
    client.expects_end()
    for line in lines:
        stage.insist_on_closed(line, "each of two descriptors")
    _misses_if_tried_again(stage)


@case("not-a-socket", "CLNT-9", "CLNT-10", script=(FIND,), words=("failed|found|nothing",))
def _(stage: Stage) -> None:
    """When a pipe is handed out, a client that wants a socket closes it and goes on."""
    client = stage.accept_greeted()
    client.expects_find_endp()
    client.sends(status(0, b"p"))
    client.expects_ready()
    reading, writing = os.pipe()
    try:
        client.sends(b"\0", [writing])
        os.close(writing)
        writing = -1
        os.set_blocking(reading, False)
        if not _ends(reading, stage.patience_s):
            raise Unmet("the pipe closed by the client", "it is open")
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _ends(fd: int, within_s: float) -> bool:
    while readable([fd], within_s):
        if not os.read(fd, 100):
            return True
    return False


def _misses_if_tried_again(stage: Stage) -> None:
    """Serve a further connection if the client makes one: nothing is found."""
    again = stage.another(TRIED_AGAIN_WITHIN_S)
    if again is not None:
        again.greets()
        again.expects_find_endp()
        again.sends(status(2, b""))


def _misses_over_any_connection(stage: Stage, client: Conversation) -> None:
    """Serve the next request, over this connection or another: nothing is found."""
    again = stage.another(TRIED_AGAIN_WITHIN_S)
    if again is not None:
        again.greets()
        client = again
    client.expects_find_endp()
    client.sends(status(2, b""))


def _insist_on_end(stage: Stage) -> None:
    """Insist that the client's copy of what it wanted to park gets closed, once it has given up."""
    peer = stage.parked_peer()
    if not _ends(peer.fileno(), stage.patience_s):
        raise Unmet("what could not be parked closed by the client", "it is open")
