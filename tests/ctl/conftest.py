"""Every test here leaves the process with the descriptors it found."""

import socket
from collections.abc import Iterator

import pytest
from tests.support.descriptors import none_left_open
from tests.support.scripted import Pair


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    with none_left_open():
        yield


@pytest.fixture
def pair(_no_descriptor_is_left: None) -> Iterator[Pair]:
    mine, far = socket.socketpair()
    with mine, far:
        yield Pair(mine, far)
