"""`python -m scache_reference` as a process: options, the socket's file, signals, the end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scache_reference.__main__ import limits_from, seconds
from scache_spec.vocabulary import Limits

GREETING = b"protocol\0connection_cache_protocol\0\0"
PATIENCE_S = 20
"""How long a process may take to do what it must. Generous: the machine may be busy."""


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the server; whatever happens, it is gone at the end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-m", "scache_reference", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as started:
        try:
            yield started
        finally:
            started.kill()


def next_line(started: subprocess.Popen[str]) -> str:
    assert started.stderr is not None
    return started.stderr.readline().rstrip("\n")


def greeted(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE_S)
    client.connect(str(path))
    assert client.recv(len(GREETING), socket.MSG_WAITALL) == GREETING
    return client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_prints_statistics_removes_the_socket_and_exits_with_status_0(path: Path, number: int) -> None:
    with process("--listen", str(path)) as started:
        assert next_line(started) == f"scache-reference: listening on {path}, pid {started.pid}"
        with greeted(path) as client:
            client.sendall(b"request\0find_endp\0label\0e\0\0")
            assert client.recv(100).startswith(b"status\x002\0")
            started.send_signal(number)
            assert started.wait(PATIENCE_S) == 0
            assert client.recv(1) == b""
        assert next_line(started).startswith("statistics: start interval ")
        assert next_line(started) == "statistics: address lookup hits=0 miss=1 success=0%"
        assert next_line(started) == ""
    assert not path.exists()


def test_sigusr1_prints_statistics_and_the_server_goes_on(path: Path) -> None:
    with process("--listen", str(path)) as started:
        next_line(started)
        with greeted(path) as client:
            client.sendall(b"request\0find_endp\0label\0e\0\0")
            assert client.recv(100).startswith(b"status\x002\0")
            started.send_signal(signal.SIGUSR1)
            assert next_line(started).startswith("statistics: start interval ")
            assert next_line(started) == "statistics: address lookup hits=0 miss=1 success=0%"
            client.sendall(b"request\0find_endp\0label\0e\0\0")
            assert client.recv(100).startswith(b"status\x002\0")


def test_LIFE_2_process_ends_by_itself_when_idle(path: Path) -> None:
    with process("--listen", str(path), "--max-idle", "1s") as started:
        assert started.wait(PATIENCE_S) == 0
    assert not path.exists()


def test_stale_socket_file_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with process("--listen", str(path)) as started:
        assert "listening on" in next_line(started)
        greeted(path).close()


def test_living_server_keeps_its_socket(path: Path) -> None:
    with process("--listen", str(path)) as first:
        next_line(first)
        with process("--listen", str(path)) as second:
            assert second.wait(PATIENCE_S) == 1
            assert next_line(second) == (
                f"scache-reference: cannot listen on {str(path)!r}: a server listens there already"
            )
        greeted(path).close()


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with process("--listen", str(path)) as started:
        assert started.wait(PATIENCE_S) == 1
        assert "cannot listen on" in next_line(started)
    assert path.read_text() == "mine"


def test_socket_of_a_successor_is_not_removed(path: Path) -> None:
    with process("--listen", str(path)) as started:
        next_line(started)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
            started.terminate()
            assert started.wait(PATIENCE_S) == 0
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
