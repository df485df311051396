"""Every call that leaves the engine raises once, over one scripted scenario: each errno it can give, and other kinds.

The scenario is played without a fault first, and each call of the engine noted. Then it is played once for each call
and each error. Whatever fails, the server lives, another client is served, somebody new is let in, no connection that
was confirmed as parked is lost, the table agrees with its heap, and the descriptors are those that are accounted for.

Calls are intercepted at the edge: the methods of the sockets that the server accepts from and accepts, its epoll, the
system calls of wire.py, its hooks, its closer and its log. EINTR is not among the errnos: Python itself tries again.
"""

import errno
import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import pytest
from tests.support.client import Client
from tests.support.descriptors import is_hung_up
from tests.support.errnos import ERRNOS
from tests.support.messages import DONE, DUMMY, GREETING, MISSED, find_dest, find_endp, save_dest, save_endp
from tests.support.servers import Fast, Lines

from scache_fast.engine import plain as in_python
from scache_fast.engine import poller, wire
from scache_fast.engine.accepting import ACCEPT_PAUSE_NS
from scache_fast.engine.closing import CloseAtOnce, Job
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.log import Silence
from scache_spec.vocabulary import NS_PER_S, Limits

pytestmark = pytest.mark.plain

UNFORESEEN: Final = (TypeError, ValueError, OverflowError, MemoryError, AttributeError)
"""What no manual page lists. The standard library once raised the first for a socket of a family it did not know."""


FULL_ONCE: Final = ("accept", 4)
"""The call that fails as part of the scenario: accepting pauses then, and the calls that this takes can fail too."""


TRANSIENT: Final = {
    ("recvmsg", errno.EAGAIN),
    ("send", errno.EAGAIN),
    ("sendmsg", errno.EAGAIN),
}
"""Failures that cost a client no more than time: the same call is made again."""


