"""The specification and Postfix's own scache(8) in lockstep: the specification describes what Postfix built."""

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.side_by_side.lockstep.real_lane import RealLane
from tests.side_by_side.lockstep.rules import WHOLE_DANCES
from tests.side_by_side.lockstep.run import Run
from tests.side_by_side.lockstep.shortest import shortest
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import Difference, World
from tests.support.messages import find_endp
from tests.support.tracing import injected
from tests.wrong.registry import rules

from scache_conformance.servers.postfix import MasterChild
from scache_spec.vocabulary import ClientId, Limits

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


def lockstep(child: MasterChild, seed: int, runs: int) -> Tally:
    """Do so many runs in one world, each of clients whose dances are whole: the server serves one at a time."""
    tally, world, baseline = Tally(), open_world(child), child.descriptors()
    try:
        for number in range(runs):
            run = Run(limits=LIMITS, world=world, tally=tally, whole_dances=True)
            run.follow(WHOLE_DANCES, STEPS_PER_RUN, random.Random(f"{seed}.{number}"))
            world.clear()
            assert child.descriptors() == baseline
    finally:
        world.discard()
    return tally


def lockstep_with_shortest_script(child: MasterChild, seed: int, runs: int) -> Tally:
    with ExitStack() as stack:
        try:
            return lockstep(child, seed, runs)
        except Difference as difference:
            raise shortest(difference, lambda limits: open_world(new_child(stack), limits)) from None


def new_child(stack: ExitStack) -> MasterChild:
    return stack.enter_context(MasterChild(virtual_clock=True, ttl_limit_s=LIMITS.ttl_limit_s))


def test_scache_does_as_the_specification_does(child: MasterChild) -> None:
    tally = lockstep_with_shortest_script(child, seed=1, runs=450)
    print(f"lockstep with scache(8): {tally}")
    tally.assert_enough(steps_min=20_000)


def test_scache_does_as_the_specification_does_in_runs_that_were_never_seen(child: MasterChild) -> None:
    seed = random.SystemRandom().getrandbits(64)
    print(f"{seed=}")
    lockstep_with_shortest_script(child, seed, runs=20)


@pytest.mark.needs("strace")
def test_scache_that_takes_its_time_is_waited_for(child: MasterChild) -> None:
    """Between reading a request and writing the reply, here 20 ms, a descriptor that came with it is closed."""
    world = open_world(child)
    client = ClientId(65)
    world.connect(client)
    world.settle()
    with injected(child.pid, "write", "delay_enter=20000"):
        world.write(client, find_endp(b"nobody"), 1)
        world.settle()
    world.discard()


@pytest.mark.parametrize(
    "name",
    [
        "newest-first",
        "find-forgets-equal-sessions",
        "session-ttl-uncapped",
        "binding-ttl-uncapped",
        "expired-descriptor-stays-open",
        "renewal-reorders",
        "renewal-only-extends",
        "one-binding-per-endpoint",
        "find-consumes-its-binding",
        "only-the-first-binding-is-tried",
        "binding-expires-with-its-last-session",
        "destination-hit-counts-twice",
        "bindings-count-as-domains",
        "no-properties-if-malformed",
    ],
)
def test_wrong_specification_is_caught_by_scache(child: MasterChild, name: str) -> None:
    """The negative control, the other way round: here it is the specification that is wrong."""
    with rules()[name].instead(), pytest.raises(Difference):
        lockstep(child, seed=1, runs=150)
