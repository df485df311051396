"""The tables of malformed_lists and broken_dances, carried out against each server: the real one, and both of ours."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import assert_never

import pytest
from tests.postfix.broken_dances import DANCE_CASES
from tests.postfix.cases import (
    ENDPOINT,
    PROPERTIES,
    TTL_LIMIT_S,
    Case,
    Closed,
    Expect,
    Held,
    Leave,
    Send,
    Silence,
    Step,
    Steps,
    Take,
)
from tests.postfix.malformed_lists import LIST_CASES
from tests.postfix.peer import DUMMY, Peer, find_endp, found, missed, same_file
from tests.postfix.standing_server import standing_server

from scache_conformance.servers.postfix import MasterChild
from scache_conformance.servers.unavailable import Unavailable

CASES = (*LIST_CASES, *DANCE_CASES)

by_id = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


class Player:
    """Carries out the steps of one case on one server, and knows in the end whether a descriptor was kept."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.reader, self.writer = os.pipe()
        self.peer = Peer(socket_path)

    def play(self, step: Step) -> None:
        """Carry out one step; fail with what happened instead."""
        match step:
            case Send(data, descriptors):
                self.peer.send(data, (self.reader,) * descriptors)
            case Expect(reply):
                self.peer.expect(reply)
            case Silence():
                self.peer.send(find_endp(b"nothing is ever saved here"))
                self.peer.expect(missed())
            case Take():
                taken = self.peer.take_descriptor()
                assert same_file(taken, self.reader)
                os.close(taken)
            case Closed():
                self.peer.expect_end()
            case Leave():
                self.peer.leave()
                self.peer = Peer(self.socket_path)
            case Held(count):
                assert self.drain() == count
            case _:
                assert_never(step)

    def drain(self) -> int:
        """Take every session at ENDPOINT and count them."""
        with Peer(self.socket_path) as other:
            for count in range(1000):
                other.send(find_endp(ENDPOINT))
                other.expect(b"status\0")
                status = other.socket.recv(1)
                if status == b"2":
                    other.leave()
                    return count
                other.expect(found(PROPERTIES).removeprefix(b"status\x000"))
                other.send(DUMMY)
                os.close(other.take_descriptor())
                other.send(DUMMY)
        raise AssertionError("the server hands out sessions without end")

    def kept_by_server(self) -> bool:
        """End the case; tell whether anybody else still holds the descriptor that was passed about."""
        # An answer to the wrong list may look like the one to the right list. Then one is left over.
        assert self.peer.leave() == b""
        self.drain()
        os.close(self.reader)
        self.reader = -1
        try:
            os.write(self.writer, b"somebody could still read this")
        except BrokenPipeError:
            return False
        return True

    def close(self) -> None:
        """Let go of everything, however far the case came."""
        self.peer.socket.close()
        os.close(self.writer)
        if self.reader >= 0:
            os.close(self.reader)


def check(socket_path: Path, steps: Steps, leaks: bool) -> None:
    with closing(Player(socket_path)) as player:
        for step in steps:
            player.play(step)
        assert player.kept_by_server() == leaks, "a descriptor that nobody can get any more stays open"


@pytest.fixture(scope="module")
def ours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run one of our servers, as a process."""
    module: str = request.param
    socket_path = tmp_path_factory.mktemp("listening") / "socket"
    with standing_server(module, socket_path, ["--ttl-limit", f"{TTL_LIMIT_S}s"]):
        yield socket_path


@pytest.fixture(scope="module")
def real() -> Iterator[Path]:
    """Run Postfix's server."""
    with ExitStack() as stack:
        try:
            child = stack.enter_context(MasterChild(ttl_limit_s=TTL_LIMIT_S))
        except Unavailable as missing:
            pytest.skip(str(missing))
        yield child.socket_path


@pytest.mark.parametrize("ours", ["scache_fast", "scache_reference"], indirect=True)
@by_id
def test_input_is_answered_as_specified(case: Case, ours: Path) -> None:
    check(ours, case.steps, leaks=False)


@pytest.mark.postfix
@by_id
def test_real_scache_answers_the_same_or_as_the_table_says(case: Case, real: Path) -> None:
    check(real, case.postfix or case.steps, leaks=case.postfix_leaks)


def test_ids_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


def test_every_difference_has_a_reason_and_no_reason_lacks_a_difference() -> None:
    assert [case.id for case in CASES if bool(case.because) != bool(case.postfix or case.postfix_leaks)] == []
    assert [case.id for case in CASES if case.postfix == case.steps] == []
