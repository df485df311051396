"""How each client waits: its deadline, other threads, other tasks, a fork, a queue that is full, nobody there."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S
from tests.support.messages import DONE, DUMMY, GREETING, MISSED
from tests.support.scripted import Action, Line, Scripted, hear, say, stall, take

from scache_client import AsyncClient, Client, ServerGone, TimedOut
from scache_client.connection import Connection, Wait
from scache_client.dialogue import find_endp

SHORT_S = 0.05
"""A timeout that is let pass. Arbitrary."""


def ask_blocking(path: str | os.PathLike[str]) -> None:
    with Client(path, timeout_s=SHORT_S) as client:
        client.find_endp(b"e")


def ask_asyncio(path: str | os.PathLike[str]) -> None:
    async def ask() -> None:
        async with AsyncClient(path, timeout_s=SHORT_S) as client:
            await client.find_endp(b"e")

    asyncio.run(ask())


both = pytest.mark.parametrize("ask", [ask_blocking, ask_asyncio])
Ask = Callable[[str | os.PathLike[str]], None]


@both
def test_time_is_limited(ask: Ask, peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, stall])
    with pytest.raises(TimedOut, match="the status and the properties"):
        ask(peer.path)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_request_may_have_a_timeout_of_its_own(peer: Scripted, kind: type[Client] | type[AsyncClient]) -> None:
    async def ask(client: Client | AsyncClient, timeout_s: float | None) -> None:
        if isinstance(client, Client):
            assert client.find_endp(b"e", timeout_s=timeout_s) is None
        else:
            assert await client.find_endp(b"e", timeout_s=timeout_s) is None

    async def both_sides() -> None:
        client = kind(peer.path, timeout_s=PATIENCE_S)
        await ask(client, None)
        with pytest.raises(TimedOut):
            await ask(client, SHORT_S)
        with pytest.raises(ValueError, match="timeout_s is 0;"):
            await ask(client, 0)
        await ask(client, None)
        closing = client.close()
        if closing is not None:
            await closing

    miss = [hear, say(MISSED)]
    peer.serve([say(GREETING), *miss, hear, stall], [say(GREETING), *miss])
    asyncio.run(both_sides())


def test_client_says_where_it_is_connected(peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, say(MISSED)])
    name = peer.path.replace("\0", "@")
    with Client(peer.path) as client:
        assert repr(client) == f"<Client {name} not connected>"
        client.find_endp(b"e")
        assert repr(client) == f"<Client {name} connected>"
    assert repr(AsyncClient("s")) == "<AsyncClient s not connected>"


@both
def test_full_backlog_is_waited_for_as_long_as_there_is_time(ask: Ask) -> None:
    with full_backlog() as (listener, _), pytest.raises(TimedOut, match="accepted no connection"):
        ask(listener.getsockname().decode())


def test_room_in_the_backlog_is_taken() -> None:
    with full_backlog() as (listener, _):
        connection = Connection(listener.getsockname().decode())
        waiting = connection.request(find_endp(b"e"))
        assert next(waiting) is Wait.BACKLOG
        assert waiting.send(True) is Wait.BACKLOG
        listener.accept()[0].close()
        assert waiting.send(True) is Wait.READABLE
        waiting.close()
        assert connection.fileno() == -1


class full_backlog:  # noqa: N801 - reads as a context, not as a kind of thing.
    """A listener that takes no connection more."""

    def __enter__(self) -> tuple[socket.socket, list[socket.socket]]:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")
        self.listener.listen(0)
        self.waiting: list[socket.socket] = []
        while True:
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            self.waiting.append(one)
            try:
                one.connect(self.listener.getsockname())
            except BlockingIOError:
                return self.listener, self.waiting

    def __exit__(self, *_: object) -> None:
        for one in (*self.waiting, self.listener):
            one.close()


@both
def test_missing_socket_is_server_gone_and_says_what_to_do(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(ServerGone, match="start the server"):
        ask(tmp_path / "none")


@both
def test_socket_that_nobody_listens_on_is_server_gone(ask: Ask, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "s"))
    with pytest.raises(ServerGone, match="no server listens"):
        ask(tmp_path / "s")


def test_failed_connect_leaves_nothing_open(tmp_path: Path) -> None:
    client = Client(tmp_path / "none")
    with pytest.raises(ServerGone):
        client.find_endp(b"e")
    assert client._connection.fileno() == -1


@both
def test_file_on_the_way_is_server_gone(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerGone, match="is not a folder"):
        ask(tmp_path / "file" / "s")


def test_path_that_fits_no_socket_is_a_value_error(tmp_path: Path) -> None:
    Client("x" * 107).close()
    with pytest.raises(ValueError, match="at most 107"):
        Client("x" * 108)
    with pytest.raises(ValueError, match="at most 107"):
        AsyncClient("é" * 54)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 2_147_484])
def test_timeout_out_of_range_is_a_value_error(timeout_s: float) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="timeout_s is"):
            kind("s", timeout_s=timeout_s)


def test_nothing_is_connected_before_the_first_request(peer: Scripted) -> None:
    with Client(peer.path):
        pass
    peer.finish()  # which fails at a connection


def test_client_works_again_after_close(peer: Scripted) -> None:
    one = [say(GREETING), hear, say(MISSED)]
    peer.serve(one, one)
    client = Client(peer.path)
    for _ in range(2):
        assert client.find_endp(b"e") is None
        client.close()
        client.close()


def test_threads_take_turns(peer: Scripted) -> None:
    """`hear` fails when a request comes before the reply to the one before it."""
    peer.serve([say(GREETING), *[hear, say(DONE)] * 40])
    with Client(peer.path) as client:

        def save() -> None:
            for _ in range(10):
                client.save_dest(b"d", b"", b"e", 5)

        threads = [threading.Thread(target=save) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peer.finish()
    assert len(peer.heard) == 40


def test_turn_that_does_not_come_is_a_timeout(peer: Scripted) -> None:
    done = threading.Event()
    peer.serve([say(GREETING), hear, tell(peer.stalled), wait_for(done), say(DONE)])
    with Client(peer.path) as client:
        thread = threading.Thread(target=client.save_dest, args=(b"d", b"", b"e", 5))
        thread.start()
        peer.stalled.wait()
        client.timeout_s = SHORT_S
        with pytest.raises(TimedOut, match="other threads"):
            client.find_endp(b"e")
        done.set()
        thread.join()


def tell(event: threading.Event) -> Action:
    return lambda _: event.set()


def wait_for(event: threading.Event) -> Action:
    def action(_: Line) -> None:
        assert event.wait(20)

    return action


def test_tasks_take_turns(peer: Scripted) -> None:
    peer.serve([say(GREETING), *[hear, say(MISSED)] * 10])

    async def ask() -> None:
        async with AsyncClient(peer.path) as client:
            assert await asyncio.gather(*[client.find_endp(b"e") for _ in range(10)]) == [None] * 10

    asyncio.run(ask())


def test_turn_of_a_task_that_does_not_come_is_a_timeout(peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, stall])

    async def ask() -> None:
        async with AsyncClient(peer.path, timeout_s=20) as client:
            first = asyncio.create_task(client.find_endp(b"e"))
            await asyncio.to_thread(peer.stalled.wait)
            client.timeout_s = SHORT_S
            with pytest.raises(TimedOut, match="other tasks"):
                await client.find_endp(b"e")
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first

    asyncio.run(ask())


async def find_twice(client: AsyncClient) -> None:
    assert not any(await asyncio.gather(client.find_endp(b"e"), client.find_endp(b"e")))


def test_next_loop_may_use_the_client_when_a_loop_has_ended(peer: Scripted) -> None:
    """Two tasks each: a lock that is awaited belongs to its loop."""
    peer.serve([say(GREETING), *[hear, say(MISSED)] * 4])
    client = AsyncClient(peer.path)
    for _ in range(2):
        asyncio.run(find_twice(client))
    asyncio.run(client.close())


def test_loop_that_was_closed_in_the_middle_of_a_request_spoils_no_other(peer: Scripted) -> None:
    """The request that was left behind ends during the next one, and closes nothing but its own connection."""
    peer.serve([say(GREETING), hear, stall], [say(GREETING), *[hear, say(MISSED)] * 2])
    client = AsyncClient(peer.path, timeout_s=PATIENCE_S)
    loop = asyncio.new_event_loop()
    task = loop.create_task(client.find_endp(b"e"))
    loop.run_until_complete(asyncio.to_thread(peer.stalled.wait))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.run(find_twice(client))
    left_behind = task.get_coro()
    assert left_behind is not None
    left_behind.close()
    assert client._connection.fileno() >= 0
    asyncio.run(client.close())


def test_loop_beside_a_running_one_is_a_runtime_error(peer: Scripted) -> None:
    peer.serve([say(GREETING), hear, say(MISSED)])

    async def ask() -> None:
        async with AsyncClient(peer.path) as client:
            assert await client.find_endp(b"e") is None
            with pytest.raises(RuntimeError, match="make a client for each loop"):
                await asyncio.to_thread(lambda: asyncio.run(client.find_endp(b"e")))

    asyncio.run(ask())


CANCELLED: dict[str, list[Action]] = {
    "before the greeting": [stall],
    "before the go-ahead": [say(GREETING), hear, stall],
    "in the middle of a reply": [say(GREETING), hear, say(DUMMY[:4]), stall],
    "before the descriptor is taken": [say(GREETING), hear, say(DUMMY), stall],
    "before the status": [say(GREETING), hear, say(DUMMY), take, stall],
}


@pytest.mark.parametrize("where", CANCELLED)
def test_cancelled_dance_closes_the_connection(peer: Scripted, where: str) -> None:
    peer.serve(CANCELLED[where], [say(GREETING), hear, say(MISSED)])

    async def ask() -> None:
        mine, far = socket.socketpair()
        async with AsyncClient(peer.path, timeout_s=20) as client:
            with mine, far:
                saving = asyncio.create_task(client.save_endp(b"e", b"", 5, mine))
                await asyncio.to_thread(peer.stalled.wait)
                saving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await saving
                assert mine.fileno() >= 0
            assert await client.find_endp(b"e") is None  # `stall` ended, so the first connection was closed

    asyncio.run(ask())
    assert peer.accepted == 2


def test_interrupt_in_mid_dance_closes_the_connection(peer: Scripted) -> None:
    class Interrupted(Client):
        def _wait(self, wait: Wait, deadline: float) -> bool:
            while not super()._wait(wait, deadline=0.0):
                if peer.stalled.wait(0.001):
                    raise KeyboardInterrupt
            return True

    peer.serve([say(GREETING), hear, stall])
    with Interrupted(peer.path) as client:
        with pytest.raises(KeyboardInterrupt) as held:
            client.find_endp(b"e")
        assert client._connection.fileno() == -1, "while the traceback is still held"
        assert held.value is not None


FORKING_ASYNCIO = """
import asyncio, os, sys
from scache_client import AsyncClient

