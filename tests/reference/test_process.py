"""`python -m scache_reference` as a process: options, the socket's file, signals, the end."""

import signal
import socket
from pathlib import Path

import pytest
from tests.support.client import Client
from tests.support.messages import MISSED, find_endp
from tests.support.processes import module, run, running

from scache_reference.__main__ import limits_from, seconds
from scache_reference.shell import Shell
from scache_spec.vocabulary import Limits

REFERENCE = module("scache_reference")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_signal_that_the_parent_blocks_is_heard(path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        with running("--listen", path, command=REFERENCE) as server:
            server.end(signal.SIGTERM)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_prints_statistics_removes_the_socket_and_exits_with_status_0(path: Path, number: int) -> None:
    with running("--listen", path, command=REFERENCE) as server, Client(path) as client:
        assert client.say(find_endp(b"e")) == MISSED
        first, *rest = server.end(number)
        assert client.read() == b""
    assert first.startswith("statistics: start interval ")
    assert rest == ["statistics: address lookup hits=0 miss=1 success=0%"]
    assert not path.exists()


def test_sigusr1_prints_statistics_and_the_server_goes_on(path: Path) -> None:
    with running("--listen", path, command=REFERENCE) as server, Client(path) as client:
        assert client.say(find_endp(b"e")) == MISSED
        server.process.send_signal(signal.SIGUSR1)
        server.line("^statistics: start interval ")
        server.line("^statistics: address lookup hits=0 miss=1 success=0%$")
        assert client.say(find_endp(b"e")) == MISSED


def test_LIFE_2_process_ends_by_itself_when_idle(path: Path) -> None:
    with running("--listen", path, "--max-idle", "1s", command=REFERENCE) as server:
        server.wait()
    assert not path.exists()


def test_stale_socket_file_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with running("--listen", path, command=REFERENCE), Client(path):
        pass


def test_living_server_keeps_its_socket(path: Path) -> None:
    with running("--listen", path, command=REFERENCE):
        second = run("--listen", path, command=REFERENCE)
        assert second.returncode == 1
        assert second.stderr == (
            f"scache-reference: cannot listen on {str(path)!r}: another server listens there; "
            "stop it, or choose another path\n"
        )
        Client(path).close()


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    ended = run("--listen", path, command=REFERENCE)
    assert ended.returncode == 1
    assert "cannot listen on" in ended.stderr
    assert path.read_text() == "mine"


def test_socket_of_a_successor_is_not_removed(path: Path) -> None:
    with running("--listen", path, command=REFERENCE) as server:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
            server.end()
            assert path.exists()


@pytest.mark.parametrize(
    ("text", "meant"), [("2", 2), ("2s", 2), ("10m", 600), ("1h", 3600), ("1d", 86_400), ("1w", 604_800), ("0s", 0)]
)
def test_time_values_are_those_of_postfix(text: str, meant: int) -> None:
    assert seconds(text) == meant


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: --listen"),
        (["--listen", "x", "operand"], "unrecognized arguments: operand"),
        (["--listen", "x", "--ttl-limit", "2 s"], "'2 s' is not a time: write digits and s, m, h, d or w"),
        (["--listen", "x", "--ttl-limit", "-1"], "'-1' is not a time"),
        (["--listen", "x", "--ttl-limit", "0"], "--ttl-limit 0: must be at least 1"),
        (["--listen", "x", "--clients-max", "0"], "--clients-max 0: must be at least 1"),
        (["--listen", "x", "--clients-max", "many"], "invalid int value: 'many'"),
    ],
)
def test_wrong_arguments_are_refused_with_a_reason(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        limits_from(arguments)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def test_options_set_the_limits_of_their_names() -> None:
    path, limits = limits_from(["--listen", "x", "--ttl-limit", "1m", "--max-idle=100s", "--sessions-max", "7"])
    assert path == "x"
    assert limits == Limits(ttl_limit_s=60, max_idle_s=100, sessions_max=7, ipc_timeout_s=60)


def test_watched_socket_ends_a_step_that_waits() -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()
    waker, woken = socket.socketpair()
    shell = Shell([listener], Limits())
    shell.watch(woken)
    waker.send(b"wake up")
    shell.step()
    assert shell.running
    shell.close()
    waker.close()
    woken.close()
