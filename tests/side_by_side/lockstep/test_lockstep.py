"""Specification, reference and production server in lockstep, over real sockets with real descriptors."""

import random

from tests.side_by_side.lockstep.lane import InProcessLane, SmallShares
from tests.side_by_side.lockstep.rules import EVERY_RULE, WHILE_SOMETHING_ENDS
from tests.side_by_side.lockstep.run import lockstep
from tests.side_by_side.lockstep.world import World
from tests.support.descriptors import none_left_open
from tests.support.servers import SERVERS, START_NS

from scache_spec.vocabulary import Limits

RULES = [*EVERY_RULE, *WHILE_SOMETHING_ENDS]


def open_world(limits: Limits) -> World:
    lanes = [InProcessLane(name, start(limits)) for name, start in SERVERS.items()]
    return World(limits, [*lanes, SmallShares(limits)], START_NS)


def test_servers_do_as_the_specification_does() -> None:
    with none_left_open():
        tally = lockstep(open_world, RULES, seed=1, runs=400)
    print(f"lockstep: {tally}")
    tally.assert_enough(steps_min=20_000)


def test_servers_do_as_the_specification_does_in_runs_that_were_never_seen() -> None:
    seed = random.SystemRandom().getrandbits(64)
    print(f"{seed=}")
    with none_left_open():
        assert lockstep(open_world, RULES, seed=seed, runs=50).steps >= 1_000
