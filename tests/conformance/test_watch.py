"""`scache-conformance watch` as a process: what it passes on, what it prints, what it says of wrong servers."""

import array
import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import DONE, DUMMY, GREETING, MISSED, find_endp, found, save_dest, save_endp
from tests.support.processes import Running, module, run, running, standing
from tests.support.watching import Watcher, faults, watching

from scache_conformance.watch import command
from scache_conformance.watch.turns import ANSWERED_IN_A_ROW

DANCES = 1_000

PROPERTIES = b"long " * 1_000

PAIRS = 1_000

_SO_PASSRIGHTS = 83  # since Linux 6.16


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Have this process open as many descriptors as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A server whose part the test plays."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(PATIENCE_S)
        listener.bind(str(tmp_path / "server"))
        listener.listen()
        yield listener


def read(sock: socket.socket, byte_count: int) -> bytes:
    """Return so many bytes, fewer at the end of the connection."""
    data = b""
    while len(data) < byte_count and (more := sock.recv(byte_count - len(data))):
        data += more
    return data


def connected(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> tuple[Watcher, socket.socket, socket.socket]:
    """Return a watcher, a client of it that is not greeted, and the server's end of its connection."""
    watcher = stack.enter_context(watching(tmp_path / "watched", tmp_path / "server"))
    client = stack.enter_context(Client(watcher.path, greeted=False)).sock
    server, _ = listener.accept()
    server.settimeout(PATIENCE_S)
    return watcher, client, stack.enter_context(server)


def watch_server(stack: ExitStack, tmp_path: Path, *words: str) -> Watcher:
    """Return a watcher before a server of ours, right or wrong."""
    name, *options = words
    stack.enter_context(standing(name, tmp_path / "server", *options))
    return stack.enter_context(watching(tmp_path / "watched", tmp_path / "server", "--alone", "--ttl-limit", "600"))


@pytest.mark.usefixtures("many_descriptors")
def test_1000_dances_at_once_are_right(stack: ExitStack, tmp_path: Path) -> None:
    options = ("--clients-max", str(DANCES), "--ttl-limit", "600")
    watcher = watch_server(stack, tmp_path, "scache_fast", *options)
    clients = [stack.enter_context(Client(watcher.path)) for _ in range(DANCES)]
    lines = [socket.socketpair() for _ in clients]
    for number, client in enumerate(clients):
        client.send(save_endp(b"e%d" % (number % 10)))
    for client, (mine, far) in zip(clients, lines, strict=True):
        stack.enter_context(far)
        assert client.hear() == DUMMY
        client.send(b"\0", mine.fileno())
        mine.close()
    for number, client in enumerate(clients):
        assert client.hear() == DONE
        client.send(find_endp(b"e%d" % (number % 10)))
    for client in clients:
        assert client.hear() == found(b"p")
        client.send(DUMMY)
    for client in clients:
        data, (taken,) = client.read_with_descriptors()
        assert data == b"\0"
        os.close(taken)
        client.send(DUMMY)
        client.close()
    *_, summary = events = watcher.end()
    assert faults(events) == faults(events, "client") == []
    assert summary["connections"] == DANCES
    assert summary["dances"] == {"save_endp": DANCES, "find_endp hit": DANCES}
    assert watcher.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_and_removes_its_socket(
    stack: ExitStack, tmp_path: Path, listener: socket.socket, number: int
) -> None:
    watcher, client, server = connected(stack, tmp_path, listener)
    events = watcher.end(number)
    assert [each["event"] for each in events] == ["summary"]
    assert watcher.process.returncode == 0
    assert client.recv(1) == server.recv(1) == b""
    assert not watcher.path.exists()


def test_dance_is_told_with_what_passed(stack: ExitStack, tmp_path: Path) -> None:
    watcher = watch_server(stack, tmp_path, "scache_reference", "--ttl-limit", "600")
    with Client(watcher.path) as client:
        far = stack.enter_context(client.park(b"e"))
        assert client.say(save_dest(b"d", b"b", b"e")) == DONE
        stack.enter_context(client.pick_up(b"e"))
        far.close()
    saved, bound, fetched, _ = watcher.end()
    assert [each["request"] for each in (saved, bound, fetched)] == ["save_endp", "save_dest", "find_endp"]
    assert saved["file"] == fetched["file"]
    assert saved["file"].startswith("socket:[")
    assert fetched["seconds"] > 0


@pytest.mark.parametrize(
    ("name", "clause"), [("newest-first", "ENDP-3"), ("hands-out-twice", "ENDP-4"), ("properties-are-cut", "FD-13")]
)
def test_wrong_server_is_caught(stack: ExitStack, tmp_path: Path, name: str, clause: str) -> None:
    stack.enter_context(standing_wrong(tmp_path / "server", name))
    watcher = stack.enter_context(watching(tmp_path / "watched", tmp_path / "server"))
    with Client(watcher.path) as client:
        lines = [client.park(b"e", PROPERTIES) for _ in range(3)]
        for _ in lines:
            properties = client.say(find_endp(b"e"))
            assert properties.startswith(b"status\0000\0")
            os.close(client.take())
            client.send(DUMMY)
        for line in lines:
            line.close()
    assert clause in faults(watcher.end())
    assert watcher.process.returncode == 1


@pytest.mark.parametrize(
    ("name", "request_", "clause"),
    [
        ("no-invitation", save_endp(b"e"), "FD-2"),
        ("malformed-is-not-answered", b"request\0find_endp\0\0", "CONN-7"),
    ],
    ids=["no-invitation", "malformed"],
)
def test_request_that_is_passed_over_is_told(
    stack: ExitStack, tmp_path: Path, name: str, request_: bytes, clause: str
) -> None:
    stack.enter_context(standing_wrong(tmp_path / "server", name))
    watcher = stack.enter_context(watching(tmp_path / "watched", tmp_path / "server"))
    with Client(watcher.path) as client, Client(watcher.path) as another:
        client.send(request_)
        for _ in range(ANSWERED_IN_A_ROW + 2):
            assert another.say(find_endp(b"e")) == MISSED
        assert faults(watcher.end()) == [clause]


def test_silence_while_nobody_else_is_served_is_no_fault(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> None:
    watcher, client, server = connected(stack, tmp_path, listener)
    server.sendall(GREETING)
    assert read(client, len(GREETING)) == GREETING
    client.sendall(find_endp(b"e"))
    assert read(server, len(find_endp(b"e"))) == find_endp(b"e")
    client.close()
    assert server.recv(1) == b""
    assert faults(watcher.end()) == []


def standing_wrong(path: Path, name: str) -> AbstractContextManager[Running]:
    return running("--listen", path, "--ttl-limit", "600", command=(*module("tests.wrong"), name))


def test_client_that_sends_ahead_is_told(stack: ExitStack, tmp_path: Path) -> None:
    watcher = watch_server(stack, tmp_path, "scache_fast")
    with Client(watcher.path) as client:
        client.send(2 * find_endp(b"e"))
        answer = b""
        while answer.count(b"status") < 2:
            answer += client.hear()
    events = watcher.end()
    assert faults(events, "client") == ["CLNT-2"]
    assert faults(events) == []


def test_what_the_server_says_without_being_asked_is_told(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> None:
    watcher, client, server = connected(stack, tmp_path, listener)
    server.sendall(GREETING + DONE)
    assert read(client, len(GREETING + DONE)) == GREETING + DONE
    assert faults(watcher.end()) == ["CONN-13"]


def test_descriptor_rides_on_its_own_byte_when_others_come_with_it(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> None:
    """The server reads plain bytes first, and loses no descriptor by that."""
    watcher, client, server = connected(stack, tmp_path, listener)
    watcher.process.send_signal(signal.SIGSTOP)
    client.sendall(b"plain ")
    client.sendall(b"bytes")
    socket.send_fds(client, [b"!?"], [client.fileno(), client.fileno()])
    client.sendall(b"tail")
    watcher.process.send_signal(signal.SIGCONT)
    assert read(server, 11) == b"plain bytes"
    data, taken, _, _ = socket.recv_fds(server, 1, 9)
    assert (data, len(taken)) == (b"!", 2)
    for fd in taken:
        os.close(fd)
    assert read(server, 5) == b"?tail"


def unread_by_the_other(sock: socket.socket) -> bool:
    """Tell whether something that was sent has not been read."""
    count: int = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]
    return count > 0


def test_FD_14_descriptor_is_in_flight_until_the_client_has_read_it(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> None:
    """The server sees it unread although the watcher has passed it on, and goes on once the client has read it."""
    watcher, client, server = connected(stack, tmp_path, listener)
    another = stack.enter_context(Client(watcher.path, greeted=False))
    other_server = stack.enter_context(listener.accept()[0])
    for said in (b"first", b"second"):
        socket.send_fds(server, [b"\0"], [server.fileno()])
        assert select.select([client], [], [], PATIENCE_S)[0], "the watcher has passed it on"
        other_server.sendall(b"!")
        assert another.hear() == b"!", "the watcher has had another turn"
        assert unread_by_the_other(server)
        data, taken, _, _ = socket.recv_fds(client, 9, 9)
        assert (data, len(taken)) == (b"\0", 1)
        os.close(taken[0])
        client.sendall(said)
        assert read(server, len(said)) == said
        assert not unread_by_the_other(server), "what the client sent after it had read came later"


def test_no_more_is_read_than_the_other_side_takes(stack: ExitStack, tmp_path: Path, listener: socket.socket) -> None:
    """A client that writes without end is stopped by a server that reads nothing, and goes on once that reads."""
    watcher, client, server = connected(stack, tmp_path, listener)
    client.setblocking(False)
    with Client(watcher.path, greeted=False) as another:  # who is served meanwhile: its turn is a turn of the loop
        other_server, _ = listener.accept()
        sent = 0
        with other_server:
            quiet_turns = 0
            while quiet_turns < 10:
                try:
                    sent += client.send(b"x" * 65_536)
                    quiet_turns = 0
                except BlockingIOError:
                    other_server.sendall(b"!")
                    assert another.hear() == b"!"
                    quiet_turns += 1
    assert sent < 2_000_000, "what two sockets hold"
    client.shutdown(socket.SHUT_WR)
    received = 0
    while data := server.recv(1_000_000):
        received += len(data)
    assert received == sent


def test_end_is_passed_on_in_both_ways(stack: ExitStack, tmp_path: Path, listener: socket.socket) -> None:
    watcher, client, server = connected(stack, tmp_path, listener)
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert read(server, 4) == b"last"
    assert server.recv(1) == b""
    server.sendall(b"answer")
    assert read(client, 6) == b"answer"
    server.close()
    assert client.recv(1) == b""
    watcher.end()


def test_client_that_is_gone_is_gone_for_the_server(stack: ExitStack, tmp_path: Path, listener: socket.socket) -> None:
    watcher, client, server = connected(stack, tmp_path, listener)
    client.sendall(b"last")
    client.close()
    assert read(server, 4) == b"last"
    assert server.recv(1) == b""
    poll = select.poll()
    poll.register(server, 0)
    assert poll.poll(PATIENCE_S * 1000)[0][1] & select.POLLHUP
    with pytest.raises(BrokenPipeError):
        server.sendall(b"too late")
    watcher.end()


def is_over(sock: socket.socket) -> bool:
    """Wait for what comes next; say whether it is the end."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def still_passes_on(watcher: Watcher, listener: socket.socket) -> bool:
    with Client(watcher.path, greeted=False) as client:
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE_S)
            client.send(b"on")
            return read(server, 2) == b"on"


def test_client_that_takes_no_descriptors_ends_its_connection_alone(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> None:
    watcher, client, server = connected(stack, tmp_path, listener)
    try:
        client.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
    except OSError:
        pytest.skip("this kernel has no SO_PASSRIGHTS")
    socket.send_fds(server, [b"\0"], [0])
    assert is_over(server)
    assert is_over(client)
    assert still_passes_on(watcher, listener)
    watcher.end()


def test_urgent_bytes_are_passed_on_in_line_with_what_came_with_them(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> None:
    watcher, client, server = connected(stack, tmp_path, listener)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [client.fileno()]))
    client.sendmsg([b"u"], [rights], socket.MSG_OOB)
    data, (passed,), _, _ = socket.recv_fds(server, 1, 2)
    os.close(passed)
    assert data == b"u"
    watcher.end()


def test_closing_of_what_nobody_has_read_holds_up_nobody(
    stack: ExitStack, tmp_path: Path, listener: socket.socket
) -> None:
    """A socket that lingers, in the queue of a client whose server has gone: whoever closes the queue waits for it."""
    watcher, client, server = connected(stack, tmp_path, listener)
    with socket.create_server(("127.0.0.1", 0)) as deaf, socket.create_connection(deaf.getsockname()) as lingering:
        lingering.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lingering.send(bytes(100_000))
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                socket.send_fds(client, [b"l"], [lingering.fileno()])
    server.close()
    client.close()
    assert still_passes_on(watcher, listener)
    watcher.end()


def test_server_that_is_not_there_is_shown_as_an_end(stack: ExitStack, tmp_path: Path) -> None:
    watcher = stack.enter_context(watching(tmp_path / "watched", tmp_path / "nobody"))
    for _ in range(3):
        with Client(watcher.path, greeted=False) as client:
            assert client.is_closed()
    reason = f"no connection to {tmp_path / 'nobody'}, so a client is closed: No such file or directory"
    assert watcher.end(complaint=f"scache-conformance watch: {reason}\n")[-1]["connections"] == 0


def test_watcher_between_a_socket_and_itself_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--listen", str(tmp_path / "s"), "--connect", f"{tmp_path}/../{tmp_path.name}/s"]) == 2
    assert "--listen and --connect name one socket" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_pushed_from_a_socket(tmp_path: Path, listener: socket.socket) -> None:
    path = tmp_path / "server"
    tried = run("watch", "--listen", path, "--connect", tmp_path / "other", command=module("scache_conformance"))
    assert tried.returncode == 2
    assert "somebody listens there" in tried.stderr
    assert run("watch", "--listen", path, command=module("scache_conformance")).returncode == 2


@pytest.mark.generated
def test_cost_of_a_dance(stack: ExitStack, tmp_path: Path) -> None:
    """Prints what a watcher adds to each dance."""
    watcher = watch_server(stack, tmp_path, "scache_fast", "--ttl-limit", "600")
    took_us = {}
    for what, path in (("without", tmp_path / "server"), ("with a watcher", watcher.path)):
        with Client(path) as client:
            begin_ns = time.monotonic_ns()
            for _ in range(PAIRS):
                client.park(b"e").close()
                client.pick_up(b"e").close()
            took_us[what] = (time.monotonic_ns() - begin_ns) / 2 / PAIRS / 1000
    print("a save or a find takes", ", ".join(f"{us:.0f} us {what}" for what, us in took_us.items()))
    assert faults(watcher.end()) == []
