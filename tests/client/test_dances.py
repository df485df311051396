"""The four dances on a real socket, with a server that is written out by hand, through both clients.

Each dance is a list of what the server does; each place in it is where the server can die or fall silent.
"""

import os
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.client.shells import Shell
from tests.support.messages import DONE, DUMMY, GREETING, MISSED
from tests.support.scripted import (
    FOUND,
    FOUND_DEST,
    Action,
    Pair,
    Scripted,
    await_end,
    deafen,
    hand,
    hear,
    hear_bytes,
    hear_farewell,
    say,
    say_piecemeal,
    stall,
    take,
)

from scache_client import (
    Found,
    FoundDest,
    ProtocolError,
    Refused,
    RequestTooLong,
    ServerGone,
    TimedOut,
    attributes,
)
from scache_spec.vocabulary import Limits, Status

Say = Callable[[bytes], Action]


@dataclass(frozen=True)
class Verb:
    """One request, its server's part after the greeting, and how to make it.

    `steps` is how many things the server does, the greeting among them, until the request is done: a find is, when its
    descriptor has come. What happens after that is another test.
    """

    name: str
    steps: int
    script: Callable[[Pair, Say], list[Action]]
    ask: Callable[[Shell, Pair], object]

    def __str__(self) -> str:
        return self.name


def _close(found: Found | None) -> object:
    assert found is not None
    with found:
        return found.properties


VERBS = [
    Verb(
        "save_endp",
        5,
        lambda _, say: [hear, say(DUMMY), take, say(DONE)],
        lambda s, p: s.save_endp(b"e", b"p", 5, p.mine),
    ),
    Verb(
        "find_endp",
        5,
        lambda p, say: [hear, say(FOUND), hear, hand(p.mine.fileno()), hear_farewell],
        lambda s, _: _close(s.find_endp(b"e")),
    ),
    Verb("save_dest", 3, lambda _, say: [hear, say(DONE)], lambda s, _: s.save_dest(b"d", b"p", b"e", 5)),
    Verb(
        "find_dest",
        5,
        lambda p, say: [hear, say(FOUND_DEST), hear, hand(p.mine.fileno()), hear_farewell],
        lambda s, _: _close(s.find_dest(b"d")),
    ),
]
STEPS = [(verb, done) for verb in VERBS for done in range(verb.steps)]
"""Each verb with each number of things that the server does before it is lost."""

REPEATED = [(verb, done) for verb, done in STEPS if 1 <= done < (3 if verb.name == "save_endp" else 5)]
"""Those at which the server is lost to a request on a kept connection, and it is safe to begin again."""


def _taken(verb: Verb, done: int) -> bool:
    return verb.name == "save_endp" and done == 4


def test_save_endp_speaks_the_dance_and_closes_its_copy(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(DUMMY), take, say(DONE), await_end])
    shell.save_endp(b"smtp\n127.0.0.1\n", b"tls_level=0\n", 2, pair.mine)
    assert pair.mine.fileno() == -1
    shell.close()
    peer.finish()
    assert peer.heard == [b"request\0save_endp\0ttl\0" + b"2\0label\0smtp\n127.0.0.1\n\0property\0tls_level=0\n\0\0"]
    os.write(peer.taken[0], b"through")
    assert pair.far.recv(10) == b"through"


def test_save_endp_takes_a_descriptor_and_closes_it(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(DUMMY), take, say(DONE)])
    fd = pair.mine.detach()
    shell.save_endp(b"", b"", 1, fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_find_endp_speaks_the_dance_and_brings_the_connection(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(FOUND), hear, hand(pair.mine.fileno()), hear_farewell, await_end])
    found = shell.find_endp(b"label")
    assert found is not None
    with found:
        assert found.properties == b"of the endpoint"
        assert pair.is_mine(found.fileno())
        assert not os.get_inheritable(found.fileno())
    shell.close()
    peer.finish()
    assert peer.heard == [b"request\0find_endp\0label\0label\0\0", b"dummy\0\0\0", b"dummy\0\0\0"]


