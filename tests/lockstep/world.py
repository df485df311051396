"""The specification and real servers side by side: whatever is done is done to all of them, then compared.

Decides that every action is written down first, so that a difference comes with the script that shows it. Refuses to
know which actions are worth trying.
"""

import os
from collections.abc import Callable, Sequence
from itertools import count

from tests.lockstep.lane import Lane, Mismatch
from tests.lockstep.oracle import Oracle

from scache_spec.cache import Cache
from scache_spec.vocabulary import NS_PER_S, ClientId, Handle, Label, Limits


class World:
    """An oracle, and lanes that must do as it does."""

    def __init__(self, limits: Limits, lanes: Sequence[Lane], now_ns: int, *, counts_descriptors: bool = True) -> None:
        self.limits = limits
        self.now_ns = now_ns
        self.oracle = Oracle(limits, now_ns)
        self.lanes = tuple(lanes)
        self.script: list[str] = []
        self.expired_endpoints: set[Label] = set()
        """Endpoints that lost their last session to time, and had none saved since."""
        self.expired_bindings: set[tuple[Label, bytes, Label]] = set()
        self._client_ids, self._handles = count(1), count(1)
        self._counts_descriptors = counts_descriptors
        self._baseline = open_descriptors()

    # Actions. Nothing is compared before `settle`.

    def connect(self) -> ClientId:
        client = ClientId(next(self._client_ids))
        self._note(f"connect()  # client {client}")
        self.oracle.connect(client)
        self._in_each_lane(lambda lane: lane.connect(client))
        return client

    def write(self, client: ClientId, data: bytes, descriptors: int = 0) -> None:
        """Let a client write, with so many new descriptors on the first byte."""
        self._note(f"write({client}, {data!r}{f', descriptors={descriptors}' if descriptors else ''})")
        handles = tuple(Handle(next(self._handles)) for _ in range(descriptors))
        self.oracle.write(client, data, handles)
        self._in_each_lane(lambda lane: lane.write(client, data, handles))

    def shut(self, client: ClientId) -> None:
        """Let a client say that it will write no more."""
        self._note(f"shut({client})")
        self.oracle.shut(client)
        self._in_each_lane(lambda lane: lane.shut(client))

    def close(self, client: ClientId) -> None:
        """Let a client close its socket."""
        self._note(f"close({client})")
        self.oracle.close(client)
        self._in_each_lane(lambda lane: lane.close_client(client))

    def advance(self, by_ns: int) -> None:
        """Let time pass, and every server notice."""
        self._note(f"advance({by_ns})")
        self.now_ns += by_ns
        before = self.oracle.cache
        self.oracle.advance(self.now_ns)
        self._note_expired(before, self.oracle.cache)
        self._in_each_lane(lambda lane: lane.advance(self.now_ns))

    def print_statistics(self) -> None:
        """Have statistics printed."""
        self._note("print_statistics()")
        self.oracle.print_statistics()
        self._in_each_lane(lambda lane: lane.print_statistics())

    def settle(self) -> None:
        """Let every server do what it has to, and compare. Raises Mismatch."""
        self._note("settle()")
        expected = self.oracle.settle()
        self.expired_endpoints -= {session.endpoint for session in self.oracle.cache.sessions}
        self.expired_bindings -= {
            (each.destination, each.properties, each.endpoint) for each in self.oracle.cache.bindings
        }
        self._in_each_lane(lambda lane: lane.let_run(expected))
        self._in_each_lane(lambda lane: lane.compare(expected))
        if self._counts_descriptors and (extra := open_descriptors() - self._baseline - self._accounted_for()):
            raise Mismatch(f"{extra:+} descriptors in this process\n{self._retold()}")

    def clear(self) -> None:
        """Bring everybody back to an empty cache and no client, ready to begin again."""
        for client in list(self.oracle.server.clients):
            self.close(client)
        self.settle()
        self.advance(max(self.limits.ttl_limit_s, self.limits.status_update_time_s) * NS_PER_S)
        self.settle()
        self._client_ids, self._handles = count(1), count(1)
        self.script.clear()
        self.expired_endpoints.clear()
        self.expired_bindings.clear()

    def discard(self) -> None:
        """End the servers."""
        for lane in self.lanes:
            lane.close()

    def _accounted_for(self) -> int:
        # Both ends of each client's connection, and of each pipe.
        return len(self.lanes) * 2 * (len(self.oracle.server.clients) + self.oracle.open_handles())

    def _note_expired(self, before: Cache, after: Cache) -> None:
        self.expired_endpoints |= {each.endpoint for each in before.sessions} - {
            each.endpoint for each in after.sessions
        }
        gone = set(before.bindings) - set(after.bindings)
        self.expired_bindings |= {(each.destination, each.properties, each.endpoint) for each in gone}

    def _in_each_lane(self, act: Callable[[Lane], None]) -> None:
        for lane in self.lanes:
            try:
                act(lane)
            except Mismatch as mismatch:
                raise Mismatch(f"{mismatch}\n{self._retold()}") from None
            except Exception as error:
                error.add_note(f"in {lane.name}\n{self._retold()}")
                raise

    def _note(self, call: str) -> None:
        self.script.append(call)

    def _retold(self) -> str:
        calls = "".join(f"world.{call}\n" for call in self.script)
        return f"world = open_world({self.limits!r})\n{calls}"


def open_descriptors() -> int:
    """Count the open descriptors of this process, that of the count itself left out."""
    return len(os.listdir("/proc/self/fd")) - 1
