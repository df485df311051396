"""What one client, or one turn of the loop, can cost at most: counts, bytes, descriptors in flight, shares of work."""

import errno
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from unittest import mock

import pytest
from tests.support.messages import (
    DONE,
    DUMMY,
    FAILED,
    MISSED,
    MISSED_DEST,
    find_dest,
    find_endp,
    found,
    save_dest,
    save_endp,
)
from tests.support.servers import Fast

from scache_fast.engine.closing import Job
from scache_fast.engine.hooks import Hooks
from scache_fast.engine.server import SHARE
from scache_spec.vocabulary import Limits


@pytest.fixture
def server() -> Iterator[Fast]:
    with Fast(Limits(ttl_limit_s=100, ipc_timeout_s=10)) as started:
        yield started


# Bytes in the cache.


def test_LIMIT_11_bytes_are_counted_exactly_and_come_back() -> None:
    with Fast(Limits(ttl_limit_s=100, cached_bytes_max=10)) as server:
        client = server.peer()
        assert client.say(save_dest(b"ddd", b"pp", b"ee")) == DONE  # 7
        with closing(client.park(b"e", b"pp")), socket.socket() as spare:  # 10
            assert client.save(b"", spare.fileno(), b"") == DONE
            assert client.say(save_dest(b"", b"", b"")) == DONE
            assert client.save(b"", spare.fileno(), b"1") == FAILED
            assert client.say(save_dest(b"", b"1", b"")) == FAILED
            assert client.say(save_dest(b"ddd", b"pp", b"ee")) == DONE, "a renewal needs no room"
            assert client.say(find_endp(b"e")) == found(b"pp")
            other = server.peer()
            assert other.save(b"abc", spare.fileno(), b"") == DONE, "a held session does not count"
            client.close()
            server.turn()
            assert server.server.table.bytes == 13, "a put-back ignores the limit"
            server.advance(100)
            assert server.server.table.bytes == 0


# A descriptor in flight.


def test_FD_14_waiting_for_a_client_to_read_costs_no_turns(server: Fast) -> None:
    client = server.peer()
    with closing(client.park(b"e")):
        client.send(find_endp(b"e") + DUMMY + DUMMY + find_endp(b"zz"))
        server.turn(4)
        assert server.server._poller.wait(0) == []
        assert server.server._wait_s(None) == 10
        client.read()
        assert server.server._poller.wait(0) != []
        server.turn()


@pytest.mark.plain
def test_FD_10_session_comes_back_when_the_kernel_takes_no_more_descriptors(server: Fast) -> None:
    """As root a process never sees ETOOMANYREFS."""
    client, other = server.peer(), server.peer()
    refusal = OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
    with closing(client.park(b"e")) as far:
        assert client.say(find_endp(b"e")) == found(b"p")
        with mock.patch.object(server.server._conversations, "_pass_on", side_effect=refusal):
            client.say(DUMMY)
        assert client.is_closed()
        assert [line for line in server.log.warnings if "session put back" in line]
        assert server.server.statistics.too_many_in_flight == 1
        with other.pick_up(b"e") as near:
            near.send(b"through")
            assert far.recv(7) == b"through"


class SlowCloser:
    """Closes when it is told to."""

    refused_users: frozenset[int] = frozenset()
    crowded_users: frozenset[int] = frozenset()

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def close(self, job: Job) -> None:
        self.jobs.append(job)

    def finish(self) -> None:
        for job in self.jobs:
            for descriptor in job.descriptors:
                os.close(descriptor)
            job.is_done = True
        self.jobs.clear()


def test_FD_15_client_waits_until_what_it_passed_for_nothing_is_closed_and_others_do_not() -> None:
    closer = SlowCloser()
    with Fast(Limits(ttl_limit_s=100), hooks=Hooks(closer=closer)) as server, socket.socket() as spare:
        rude, polite = server.peer(), server.peer()
        assert rude.say(find_endp(b"zz"), spare.fileno()) == MISSED
        assert rude.say(find_endp(b"zz")) == b""
        assert polite.say(find_endp(b"zz")) == MISSED
        assert server.server._poller.wait(0) == []
        closer.finish()
        server.server.resume()
        assert rude.hear() == MISSED
        closer.crowded_users = frozenset({os.getuid()})
        server.server.resume()
        assert polite.say(find_endp(b"zz")) == b""
        closer.crowded_users = frozenset()
        server.server.resume()
        assert polite.hear() == MISSED
        closer.refused_users = frozenset({os.getuid()})
        assert polite.save(b"e", spare.fileno()) == FAILED
        closer.refused_users = frozenset()
        closer.finish()
        server.server.resume()
    closer.finish()


