"""The specification and Postfix's own scache(8) in lockstep: the specification describes what Postfix built."""

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.side_by_side.lockstep.polite import Walk
from tests.side_by_side.lockstep.real_lane import RealLane
from tests.side_by_side.lockstep.shortest import shortest
from tests.side_by_side.lockstep.world import Difference, World
from tests.wrong.references import WRONG

from scache_conformance.servers.postfix import MasterChild
from scache_spec.vocabulary import Limits

pytestmark = pytest.mark.needs("postfix", "compiler")

LIMITS = Limits(ttl_limit_s=3)
STEPS_PER_RUN = 80


@pytest.fixture
def child() -> Iterator[MasterChild]:
    with ExitStack() as stack:
        yield new_child(stack)


def open_world(child: MasterChild, limits: Limits = LIMITS) -> World:
    lane = RealLane(child)
    return World(limits, [lane], lane.now_ns, counts_descriptors=False)


def walk(child: MasterChild, seed: int, runs: int) -> Walk:
    steps = Walk(open_world(child), seed)
    baseline = child.descriptors()
    try:
        for _ in range(runs):
            steps.run(STEPS_PER_RUN)
            assert child.descriptors() == baseline
    except Difference as difference:
        steps.world.discard()
        with ExitStack() as stack:
            raise shortest(difference, lambda limits: open_world(new_child(stack), limits)) from None
    return steps


def new_child(stack: ExitStack) -> MasterChild:
    return stack.enter_context(MasterChild(virtual_clock=True, ttl_limit_s=LIMITS.ttl_limit_s))


def test_scache_does_as_the_specification_does(child: MasterChild) -> None:
    steps = walk(child, seed=1, runs=260)
    print(f"lockstep with scache(8): {steps.tally}")
    steps.tally.assert_enough(steps_min=20_000)


def test_scache_does_as_the_specification_does_on_walks_that_were_never_seen(child: MasterChild) -> None:
    seed = random.SystemRandom().getrandbits(64)
    print(f"seed={seed}")
    walk(child, seed, runs=20)


@pytest.mark.parametrize(
    "name",
    [
        "newest first",
        "equal properties are one session",
        "ttl without limit",
        "expired descriptors stay open",
        "renewed binding goes last",
        "renewal never shortens",
        "bindings differ by endpoint alone",
        "find_dest consumes the binding",
        "find_dest tries one binding",
        "bindings go with their sessions",
        "domain hit is an address hit too",
        "peak of bindings for domains",
        "malformed find answered short",
    ],
)
def test_wrong_specification_is_caught_by_scache(child: MasterChild, name: str) -> None:
    """The negative control, the other way round: here it is the specification that is wrong."""
    steps = Walk(open_world(child), seed=1)
    try:
        with WRONG[name](), pytest.raises(Difference):
            steps.run_often(40, STEPS_PER_RUN)
    finally:
        steps.world.discard()
    print(f"caught after {steps.tally.steps} steps")
