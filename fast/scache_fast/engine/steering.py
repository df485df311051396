"""What an operator may do to a running server: flush, pause, drain, and change limits.

Who the operator is and how a command arrives is not known here. Each call does one small piece of work. The caller can
let the loop take turns between two calls.
"""

import socket
from collections.abc import Callable, Mapping
from typing import Final

from scache_fast.engine.accepting import Accepting
from scache_fast.engine.client import Client
from scache_fast.engine.closing import Job
from scache_fast.engine.context import Context
from scache_fast.engine.requests import Requests
from scache_fast.engine.table import Binding, Session, Table
from scache_spec.vocabulary import Limits

PAUSED: Final = "paused by the operator"
DRAINING: Final = "draining: the server ends when nothing is parked any more"


class Steering:
    """Changes to one server, from the thread of its loop."""

    def __init__(
        self,
        table: Table,
        requests: Requests,
        accepting: Accepting,
        context: Context,
        clients: Mapping[int, Client],
        set_limits: Callable[[Limits], None],
    ) -> None:
        self._table = table
        self._requests = requests
        self._accepting = accepting
        self._context = context
        self._clients = clients
        self._set_limits = set_limits

    @property
    def everybody(self) -> list[Client]:
        """Return the clients that are connected."""
        return list(self._clients.values())

    @property
    def held(self) -> list[Session]:
        """Return the sessions that were found and are not handed over yet."""
        return [client.session for client in self._clients.values() if client.session is not None]

    def let_go(self, descriptors: list[int]) -> None:
        """Close descriptors of others where closing may wait."""
        self._context.let_go(Job(descriptors, -1))

    # Flushing.

    def flush(self, item: Session | Binding) -> bool:
        """Remove a session or a binding and close what it held; False: it was not in the table."""
        if not self._table.remove(item):
            return False
        if isinstance(item, Session):
            self._context.counters.flushed += 1
            self._requests.discard(item)  # LIFE-6
        return True

    # Pausing.

    @property
    def refusal(self) -> str:
        """Say why saves are refused; nothing: they are not."""
        return self._context.refusal

    def refuse_saves(self, reason: str) -> None:
        """Refuse saves for a reason, or, without one, take them again."""
        self._context.refusal = reason
        self._limit_table()

    @property
    def is_drained(self) -> bool:
        """Say whether the server drains and nothing is left."""
        return self.refusal == DRAINING and not self._table.sessions and not self.held  # LIFE-9

    # Limits and policy.

    def change_limits(self, limits: Limits) -> None:
        """Have other limits from now on; nothing is removed for being above them."""
        self._context.limits = limits
        self._set_limits(limits)  # LIFE-7
        self._limit_table()

    def change_policy(
        self, may_connect: Callable[[socket.socket], bool] | None, is_alive: Callable[[Session], bool] | None
    ) -> None:
        """Ask others who may connect and what is alive; hooks.py says more about both."""
        self._accepting.may_connect = may_connect
        self._requests.is_alive = is_alive

    def set_verbose(self, verbose: bool) -> None:
        """Have each request logged, or no more."""
        self._requests.verbose = verbose

    def _limit_table(self) -> None:
        limits = self._context.limits
        if self._context.refusal:
            limits = limits._replace(sessions_max=0, bindings_max=0)  # LIFE-8
        self._table.set_limits(limits)
