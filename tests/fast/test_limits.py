"""Every limit, met through the running command: the reply, one line in the log, and a server that goes on."""

import re
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import DONE, DUMMY, FAILED, GREETING, MISSED, find_endp, save_dest, save_endp
from tests.support.processes import Running, running, with_descriptors

Meeting = Callable[[Client, Path], None]


def long_list(client: Client, path: Path) -> None:
    label = b"x" * (200 - len(find_endp(b"")))
    assert client.say(find_endp(label)) == MISSED
    client.sock.sendall(find_endp(label + b"x"))
    assert client.is_closed()


def second_session(client: Client, path: Path) -> None:
    with client.park(b"e"), socket.socket() as another:
        assert client.save(b"f", another.fileno()) == FAILED


def second_session_of_an_endpoint(client: Client, path: Path) -> None:
    with client.park(b"e"), socket.socket() as another:
        assert client.save(b"e", another.fileno()) == FAILED
        assert client.save(b"f", another.fileno()) == DONE


def second_binding(client: Client, path: Path) -> None:
    assert client.say(save_dest(b"d", b"p", b"e")) == DONE
    assert client.say(save_dest(b"d", b"p", b"f")) == FAILED
    assert client.say(save_dest(b"d", b"p", b"e")) == DONE


def third_client(client: Client, path: Path) -> None:
    with Client(path), Client(path, greeted=False) as third:
        assert third.is_closed()


def unread_replies(client: Client, path: Path) -> None:
    """Write until the server reads no more, then read everything."""
    sent = 0
    while not is_full(client.sock):
        sent += client.sock.send(find_endp(b"zz") * 100)
    whole, rest = divmod(sent, len(find_endp(b"zz")))
    if rest:
        client.sock.shutdown(socket.SHUT_WR)
    received = 0
    while received < whole * len(MISSED):
        received += len(client.sock.recv(1_000_000))


def is_full(sock: socket.socket) -> bool:
    """Say whether a socket has no room, and gets none for a while: nothing can be waited for that does not happen."""
    return not select.select([], [sock], [], 0.2)[1]


def unfinished_step(client: Client, path: Path) -> None:
    assert client.say(save_endp(b"e")) == DUMMY
    assert client.is_closed()


MEETINGS: dict[str, tuple[list[str], Meeting, str]] = {
    "LIMIT_1": (["--attribute-list-bytes-max=200"], long_list, "attribute_list_bytes_max=200"),
    "LIMIT_2": (["--sessions-max=1"], second_session, "sessions_max=1"),
    "LIMIT_3": (["--sessions-per-endpoint-max=1"], second_session_of_an_endpoint, "sessions_per_endpoint_max=1"),
    "LIMIT_4": (["--bindings-max=1"], second_binding, "bindings_max=1"),
    "LIMIT_5": (["--clients-max=3"], third_client, "clients_max=3"),
    "LIMIT_6": (["--output-bytes-max=1000"], unread_replies, "output_bytes_max=1000"),
    "LIMIT_7": (["--ipc-timeout=1s"], unfinished_step, "ipc_timeout_s=1"),
}


@pytest.mark.parametrize("clause", MEETINGS)
def test_LIMIT_met_is_answered_logged_once_and_survived(clause: str, tmp_path: Path) -> None:
    """LIMIT-1 to LIMIT-7."""
    options, meet, words = MEETINGS[clause]
    path = tmp_path / "s"
    with running("--listen", path, "--ttl-limit", "1h", *options) as server:
        with Client(path) as other:
            with Client(path) as client:
                meet(client, path)
            assert other.say(find_endp(b"zz")) == MISSED
        lines = [line for line in server.end() if "warning" in line]
    assert len(lines) == 1
    assert re.search(rf"\b{words}$", lines[0]), lines


TABLE, RESERVE = 400, "340"
"""A small table of descriptors, most of which are the reserve: there cannot be less."""


def settle(client: Client) -> None:
    """Let the server take two turns: whatever had happened before this was called is dealt with then."""
    for _ in range(2):
        assert client.say(find_endp(b"zz")) == MISSED


def test_LIMIT_8_reserve_refuses_saves_and_keeps_clients_and_finds_going(tmp_path: Path) -> None:
    path = tmp_path / "s"
    options = ["--ttl-limit", "1h", "--descriptors-reserve", RESERVE]
    with (
        running("--listen", path, *options, command=with_descriptors(TABLE)) as server,
        Client(path) as client,
        socket.socket() as spare,
    ):
        while client.save(b"e", spare.fileno()) == DONE:
            pass
        while server.descriptors != TABLE - int(RESERVE):  # the one that was refused is closed a moment later
            settle(client)
        warning = server.line("save_endp")
        assert warning.endswith(": save_endp 'e' refused: the descriptors that are left are kept in reserve")
        # There is room for clients, and what they take out makes room for a save: one.
        clients = [Client(path) for _ in range(10)]
        clients[9].pick_up(b"e").close()
        settle(client)
        assert client.save(b"e", spare.fileno()) == DONE
        assert client.save(b"e", spare.fileno()) == FAILED
        for each in clients:
            assert each.say(find_endp(b"zz")) == MISSED
            each.sock.close()


def fill(path: Path, server: Running, stack: ExitStack) -> list[Client]:
    """Connect clients until there is no room for another; return them, the last one being the one that waits."""
    clients: list[Client] = []
    is_in = True
    while is_in:
        clients.append(stack.enter_context(Client(path, greeted=False)))
        assert server.process.stderr is not None
        sock, log = clients[-1].sock.fileno(), server.process.stderr.fileno()
        ready, _, _ = select.select([sock, log], [], [], PATIENCE_S)
        assert ready
        is_in = sock in ready
        assert not is_in or clients[-1].read() == GREETING
    server.line("no room for another client, accepting pauses: Too many open files")
    return clients


def test_LIMIT_8_full_table_pauses_accepting_and_serves_those_inside(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running("--listen", path, command=with_descriptors(40)) as server, ExitStack() as stack:
        *inside, waiting = fill(path, server, stack)
        assert len(inside) > 5
        for client in inside:
            assert client.say(find_endp(b"zz")) == MISSED
        inside[0].close()
        assert waiting.read() == GREETING
        assert waiting.say(find_endp(b"zz")) == MISSED
        assert [line for line in server.end() if "no room" in line] == []


@pytest.mark.needs("strace")
def test_LIMIT_8_waiting_for_room_is_twenty_turns_a_second_and_no_spin(tmp_path: Path) -> None:
    path, trace = tmp_path / "s", tmp_path / "trace"
    command = ["strace", "-D", "-f", "-qq", "-e", "trace=epoll_wait", "-o", str(trace), *with_descriptors(40)]
    with running("--listen", path, "--ipc-timeout", "2s", command=command) as server, ExitStack() as stack:
        *inside, waiting = fill(path, server, stack)
        before = trace.read_bytes().splitlines()
        inside[0].send(b"request")
        assert inside[0].is_closed()  # two seconds later
        waits = trace.read_bytes().splitlines()[len(before) :]
        polls = [wait for wait in waits if b", 0) " in wait]
        # 40 are to be expected; a loop without a wait takes tens of thousands.
        assert len(waits) - len(polls) < 400
        assert len(polls) <= 6 * 80  # in vain: left out for 1, 3, 7 … waits between
        assert waiting.read() == GREETING
        server.end()