def test_save_dest_names_the_destination_first(shell: Shell, peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, say(DONE)])
    shell.save_dest(b"dest", b"prop", b"endp", 2147483647)
    peer.finish()
    assert peer.heard == [b"request\0save_dest\0ttl\0" + b"2147483647\0label\0dest\0property\0prop\0label\0endp\0\0"]


def test_find_dest_brings_both_properties(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(FOUND_DEST), hear, hand(pair.mine.fileno()), hear_farewell])
    found = shell.find_dest(b"d")
    assert isinstance(found, FoundDest)
    with found:
        assert (found.destination_properties, found.properties) == (b"of the binding", b"of the endpoint")
        assert pair.is_mine(found.fileno())
    peer.finish()
    assert peer.heard[0] == b"request\0find_dest\0label\0d\0\0"


def test_miss_is_none(shell: Shell, peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, say(MISSED), hear, say(b"status\0" + b"2\0property\0\0property\0\0\0")])
    assert shell.find_endp(b"e") is None
    assert shell.find_dest(b"d") is None


def test_requests_share_one_connection(shell: Shell, peer: Scripted, pair: Pair) -> None:
    script = [action for verb in (*VERBS[1:], VERBS[0]) for action in verb.script(pair, say)]
    peer.serve([say(GREETING), *script])
    for verb in (*VERBS[1:], VERBS[0]):
        verb.ask(shell, pair)
    peer.finish()
    assert peer.accepted == 1


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_replies_may_come_byte_by_byte(shell: Shell, peer: Scripted, pair: Pair, verb: Verb) -> None:
    peer.serve([say_piecemeal(GREETING), *verb.script(pair, say_piecemeal)])
    verb.ask(shell, pair)


@pytest.mark.parametrize(("verb", "done"), STEPS, ids=str)
def test_server_that_dies_is_gone(shell: Shell, peer: Scripted, pair: Pair, verb: Verb, done: int) -> None:
    peer.serve([say(GREETING), *verb.script(pair, say)][:done])
    with pytest.raises(ServerGone) as caught:
        verb.ask(shell, pair)
    assert not isinstance(caught.value, TimedOut)
    if verb.name == "save_endp":
        assert pair.mine.fileno() >= 0, "a connection that was not parked is left open"
        # With the go-ahead just given, the server may die before or after the descriptor is on its way to it.
        assert caught.value.maybe_parked == _taken(verb, done) or done == 3
    else:
        assert not caught.value.maybe_parked


@pytest.mark.parametrize(("verb", "done"), STEPS, ids=str)
def test_server_that_falls_silent_is_left(shell: Shell, peer: Scripted, pair: Pair, verb: Verb, done: int) -> None:
    peer.serve([*[say(GREETING), *verb.script(pair, say)][:done], stall])
    shell.give_up_when_stalled = True
    with pytest.raises(TimedOut) as caught:
        verb.ask(shell, pair)
    # A server that reads nothing is not noticed while the descriptor is sent, but when its status does not come.
    assert caught.value.maybe_parked == (verb.name == "save_endp" and done >= 3)
    assert pair.mine.fileno() >= 0
    peer.finish()  # which waits for the client to have closed its end: the dance is not gone on with


@pytest.mark.parametrize(("verb", "done"), REPEATED, ids=str)
def test_request_is_repeated_on_a_fresh_connection(
    shell: Shell, peer: Scripted, pair: Pair, verb: Verb, done: int
) -> None:
    """Counted from the second request on: the connection that it finds is the one kept from the first."""
    whole = [say(GREETING), *verb.script(pair, say)]
    first = [say(GREETING), hear, say(MISSED)]
    peer.serve([*first, *whole[1:done]], whole)
    assert shell.find_endp(b"nothing") is None
    verb.ask(shell, pair)
    peer.finish()
    assert peer.accepted == 2


