"""Every test here leaves the process with the descriptors it found."""

from collections.abc import Iterator

import pytest
from tests.support.descriptors import none_left_open
from tests.support.servers import Fast


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    with none_left_open():
        yield


@pytest.fixture
def house() -> Iterator[Fast]:
    with Fast() as opened:
        yield opened
