"""A run of generated clients against servers and the specification, each step compared before the next is chosen.

The rules are the conformance suite's and, for servers in this process, those of `rules`. What the suite makes up as a
trace is here done to a World at once, so that limits, statistics, other clients and nanoseconds are compared as well.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.side_by_side.lockstep.shortest import shortest
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import Difference, World

from scache_conformance.generated.oracle import as_dance, client_id
from scache_conformance.generated.rules import Rule
from scache_conformance.generated.scenario import CLIENTS, Names, Scenario, Turn
from scache_conformance.generated.steps import (
    Connect,
    FindDest,
    FindEndp,
    HangUp,
    SaveDest,
    SaveEndp,
    Send,
    Step,
    Tick,
)
from scache_spec.conversation import State
from scache_spec.server import Client
from scache_spec.vocabulary import NS_PER_S, Label, Limits

NAMES: Final = Names(
    (b"e", b"smtp\n127.0.0.1\n2600\n0\n", b"both"), (b"", b"smtp\n[127.0.0.1]:2600\n\xff", b"both"), b"nobody"
)

STEPS_PER_RUN: Final = 60

ROOMY: Final = Limits(ttl_limit_s=3, status_update_time_s=40, ipc_timeout_s=6)
TIGHT: Final = Limits(
    ttl_limit_s=2,
    status_update_time_s=7,
    ipc_timeout_s=1,
    attribute_list_bytes_max=100,
    sessions_max=3,
    sessions_per_endpoint_max=2,
    bindings_max=2,
    clients_max=3,
)
ONE_AT_A_TIME: Final = TIGHT._replace(output_bytes_max=1)
"""After each reply nothing more is served until the reply has been taken."""
NARROW: Final = Limits(
    ttl_limit_s=2,
    status_update_time_s=40,
    ipc_timeout_s=6,
    attributes_max=5,
    bindings_per_destination_max=1,
    cached_bytes_max=60,
)
"""Room for few attributes of a list, bindings of a destination and bytes in all, and not for few of anything else."""
LIMITS: Final = (ROOMY, TIGHT, ONE_AT_A_TIME, NARROW)


@dataclass(kw_only=True)
class Run(Scenario):
    """What a world's clients do; its state is the oracle's."""

    names: Names = NAMES
    has_clock: bool = True
    world: World
    tally: Tally
    whole_dances: bool = False
    """Whether what one rule does stays together where a script is shortened."""

    def __post_init__(self) -> None:
        """Let everybody connect."""
        self.server = self.world.oracle.server
        self.reconnect()

    def follow(self, rules: Sequence[Rule], steps: int, choices: random.Random) -> None:
        """Apply rules until so many steps are taken."""
        enough = self.tally.steps + steps
        while self.tally.steps < enough:
            if self.whole_dances:
                self.world.mark()
            choices.choice(rules)(Turn(self, choices.choice(CLIENTS), choices.getrandbits(32)))
            self.reconnect()

    def reconnect(self) -> None:
        """Let everybody come again who was disconnected."""
        for client in CLIENTS:
            if not self.has(client):
                self.take(Connect(client))

    def has(self, client: str) -> bool:
        """Tell whether a client is connected."""
        return client_id(client) in self.server.clients

    def state_of(self, client: str) -> Client:
        """Return what the specification knows of a client."""
        return self.server.clients[client_id(client)]

    def is_in(self, client: str, state: State) -> bool:
        """Tell whether it is a client's turn in this state, with nothing half written."""
        return self.has(client) and super().is_in(client, state)

    def take(self, step: Step) -> None:
        """Take a step, and compare."""
        self.tally.rules[type(step).__name__] += 1
        match step:
            case Tick(seconds):
                self.pass_ns(seconds * NS_PER_S)
            case Connect(client):
                self.world.connect(client_id(client))
            case HangUp(client):
                if self.has(client):
                    self.world.close(client_id(client))
            case Send(client, data, sessions):
                self.write(client, data, len(sessions))
            case SaveEndp() | SaveDest() | FindEndp() | FindDest():
                self.tally.operation(self.world, step)
                for each in as_dance(step):
                    self.write(each.client, each.data, len(each.sessions))
                    self.settle()
                    if self.is_in(each.client, State.REQUEST):
                        break
        self.settle()

    def write(self, client: str, data: bytes, descriptor_count: int = 0) -> None:
        """Write, and compare nothing yet."""
        if data and self.has(client):
            self.world.write(client_id(client), data, descriptor_count)

    def settle(self) -> None:
        """Let every server do what it has to, and compare."""
        self.tally.steps += 1
        self.world.settle()
        self.server = self.world.oracle.server

    def pass_time(self, seconds: int) -> None:
        """Let time pass, if there is a clock, and let those be disconnected who are too slow."""
        if self.has_clock:
            self.take(Tick(seconds))

    def pass_ns(self, duration_ns: int) -> None:
        """Let time pass.

        No two clients that hold sessions of one endpoint time out together: each puts its session back at the front,
        and in which order they do so in one turn is left to the server (CONN-14).
        """
        until_ns = self.world.now_ns + max(0, duration_ns)
        held: set[Label] = set()
        for each in self.server.clients.values():
            if each.held is None or each.step_since_ns is None:
                continue
            if each.step_since_ns + self.limits.ipc_timeout_s * NS_PER_S <= until_ns and each.held.endpoint in held:
                self.world.close(each.id)
                self.settle()
            held.add(each.held.endpoint)
        self.world.advance(until_ns - self.world.now_ns)
        self.settle()


def lockstep(
    open_world: Callable[[Limits], World], rules: Sequence[Rule], *, seed: int, runs: int, tally: Tally | None = None
) -> Tally:
    """Do so many runs, each in a world of its own; raise Difference with the shortest script that shows one."""
    tally = tally or Tally()
    for number in range(runs):
        choices = random.Random(f"{seed}.{number}")
        world = open_world(choices.choice(LIMITS))
        try:
            Run(limits=world.limits, world=world, tally=tally).follow(rules, STEPS_PER_RUN, choices)
        except Difference as difference:
            raise shortest(difference, open_world) from None
        finally:
            world.discard()
    return tally
