"""Specification, reference and production server in lockstep, over real sockets with real descriptors."""

import random

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.side_by_side.lockstep.lane import InProcessLane
from tests.side_by_side.lockstep.machine import Machine
from tests.side_by_side.lockstep.shortest import shortest
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import Difference, World, open_descriptors
from tests.support.servers import SERVERS, START_NS

from scache_spec.vocabulary import Limits

STEPS_PER_RUN = 60
CALM = settings(
    stateful_step_count=STEPS_PER_RUN,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


def machine(*names: str) -> type[Machine]:
    """Return a machine for these servers that remembers nothing of any other test's."""

    class Fresh(Machine):
        tally = Tally()

        @staticmethod
        def open_world(limits: Limits) -> World:
            return World(limits, [InProcessLane(name, SERVERS[name](limits)) for name in names], START_NS)

    return Fresh


def run(fresh: type[Machine], calm: settings) -> None:
    before = open_descriptors()
    try:
        run_state_machine_as_test(fresh, settings=calm)
    except Difference as difference:
        raise shortest(difference, fresh.open_world) from None
    assert open_descriptors() == before


def test_servers_do_as_the_specification_does() -> None:
    fresh = machine(*SERVERS)
    run(fresh, settings(CALM, max_examples=470, derandomize=True))
    print(f"lockstep: {fresh.tally}")
    fresh.tally.assert_enough(steps_min=20_000)


def test_servers_do_as_the_specification_does_in_runs_that_were_never_seen() -> None:
    chosen = random.SystemRandom().getrandbits(64)
    print(f"to see this again, put @seed({chosen}) here")
    fresh = seed(chosen)(machine(*SERVERS))
    run(fresh, settings(CALM, max_examples=50, derandomize=False))
    assert fresh.tally.steps >= 1_000
