"""The peer looks closely: what a server gets wrong is noticed, with words that say what."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.messages import GREETING
from tests.support.scripted import saying

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


OTHER_REPLIES = (
    b"status\x000\0\0",
    b"status\x000\0property\0\0property\0\0\0",
    b"property\0\0status\x000\0\0",
    b"status\x003\0property\0\0\0",
    b"status\x0000\0property\0\0\0",
    b"\0",
)
HAND_OVERS = ((b"x", 1), (b"\0\0", 1), (b"\0", 2), (b"\0", 0))


def silence(client: Peer) -> None:
    client.insist_on_silence(5)


@pytest.mark.parametrize(
    ("said", "keep_open", "act", "complaint"),
    [
        ([(b"protocol\0other\0\0", 0)], True, silence, "the greeting"),
        ([], True, silence, "nothing within"),
        ([], False, silence, "closed the connection"),
        *(([(GREETING + reply, 0)], True, lambda peer: peer.receive_reply(1), "a reply of") for reply in OTHER_REPLIES),
        ([(GREETING, 0), (b"status\x000\0\0", 1)], True, lambda peer: peer.receive_reply(0), "1 descriptor"),
        *(([(GREETING, 0), each], True, Peer.receive_descriptor, "exactly one descriptor") for each in HAND_OVERS),
        ([(GREETING + b"x", 0)], True, silence, "silence"),
        ([(GREETING, 0)], False, silence, "silence"),
        ([(GREETING + b"status\x001\0\0", 0)], False, Peer.insist_on_hangup, "without a reply"),
    ],
)
def test_what_no_server_may_say_is_unmet(
    tmp_path: Path, said: list[tuple[bytes, int]], keep_open: bool, act: Callable[[Peer], object], complaint: str
) -> None:
    """CONN-1, CONN-13, FD-1, FD-6."""
    deadline_s = 5 if said or not keep_open else SOON_S
    with (
        saying(tmp_path, *((data, [0] * count) for data, count in said), keep_open=keep_open) as path,
        pytest.raises(Unmet, match=complaint),
        Peer(path, deadline_s=deadline_s) as client,
    ):
        act(client)


def test_nobody_there_is_unmet(tmp_path: Path) -> None:
    with pytest.raises(Unmet, match="take a connection"):
        peer(tmp_path / "nobody")


def test_CONN_13_reply_of_the_right_shape_is_read(tmp_path: Path) -> None:
    with saying(tmp_path, (GREETING + b"status\x002\0property\0\0\0", [])) as path, peer(path) as client:
        reply = client.receive_reply(1)
    assert (reply.status, reply.properties) == (2, (b"",))


def test_FD_6_descriptor_is_received_and_closed_with_the_peer(tmp_path: Path) -> None:
    line = Line()
    with saying(tmp_path, (GREETING, []), (b"\0", [line.far.fileno()])) as path:
        with peer(path) as client:
            assert line.is_other_end_of(client.receive_descriptor())
            line.let_go()
            assert not line.hung_up(SOON_S)
        assert line.hung_up(5)
    line.close()


def test_descriptor_given_up_outlives_the_peer(tmp_path: Path) -> None:
    line = Line()
    with saying(tmp_path, (GREETING, []), (b"\0", [line.far.fileno()])) as path, peer(path) as client:
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


def test_hangup_is_insisted_on(tmp_path: Path) -> None:
    with saying(tmp_path, (GREETING, []), keep_open=False) as path, peer(path) as client:
        client.insist_on_hangup()


def test_server_that_waits_for_a_processor_may_take_more(tmp_path: Path) -> None:
    with (
        socket.create_server(str(tmp_path / "s"), family=socket.AF_UNIX) as listener,
        Peer(tmp_path / "s", greeted=False) as client,
        listener.accept()[0] as server,
    ):
        sent = client.send_as_much_as_is_taken(b"x" * 1000, 1 << 30)
        unread = [sent]

        def read_what_was_sent() -> None:
            while unread[0]:
                unread[0] -= len(server.recv(unread[0]))

        assert client.send_as_much_as_is_taken(b"x" * 1000, 1 << 30) == 0
        assert client.send_as_much_as_is_taken(b"x" * 1000, 1 << 30, read_what_was_sent) > 0


def test_transcript_shows_every_byte(tmp_path: Path) -> None:
    with saying(tmp_path, (GREETING, []), (b"\0", [0])) as path, peer(path) as client:
        client.send((b"dummy", b"\x1b[31m"))
        client.receive_descriptor()
        lines = client.transcript.lines()
    assert any(line.endswith(r"A    -> dummy\0\x1b[31m\0\0") for line in lines)
    assert any(line.endswith(r"A    <- \0  + 1 descriptor") for line in lines)
