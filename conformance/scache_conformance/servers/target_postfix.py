"""Postfix's own scache(8), or a program that takes its place, as the server under test.

It is a child of a private master(8), which `scache_conformance.servers.postfix` plays.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from scache_conformance.servers.postfix import MasterChild
from scache_conformance.servers.target import Declared, Target, head_and_end
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.wire.line import readable

PARAMETERS: Final = {
    "ttl_limit_s": "connection_cache_ttl_limit",
    "max_idle_s": "max_idle",
    "status_update_time_s": "connection_cache_status_update_time",
    "ipc_timeout_s": "ipc_timeout",
}
"""The limits that Postfix has a parameter for."""


class PostfixServer(Target):
    """A private child of a private master(8), under a virtual clock where that can be had."""

    def __init__(
        self,
        program: Path | None,
        declared: Declared,
        *,
        virtual_clock: bool = True,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """Touch nothing yet; without a program it is the installed scache(8)."""
        super().__init__("scache(8)" if program is None else program.name, declared)
        self._program: Final = program
        self._virtual: Final = virtual_clock
        self._limits: Final = dict(limits or {})
        self._child: MasterChild | None = None
        self._exit_status: int | None = None

    @property
    def socket_path(self) -> Path:
        """Name the socket it serves on."""
        return self._running.socket_path

    @property
    def pid(self) -> int | None:
        """Name the child's process."""
        return self._running.pid

    @property
    def has_clock(self) -> bool:
        """Tell whether it runs under the virtual clock."""
        return self._virtual

    def start(self) -> None:
        """Start the child and wait for the greeting."""
        options = [f"{PARAMETERS[name]}={value}s" for name, value in self._limits.items() if name in PARAMETERS]
        ttl_limit_s = self._limits.get("ttl_limit_s", self.declared.ttl_limit_s)
        with ExitStack() as undo:
            child = undo.enter_context(
                MasterChild(self._program, ttl_limit_s=ttl_limit_s, options=options, virtual_clock=self._virtual)
            )
            undo.pop_all()
        self._child, self._exit_status = child, None

    def stop(self) -> None:
        """End the child and remove its folders."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def another(self, **limits: int) -> Target:
        """Return a second child. Raises Unavailable for a limit that Postfix has no parameter for."""
        for name in limits:
            if name not in PARAMETERS:
                raise Unavailable(f"a child of master(8) cannot be given {name}: Postfix has no such parameter")
        return PostfixServer(
            self._program, self.declared, virtual_clock=self._virtual, limits={**self._limits, **limits}
        )

    def in_real_time(self) -> Target:
        """Return a second child that has the machine's clock."""
        return PostfixServer(self._program, self.declared, virtual_clock=False, limits=self._limits)

    def begin_exit(self) -> None:
        """Close the status channel, as a master does that reloads: at its exit the child prints statistics."""
        self._running.disconnect()
        self._running.hang_up()

    def leave_alone(self) -> None:
        """Close the connection that keeps the child from being idle."""
        self._running.disconnect()

    def wait_for_exit(self, within_s: float) -> int | None:
        """Wait for the child to end by itself and return its status; None if it still runs."""
        if self._exit_status is None:
            ended = os.pidfd_open(self._running.pid)
            try:
                if readable([ended], within_s):
                    self._exit_status = self._running.wait()
            finally:
                os.close(ended)
        return self._exit_status

    def log(self) -> str:
        """Return what it logged so far."""
        return self._running.log()

    def limit(self, name: str) -> int:
        """Return a limit. Raises Unavailable."""
        return self._limits[name] if name in self._limits else super().limit(name)

    def admit_strangers(self) -> None:
        """Open the private folder, which is the suite's."""
        self.socket_path.parent.chmod(0o711)
        self.socket_path.chmod(0o666)

    def move_clock(self, seconds: int) -> None:
        """Move the child's clock. Raises Unavailable where there is none."""
        if self._running.clock is None:
            raise Unavailable("needs a virtual clock: this child lives in real time")
        self._running.clock.advance(seconds)

    def fate(self) -> str:
        """Say the head and the end of its log."""
        return f"its log: {head_and_end(self.log())}"

    @property
    def _running(self) -> MasterChild:
        if self._child is None:
            raise RuntimeError("there is no child before start(): use PostfixServer in a with statement")
        return self._child
