"""What is measured: the scenarios of one run, and how often and how long each is repeated."""

import resource
from dataclasses import dataclass
from typing import Final

PARKED_MANY: Final = 18_000
"""What a process with the usual limit of 20 000 descriptors can hold besides its clients."""

DESCRIPTORS_SPARE: Final = 1_000
"""For clients, sessions in mid-dance and what a process has open anyway."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load on one kind of server: what the clients do, how many there are, and what the server holds meanwhile."""

    mix: str
    """endp, dest, accept or idle, as load.c explains them."""
    clients: int
    parked: int = 0
    stalled: int = 0
    rate: int = 0
    """Operations a second, of all clients together; 0: as many as can be."""

    def __str__(self) -> str:
        stalled = f", {self.stalled} stalled" if self.stalled else ""
        paced = f", {self.rate} operations a second" if self.rate else ""
        plural = "" if self.clients == 1 else "s"
        return f"{self.mix}, {self.clients} client{plural}, {self.parked} parked{stalled}{paced}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one run measures."""

    scenarios: tuple[Scenario, ...]
    rounds: int
    seconds: float
    """How long one measurement takes, without warm-up."""
    warmup_s: float
    paced_s: float
    """How long each figure of the table of paces takes."""
    growth: tuple[int, ...]
    """Sizes at which the table alone is measured."""
    messages: int
    """How many messages of real mail are delivered through each cache."""

    @property
    def parked(self) -> tuple[int, ...]:
        """Return the levels of parked sessions, ascending."""
        return tuple(sorted({scenario.parked for scenario in self.scenarios}))


MIXES: Final = ("endp", "dest")
STALL: Final = Scenario("endp", 8, stalled=10)
ACCEPT: Final = Scenario("accept", 8)

IDLE: Final = Scenario("idle", 20)
PACED: Final = Scenario("endp", 20, rate=800)
"""A mail system that is busy: 20 deliveries at a time, 800 operations a second."""

PACES: Final = (IDLE, Scenario("endp", 20, rate=100), PACED, Scenario("endp", 8))
"""From nothing to flat out: what each pace costs with busy polling and without."""


def parked_many() -> int:
    """Return how many sessions one process can hold here, 18 000 at most."""
    return min(PARKED_MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - DESCRIPTORS_SPARE)


def full_plan() -> Plan:
    """Return the plan behind the published figures: seven minutes with four servers."""
    levels = (1_000, parked_many())
    return Plan(
        scenarios=(
            *(Scenario(mix, clients) for mix in MIXES for clients in (1, 8, 64, 256, 1_024)),
            *(Scenario(mix, 8, parked) for mix in MIXES for parked in levels),
            *(Scenario("endp", 64, parked) for parked in levels),
            STALL,
            ACCEPT,
        ),
        rounds=5,
        seconds=0.8,
        warmup_s=0.2,
        paced_s=3.0,
        growth=(1_000, 10_000, 100_000, 1_000_000),
        messages=3_000,
    )


def quick_plan() -> Plan:
    """Return a plan that shows within a minute that everything works. Its figures are rough."""
    return Plan(
        scenarios=(
            *(Scenario(mix, clients) for mix in MIXES for clients in (1, 8, 64)),
            *(Scenario(mix, 8, 1_000) for mix in MIXES),
            STALL,
            ACCEPT,
        ),
        rounds=2,
        seconds=0.25,
        warmup_s=0.05,
        paced_s=0.5,
        growth=(1_000, 10_000, 100_000),
        messages=100,
    )