async def find(client):
    return await client.find_endp(b"e")

client = AsyncClient(chr(0) + sys.argv[1])
with asyncio.Runner() as runner:
    assert runner.run(find(client)) is None
    before = client._connection.fileno()
    if sys.argv[2] == "held":
        runner.run(client._turn.acquire())  # as if another task were in the middle of a request
    child = os.fork()
    if child == 0:
        assert client._connection.fileno() == -1
        assert asyncio.run(find(client)) is None
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    if sys.argv[2] == "held":
        client._turn.release()
    assert client._connection.fileno() == before
    assert runner.run(find(client)) is None
    assert client._connection.fileno() == before
    runner.run(client.close())
"""

FORKING = """
import os, socket, sys, threading
from scache_client import Client

client = Client(chr(0) + sys.argv[1])  # no argument can begin with a NUL
assert client.find_endp(b"e") is None
before = client._connection.fileno()
held = sys.argv[2] == "held"
if held:
    client._turn.acquire()  # as if another thread were in the middle of a request
child = os.fork()
if child == 0:
    assert client._connection.fileno() == -1
    assert client.find_endp(b"e") is None
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
if held:
    client._turn.release()
assert client._connection.fileno() == before
assert client.find_endp(b"e") is None
assert client._connection.fileno() == before
client.close()
"""


@pytest.mark.parametrize("source", [FORKING, FORKING_ASYNCIO], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("turn", ["free", "held"])
def test_child_of_a_fork_makes_its_own_connection(turn: str, source: str) -> None:
    """In a process without threads of its own; the server takes each connection in a thread of this one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen(2)
        listener.settimeout(20)
        counts: list[int] = []
        threads = [threading.Thread(target=serve_misses, args=(listener, counts), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        program = [sys.executable, "-c", source, listener.getsockname().decode().removeprefix("\0"), turn]
        subprocess.run(program, check=True, timeout=20, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        for thread in threads:
            thread.join()
    assert sorted(counts) == [1, 2], "requests on the connection of the child, and on that of the parent"


def serve_misses(listener: socket.socket, counts: list[int]) -> None:
    count = 0
    try:
        accepted = listener.accept()[0]
    except OSError:
        return  # the test has failed, and says why
    with accepted as connection:
        connection.settimeout(20)
        connection.sendall(GREETING)
        while connection.recv(4096):
            connection.sendall(MISSED)
            count += 1
    counts.append(count)
