"""Every test here leaves the process with the descriptors it found."""

from collections.abc import Iterator

import pytest
from tests.fast.peer import House, open_descriptors


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() - before == set()


@pytest.fixture
def house() -> Iterator[House]:
    with House() as opened:
        yield opened