def test_request_is_repeated_once_only(shell: Shell, peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, say(MISSED)], [say(GREETING), hear])
    assert shell.find_endp(b"e") is None
    with pytest.raises(ServerGone):
        shell.find_endp(b"e")
    peer.finish()  # which fails at a third connection
    assert peer.accepted == 2


def test_connection_that_may_be_parked_is_not_parked_again(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(MISSED), hear, say(DUMMY), take])
    assert shell.find_endp(b"e") is None
    with pytest.raises(ServerGone) as caught:
        shell.save_endp(b"e", b"", 5, pair.mine)
    assert caught.value.maybe_parked
    assert pair.mine.fileno() >= 0
    peer.finish()
    assert peer.accepted == 1


def test_timeout_on_a_kept_connection_is_not_repeated(shell: Shell, peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, say(MISSED), hear, stall])
    assert shell.find_endp(b"e") is None
    shell.give_up_when_stalled = True
    with pytest.raises(TimedOut):
        shell.find_endp(b"e")


def test_client_that_failed_works_again(shell: Shell, peer: Scripted) -> None:
    peer.serve([], [say(GREETING), hear, say(MISSED)])
    with pytest.raises(ServerGone):
        shell.find_endp(b"e")
    assert shell.find_endp(b"e") is None


def test_find_is_done_when_its_descriptor_has_come(shell: Shell, peer: Scripted, pair: Pair) -> None:
    first = [say(GREETING), hear, say(FOUND), hear, deafen, hand(pair.mine.fileno())]
    peer.serve(first, [say(GREETING), hear, say(MISSED)])
    assert _close(shell.find_endp(b"e")) == b"of the endpoint"
    assert not shell.connected, "what could not hear the farewell is not used again"
    assert shell.find_endp(b"e") is None


@pytest.mark.parametrize("status", [Status.MALFORMED, Status.FAILED])
def test_refused_save_says_what_and_why(shell: Shell, peer: Scripted, pair: Pair, status: Status) -> None:
    refusal = say(b"status\0%d\0\0" % status)
    peer.serve([say(GREETING), hear, refusal, hear, say(DUMMY), take, refusal, hear, refusal])
    for _ in range(2):  # before and after the descriptor was passed
        with pytest.raises(Refused, match=f"save_endp: status {status:d}") as caught:
            shell.save_endp(b"e", b"", 5, pair.mine)
        assert (caught.value.request, caught.value.status) == (b"save_endp", status)
        assert not caught.value.maybe_parked
        assert pair.mine.fileno() >= 0
    with pytest.raises(Refused, match="save_dest"):
        shell.save_dest(b"d", b"", b"e", 5)
    peer.finish()
    assert peer.accepted == 1, "a refusal leaves the connection in order"


def test_malformed_find_is_refused_with_and_without_properties(shell: Shell, peer: Scripted) -> None:
    with_properties = say(b"status\0" + b"1\0property\0\0\0")
    peer.serve([say(GREETING), hear, with_properties, hear, say(b"status\0" + b"1\0\0")])
    for _ in range(2):
        with pytest.raises(Refused, match="find_endp: status 1"):
            shell.find_endp(b"e")


@pytest.mark.parametrize(
    "greeting",
    [
        b"220 mail.example ESMTP\r\n\0\0\0",
        b"protocol\0another_protocol\0\0",
        b"dummy\0connection_cache_protocol\0\0",
        b"\0",
        GREETING + b"x",
        GREETING[:-1] + b"more\0\0\0",
    ],
)
def test_wrong_greeting_is_a_protocol_error(shell: Shell, peer: Scripted, greeting: bytes) -> None:
    peer.serve([say(greeting), await_end])
    with pytest.raises(ProtocolError):
        shell.find_endp(b"e")


