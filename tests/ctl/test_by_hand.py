"""The command line, each command a process of its own, and both clients, against both servers."""

import asyncio
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S
from tests.support.processes import environment, module, run, standing
from tests.support.scripted import Pair

from scache_client import AsyncClient, Client
from scache_ctl.__main__ import ECHO_ADDRESS, SOCKET_VARIABLE, main
from scache_ctl.echo import Echo


@pytest.fixture(scope="module", params=["scache_reference", "scache_fast"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("server") / "s"
    with standing(request.param, path, "--ttl-limit", "10m"):
        yield str(path)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Echo(("127.0.0.1", 0)) as peer:
        thread = threading.Thread(target=peer.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{peer.server_address[1]}"
        peer.shutdown()
        thread.join()


def run_client(path: str, *words: str, status: int = 0) -> str:
    """Run one command in a process of its own and return what it prints."""
    done = run("--socket", path, *words, command=module("scache_ctl"))
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def test_connection_goes_from_process_to_process(server: str, address: str) -> None:
    label = r"from process\nto process"
    assert run_client(server, "park", label, address, "--property", r"tls=0\n").startswith("parked     127.0.0.1:")
    first = run_client(server, "find-endp", "--send", "hello", "--again", "60", label)
    number = first.partition("received   connection ")[2].partition(",")[0]
    assert r"properties tls=0\n" in first
    assert f"connection {number}, line 1: hello" in first
    run_client(server, "save-dest", r"dest\n", label, "--property", "by way of dest")
    second = run_client(server, "find-dest", "--send", "once more", r"dest\n")
    assert "binding    by way of dest" in second
    assert f"connection {number}, line 2: once more" in second
    assert "nothing is parked" in run_client(server, "find-dest", r"dest\n", status=1)
    assert r"endpoint from process\nto process:" in run_client(server, "find-endp", label, status=1)


def test_talk_passes_lines_both_ways(server: str, address: str) -> None:
    run_client(server, "park", "talk", address)
    words = [*module("scache_ctl"), "--socket", server, "find-endp", "--talk", "talk"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as talking:
        assert talking.stdin is not None
        assert talking.stdout is not None
        for number in (1, 2):
            talking.stdin.write(b"line\n")
            talking.stdin.flush()
            while not (line := talking.stdout.readline()).endswith(b", line %d: line\n" % number):
                assert line, "it ended"
        talking.stdin.close()
        assert talking.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("before", "answer", "is_clean"),
    [
        (b"", b"one line\n", True),
        (b"", b"", False),  # the answer comes later
        (b"", b"half a", False),
        (b"", b"one\nanother\n", False),
        (b"somebody else's answer\n", b"", False),
        (b"", None, False),  # the peer closes
    ],
)
def test_only_a_clean_connection_is_parked_again(
    server: str,
    pair: Pair,
    before: bytes,
    answer: bytes | None,
    is_clean: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer_once() -> None:
        assert pair.far.recv(100) == b"hello\n"
        if answer is None:
            pair.far.shutdown(socket.SHUT_WR)
        elif answer:
            pair.far.send(answer)

    # Only silence is waited for: the peer answers at once, or it says nothing.
    monkeypatch.setattr("scache_ctl.by_hand.ANSWER_WAIT_S", 0.01 if answer == b"" else PATIENCE_S)
    with Client(server) as client:
        client.save_endp(b"clean", b"", 60, pair.mine)
        pair.far.send(before)
        peer = threading.Thread(target=answer_once)
        peer.start()
        assert main(["--socket", server, "find-endp", "--send", "hello", "--again", "60", "clean"]) == (
            0 if is_clean else 1
        )
        peer.join()
        assert ("closed and not parked again" in capsys.readouterr().err) == (not is_clean)
        found = client.find_endp(b"clean")
        assert (found is not None) == is_clean
        if found is not None:
            found.close()


def test_connection_whose_peer_has_closed_is_not_parked_again(server: str, pair: Pair) -> None:
    with Client(server) as client:
        client.save_endp(b"closed", b"", 60, pair.mine)
        pair.far.close()
        assert "closed and not parked again" in run_client(server, "find-endp", "--again", "60", "closed", status=1)
        assert client.find_endp(b"closed") is None


def test_what_one_client_parks_the_other_takes_up(server: str, pair: Pair) -> None:
    async def find_and_park_again() -> None:
        async with AsyncClient(server) as client:
            found = await client.find_dest(b"dest")
            assert found is not None
            assert (found.destination_properties, found.properties) == (b"of dest", b"first")
            assert await client.find_dest(b"dest") is None
            await client.save_endp(b"both", b"second", 60, found.detach())

    with Client(server) as client:
        client.save_dest(b"dest", b"of dest", b"both", 60)
        client.save_endp(b"both", b"first", 60, pair.mine)
        asyncio.run(find_and_park_again())
        found = client.find_endp(b"both")
        assert found is not None
        with found:
            assert found.properties == b"second"
            os.write(found.fileno(), b"through")
        assert pair.far.recv(100) == b"through"
        # The server closes its copy in its own time after it has sent it: wait for the end, do not ask for it.
        pair.far.settimeout(30)
        assert pair.far.recv(1) == b""


def test_errors_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    gone = run_client(str(tmp_path / "none"), "find-endp", "e", status=4)
    assert gone.startswith("scachectl: ")
    assert gone.count("\n") == 1
    assert "start the server" in gone


def test_port_where_nobody_listens_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Bound and not listening: the kernel refuses, and nobody else can take the port meanwhile.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        assert main(["--socket", str(tmp_path / "s"), "park", "e", f"127.0.0.1:{port}"]) == 2
    assert f"127.0.0.1 port {port}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["find-endp", "e"], f"--socket PATH, or set the variable {SOCKET_VARIABLE}"),
        (["--socket", "s", "find-endp", r"\q"], "not an escape"),
        (["--socket", "s", "park", "e", "127.0.0.1"], "is not HOST:PORT"),
        (["--socket", "s", "park", "e", "127.0.0.1:65536"], "is not HOST:PORT"),
        (["--socket", "s", "park", "e", ":25"], "is not HOST:PORT"),
        ([], "COMMAND"),
    ],
)
def test_wrong_command_line_says_what_is_wanted(
    words: Sequence[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_help_shows_a_whole_try_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for words in ("scachectl echo", f"demo {ECHO_ADDRESS}", "--send hello --again 60 demo", r"smtp\n127"):
        assert words in shown


def urgent(peer: socket.socket) -> None:
    peer.send(b"!", socket.MSG_OOB)


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@pytest.mark.parametrize(("trouble", "use"), [(urgent, ()), (reset, ("--send", "x"))])
def test_connection_with_urgent_bytes_or_a_reset_is_not_parked_again(
    server: str, trouble: Callable[[socket.socket], None], use: Sequence[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(server) as client:
        mine = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            trouble(peer)
            poll = select.poll()
            poll.register(mine, select.POLLPRI)
            assert poll.poll(PATIENCE_S * 1000)
            client.save_endp(b"troubled", b"", 60, mine)
            words = ("find-endp", *use, "--again", "60", "troubled")
            assert "not parked again" in run_client(server, *words, status=1)