# Shares of work.


def small_shares(**limits: int) -> Fast:
    return Fast(Limits(ttl_limit_s=100, **limits), share=1)


@contextmanager
def a_unix_socket(*, queued: bool) -> Iterator[socket.socket]:
    near, far = socket.socketpair()
    with near, far:
        if queued:
            far.send(b"x")
        yield near


@contextmanager
def a_unix_socket_with_a_path() -> Iterator[socket.socket]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{folder}/s")
        bound.listen()  # An unconnected one that does not listen is hung up, which looks like something queued.
        yield bound


@contextmanager
def a_connection(*, lingers: bool) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", lingers, 0))
        yield near


HANDED_OVER: dict[str, tuple[Callable[[], AbstractContextManager[socket.socket]], bool]] = {
    "a UNIX socket": (lambda: a_unix_socket(queued=False), False),
    "a UNIX socket that holds something": (lambda: a_unix_socket(queued=True), True),
    "a UNIX socket with a path": (a_unix_socket_with_a_path, True),
    "TCP": (lambda: a_connection(lingers=False), False),
    "TCP that lingers": (lambda: a_connection(lingers=True), True),
    "TCP that listens": (lambda: socket.create_server(("127.0.0.1", 0)), True),
    "UDP": (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), True),
    "netlink": (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), True),
}
"""What is handed over, and whether its last close may wait."""


@pytest.mark.parametrize("what", HANDED_OVER)
def test_FD_15_what_was_handed_over_is_closed_in_the_loop_only_if_that_cannot_wait(what: str) -> None:
    """The finder may be quicker in closing its own copy; then the server's is the last."""
    closer, (make, may_wait) = SlowCloser(), HANDED_OVER[what]
    with Fast(Limits(ttl_limit_s=100), hooks=Hooks(closer=closer)) as server, make() as parked:
        client = server.peer()
        assert client.save(b"e", parked.fileno()) == DONE
        assert client.say(find_endp(b"e")) == found(b"p")
        os.close(client.take())
        assert [len(job.descriptors) for job in closer.jobs] == [1] * may_wait
    closer.finish()


@pytest.mark.parametrize("who", ["saver", "finder"])
def test_FD_15_unix_socket_that_a_stranger_saved_or_found_is_not_closed_in_the_loop(who: str) -> None:
    """Between the look at its queue and the close, whoever has both ends may queue what closes slowly."""
    closer = SlowCloser()
    with Fast(Limits(ttl_limit_s=100), hooks=Hooks(closer=closer)) as server, a_unix_socket(queued=False) as parked:
        saver, finder = server.peer(), server.peer()
        stranger = server.server.steering.everybody[["saver", "finder"].index(who)]
        stranger.user += 1
        assert saver.save(b"e", parked.fileno()) == DONE
        assert finder.say(find_endp(b"e")) == found(b"p")
        os.close(finder.take())
        assert [len(job.descriptors) for job in closer.jobs] == [1]
        stranger.user -= 1  # by which clients are counted
    closer.finish()


@pytest.mark.parametrize("invited", [False, True])
def test_FD_15_what_comes_with_an_urgent_byte_is_not_closed_by_the_kernel(invited: bool) -> None:
    """By default recvmsg skips the byte, and whatever came with it is closed within that call."""
    closer = SlowCloser()
    with Fast(Limits(ttl_limit_s=100), hooks=Hooks(closer=closer)) as server, socket.socket() as spare:
        client, polite = server.peer(), server.peer()
        if invited:
            assert client.say(save_endp(b"e")) == DUMMY
        rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("2i", spare.fileno(), spare.fileno())
        try:
            client.sock.sendmsg([b"\0"], [rights], socket.MSG_OOB)
        except OSError as error:
            pytest.skip(f"this kernel has no urgent bytes on UNIX sockets: {error.strerror}")
        server.turn()
        assert [len(job.descriptors) for job in closer.jobs] == [2]
        assert polite.say(find_endp(b"zz")) == MISSED
    closer.finish()


def test_TTL_7_what_is_due_is_removed_in_shares() -> None:
    with small_shares() as server:
        client = server.peer()
        for _ in range(3):
            client.park(b"e", ttl=b"1").close()
        for left in (2, 1, 0):
            server.advance(1)
            assert server.server.table.sessions == left