@pytest.mark.parametrize(
    "reply",
    [
        b"\0",
        b"dummy\0\0\0",
        b"status\0" + b"0\0\0",
        b"status\0" + b"2\0\0",
        b"status\0" + b"3\0property\0\0\0",
        b"status\0\0property\0\0\0",
        b"status\0" + b"00\0property\0\0\0",
        b"property\0\0status\0" + b"0\0\0",
        b"status\0" + b"0\0property\0a\0property\0b\0\0",
        FOUND + FOUND,
    ],
)
def test_wrong_reply_is_a_protocol_error(shell: Shell, peer: Scripted, reply: bytes) -> None:
    peer.serve([say(GREETING), hear, say(reply), await_end])
    with pytest.raises(ProtocolError) as caught:
        shell.find_endp(b"e")
    assert not caught.value.maybe_parked


def test_done_before_the_descriptor_is_a_protocol_error(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(DONE), await_end])
    with pytest.raises(ProtocolError, match="before it was sent") as caught:
        shell.save_endp(b"e", b"", 5, pair.mine)
    assert not caught.value.maybe_parked


@pytest.mark.parametrize("reply", [b"dummy\0\0\0", DONE + b"\0"])
def test_wrong_last_status_leaves_it_open_whether_it_is_parked(
    shell: Shell, peer: Scripted, pair: Pair, reply: bytes
) -> None:
    peer.serve([say(GREETING), hear, say(DUMMY), take, say(reply), await_end])
    with pytest.raises(ProtocolError) as caught:
        shell.save_endp(b"e", b"", 5, pair.mine)
    assert caught.value.maybe_parked
    assert pair.mine.fileno() >= 0


def test_endless_last_status_leaves_it_open_whether_it_is_parked(
    shell: Shell, peer: Scripted, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributes, "REPLY_BYTES_MAX", 100)
    peer.serve([say(GREETING), hear, say(DUMMY), take, say(b"x" * 101), await_end])
    with pytest.raises(ProtocolError, match="no end") as caught:
        shell.save_endp(b"e", b"", 5, pair.mine)
    assert caught.value.maybe_parked


@pytest.mark.parametrize("count", [0, 2, 3, 253])
def test_any_other_number_of_descriptors_is_closed(shell: Shell, peer: Scripted, pair: Pair, count: int) -> None:
    peer.serve([say(GREETING), hear, say(FOUND), hear, hand(*[pair.mine.fileno()] * count), await_end])
    with pytest.raises(ProtocolError):
        shell.find_endp(b"e")
    peer.finish()
    pair.mine.close()
    assert pair.hung_up()


@pytest.mark.parametrize("slots", [0, 1])
def test_descriptor_that_does_not_fit_the_table_is_a_protocol_error(
    shell: Shell, peer: Scripted, pair: Pair, slots: int
) -> None:
    peer.serve(
        [
            say(GREETING),
            hear,
            say(MISSED),
            hear,
            say(FOUND),
            hear,
            hand(*[pair.mine.fileno()] * (slots + 1)),
            await_end,
        ]
    )
    assert shell.find_endp(b"e") is None
    lowest_free = os.dup(pair.mine.fileno())
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + slots, hard))
    try:
        with pytest.raises(ProtocolError, match="ulimit -n"):
            shell.find_endp(b"e")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_byte_with_the_descriptor_may_be_any(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(FOUND), hear, hand(pair.mine.fileno(), byte=b"X"), hear_farewell])
    assert _close(shell.find_endp(b"e")) == b"of the endpoint"


def test_descriptor_that_comes_with_a_reply_is_closed(shell: Shell, peer: Scripted, pair: Pair) -> None:
    smuggle = hand(pair.mine.fileno(), byte=MISSED[:1])
    peer.serve([say(GREETING), hear, smuggle, say(MISSED[1:]), await_end])
    assert shell.find_endp(b"e") is None
    shell.close()
    peer.finish()
    pair.mine.close()
    assert pair.hung_up()


