"""What one case works with: clients and lines that are closed after it, labels nobody else uses, and time.

Time passes on the server's virtual clock, if it has one, or by waiting.
"""

import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Self

from scache_conformance.servers.target import Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.client import Client, label
from scache_conformance.wire.line import Line
from scache_conformance.wire.transcript import Transcript
from scache_conformance.wire.unmet import Silence, Unmet

TTL_WAITED_FOR_S_MAX: Final = 5
"""In real time, no case waits longer than this for an expiry. Arbitrary: a full run is to take less than a minute."""

MARGIN_S: Final = 0.25
"""In real time, how long before the end of a lifetime it is still tried: room for a busy machine. Arbitrary."""

STRANGER: Final = 65_534
"""A user that owns nothing: nobody, on most machines."""

TRIES: Final = 20
"""How often what may or may not show is tried where the server cannot be stopped. Arbitrary."""

LATENESS_S: Final = 0.1
"""In real time, how long after the end of a lifetime it is tried: room for the clocks' granularity. Arbitrary."""


class Skipped(Exception):  # noqa: N818 - a verdict, not a mistake
    """The case cannot be tried on this server. The text says why, and what to change."""


class Inconclusive(Exception):  # noqa: N818 - a verdict, not a mistake
    """The machine was too slow for what was seen to mean anything."""


@dataclass(slots=True)
class Lifetime:
    """How long something that was saved between two instants must and may live.

    A Postfix server counts whole seconds, so that with a ttl of n it may end anywhere between n - 1 and n seconds.
    """

    lab: "Lab"
    ttl_s: int
    before_s: float = math.nan
    after_s: float = math.nan

    def reach_last_moment(self, *, exact: bool = False) -> None:
        """Let time pass up to when it must still live; `exact` means by a clock that does not count whole seconds."""
        if self.lab.target.has_clock:
            self.lab.wait_until(self.before_s + self.ttl_s - 1)
        else:
            self.lab.wait_until(self._lives_until_s(exact=exact) - MARGIN_S)

    def reach_end(self) -> None:
        """Let time pass up to when it must be gone."""
        lateness_s = 0 if self.lab.target.has_clock else LATENESS_S
        self.lab.wait_until(self.after_s + self.ttl_s + lateness_s)

    @contextmanager
    def in_time(self, *, exact: bool = False) -> Iterator[None]:
        """Have what the body insists on be worth something: Inconclusive if by its end this need not live any more."""
        try:
            yield
        except Silence:
            raise
        except Unmet as unmet:
            if not self.lab.target.has_clock and self.lab.now_s() >= self._lives_until_s(exact=exact):
                raise Inconclusive(f"tried too late, this machine is busy: {unmet}") from unmet
            raise

    def _lives_until_s(self, *, exact: bool) -> float:
        return self.before_s + self.ttl_s - (0 if exact else 1)


