"""The lockstep's negative control: it must catch every wrong rule, each within a few runs."""

import gc
import os
from collections.abc import Callable, Iterator

import pytest
from tests.side_by_side.lockstep.lane import InProcessLane
from tests.side_by_side.lockstep.rules import EVERY_RULE
from tests.side_by_side.lockstep.run import lockstep
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import Difference, World
from tests.support.servers import START_NS, Fast, Reference
from tests.wrong.registry import Layer, Rule, caught_by, right_server

from scache_spec.vocabulary import Limits

SCRIPT_CALLS_MAX = 80
"""How long the shortest script may be; a request and the look at what came of it are two calls."""

# A rule that changes the fast server can change it only where it is plain Python.
RULES = [
    pytest.param(rule, marks=pytest.mark.plain) if rule.server == "fast" else rule for rule in caught_by(Layer.LOCKSTEP)
]

SPOILED = ("__init__", "step", "print_statistics")


@pytest.fixture
def cleaned_up() -> Iterator[None]:
    """Close what a wrong server leaves open: first what an object owns, which would close it again, then the rest."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    for leaked in set(os.listdir("/proc/self/fd")) - before:
        try:
            os.close(int(leaked))
        except OSError:
            pass  # The descriptor of the listing itself.


def opener(rule: Rule) -> Callable[[Limits], World]:
    def open_world(limits: Limits) -> World:
        instead = rule.instead()
        kind = instead.spoil(Fast, *SPOILED) if rule.server == "fast" else instead.spoil(Reference, *SPOILED)
        return World(limits, [InProcessLane("wrong server", kind(limits))], START_NS)

    return open_world


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("cleaned_up")
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_wrong_rule_is_caught(rule: Rule) -> None:
    tally = Tally()
    with pytest.raises(Difference) as caught:
        lockstep(opener(rule), EVERY_RULE, seed=1, runs=600, tally=tally)
    print(f"caught after {tally.steps} steps, shortest script:\n{caught.value}")
    assert len(caught.value.script) <= SCRIPT_CALLS_MAX


def test_right_server_passes_the_same_runs() -> None:
    lockstep(opener(right_server()), EVERY_RULE, seed=1, runs=15)
