"""The lockstep's negative control: it must catch every wrong version of the reference, each within a few runs."""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
from tests.side_by_side.lockstep.lane import InProcessLane
from tests.side_by_side.lockstep.rules import EVERY_RULE
from tests.side_by_side.lockstep.run import lockstep
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import Difference, World
from tests.support.servers import START_NS
from tests.wrong.references import WRONG, Wrong, WrongReference

from scache_spec.vocabulary import Limits

SCRIPT_CALLS_MAX = 44
"""How long the shortest script may be; a request and the look at what came of it are two calls."""


@pytest.fixture
def cleaned_up() -> Iterator[None]:
    """Close what a wrong server leaves open."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    for leaked in set(os.listdir("/proc/self/fd")) - before:
        try:
            os.close(int(leaked))
        except OSError:
            pass  # The descriptor of the listing itself.


def opener(wrong: Wrong) -> Callable[[Limits], World]:
    return lambda limits: World(limits, [InProcessLane("wrong reference", WrongReference(limits, wrong))], START_NS)


@pytest.mark.usefixtures("cleaned_up")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_version_is_caught(name: str) -> None:
    tally = Tally()
    with pytest.raises(Difference) as caught:
        lockstep(opener(WRONG[name]), EVERY_RULE, seed=1, runs=400, tally=tally)
    print(f"caught after {tally.steps} steps, shortest script:\n{caught.value}")
    assert len(caught.value.script) <= SCRIPT_CALLS_MAX


def test_right_version_passes_the_same_runs() -> None:
    lockstep(opener(nullcontext), EVERY_RULE, seed=1, runs=15)
