"""Processes that start while others close connections."""

import os
import select
import subprocess
import threading

import pytest

from scache_conformance.wire import processes
from scache_conformance.wire.line import Line


def test_hangup_waits_for_a_process_that_starts_and_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    forked, executed = threading.Event(), threading.Event()
    right = subprocess.Popen

    def slow(command: list[str], *, stdout: int, stderr: int, text: bool) -> "subprocess.Popen[str]":
        assert text
        forked.set()
        assert executed.wait(10)
        return right(command, stdout=stdout, stderr=stderr, text=True)

    monkeypatch.setattr(subprocess, "Popen", slow)
    starting = threading.Thread(target=processes.run, args=[["true"]])
    closing = threading.Thread(target=line.let_go)
    starting.start()
    assert forked.wait(10)
    closing.start()
    assert not select.select([line.near], [], [], 0.05)[0], "closed while a process starts"
    executed.set()
    closing.join()
    assert select.select([line.near], [], [], 0)[0]
    starting.join()
    line.close()


def test_number_is_closed_when_no_process_is_being_started_that_would_keep_a_copy() -> None:
    reader, writer = os.pipe()
    closing = threading.Thread(target=processes.close_number, args=[writer])
    with processes.STARTING:
        closing.start()
        assert not select.select([reader], [], [], 0.05)[0], "closed while a process starts"
    closing.join()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_command_is_run() -> None:
    done = processes.run(["sh", "-c", "echo out; echo error >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "error\n")