class Edge:
    """Counts the server's calls and lets one fail."""

    def __init__(self, call: str = "", index: int = -1, error: Exception | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._fault = call, index
        self._error = error
        self.may_cost_a_session = call == "is_alive"  # the one that cannot be looked at is closed
        self.is_transient = isinstance(error, OSError) and (call, error.errno) in TRANSIENT

    def passes(self, call: str) -> None:
        """Count a call; raise the error if it is the one that fails."""
        index = self.counts[call]
        self.counts[call] += 1
        if (call, index) == self._fault:
            assert self._error is not None
            raise self._error
        if (call, index) == FULL_ONCE:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class FaultySocket(socket.socket):
    """A socket of the server's."""

    edge: Edge

    def accept(self) -> tuple["FaultySocket", object]:
        self.edge.passes("accept")
        accepted, address = super().accept()
        sock = FaultySocket(fileno=accepted.detach())
        sock.edge = self.edge
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel makes it 4608: soon full
        return sock, address

    def recvmsg(self, *arguments: int):  # type: ignore[no-untyped-def]
        self.edge.passes("recvmsg")
        return super().recvmsg(*arguments)

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        try:
            self.edge.passes("send")
        except BrokenPipeError:
            self.shutdown(socket.SHUT_WR)  # What is broken stays so, and the client knows.
            raise
        return super().send(data, flags)

    def sendmsg(self, *arguments):  # type: ignore[no-untyped-def]
        self.edge.passes("sendmsg")
        return super().sendmsg(*arguments)

    def getsockopt(self, *arguments: int):  # type: ignore[no-untyped-def]
        self.edge.passes("getsockopt")
        return super().getsockopt(*arguments)

    def close(self) -> None:
        is_first = self.fileno() >= 0
        super().close()  # Linux lets go of a descriptor whatever it reports.
        if is_first:
            self.edge.passes("close")


class FaultyEpoll:
    """The server's epoll."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._epoll = select.epoll()
        self.close = self._epoll.close

    def poll(self, timeout_s: float, events_max: int) -> list[tuple[int, int]]:
        self._edge.passes("epoll.poll")
        return self._epoll.poll(timeout_s, events_max)

    def register(self, *arguments: int) -> None:
        self._edge.passes("epoll.register")
        self._epoll.register(*arguments)

    def modify(self, *arguments: int) -> None:
        self._edge.passes("epoll.modify")
        self._epoll.modify(*arguments)

    def unregister(self, descriptor: int) -> None:
        self._edge.passes("epoll.unregister")
        self._epoll.unregister(descriptor)


class Play:
    """The scenario, with one victim after another; nothing that is closed on it surprises it."""

    def __init__(self, house: Fast) -> None:
        self.house = house
        self.victim: Client | None = None
        self.confirmed: list[socket.socket] = []
        """The far ends of connections that were confirmed as parked and have not been let expire."""
        self.others: list[socket.socket] = []
        """The far ends of all others."""
        self.taken: list[int] = []

    def turns(self) -> None:
        """Let a pause of accepting pass, and everything that waits for another try have one."""
        for _ in range(3):
            self.house.clock.now_ns += ACCEPT_PAUSE_NS
            self.house.turn()

    def come(self) -> None:
        """Let a victim come."""
        if self.victim is not None:
            self.victim.close()
            self.turns()
        self.victim = self.house.peer(greeted=False)
        self.turns()
        self.read()

    def read(self) -> bytes:
        """Return what came; b"" if the server has closed too."""
        assert self.victim is not None
        data = b""
        try:
            while piece := self.victim.read():
                data += piece
                self.turns()
        except OSError:
            pass
        return data

    def write(self, data: bytes, *descriptors: int) -> bool:
        assert self.victim is not None
        try:
            self.victim.send(data, *descriptors)
        except OSError:
            return False
        self.turns()
        return True

    def say(self, data: bytes) -> bytes:
        return self.read() if self.write(data) else b""

    def park(self, label: bytes, ttl: bytes = b"100", *, keeps: bool = True) -> None:
        near, far = socket.socketpair()
        far.setblocking(False)
        reply = b""
        with near:
            if self.say(save_endp(label, ttl=ttl)) == DUMMY:
                self.write(b"\0", near.fileno())
                reply = self.read()
        (self.confirmed if reply == DONE and keeps else self.others).append(far)

    def take(self, request: bytes) -> None:
        if not self.say(request).startswith(b"status\x000"):
            return
        assert self.victim is not None
        try:
            self.victim.send(DUMMY)
            self.turns()
            _, taken = self.victim.read_with_descriptors()
        except OSError:
            return
        self.taken += taken
        self.say(DUMMY)

    def run(self) -> None:
        self.come()
        self.park(b"a")
        self.park(b"b")
        self.say(save_dest(b"d", b"p", b"a"))
        self.take(find_dest(b"d"))
        self.take(find_endp(b"b"))
        self.park(b"c")
        self.say(find_endp(b"c"))
        self.say(save_dest(b"not", b"ready", b""))  # put back
        if self.say(save_endp(b"refused")) == DUMMY:
            self.say(b"\0")  # without a descriptor
        self.say(find_endp(b"zz"))
        for ending in (b"", find_endp(b"c") + DUMMY):
            self.write(find_endp(b"zz") * 120 + ending)
            for _ in range(2):
                self.turns()  # the socket is full before all is served
            if not ending:
                self.read()  # and all that is left follows
        self.come()  # the one before dies in SENDING
        self.say(find_endp(b"c"))
        self.come()  # the one before dies in READY
        self.park(b"e", b"5", keeps=False)
        self.house.clock.now_ns += 6 * NS_PER_S
        self.turns()
        self.come()

    def end(self) -> None:
        assert self.victim is not None
        self.victim.close()
        self.turns()


class FaultyLog(Lines):
    """The server's log."""

    edge = Edge()

    def warning(self, text: str) -> None:
        self.edge.passes("log")
        super().warning(text)


class FaultyCloser(CloseAtOnce):
    """The server's closer."""

    edge = Edge()

    def close(self, job: Job) -> None:
        self.edge.passes("closer")
        super().close(job)


@contextmanager
def playing(edge: Edge) -> Iterator[tuple[Play, Client]]:
    """Yield the scenario in a house whose server has this edge, and another client in it."""
    with pytest.MonkeyPatch.context() as patch:
        constants = {name: getattr(select, name) for name in dir(select) if name.startswith("EPOLL")}
        current = Edge()  # nothing fails before the scenario begins and when it has ended

        def passing(call: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def pass_and_call(*arguments: object) -> object:
                current.passes(call)
                return function(*arguments)

            return pass_and_call

        def close(descriptor: int) -> None:
            os.close(descriptor)
            current.passes("os.close")

        epoll = FaultyEpoll(current)
        patch.setattr(poller, "select", SimpleNamespace(epoll=lambda: epoll, **constants))
        patch.setattr(wire, "os", SimpleNamespace(close=close, dup=os.dup))
        patch.setattr(in_python, "os", SimpleNamespace(close=close))
        patch.setattr(in_python, "unread_bytes", passing("unread_bytes", in_python.unread_bytes))
        patch.setattr(in_python, "domain_of", passing("domain_of", in_python.domain_of))
        closer = FaultyCloser(Silence())
        hooks = Hooks(
            may_connect=passing("may_connect", lambda sock: True),
            is_alive=passing("is_alive", lambda session: True),
            closer=closer,
        )
        house = Fast(Limits(ttl_limit_s=100), hooks=hooks)
        log = FaultyLog(verbose=False)
        fd, plain = house.server._accepting._listeners.popitem()
        listener = FaultySocket(fileno=plain.detach())
        listener.edge = current
        house.server._accepting._listeners[fd] = listener

        def put(new: Edge) -> None:
            nonlocal current
            current = listener.edge = epoll._edge = closer.edge = log.edge = new

        with house:
            other = house.peer()
            for part in (house.server, house.server._requests, house.server._conversations, house.server._accepting):
                part._log = log
            house.server.faults._log = log
            put(edge)
            play = Play(house)
            try:
                yield play, other
            finally:
                put(Edge())
                for far in play.confirmed + play.others:
                    far.close()
                for descriptor in play.taken:
                    os.close(descriptor)


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def check(edge: Edge) -> None:
    """Play the scenario with a fault, and see that nobody else had anything of it."""
    with playing(edge) as (play, other):
        before = descriptors_open()
        play.run()
        play.end()
        house = play.house
        assert house.server.is_running
        assert not edge.is_transient or (len(play.confirmed), len(play.taken)) == (3, 2), "time has cost a client more"
        lost = [far for far in play.confirmed if is_hung_up(far)]
        assert len(lost) <= edge.may_cost_a_session, "a session is lost"
        alive = [far for far in play.confirmed + play.others if not is_hung_up(far)]
        assert house.server.table.sessions + len(play.taken) == len(alive)
        mine = len(play.confirmed) + len(play.others) + len(play.taken)
        assert descriptors_open() == before + house.server.table.sessions + mine
        assert house.server.clients == 1
        table = house.server.table
        assert len(table.items()) == table.sessions + table.bindings
        assert other.say(find_endp(b"zz")) == MISSED
        newcomer = house.peer(greeted=False)
        play.turns()
        assert newcomer.read() == GREETING
        far = newcomer.park(b"new")
        assert other.say(find_endp(b"new")).startswith(b"status\x000")
        far.close()


def test_scenario_itself_makes_every_call_and_goes_well() -> None:
    edge = Edge()
    with playing(edge) as (play, _):
        play.run()
        play.end()
        assert len(play.taken) == 2
        assert len(play.confirmed) == 3
        assert play.house.server.table.sessions == 1  # c was put back three times, a and b were taken, e has expired
        assert not [line for line in play.house.log.warnings if "unexpected" in line]
    assert set(edge.counts) == set(ERRNOS)
    fewest = {"accept": 8, "recvmsg": 24, "send": 25, "sendmsg": 2, "close": 3, "os.close": 3}
    assert {call: edge.counts[call] >= count for call, count in fewest.items()} == dict.fromkeys(fewest, True)
    assert {edge.counts[call] > 0 for call in ERRNOS} == {True}
    assert edge.counts["epoll.modify"] >= 2
    assert edge.counts["epoll.register"] >= 3


@pytest.mark.parametrize("call", ERRNOS)
def test_LIMIT_8_each_call_fails_once_with_each_error_and_nobody_else_notices(call: str) -> None:
    counted = Edge()
    with playing(counted) as (play, _):
        play.run()
        play.end()
    listed = [OSError(number, os.strerror(number)) for number in ERRNOS[call]]
    for error in (*listed, *(kind("on purpose") for kind in UNFORESEEN)):
        for index in range(counted.counts[call]):
            try:
                check(Edge(call, index, error))
            except Exception as failure:
                raise AssertionError(f"{call} number {index} failing with {error!r}") from failure