def test_TTL_5_what_is_due_and_not_removed_is_not_found() -> None:
    with small_shares() as server:
        client = server.peer()
        fars = [client.park(b"e", ttl=ttl) for ttl in (b"1", b"1", b"1", b"9")]
        assert client.say(save_dest(b"d", b"p", b"e")) == DONE
        for request, reply in ((find_endp(b"e"), found(b"p")), (find_dest(b"d"), MISSED_DEST)):
            server.clock.now_ns += 1_000_000_000
            client.send(request)
            server.turn(6)
            assert client.read() == reply
            if reply != MISSED_DEST:
                os.close(client.take())
                assert client.say(DUMMY) == b""
        for far in fars:
            far.close()


def test_TTL_5_binding_that_is_due_leads_nowhere_and_is_not_renewed() -> None:
    with small_shares() as server:
        client = server.peer()
        with closing(client.park(b"e")), closing(client.park(b"f")):
            for endpoint, ttl in ((b"x", b"1"), (b"y", b"1"), (b"e", b"1"), (b"f", b"9")):
                assert client.say(save_dest(b"d", endpoint, endpoint, ttl)) == DONE
            server.clock.now_ns += 1_000_000_000
            assert client.say(save_dest(b"d", b"e", b"e", b"9")) == DONE
            for binding in (b"f", b"e"):  # the new one goes last
                client.send(find_dest(b"d"))
                server.turn(4)
                assert client.read() == found(binding, b"p")
                os.close(client.take())
                assert client.say(DUMMY) == b""


@pytest.mark.parametrize("limit", ["sessions_max", "sessions_per_endpoint_max", "cached_bytes_max"])
def test_TTL_5_saves_that_only_due_sessions_would_refuse_are_done(limit: str) -> None:
    with small_shares(**{limit: 4}) as server, socket.socket() as spare:
        clients = [server.peer(), server.peer()]
        for _ in range(2 if limit == "cached_bytes_max" else 4):
            clients[0].park(b"e", ttl=b"1").close()
        assert clients[0].save(b"e", spare.fileno()) == FAILED
        for client in clients:
            assert client.say(save_endp(b"e")) == DUMMY
        server.clock.now_ns += 1_000_000_000
        for client in clients:  # the turn's share makes room for one
            client.send(b"\0", spare.fileno())
        server.turn(6)
        assert [client.read() for client in clients] == [DONE, DONE]
        assert server.server.table.sessions == 2


def test_TTL_5_bindings_that_only_due_bindings_would_refuse_are_saved() -> None:
    with small_shares(bindings_max=4) as server:
        clients = [server.peer(), server.peer()]
        for each in (b"1", b"2", b"3", b"4"):
            assert clients[0].say(save_dest(b"d", each, b"e", b"1")) == DONE
        assert clients[0].say(save_dest(b"d", b"5", b"e")) == FAILED
        server.clock.now_ns += 1_000_000_000
        for client, properties in zip(clients, (b"5", b"6"), strict=True):
            client.send(save_dest(b"d", properties, b"e"))
        server.turn(6)
        assert [client.read() for client in clients] == [DONE, DONE]


def test_dead_sessions_are_passed_over_in_shares() -> None:
    hooks = Hooks(is_alive=lambda session: session.properties != b"dead")
    with Fast(Limits(ttl_limit_s=100), hooks=hooks, share=1) as server:
        client, other = server.peer(), server.peer()
        for _ in range(5):
            client.park(b"e", b"dead").close()
        with closing(client.park(b"e", b"alive")):
            client.send(find_endp(b"e"))
            server.turn()
            assert client.read() == b""
            assert other.say(find_endp(b"zz")) == MISSED
            server.turn(6)
            assert client.read() == found(b"alive")


# A turn that comes late.


@pytest.mark.plain
def test_CONN_3_a_turn_does_a_bounded_share_of_what_many_clients_have_pipelined() -> None:
    """However many there are: epoll reports 64 of them a turn, and whoever waits for one answer waits some turns."""
    with Fast(Limits(ttl_limit_s=100, clients_max=200)) as server:
        clients = [server.peer() for _ in range(150)]
        for client in clients:
            client.send(find_endp(b"zz") * 100)
        turns = served = 0
        while served < 150 * 100:
            server.turn()
            turns, before, served = turns + 1, served, server.server.served
            assert 0 < served - before <= 2 * 16 * SHARE, "16 shares for those that wrote, and 16 for those with more"
        assert all(client.read() == MISSED * 100 for client in clients)
        assert turns < 150 * 100 // 16


@pytest.mark.plain
def test_LIMIT_7_what_came_after_the_poll_is_read_too(server: Fast) -> None:
    client = server.peer()
    assert client.say(find_endp(b"e")[:-1]) == b""
    client.send(b"\0")
    with mock.patch.object(server.server._poller, "wait", return_value=[]):
        server.advance(100)
    assert client.read() == MISSED
