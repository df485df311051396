"""The specification and real servers side by side: whatever is done is done to all of them, then compared.

Every action is written down first, so that a difference comes with the script that shows it. Which actions are tried
is the business of `rules.py`.
"""

import os
from collections.abc import Callable, Sequence
from itertools import count

from tests.side_by_side.lockstep.lane import Lane, Mismatch
from tests.side_by_side.lockstep.oracle import Oracle

from scache_spec.cache import Cache
from scache_spec.vocabulary import NS_PER_S, ClientId, Handle, Label, Limits

Call = tuple[str, tuple[object, ...]]
"""A method of World and its arguments."""


class Difference(Mismatch):
    """A mismatch, with the script that led to it."""

    def __init__(self, what: str, limits: Limits, script: Sequence[Call]) -> None:
        super().__init__(what)
        self.limits, self.script = limits, tuple(script)

    def __str__(self) -> str:
        calls = "".join(f"world.{name}({', '.join(map(repr, arguments))})\n" for name, arguments in self.script)
        return f"{self.args[0]}\nworld = open_world({self.limits!r})\n{calls}"


class World:
    """An oracle, and lanes that must do as it does."""

    def __init__(self, limits: Limits, lanes: Sequence[Lane], now_ns: int, *, counts_descriptors: bool = True) -> None:
        self.limits = limits
        self.now_ns = now_ns
        self.oracle = Oracle(limits, now_ns)
        self.lanes = tuple(lanes)
        self.script: list[Call] = []
        self.expired_endpoints: set[Label] = set()
        """Endpoints that lost their last session to time, and had none saved since."""
        self.expired_bindings: set[tuple[Label, bytes, Label]] = set()
        self._handles = count(1)
        self._connected: set[ClientId] = set()
        self._counts_descriptors = counts_descriptors
        self._baseline = open_descriptors()

    # Actions. Nothing is compared before `settle`.

    def connect(self, client: ClientId) -> None:
        """Let a client connect. KeyError: it is connected."""
        if client in self._connected:
            raise KeyError(client)
        self._note("connect", client)
        self._connected.add(client)
        self.oracle.connect(client)
        self._in_each_lane(lambda lane: lane.connect(client))

    def write(self, client: ClientId, data: bytes, descriptors: int = 0) -> None:
        """Let a client write, with so many new descriptors on the first byte."""
        self._note("write", client, data, descriptors)
        handles = tuple(Handle(next(self._handles)) for _ in range(descriptors))
        self.oracle.write(client, data, handles)
        self._in_each_lane(lambda lane: lane.write(client, data, handles))

    def shut(self, client: ClientId) -> None:
        """Let a client say that it will write no more."""
        self._note("shut", client)
        self.oracle.shut(client)
        self._in_each_lane(lambda lane: lane.shut(client))

    def close(self, client: ClientId) -> None:
        """Let a client close its socket. KeyError: it has none."""
        self._connected.remove(client)
        self._note("close", client)
        self.oracle.close(client)
        self._in_each_lane(lambda lane: lane.close_client(client))

    def advance(self, by_ns: int) -> None:
        """Let time pass, and every server notice."""
        self._note("advance", by_ns)
        self.now_ns += by_ns
        before = self.oracle.cache
        self.oracle.advance(self.now_ns)
        self._note_expired(before, self.oracle.cache)
        self._in_each_lane(lambda lane: lane.advance(self.now_ns))

    def print_statistics(self) -> None:
        """Have statistics printed."""
        self._note("print_statistics")
        self.oracle.print_statistics()
        self._in_each_lane(lambda lane: lane.print_statistics())

    def mark(self) -> None:
        """Say in the script that what follows can do without what was before it, or the other way round."""
        self._note("mark")

    def settle(self) -> None:
        """Let every server do what it has to, and compare. Raises Mismatch."""
        self._note("settle")
        expected = self.oracle.settle()
        self._connected.difference_update(expected.disconnected)
        self.expired_endpoints -= {session.endpoint for session in self.oracle.cache.sessions}
        self.expired_bindings -= {
            (each.destination, each.properties, each.endpoint) for each in self.oracle.cache.bindings
        }
        self._in_each_lane(lambda lane: lane.let_run(expected))
        self._in_each_lane(lambda lane: lane.compare(expected))
        if self._counts_descriptors and (extra := open_descriptors() - self._baseline - self._accounted_for()):
            raise Difference(f"{extra:+} descriptors in this process", self.limits, self.script)

    def clear(self) -> None:
        """Bring everybody back to an empty cache and no client, ready to begin again."""
        for client in list(self.oracle.server.clients):
            self.close(client)
        self.settle()
        self.advance(max(self.limits.ttl_limit_s, self.limits.status_update_time_s) * NS_PER_S)
        self.settle()
        self._handles = count(1)
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
                raise Difference(str(mismatch), self.limits, self.script) from None
            except Exception as error:
                raise Difference(f"{lane.name} raised {error!r}", self.limits, self.script) from error

    def _note(self, name: str, *arguments: object) -> None:
        self.script.append((name, arguments))


def open_descriptors() -> int:
    """Count the open descriptors of this process, that of the count itself left out."""
    return len(os.listdir("/proc/self/fd")) - 1