class Lab:
    """One try of one case. A context manager: leaving it closes all that the case opened."""

    def __init__(self, target: Target) -> None:
        """Open nothing yet. What is put on `closing` is closed after the case."""
        self.target: Final = target
        self.transcript: Final = Transcript()
        self._prefix: Final = uuid.uuid4().hex[:8].encode()
        self.closing: Final = ExitStack()
        self.waited_s = 0.0
        """How long this try has waited on purpose, in real time."""
        self._virtual_s = 0

    def label(self, text: str) -> bytes:
        """Return a label that no other case uses, of the shape that real ones have."""
        return label(self._prefix, text)

    @property
    def patience_s(self) -> float:
        """How long to wait for what a Postfix server never does, and a slow machine still does: half of a deadline."""
        return self.target.declared.deadline_s / 2

    @property
    def ttl_s(self) -> int:
        """The longest ttl that this server grants: for what is to outlive the case."""
        return self.target.declared.ttl_limit_s

    def short_ttl_s(self) -> int:
        """Return a ttl whose end this case may wait for. Raises Skipped if there is none."""
        if self.ttl_s < 2 and not self.target.has_clock:
            raise Skipped("in real time, a ttl of 1 s may end at once: use a ttl limit of at least 2 s")
        return min(self.ttl_s, 2)

    def capped_ttl_s(self) -> int:
        """Return the ttl limit, if this case may wait for its end. Raises Skipped otherwise."""
        if self.ttl_s > TTL_WAITED_FOR_S_MAX and not self.target.has_clock:
            raise Skipped(f"would take {self.ttl_s} s: use a ttl limit of 2 to {TTL_WAITED_FOR_S_MAX} s, or a clock")
        self.short_ttl_s()
        return self.ttl_s

    def peer(
        self,
        name: str = "A",
        *,
        target: Target | None = None,
        greeted: bool = True,
        deadline_s: float | None = None,
        uid: int | None = None,
    ) -> Client:
        """Connect to the server, as another user if one is named."""
        return Client(
            (target or self.target).socket_path,
            self.transcript,
            self._prefix,
            self.closing,
            ttl_s=self.ttl_s,
            name=name,
            deadline_s=self.target.declared.deadline_s if deadline_s is None else deadline_s,
            greeted=greeted,
            uid=uid,
        )

    def stranger(self, target: Target, name: str = "stranger", uid: int = STRANGER, *, greeted: bool = True) -> Client:
        """Connect as another user than that of the suite. Raises Unavailable."""
        if os.geteuid() != 0:
            raise Unavailable("needs to connect as another user: run the suite as root")
        target.admit_strangers()
        return self.peer(name, target=target, greeted=greeted, deadline_s=self.patience_s, uid=uid)

    def line(self) -> Line:
        """Open a connection to park."""
        line = Line()
        self.closing.callback(line.close)
        return line

    @contextmanager
    def server(self, **limits: int) -> Iterator[Target]:
        """Start a second server of the same kind, under these limits, for a case that spoils it. Raises Unavailable."""
        with ExitStack() as ending:
            with self.waiting():
                target = ending.enter_context(self.target.another(**limits))
            told = ", ".join(f"{name}={value}" for name, value in limits.items())
            self.transcript.note("", f"started another server{' with ' * bool(told)}{told}")
            target.remark = lambda text: self.transcript.note("", text)
            yield target

    @contextmanager
    def late_server(self) -> Iterator[None]:
        """Have the server read nothing of what is sent in the body before its end, if its process can be stopped."""
        if self.target.pid is None:
            yield
        else:
            with self.target.stopped():
                yield

    @property
    def tries_beside_a_late_server(self) -> range:
        """Say how often to try what only shows when the server is late: often where it cannot be made to be so."""
        return range(1 if self.target.pid is not None else TRIES)

    @contextmanager
    def quiet_server(self) -> Iterator[Target]:
        """Yield a server on which no other case has left anything: another one, or this one after a while."""
        if self.target.can_be_started:
            with self.server() as target:
                yield target
        else:
            self.pass_time(self.capped_ttl_s() + LATENESS_S)
            yield self.target

    # Time.

    def now_s(self) -> float:
        """Return an instant, on the virtual clock if there is one."""
        return self._virtual_s if self.target.has_clock else time.monotonic()

    def wait_until(self, instant_s: float) -> None:
        """Let time pass until an instant; return at once if it has passed."""
        seconds = instant_s - self.now_s()
        if seconds > 0:
            self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; on a virtual clock whole seconds, rounded up."""
        if self.target.has_clock:
            whole_s = math.ceil(seconds)
            self.transcript.note("", f"the clock is advanced by {whole_s} s")
            self.target.advance(whole_s)
            self._virtual_s += whole_s
        else:
            self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        """Wait in real time, whatever the server's clock is: for what only the operating system's time brings."""
        self.transcript.note("", f"waited {seconds:.2f} s")
        with self.waiting():
            time.sleep(seconds)

    def let_pass(self, server: Target, seconds: int) -> None:
        """Let time pass on a server that only this case uses."""
        if server.has_clock:
            self.transcript.note("", f"the clock is advanced by {seconds} s")
            server.advance(seconds)
        else:
            self.sleep(seconds + LATENESS_S)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Say that the time that the body takes is no sign of a slow machine."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.waited_s += time.monotonic() - began_s

    def pass_half_a_second(self) -> None:
        """In real time, let half a second pass: it sets apart two lifetimes that are whole seconds on any clock."""
        if not self.target.has_clock:
            self.pass_time(0.5)

    def set_clock_forward(self, seconds: int) -> None:
        """Move the virtual clock without letting the server notice by itself; in real time, wait."""
        if self.target.has_clock:
            self.transcript.note("", f"the clock is set forward by {seconds} s")
            self.target.set_clock_forward(seconds)
            self._virtual_s += seconds
        else:
            self.pass_time(seconds)

    @contextmanager
    def lifetime(self, ttl_s: int) -> Iterator[Lifetime]:
        """Save something with this ttl in the body; what is yielded then knows when that was."""
        lifetime = Lifetime(self, ttl_s, before_s=self.now_s())
        yield lifetime
        lifetime.after_s = self.now_s()

    def spread_over_a_second(self, ttl_s: int) -> Iterator[Lifetime]:
        """Yield four lifetimes. In real time each begins at another part of a second; what is saved then has it."""
        for _ in range(4):
            with self.lifetime(ttl_s) as lifetime:
                yield lifetime
            if not self.target.has_clock:
                self.wait_until(lifetime.before_s + 0.25)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()
