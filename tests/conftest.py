"""How much of what is generated is tried on each server, a sample or with --full all of it; and where files go."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.servers import CALLS

from scache_fast.engine import server
from scache_fast.engine.calls import ACCELERATED

pytest_plugins = ["tests.support.needs"]


@dataclass(frozen=True, slots=True)
class Volume:
    """For each server: steps of lockstep, concurrent histories, every so many-th trace."""

    steps: int
    histories: int
    every: int


SAMPLE = Volume(steps=2_000, histories=15, every=59)
"""Shows that the machinery works. 59 is prime to the number of rounds that traces come in."""

FULL = Volume(steps=20_000, histories=1_000, every=1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --full."""
    parser.addoption("--full", action="store_true", help="generated runs in their full volume (minutes)")
    parser.addoption("--compiled", action="store_true", help="fail unless the production server is the compiled one")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """See that --compiled tests what it says, and give the tests' files a short path.

    A socket's path holds 107 bytes. pytest's own folder has the user's name in it, and TMPDIR may be long.
    The files are gone after the run; --basetemp=FOLDER keeps them.
    """
    if config.getoption("--compiled") and server.__file__.endswith(".py"):
        raise pytest.UsageError(f"--compiled: {server.__file__} comes first; use make test-compiled")
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = folder = tempfile.mkdtemp(prefix="scached-", dir="/tmp")
        config.add_cleanup(lambda: shutil.rmtree(folder))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only works on plain Python, where a part of the engine is not."""
    if config.getoption("--compiled") or CALLS is ACCELERATED:
        plain = [item for item in items if item.get_closest_marker("plain")]
        config.hook.pytest_deselected(items=plain)
        items[:] = [item for item in items if item not in plain]


@pytest.fixture
def volume(request: pytest.FixtureRequest) -> Volume:
    """Return how much to try."""
    return FULL if request.config.getoption("--full") else SAMPLE


@pytest.fixture
def jail() -> Iterator[Path]:
    """Return an empty folder that everybody can see into; the path is short enough for a socket's.

    Not tmp_path: other runs of pytest close the folder above to everybody else, whenever they start.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
