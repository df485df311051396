"""The peer looks closely: what a server gets wrong is noticed, with words that say what."""

import os
from pathlib import Path

import pytest
from tests.conformance.scripted import GREETING, scripted

from scache_conformance.wire.line import Line, identity
from scache_conformance.wire.lists import decode, encode
from scache_conformance.wire.peer import Peer
from scache_conformance.wire.unmet import Unmet

SOON_S = 0.05
"""A deadline that passes at once: these servers say what they say without being asked."""


def peer(path: Path, deadline_s: float = 5.0) -> Peer:
    return Peer(path, deadline_s=deadline_s)


def test_WIRE_1_encode_and_decode_are_inverse() -> None:
    attributes = ((b"request", b"save_dest"), (b"label", b""), (b"", b"x"), (b"label", b"a\nb\xff"))[:2]
    data = encode(*attributes)
    assert data == b"request\0save_dest\0label\0\0\0"
    assert decode(data + b"rest") == (attributes, len(data))


@pytest.mark.parametrize("length", range(len(GREETING)))
def test_WIRE_4_unfinished_list_is_none(length: int) -> None:
    assert decode(GREETING[:length]) is None


def test_WIRE_2_nul_alone_is_an_empty_list() -> None:
    assert decode(b"\0status") == ((), 1)


def test_greeting_is_insisted_on(tmp_path: Path) -> None:
    with scripted(tmp_path, (b"protocol\0other\0\0", [])) as path, pytest.raises(Unmet, match="the greeting"):
        peer(path)


def test_missing_greeting_meets_the_deadline(tmp_path: Path) -> None:
    with scripted(tmp_path) as path, pytest.raises(Unmet, match="nothing within"):
        peer(path, SOON_S)


def test_closed_connection_is_no_greeting(tmp_path: Path) -> None:
    with scripted(tmp_path, keep_open=False) as path, pytest.raises(Unmet, match="closed the connection"):
        peer(path)


def test_nobody_there_is_unmet(tmp_path: Path) -> None:
    with pytest.raises(Unmet, match="take a connection"):
        peer(tmp_path / "nobody")


@pytest.mark.parametrize(
    "reply",
    [
        b"status\x000\0\0",
        b"status\x000\0property\0\0property\0\0\0",
        b"property\0\0status\x000\0\0",
        b"status\x003\0property\0\0\0",
        b"status\x0000\0property\0\0\0",
        b"\0",
    ],
)
def test_CONN_13_reply_of_another_shape_is_unmet(tmp_path: Path, reply: bytes) -> None:
    with (
        scripted(tmp_path, (GREETING + reply, [])) as path,
        peer(path) as client,
        pytest.raises(Unmet, match="a reply of"),
    ):
        client.receive_reply(1)


def test_CONN_13_reply_of_the_right_shape_is_read(tmp_path: Path) -> None:
    with scripted(tmp_path, (GREETING + b"status\x002\0property\0\0\0", [])) as path, peer(path) as client:
        reply = client.receive_reply(1)
    assert (reply.status, reply.properties) == (2, (b"",))


def test_FD_1_descriptor_on_plain_bytes_is_noticed(tmp_path: Path) -> None:
    with (
        scripted(tmp_path, (GREETING, []), (b"status\x000\0\0", [0])) as path,
        peer(path) as client,
        pytest.raises(Unmet, match="1 descriptor"),
    ):
        client.receive_reply(0)


@pytest.mark.parametrize(("byte", "count"), [(b"x", 1), (b"\0\0", 1), (b"\0", 2), (b"\0", 0)])
def test_FD_6_other_hand_over_is_unmet(tmp_path: Path, byte: bytes, count: int) -> None:
    with (
        scripted(tmp_path, (GREETING, []), (byte, [0] * count)) as path,
        peer(path) as client,
        pytest.raises(Unmet, match="exactly one descriptor"),
    ):
        client.receive_descriptor()


def test_FD_6_descriptor_is_received_and_closed_with_the_peer(tmp_path: Path) -> None:
    line = Line()
    with scripted(tmp_path, (GREETING, []), (b"\0", [line.far.fileno()])) as path:
        with peer(path) as client:
            assert line.is_other_end_of(client.receive_descriptor())
            line.let_go()
            assert not line.hung_up(SOON_S)
        assert line.hung_up(5)
    line.close()


def test_descriptor_given_up_outlives_the_peer(tmp_path: Path) -> None:
    line = Line()
    with scripted(tmp_path, (GREETING, []), (b"\0", [line.far.fileno()])) as path, peer(path) as client:
        fd = client.give_up(client.receive_descriptor())
    assert line.is_other_end_of(fd)
    os.close(fd)
    line.close()


def test_line_tells_another_connection_apart() -> None:
    line, other = Line(), Line()
    assert line.is_other_end_of(line.far.fileno())
    assert not line.is_other_end_of(other.far.fileno())
    assert identity(line.far.fileno()) != identity(other.far.fileno())
    line.close()
    other.close()


def test_silence_is_broken_by_a_byte_and_by_a_hangup(tmp_path: Path) -> None:
    with scripted(tmp_path, (GREETING + b"x", [])) as path, peer(path) as client, pytest.raises(Unmet, match="silence"):
        client.insist_on_silence(5)


def test_hangup_is_no_silence(tmp_path: Path) -> None:
    with (
        scripted(tmp_path, (GREETING, []), keep_open=False) as path,
        peer(path) as client,
        pytest.raises(Unmet, match="silence"),
    ):
        client.insist_on_silence(5)


def test_hangup_is_insisted_on(tmp_path: Path) -> None:
    with scripted(tmp_path, (GREETING, []), keep_open=False) as path, peer(path) as client:
        client.insist_on_hangup()


def test_hangup_after_a_reply_is_not_what_was_expected(tmp_path: Path) -> None:
    with (
        scripted(tmp_path, (GREETING + b"status\x001\0\0", []), keep_open=False) as path,
        peer(path) as client,
        pytest.raises(Unmet, match="without a reply"),
    ):
        client.insist_on_hangup()


def test_transcript_shows_every_byte(tmp_path: Path) -> None:
    with scripted(tmp_path, (GREETING, []), (b"\0", [0])) as path, peer(path) as client:
        client.send((b"dummy", b"\x1b[31m"))
        client.receive_descriptor()
        lines = client.transcript.lines()
    assert any(line.endswith(r"A    -> dummy\0\x1b[31m\0\0") for line in lines)
    assert any(line.endswith(r"A    <- \0  + 1 descriptor") for line in lines)
