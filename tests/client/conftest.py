"""Every test here leaves the process with the descriptors it found, and may say what it wants with either shell."""

import socket
from collections.abc import Iterator

import pytest
from tests.client.shells import SHELLS, Shell
from tests.support.descriptors import none_left_open
from tests.support.scripted import Pair, Scripted


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    with none_left_open():
        yield


@pytest.fixture
def peer(_no_descriptor_is_left: None) -> Iterator[Scripted]:
    with Scripted() as opened:
        yield opened


@pytest.fixture
def pair(_no_descriptor_is_left: None) -> Iterator[Pair]:
    mine, far = socket.socketpair()
    with mine, far:
        yield Pair(mine, far)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, peer: Scripted) -> Iterator[Shell]:
    with request.param(peer) as opened:
        yield opened
