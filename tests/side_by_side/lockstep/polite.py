"""Clients as Postfix has them: each finishes its dance before the next one speaks.

Decides which moves a random walk makes, and looks for that at the specification's state. Kept from the walk is what
scache(8) does otherwise than the specification and no Postfix client notices:

* requests in one write are served in order here, thrown away there (CONN-3);
* a client in the middle of its dance holds up all others there (CONN-2);
* a session that was found and not taken is put back here, closed there (FD-7, FD-10);
* two descriptors on one byte leak there (FD-4).

Time passes in whole seconds, for that is how scache(8) counts it (TTL-2).
"""

import random
from collections.abc import Sequence
from typing import Final, TypeVar

from tests.side_by_side.lockstep import requests
from tests.side_by_side.lockstep.machine import DESTINATIONS, ENDPOINTS, PROPERTIES
from tests.side_by_side.lockstep.tally import Tally
from tests.side_by_side.lockstep.world import World

from scache_spec.conversation import State
from scache_spec.vocabulary import NS_PER_S, ClientId, Label, Properties

T = TypeVar("T")

CLIENTS_MAX: Final = 4


class Walk:
    """A random walk of polite clients; the same seed, the same walk."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.tally = Tally()
        self._random = random.Random(seed)
        moves = (
            (self.connect, 1),
            (self.die, 1),
            (self.save_endp, 6),
            (self.save_endp_without_descriptor, 1),
            (self.find_endp, 6),
            (self.save_dest, 5),
            (self.save_dest_again, 3),
            (self.find_dest, 6),
            (self.send_malformed, 2),
            (self.advance, 3),
            (self.find_at_boundary, 2),
        )
        self._moves, self._weights = [move for move, _ in moves], [weight for _, weight in moves]

    def run(self, steps: int) -> None:
        """Take so many steps, then bring the world back to its beginning."""
        self.connect()
        self.world.mark()
        for move in self._random.choices(self._moves, self._weights, k=steps):
            self.tally.step(move.__name__)
            move()
            self.world.mark()
        self.world.clear()

    def run_often(self, runs: int, steps: int) -> None:
        for _ in range(runs):
            self.run(steps)

    # Moves.

    def connect(self) -> None:
        if len(self.world.oracle.server.clients) < CLIENTS_MAX:
            self.world.connect()
            self.world.settle()

    def die(self) -> None:
        self.world.close(self._client())
        self.world.settle()
        if not self.world.oracle.server.clients:
            self.connect()

    def save_endp(self) -> None:
        self._save_endp(self._one_of((*self._endpoints(), *ENDPOINTS)))

    def save_endp_without_descriptor(self) -> None:
        client = self._client()
        self._say(client, requests.save_endp(b"2", self._one_of(ENDPOINTS), b"p"))
        self._say(client, b"!")

    def find_endp(self) -> None:
        self._find_endp(self._one_of((*self._endpoints() * 3, *ENDPOINTS)))

    def find_dest(self) -> None:
        """Find, after saving a session if none is there: bindings show through sessions alone."""
        bindings = self.world.oracle.cache.bindings
        if bindings and self._random.random() < 0.6:
            binding = self._one_of(bindings)
            full = {each.endpoint for each in self.world.oracle.cache.sessions}
            if binding.endpoint not in full and self._random.random() < 0.7:
                self._save_endp(binding.endpoint)
            self._find_dest(binding.destination)
        else:
            self._find_dest(self._one_of(DESTINATIONS))

    def save_dest(self) -> None:
        endpoint = self._one_of((*self._endpoints(), *ENDPOINTS))
        self._save_dest(self._one_of(DESTINATIONS), self._one_of(PROPERTIES), endpoint)

    def save_dest_again(self) -> None:
        if self.world.oracle.cache.bindings:
            kept = self._one_of(self.world.oracle.cache.bindings)
            self._save_dest(kept.destination, kept.properties, kept.endpoint)

    def send_malformed(self) -> None:
        # Overflow is C's there and refused here (WIRE-10). A list that does not begin with `request` is not swallowed
        # whole there (CONN-5): after each wrong name the server starts over behind it, so it sees a `request` within.
        malformed = [each for each in requests.MALFORMED if b"4294967297" not in each]
        choices = [*malformed, *(each for each in requests.SWALLOWED if b"request" not in each)]
        self._say(self._client(), self._one_of(choices))

    def advance(self) -> None:
        self.world.advance(self._one_of((1, 1, 1, 2)) * NS_PER_S)
        self.world.settle()

    def find_at_boundary(self) -> None:
        """Go to the second in which something expires, or the one before, and look for it."""
        cache = self.world.oracle.cache
        if not cache.sessions:
            return
        session = self._one_of(cache.sessions)
        until_ns = session.expiry_ns - self._one_of((0, NS_PER_S))
        self.world.advance(max(0, until_ns - self.world.now_ns))
        self.world.settle()
        self._find_endp(session.endpoint)

    # Parts of moves.

    def _one_of(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def _client(self) -> ClientId:
        return self._one_of(list(self.world.oracle.server.clients))

    def _endpoints(self) -> tuple[Label, ...]:
        cache = self.world.oracle.cache
        known = {each.endpoint for each in cache.sessions} | {each.endpoint for each in cache.bindings}
        return tuple(sorted(known | self.world.expired_endpoints))

    def _say(self, client: ClientId, data: bytes, descriptors: int = 0) -> None:
        self.world.write(client, data, descriptors)
        self.world.settle()

    def _save_endp(self, endpoint: Label) -> None:
        client = self._client()
        self.tally.save_endp(self.world, endpoint)
        self._say(client, requests.save_endp(self._one_of(requests.TTLS), endpoint, self._one_of(PROPERTIES)))
        self._say(client, b"!", 1)

    def _save_dest(self, destination: Label, properties: Properties, endpoint: Label) -> None:
        self.tally.save_dest(self.world, destination, properties, endpoint)
        self._say(self._client(), requests.save_dest(self._one_of(requests.TTLS), destination, properties, endpoint))

    def _find_endp(self, endpoint: Label) -> None:
        self.tally.find_endp(self.world, endpoint)
        self._take(requests.find_endp(endpoint))

    def _find_dest(self, destination: Label) -> None:
        self.tally.find_dest(self.world, destination)
        self._take(requests.find_dest(destination))

    def _take(self, find: bytes) -> None:
        client = self._client()
        self._say(client, find)
        if self.world.oracle.client(client).state is State.READY:
            self._say(client, requests.DUMMY_LIST)
            # Half of the clients say "received" together with their next request, as smtp(8) does.
            more = requests.find_dest(b"nowhere") if self._random.random() < 0.5 else b""
            self._say(client, requests.DUMMY_LIST + more)
