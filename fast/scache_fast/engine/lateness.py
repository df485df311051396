"""Clients that leave a step of a conversation unfinished for too long: when to look for them, and their end.

The process may be stopped for longer than `ipc_timeout_s`. What clients sent in time has arrived by then. It is read
before a client is closed for being late.
"""

from collections.abc import Callable
from typing import Final

from scache_fast.engine.client import AT_REST, CLOSED, SENDING, Client
from scache_fast.engine.context import Context
from scache_fast.engine.conversation import Conversations
from scache_fast.engine.poller import IN
from scache_spec.vocabulary import NS_PER_S, Limit

NEVER_NS: Final = (1 << 62) - 1
"""An instant that no clock reaches. The compiled form keeps it as a plain number; a larger one would be an object."""


class Lateness:
    """The instant before which no step is too old, and what happens then.

    `after` brings up to date what the loop knows about a client, and `drop` closes one.
    """

    def __init__(
        self,
        context: Context,
        clients: dict[int, Client],
        conversations: Conversations,
        safely: Callable[..., None],
        after: Callable[[Client], None],
        drop: Callable[[Client], None],
    ) -> None:
        self._context = context
        self._turn = context.turn
        self._clients = clients
        self._conversations = conversations
        self._safely = safely
        self._after = after
        self._drop = drop
        self.due_ns = NEVER_NS
        """No unfinished step is too old before."""
        self.timeout_ns = context.limits.ipc_timeout_s * NS_PER_S

    def close_late(self) -> None:
        """Close clients whose step is too old, once what they did meanwhile has been read."""
        context = self._context
        due_ns = NEVER_NS
        for client in list(self._clients.values()):
            if self._is_late(client):
                self._catch_up(client)
            if self._is_late(client):
                context.statistics.limit_hits[Limit.IPC_TIMEOUT] += 1
                context.log.warning(
                    f"{client.name} closed: unfinished in {client.state.name} for "
                    f"{Limit.IPC_TIMEOUT.value}={context.limits.ipc_timeout_s}"
                )
                self._safely(client, self._drop)  # LIFE-5
            elif client.step_since_ns != AT_REST:
                due_ns = min(due_ns, client.step_since_ns + self.timeout_ns)
        self.due_ns = due_ns

    def _is_late(self, client: Client) -> bool:
        return (
            client.step_since_ns != AT_REST
            and client.state is not CLOSED
            and self._turn.now_ns - client.step_since_ns >= self.timeout_ns  # LIMIT-7
        )

    def _catch_up(self, client: Client) -> None:
        """Do for a client what an event would have done, had it been among this turn's."""
        self._safely(client, self._conversations.writable)
        if client.interest & IN and client.state is not SENDING and client.state is not CLOSED:
            self._safely(client, self._conversations.readable, self._conversations.answer)
        self._safely(client, self._after)
