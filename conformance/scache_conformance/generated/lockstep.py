"""Lockstep: Hypothesis makes up what clients do, the specification says the outcome, and a server carries it out.

`rules` says which steps are tried, `oracle` what their outcome is, `driver` how they are carried out.

A whole run is made up before a server sees any of it. The server therefore cannot influence the choice, and the same
seed gives the same runs. A run that fails is a trace as TRACES.md describes it, and anybody can replay it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from scache_conformance.generated.driver import Divergence, drive
from scache_conformance.generated.rules import BYTES_PER_RULE, RuleSet, follow
from scache_conformance.generated.scenario import Names, Scenario
from scache_conformance.generated.steps import FindDest, FindEndp, SaveDest, SaveEndp, Trace
from scache_conformance.servers.target import ServerDied, Target
from scache_conformance.servers.unavailable import Unavailable
from scache_spec.vocabulary import Limits

RULES_PER_RUN: Final = 60
"""Long enough for states that take a dozen steps to reach, short enough to shorten in seconds."""

PLAN_BYTES: Final = RULES_PER_RUN * BYTES_PER_RULE

IPC_TIMEOUT_S: Final = 60
"""What a server is taken to grant a client in mid-dance, if nothing else was told."""

SHORTEN_S_MAX: Final = 60.0
"""Where a reply does not come each try takes as long as the deadline for it. Arbitrary: what a person waits for."""

STALLED: Final = 0.25
"""In real time, this share of the ttl limit that passed during a run means that something may have expired in it."""


@dataclass(frozen=True, slots=True)
class Lockstep:
    """What became of many runs. `finds` counts finds by what came of them."""

    seed: int
    runs: int
    steps: int
    finds: Counter[str]
    divergence: Divergence | None

    def __str__(self) -> str:
        """Say it in a line."""
        outcome = "no divergence" if self.divergence is None else f"DIVERGED: {self.divergence}"
        found = ", ".join(f"{number} {what}" for what, number in sorted(self.finds.items()))
        return f"seed {self.seed}: {self.runs} runs, {self.steps} steps in lockstep ({found}), {outcome}"


def trace_of(
    plan: bytes, names: Names, limits: Limits, rule_set: RuleSet, *, has_clock: bool, number: int = 1
) -> Trace:
    """Return the trace that a plan comes to."""
    scenario = Scenario(names, limits, has_clock)
    follow(scenario, rule_set, plan)
    scenario.tear_down()
    return scenario.trace(number)


def run(
    target: Target,
    *,
    steps_min: int,
    seed_number: int,
    rule_set: RuleSet = RuleSet.ALL,
    shorten_s_max: float = SHORTEN_S_MAX,
    progress: Callable[[int], None] = lambda done: None,
) -> Lockstep:
    """Keep a server in lockstep with the specification for at least so many steps, or until it diverges from it.

    A run in which it diverges is made shorter for at most so many seconds. `progress` is told how many steps there are.
    """
    session = _Session(target, rule_set, shorten_s_max, progress)
    for batch in count():
        left = steps_min - session.steps
        if left <= 0 or session.divergence is not None:
            break
        _run_batch(session, 1 + left // RULES_PER_RUN, f"{seed_number}.{batch}")
    return Lockstep(seed_number, session.runs, session.steps, session.finds, session.divergence)


def _run_batch(session: "_Session", runs: int, seed_text: str) -> None:
    @seed(seed_text)
    @settings(
        max_examples=runs,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
    )
    # One value of bytes is drawn thirty times faster than as many numbers, and shortened as well.
    @given(st.binary(min_size=PLAN_BYTES, max_size=PLAN_BYTES))
    def lockstep(plan: bytes) -> None:
        session.follow(plan)

    try:
        lockstep()
    except (Divergence, Flaky):
        pass  # the session kept the shortest


class _Session:
    """Runs on one server: the tally, and the shortest run that it failed."""

    def __init__(
        self, target: Target, rule_set: RuleSet, shorten_s_max: float, progress: Callable[[int], None]
    ) -> None:
        self.runs = self.steps = 0
        self.finds: Final[Counter[str]] = Counter()
        self.divergence: Divergence | None = None
        self._target: Final = target
        self._rule_set: Final = rule_set
        self._progress: Final = progress
        self._limits: Final = Limits(
            ttl_limit_s=target.declared.ttl_limit_s,
            **{"ipc_timeout_s": IPC_TIMEOUT_S, **target.declared.limits},
        )
        self._numbers: Final = count(1)
        self._shorten_s_max: Final = shorten_s_max
        self._shorten_until_s = 0.0

    def follow(self, plan: bytes) -> None:
        """Play what a plan comes to. Raises Divergence."""
        if self.divergence is not None and time.monotonic() > self._shorten_until_s:
            return  # Hypothesis then finds that the failure does not repeat, and stops
        try:
            trace = self._play(plan)
        except Divergence as divergence:
            if self.divergence is None:
                self._shorten_until_s = time.monotonic() + self._shorten_s_max
            if self.divergence is None or len(divergence.trace.steps) <= len(self.divergence.trace.steps):
                self.divergence = divergence
            self._clean()
            raise
        if self.divergence is None:
            self.runs += 1
            self.steps += len(trace.steps)
            self.finds.update(tally(trace))
            self._progress(self.steps)

    def _play(self, plan: bytes) -> Trace:
        for _ in range(5):
            number = next(self._numbers)
            names = Names.tagged(b"%d." % number)
            trace = trace_of(plan, names, self._limits, self._rule_set, has_clock=self._target.has_clock, number=number)
            begin_s = time.monotonic()
            try:
                drive(self._target, trace)
            except Divergence as divergence:
                is_quick = time.monotonic() - begin_s < STALLED * self._limits.ttl_limit_s
                if self._target.has_clock or divergence.is_silence or is_quick:
                    raise
            else:
                return trace
        raise Unavailable(f"this machine stalls: tell a --ttl-limit far above {self._limits.ttl_limit_s} s")

    def _clean(self) -> None:
        """Have a server that serves, and no session of the run before in it."""
        try:
            self._target.check_alive()
            if self._target.has_clock:
                self._target.advance(max(self._limits.ttl_limit_s, IPC_TIMEOUT_S))
        except ServerDied:
            self._target.revive()


def tally(trace: Trace) -> Iterable[str]:
    """Yield, for each find by a whole dance, what came of it: `gone` is a label that had something saved before."""
    used: set[tuple[type, bytes]] = set()
    for each in trace.steps:
        match each.step:
            case SaveEndp(_, _, endpoint, _, _):
                used.add((FindEndp, endpoint))
            case SaveDest(_, _, destination, _, _):
                used.add((FindDest, destination))
            case FindEndp(_, label) | FindDest(_, label):
                verb = "find_endp" if isinstance(each.step, FindEndp) else "find_dest"
                was_there = (type(each.step), label) in used
                yield f"{verb} " + ("hit" if each.outcome.found else "gone" if was_there else "unknown")
            case _:
                pass
