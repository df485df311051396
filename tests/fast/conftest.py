"""Every test here leaves the process with the descriptors it found."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.descriptors import none_left_open
from tests.support.servers import Fast


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    with none_left_open():
        yield


@pytest.fixture
def jail() -> Iterator[Path]:
    """Return an empty folder that everybody can see into; the path is short enough for a socket's.

    Not tmp_path: other runs of pytest close the folder above to everybody else, whenever they start.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def house() -> Iterator[Fast]:
    with Fast() as opened:
        yield opened
