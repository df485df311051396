"""Signals: those that were blocked when the process was started, and the one that never ends it."""

import fcntl
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import DONE, MISSED, find_endp
from tests.support.processes import TRY_AGAIN_MS, Running, ended, running

from scache_fast.process.closing import WORKERS

_F_SETSIG = 10  # <asm-generic/fcntl.h>; the fcntl module does not name it

BLOCKING = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
from scache_fast.__main__ import main
sys.exit(main())
"""


def blocked_signals(server: Running) -> set[int]:
    mask = int(server.status("SigBlk"), 16)
    return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_were_blocked_when_it_was_started_are_heard(number: signal.Signals, tmp_path: Path) -> None:
    """As threads of some runtimes start programs."""
    with running("--listen", tmp_path / "s", command=[sys.executable, "-c", BLOCKING]) as server:
        assert blocked_signals(server) == set()
        with Client(tmp_path / "s") as client:
            assert client.say(find_endp(b"zz")) == MISSED
        server.process.send_signal(signal.SIGUSR1)
        server.line("address lookup hits=0 miss=1")
        server.end(number)
    assert list(tmp_path.iterdir()) == []


def threads_that_hear(server: Running, number: int) -> int:
    masks = []
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        lines = (task / "status").read_text(encoding="ascii").splitlines()
        masks += [int(line.split()[1], 16) for line in lines if line.startswith("SigBlk")]
    return sum(not mask >> (number - 1) & 1 for mask in masks)


def test_signal_that_interrupts_a_close_is_heard_by_every_closing_thread(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", command=[sys.executable, "-c", BLOCKING]) as server:
        for _ in range(PATIENCE_S * 1000 // TRY_AGAIN_MS):
            if threads_that_hear(server, signal.SIGUSR2) == 1 + WORKERS:
                break
            assert not ended(server.pid, TRY_AGAIN_MS), "the server ended"
        else:
            raise AssertionError("a closing thread does not hear the signal")
        server.end()


@pytest.mark.parametrize("number", [0, signal.SIGRTMIN, signal.SIGRTMIN + 5, signal.SIGRTMAX])
def test_signals_that_a_file_sends_do_not_end_it(tmp_path: Path, number: int) -> None:
    """A parked file, and a client's own end, may name any process of their user as the one to be told of bytes."""
    with running("--listen", tmp_path / "s") as server, Client(tmp_path / "s") as client:
        with client.park(b"e") as far:
            parked = client.pick_up(b"e")
            assert client.save(b"e", parked.fileno()) == DONE
            for sock in (parked, client.sock):
                fcntl.fcntl(sock, _F_SETSIG, number)
                fcntl.fcntl(sock, fcntl.F_SETOWN, server.pid)
                fcntl.fcntl(sock, fcntl.F_SETFL, fcntl.fcntl(sock, fcntl.F_GETFL) | os.O_ASYNC)
            far.send(b"x")
            for _ in range(3):
                assert client.say(find_endp(b"zz")) == MISSED
            parked.close()
        server.end()


EARLY = """
import os, sys
from scache_fast import __main__
from scache_fast.process import standalone
serve = standalone.main
def main(*arguments):
    os.kill(os.getpid(), int(os.environ["NUMBER"]))
    return serve(*arguments)
standalone.main = main
sys.exit(__main__.main())
"""
"""Starts the server, and sends a signal before there is any handler."""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_signal_that_comes_before_the_server_is_ready_does_not_end_it(number: signal.Signals, tmp_path: Path) -> None:
    command, env = [sys.executable, "-c", EARLY], {"NUMBER": str(int(number))}
    with running("--listen", tmp_path / "s", command=command, env=env) as server:
        server.end()


def test_hup_is_a_line_and_never_an_end(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s") as server:
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
            line = server.line("settings read again")
            assert line.endswith(": settings read again: changed: nothing")
        with Client(tmp_path / "s") as client:
            assert client.say(find_endp(b"zz")) == MISSED
        server.end()
    assert list(tmp_path.iterdir()) == []


def test_server_says_what_an_operator_would_miss(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", "-v", "--ttl-limit", "1h") as server, Client(tmp_path / "s") as client:
        server.process.send_signal(signal.SIGUSR1)
        server.line("SIGUSR1: there are no statistics")
        with client.park(b"e"), client.park(b"short", ttl=b"1"):
            server.line(r"client \d+ \(pid \d+, uid \d+\): 'short': parked, ttl 1 s")
            server.line("'short': expired")
            client.say(find_endp(b"zz"))
            server.line("'zz': not found")
            with Client(tmp_path / "s") as other:
                other.say(find_endp(b"e"))
                server.line(r"client \d+ \(pid \d+, uid \d+\): 'find_endp' 'e': found")
            server.line(r"client \d+ \(pid \d+, uid \d+\): 'e': not handed over, parked again")
            lines = server.end()
    assert any(line.endswith(": 1 parked connections are closed, because the server ends") for line in lines)
