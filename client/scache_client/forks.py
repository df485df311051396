"""Clients after a fork: in the child, each client closes its copy of the connection and begins anew.

This happens at the fork and not at the next use. Otherwise the child's copy would keep the connection open after the
parent has closed its own.
"""

import os
import weakref
from typing import Protocol


class StartsAnew(Protocol):
    """A client of either kind."""

    def _start_anew_in_child(self) -> None: ...


_living: weakref.WeakSet[StartsAnew] = weakref.WeakSet()


def start_anew_in_child(client: StartsAnew) -> None:
    """Let a client, for as long as it lives, begin anew in every child of a fork."""
    _living.add(client)


def _after_fork() -> None:
    for client in list(_living):
        client._start_anew_in_child()


os.register_at_fork(after_in_child=_after_fork)
