"""The lockstep's negative control: it must catch every wrong version of the reference, each within a few runs."""

import os
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.side_by_side.lockstep.lane import InProcessLane
from tests.side_by_side.lockstep.machine import Machine
from tests.side_by_side.lockstep.shortest import shortest
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import Difference, World
from tests.support.servers import START_NS
from tests.wrong.references import WRONG, Wrong, WrongReference

from scache_spec.vocabulary import Limits

SCRIPT_CALLS_MAX = 44
"""How long the shortest script may be; a request and the look at what came of it are two calls."""

IMPATIENT = settings(
    max_examples=400,
    stateful_step_count=60,
    phases=[Phase.generate],  # One difference is enough, be it long.
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


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


def machine(wrong: Wrong) -> type[Machine]:
    class Fresh(Machine):
        tally = Tally()

        @staticmethod
        def open_world(limits: Limits) -> World:
            return World(limits, [InProcessLane("wrong reference", WrongReference(limits, wrong))], START_NS)

    return Fresh


@pytest.mark.usefixtures("cleaned_up")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_version_is_caught(name: str) -> None:
    fresh = machine(WRONG[name])
    with pytest.raises(Difference) as caught:
        run_state_machine_as_test(fresh, settings=IMPATIENT)
    found = shortest(caught.value, fresh.open_world)
    print(f"caught after {fresh.tally.steps} steps, shortest script:\n{found}")
    assert len(found.script) <= SCRIPT_CALLS_MAX


def test_right_version_passes_the_same_runs() -> None:
    run_state_machine_as_test(machine(nullcontext), settings=settings(IMPATIENT, max_examples=15))