def test_reply_of_300_000_bytes_passes(shell: Shell, peer: Scripted, pair: Pair) -> None:
    properties = b"p" * 300_000
    reply = b"status\0" + b"0\0property\0%b\0\0" % properties
    peer.serve([say(GREETING), hear, say(reply), hear, hand(pair.mine.fileno()), hear_farewell])
    assert _close(shell.find_endp(b"e")) == properties


def test_request_larger_than_the_socket_holds_passes(shell: Shell, peer: Scripted) -> None:
    request = b"request\0save_dest\0ttl\0" + b"5\0label\0d\0property\0%b\0label\0e\0\0" % (b"p" * 300_000)
    peer.serve([say(GREETING), hear_bytes(len(request)), say(DONE)])
    shell.save_dest(b"d", b"p" * 300_000, b"e", 5)
    peer.finish()
    assert peer.heard == [request]


@pytest.mark.parametrize("closed", [-1, socket.socket])
def test_closed_connection_is_a_value_error(shell: Shell, closed: int | type[socket.socket]) -> None:
    connection = closed if isinstance(closed, int) else closed()
    if isinstance(connection, socket.socket):
        connection.close()
    with pytest.raises(ValueError, match="park an open connection"):
        shell.save_endp(b"e", b"", 5, connection)


def test_request_longer_than_servers_take_names_the_limit(shell: Shell, peer: Scripted) -> None:
    """Once over the usual limit, once at it: the server closes after it has read all of it."""
    usual = Limits().attribute_list_bytes_max
    empty = len(b"request\0find_endp\0label\0\0\0")
    peer.serve(*[[say(GREETING), hear_bytes(length)] for length in (usual + 1, usual)])
    message = rf"has {usual + 1} bytes, and most servers accept {usual} \(attribute_list_bytes_max"
    with pytest.raises(RequestTooLong, match=message):
        shell.find_endp(b"l" * (usual + 1 - empty))
    with pytest.raises(ServerGone) as caught:
        shell.find_endp(b"l" * (usual - empty))
    assert type(caught.value) is ServerGone


def test_long_request_that_the_server_took_is_not_too_long(shell: Shell, peer: Scripted, pair: Pair) -> None:
    peer.serve([say(GREETING), hear, say(DUMMY), take])
    with pytest.raises(ServerGone) as caught:
        shell.save_endp(b"e", b"p" * 70_000, 5, pair.mine)
    assert type(caught.value) is ServerGone
    assert caught.value.maybe_parked


@pytest.mark.parametrize("ttl_s", [0, -1, 2_147_483_648])
def test_ttl_out_of_range_is_a_value_error(shell: Shell, pair: Pair, ttl_s: int) -> None:
    with pytest.raises(ValueError, match=f"ttl_s is {ttl_s};"):
        shell.save_endp(b"e", b"", ttl_s, pair.mine)
    with pytest.raises(ValueError, match=f"ttl_s is {ttl_s};"):
        shell.save_dest(b"d", b"", b"e", ttl_s)


def test_nul_is_a_value_error_and_connects_nowhere(shell: Shell, peer: Scripted, pair: Pair) -> None:
    requests: list[Callable[[], object]] = [
        lambda: shell.save_endp(b"a\0b", b"", 5, pair.mine),
        lambda: shell.save_endp(b"", b"a\0b", 5, pair.mine),
        lambda: shell.find_endp(b"a\0b"),
        lambda: shell.save_dest(b"a\0b", b"", b"", 5),
        lambda: shell.save_dest(b"", b"", b"a\0b", 5),
        lambda: shell.find_dest(b"a\0b"),
    ]
    for ask in requests:
        with pytest.raises(ValueError, match="NUL byte at 1"):
            ask()


def test_text_is_a_type_error(shell: Shell) -> None:
    with pytest.raises(TypeError, match="encode it first"):
        shell.find_endp("label")  # type: ignore[arg-type]
