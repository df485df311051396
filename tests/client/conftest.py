"""Every test here leaves the process with the descriptors it found, and may say what it wants with either shell."""

import os
import socket
from collections.abc import Iterator

import pytest
from tests.client.peer import Pair, Peer
from tests.client.shells import SHELLS, Shell


def open_descriptors() -> set[tuple[str, str]]:
    """Return each descriptor of this process with what it is."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
        except FileNotFoundError:
            pass  # the one that listed the folder
    return found


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() - before == set()


@pytest.fixture
def peer(_no_descriptor_is_left: None) -> Iterator[Peer]:
    with Peer() as opened:
        yield opened


@pytest.fixture
def pair(_no_descriptor_is_left: None) -> Iterator[Pair]:
    mine, far = socket.socketpair()
    with mine, far:
        yield Pair(mine, far)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, peer: Peer) -> Iterator[Shell]:
    with request.param(peer) as opened:
        yield opened
