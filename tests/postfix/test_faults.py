"""Every fault that Postfix's own server takes badly: what it does, and what scached does.

The first column is there so that the second means something: an experiment that does not hurt the one would not hurt
the other either.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.postfix.faults import EXPERIMENTS, Servers, experiment, wall_clock_jumps

NEEDS_POSTFIX = pytest.mark.needs("postfix", "root")

EXPECTED = {
    "client stalls in a request": (
        "in a list: no answer in 3 s, before the descriptor: no answer in 3 s",
        "in a list: answered, before the descriptor: answered",
    ),
    "descriptor table full": (
        r"2\d\d saved, then exit status 1: fatal: too many errors - program terminated",
        r"lives; 2\d\d saved, then b'status\\x002\\x00\\x00'; all found again, waiting clients greeted=True",
    ),
    "two descriptors with one save, 50 times": (r"\+100 descriptors", r"\+0 descriptors"),
    "ttl 2 s": (r"\d\.\d\d to \d\.\d\d s", r"2\.\d\d to \d\.\d\d s"),
    "wall clock jumps": ("lost", "kept"),
    "label of 300 kB": (
        "accepted",
        r"refused: \['warning: client \d+ \(pid \d+, uid \d+\) closed: .* attribute_list_bytes_max=16384'\]",
    ),
    "peer has hung up": ("handed out", "handed out"),
    "peer has hung up, scached_liveness=hup": ("handed out", "not handed out"),
    "max_idle with a session parked": ("lives for less than 2.5 s, exit status 0", "lives on, exit status 0"),
    "SIGTERM": ("0 lines of statistics", "2 lines of statistics"),
}


@NEEDS_POSTFIX
@pytest.mark.parametrize("server", ["scache", "scached"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.needs("faketime")) if name == "wall clock jumps" else name
        for name in EXPECTED
    ],
)
def test_fault_is_taken_as_the_table_says(name: str, server: str) -> None:
    told = experiment(name, server)
    assert re.fullmatch(EXPECTED[name][server == "scached"], told), told


def test_every_experiment_is_in_the_table() -> None:
    assert list(EXPECTED) == list(EXPERIMENTS)


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Start scached as often as a test likes."""
    with ExitStack() as stack:
        yield Servers(stack, Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))), "scached")


@NEEDS_POSTFIX
@pytest.mark.needs("faketime")
def test_clock_that_jumps_would_be_noticed(servers: Servers) -> None:
    """The experiment can fail: were it not for the monotonic clock, the session would be gone."""
    assert wall_clock_jumps(servers, monotonic_too=True) == "lost"
