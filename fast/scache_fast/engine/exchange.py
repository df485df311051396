"""What moves from one process to another in a takeover: listening sockets, sessions, bindings, clients and counters.

How the two processes agree, and the bytes that they exchange, are in takeover/.

Guarantees:

* Everything that moves is removed from epoll before it is sent. Epoll watches a file as long as any process has a copy
  of its descriptor, and a descriptor that we have closed cannot be removed any more.
* Nothing that moves gets a farewell, and our copy of it is not closed before `leave`.
* A client moves with everything that was read from it and not served, and with all its pending output. A client for
  which a session is held, or whose received descriptor is not parked yet, moves when that is finished.
"""

import socket
from collections.abc import Callable, Mapping

from scache_fast.engine import wire
from scache_fast.engine.accepting import Accepting
from scache_fast.engine.attributes import Decoder
from scache_fast.engine.client import CLOSED, Client, State
from scache_fast.engine.closing import Job
from scache_fast.engine.context import Context
from scache_fast.engine.conversation import Conversations
from scache_fast.engine.poller import IN, Poller
from scache_fast.engine.requests import Requests
from scache_fast.engine.table import Session, Table
from scache_spec.vocabulary import Limit


class Exchange:
    """The parts of one server that move; called between two turns of its loop."""

    def __init__(
        self, table: Table, requests: Requests, conversations: Conversations, accepting: Accepting,
        context: Context, poller: Poller, clients: Mapping[int, Client],
        forget: Callable[[Client], None], drop: Callable[[Client], None],
    ) -> None:  # fmt: skip
        self._table = table
        self._requests = requests
        self._conversations = conversations
        self._accepting = accepting
        self._context = context
        self._poller = poller
        self._clients = clients
        self._forget = forget
        self._drop = drop
        self._resting: list[Client] = []
        self.is_left = False
        """Another process has taken over: only what was begun for clients goes on here."""
        self._flushes: list[Callable[[Session], bool]] | None = None
        """What was flushed since this process took over; None: nothing comes back any more from the one before."""

    # The process that is taken over.

    def freeze(self) -> tuple[list[socket.socket], list[Client]]:
        """Take listening sockets and clients out of epoll; return them. Then `thaw` or `leave`, and no turn before."""
        listeners = self._accepting.rest()
        self._resting = self.movable
        for client in self._resting:
            self._poller.unregister(client.fd)
        return listeners, self._resting

    def thaw(self) -> None:
        """Serve on. A client that epoll has no memory for any more is closed. Raises OSError."""
        resting, self._resting = self._resting, []
        for client in resting:
            try:
                self._poller.register(client.fd, client.interest)
            except OSError as error:
                self._context.log.warning(f"{client.name} closed: cannot be waited for: {error.strerror}")
                self._drop(client)
        self._accepting.wake()

    def leave(self) -> None:
        """Close our copies of everything that moved; carry out no request any more."""
        self.is_left = True
        self._accepting.close()
        for client in self._resting:
            self.part_with(client)
        self._resting = []
        self.close_copies(self._table.flush())
        self._conversations.postpone()  # LIFE-11

    @property
    def movable(self) -> list[Client]:
        """Return the clients that nothing is held for, and whose descriptor, if one was received, is parked."""
        return [
            client
            for client in self._clients.values()
            if client.session is None and client.received < 0 and client.state is not CLOSED
        ]

    def withdraw(self, client: Client) -> None:
        """Take a client out of epoll, after `leave`, to give it away."""
        self._poller.unregister(client.fd)

    def part_with(self, client: Client) -> None:
        """Close our copy of a client that is out of epoll."""
        self._forget(client)
        wire.close_socket(client.sock, self._context.log)

    def take_back(self) -> list[Session]:
        """Take what came back after `leave` out of the table, to give it away, in the order in which it came."""
        return self._table.flush()

    def give_up(self) -> None:
        """Disconnect the clients that are left; what is held for them comes back."""
        for client in list(self._clients.values()):
            self._drop(client)

    def close_copies(self, sessions: list[Session]) -> None:
        """Close descriptors without a farewell, where closing may wait."""
        of_user: dict[int, list[int]] = {}
        for session in sessions:
            of_user.setdefault(session.user, []).append(session.descriptor)
        for user, descriptors in of_user.items():
            self._context.let_go(Job(descriptors, user))

    # The process that takes over.

    def adopt_sessions(self, sessions: list[Session]) -> None:
        """Take in sessions, the older ones of an endpoint after the newer ones."""
        for session in sessions:
            self._table.put_back(session, _LONG_AGO_NS)  # LIFE-10

    def await_returns(self, are_awaited: bool) -> None:
        """Note whether sessions may come back to the other process."""
        self._flushes = [] if are_awaited else None

    def flush_returns(self, is_named: Callable[[Session], bool]) -> None:
        """Have sessions that come back to the other process flushed, if a flush of now names them."""
        if self._flushes is not None:
            self._flushes.append(is_named)

    def adopt_back(self, session: Session, now_ns: int) -> None:
        """Take in a session that came back to the other process: it is found first, if it has not expired meanwhile."""
        if self._flushes and any(is_named(session) for is_named in self._flushes):
            session.expiry_ns = 0  # LIFE-6
        if not self._table.put_back(session, now_ns):  # LIFE-11
            self._requests.note_expired(session)
            self._requests.discard(session)

    def adopt_client(
        self, descriptor: int, user: int, pid: int, state: int, step_since_ns: int, is_in_flight: bool,
        saving: tuple[bytes, bytes, int], unserved: bytes, output: bytes,
    ) -> None:  # fmt: skip
        """Take in a client; raises OSError when it cannot be waited for, and it is closed then."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        sock.setblocking(False)
        client = Client(sock, descriptor, IN, user, pid)
        client.state = State(state)
        client.step_since_ns = step_since_ns
        client.is_in_flight = is_in_flight
        client.saving = saving
        client.output = output
        if unserved:
            limits = self._context.limits
            client.decoder = Decoder(limits.attribute_list_bytes_max, limits.attributes_max)
            client.decoder.feed(unserved)
            client.is_backlogged = True
        self._accepting.adopt(client)

    def forget_everything(self) -> None:
        """Close our copies of everything that was taken in, because another process goes on with it."""
        self._accepting.close()
        for client in list(self._clients.values()):
            self.part_with(client)
        self.close_copies(self._table.flush())

    def forget_all_but_listeners(self) -> None:
        """Begin with nothing but the listening sockets."""
        for client in list(self._clients.values()):
            self.part_with(client)
        self.close_copies(self._table.flush())

    # Counts.

    def counts(self, turns: int) -> dict[str, int]:
        """Return everything that is counted, by name."""
        counters, statistics = self._context.counters, self._context.statistics
        found = {name: int(getattr(counters, name)) for name in _COUNTERS}
        found |= {name: int(getattr(statistics, name)) for name in (*_STATISTICS, *_PEAKS)}
        found |= {f"malformed.{name.decode()}": count for name, count in counters.malformed.items()}
        found |= {f"reuse_ages.{index}": count for index, count in enumerate(counters.reuse_ages)}
        found |= {f"slow_turns.{index}": count for index, count in enumerate(counters.slow_turns)}
        found |= {f"limit_hits.{limit.value}": count for limit, count in statistics.limit_hits.items()}
        found |= {f"lookups_before.{index}": count for index, count in enumerate(statistics.lookups_before)}
        found["turns_before"] = counters.turns_before + turns
        found["faults"] = self._context.faults.contained
        found["start_us"] = round(statistics.start_s * 1e6)
        return found

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """Add what another process has counted; names that are not known here are passed over."""
        counters, statistics = self._context.counters, self._context.statistics
        for name in _COUNTERS:
            setattr(counters, name, getattr(counters, name) + counts.get(name, 0))
        for name in _STATISTICS:
            setattr(statistics, name, getattr(statistics, name) + counts.get(name, 0))
        for name in _PEAKS:
            setattr(statistics, name, max(getattr(statistics, name), counts.get(name, 0)))
        for request in counters.malformed:
            counters.malformed[request] += counts.get(f"malformed.{request.decode()}", 0)
        for index in range(len(counters.reuse_ages)):
            counters.reuse_ages[index] += counts.get(f"reuse_ages.{index}", 0)
        for index in range(len(counters.slow_turns)):
            counters.slow_turns[index] += counts.get(f"slow_turns.{index}", 0)
        for limit in Limit:
            statistics.limit_hits[limit] += counts.get(f"limit_hits.{limit.value}", 0)
        before = statistics.lookups_before
        statistics.lookups_before = (
            before[0] + counts.get("lookups_before.0", 0),
            before[1] + counts.get("lookups_before.1", 0),
            before[2] + counts.get("lookups_before.2", 0),
            before[3] + counts.get("lookups_before.3", 0),
        )
        self._context.faults.contained += counts.get("faults", 0)
        if "start_us" in counts:
            statistics.start_s = min(statistics.start_s, counts["start_us"] / 1e6)

    def clear_counts(self, turns: int) -> None:
        """Count from 0 again, because another process has got what was counted; so many turns were among it."""
        counters, statistics = self._context.counters, self._context.statistics
        for name in _COUNTERS:
            setattr(counters, name, 0)
        for name in (*_STATISTICS, *_PEAKS):
            setattr(statistics, name, 0)
        for request in counters.malformed:
            counters.malformed[request] = 0
        counters.reuse_ages = [0] * len(counters.reuse_ages)
        counters.slow_turns = [0] * len(counters.slow_turns)
        for limit in Limit:
            statistics.limit_hits[limit] = 0
        statistics.lookups_before = (0, 0, 0, 0)
        self._context.faults.contained = 0
        counters.turns_before = -turns


_LONG_AGO_NS = 0
"""An instant at which nothing has expired: whoever is in charge sees to what is due."""

_COUNTERS = (
    "bindings_saved", "clients_refused", "clients_welcomed", "dead", "dest_refused", "endp_refused", "expired",
    "flushed", "put_back", "reuse_age_ns", "sessions_saved", "turn_ns", "turns_before", "unknown",
)  # fmt: skip
_STATISTICS = ("dest_hits", "dest_misses", "endp_hits", "endp_misses", "too_many_in_flight")
_PEAKS = ("destinations_max", "endpoints_max", "sessions_max")
