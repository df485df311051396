"""The protocol without any input or output: every reply fed whole, byte by byte, at every split and with a tail."""

import os
from collections.abc import Iterator

import pytest
from tests.support.messages import DONE, DUMMY, GREETING, MISSED
from tests.support.scripted import FOUND, FOUND_DEST

from scache_client import Found, FoundDest, ProtocolError, attributes
from scache_client.attributes import Decoder, encode
from scache_client.dialogue import (
    Arrival,
    Dialogue,
    Farewell,
    Receive,
    ReceiveDescriptor,
    Send,
    SendDescriptor,
    Step,
    find_dest,
    find_endp,
    greet,
    save_dest,
    save_endp,
)

LISTS = {
    b"\0": (),
    DUMMY: ((b"dummy", b""),),
    GREETING: ((b"protocol", b"connection_cache_protocol"),),
    FOUND_DEST: ((b"status", b"0"), (b"property", b"of the binding"), (b"property", b"of the endpoint")),
    MISSED: ((b"status", b"2"), (b"property", b"")),
    b"property\0\xff\n=\0\0": ((b"property", b"\xff\n="),),
}

DANCES = [
    pytest.param(greet, [GREETING], None, id="greet"),
    pytest.param(save_endp(b"e", b"p", 5, 0), [DUMMY, DONE], None, id="save_endp"),
    pytest.param(save_dest(b"d", b"p", b"e", 5), [DONE], None, id="save_dest"),
    pytest.param(find_endp(b"e"), [MISSED], None, id="find_endp-miss"),
    pytest.param(find_endp(b"e"), [FOUND], Found, id="find_endp"),
    pytest.param(find_dest(b"d"), [FOUND_DEST], FoundDest, id="find_dest"),
]


def pieces_of(data: bytes) -> Iterator[list[bytes]]:
    """Cut data in every way into two, and once into single bytes."""
    yield [data]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


def play(dialogue: Dialogue[object], pieces: list[bytes]) -> tuple[list[Step], object]:
    """Feed a dialogue and return the steps it asked for and its result."""
    steps: list[Step] = []
    left = iter(pieces)
    try:
        step = next(dialogue)
        while True:
            steps.append(step)
            match step:
                case Receive():
                    step = dialogue.send(Arrival(next(left)))
                case ReceiveDescriptor():
                    step = dialogue.send(Arrival(b"\0", os.open(os.devnull, os.O_RDONLY)))
                case _:
                    step = dialogue.send(Arrival())
    except StopIteration as stop:
        assert next(left, None) is None, "the dialogue ended before all was read"
        return steps, stop.value


@pytest.mark.parametrize("data", LISTS)
def test_list_is_read_however_it_is_cut(data: bytes) -> None:
    for pieces in pieces_of(data):
        decoder = Decoder()
        assert [decoder.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert (decoder.attributes, decoder.tail) == (LISTS[data], b"")


@pytest.mark.parametrize("data", LISTS)
def test_what_follows_a_list_is_its_tail(data: bytes) -> None:
    for pieces in pieces_of(data):
        decoder = Decoder()
        assert [decoder.feed(piece) for piece in [*pieces[:-1], pieces[-1] + b"tail"]][-1]
        assert (decoder.attributes, decoder.tail) == (LISTS[data], b"tail")


@pytest.mark.parametrize("data", [data for data in LISTS if data != b"\0"])
def test_what_was_read_is_what_is_written(data: bytes) -> None:
    assert encode(LISTS[data]) == data


@pytest.mark.parametrize(("dance", "replies", "kind"), DANCES)
def test_dance_is_the_same_however_replies_are_cut(dance: object, replies: list[bytes], kind: type | None) -> None:
    assert callable(dance)
    for cut in range(len(replies)):
        for pieces in pieces_of(replies[cut]):
            steps, result = play(dance(), [*replies[:cut], *pieces, *replies[cut + 1 :]])
            assert len([step for step in steps if isinstance(step, Receive)]) == len(replies) - 1 + len(pieces)
            if kind is None:
                assert result is None
            else:
                assert type(result) is kind
                assert isinstance(result, Found)
                result.close()


@pytest.mark.parametrize(("dance", "replies", "kind"), DANCES)
def test_reply_with_a_tail_is_a_protocol_error(dance: object, replies: list[bytes], kind: type | None) -> None:
    assert callable(dance)
    for wrong in range(len(replies)):
        with pytest.raises(ProtocolError, match="without a request"):
            play(dance(), [*replies[:wrong], replies[wrong] + b"\0"])


def test_only_what_follows_the_passing_of_a_descriptor_may_have_parked_it() -> None:
    steps, _ = play(save_endp(b"e", b"p", 5, 0)(), [DUMMY, DONE])
    marked = [(type(step), step.maybe_parked) for step in steps if not isinstance(step, Farewell)]
    assert marked == [(Send, False), (Receive, False), (SendDescriptor, False), (Receive, True)]


def test_find_says_ready_before_and_received_after_the_descriptor() -> None:
    steps, found = play(find_endp(b"e")(), [FOUND])
    assert isinstance(found, Found)
    found.close()
    assert [type(step) for step in steps] == [Send, Receive, Send, ReceiveDescriptor, Farewell]


def test_reply_as_long_as_the_limit_is_read_and_one_byte_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "REPLY_BYTES_MAX", 100)
    assert not Decoder().feed(b"x" * 100)
    with pytest.raises(ProtocolError, match="101 bytes and no end"):
        Decoder().feed(b"x" * 101)


def test_message_shows_a_peers_bytes_escaped_and_cut() -> None:
    with pytest.raises(ProtocolError) as caught:
        play(greet(), [b"220 \x1b[2J\n%b\0\0\0" % (b"x" * 10_000)])
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
