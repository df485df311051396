"""Closing in threads: what hangs there costs nobody else anything."""

import errno
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import DONE, FAILED, MISSED, find_endp
from tests.support.processes import running

from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.files.fuse import FLUSH, POLL, Fuse
from scache_fast.engine.closing import Job
from scache_fast.engine.log import Silence
from scache_fast.process.closing import (
    CROWDED_MAX,
    INTERRUPT_AFTER_S,
    INTERRUPT_AMONG_OTHERS_S,
    REPLACEMENTS_MAX,
    STUCK_AFTER_S,
    WORKERS,
    ClosingThreads,
)

HOSTILE, POLITE = 7, 8


@pytest.fixture
def stuck() -> Iterator[Fuse]:
    try:
        files = Fuse([FLUSH, POLL])
    except Unavailable as missing:
        pytest.skip(str(missing))
    with files:
        yield files


@contextmanager
def threads() -> Iterator[ClosingThreads]:
    closing = ClosingThreads(Silence())
    closing.start()
    try:
        yield closing
    finally:
        assert closing.finish(PATIENCE_S)


def pipe() -> tuple[int, int]:
    """Return a pipe's reading end, and the writing end that is to be closed."""
    return os.pipe()


def is_closed(reader: int) -> bool:
    """Wait until the last copy of the other end is closed."""
    return bool(select.select([reader], [], [], PATIENCE_S)[0]) and os.read(reader, 1) == b""


@contextmanager
def aborted(stuck: Fuse) -> Iterator[None]:
    """Let everybody go on in the end, also after a failure: a killed server that hangs would be waited for for ever."""
    try:
        yield
    finally:
        stuck.abort()


def let_go(stuck: Fuse, *passed: int) -> None:
    """Let everybody go on who waits for one of the files, and close our own copies, which then does not wait."""
    stuck.abort()
    for descriptor in passed:
        try:
            os.close(descriptor)
        except OSError:
            pass  # ECONNABORTED, ENOTCONN: it is closed all the same


def hang(closing: ClosingThreads, stuck: Fuse, now_s: float) -> None:
    """Let one thread hang in a close, and be found stuck by the watch."""
    closing.close(Job([stuck.open()], HOSTILE))
    stuck.await_hang(PATIENCE_S)
    closing.look(now_s)
    closing.look(now_s + STUCK_AFTER_S)


def require_closes(closing: ClosingThreads, user: int) -> None:
    reader, writer = pipe()
    closing.close(Job([writer], user))
    assert is_closed(reader)
    os.close(reader)


@pytest.fixture
def _signals_are_taken() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("_signals_are_taken")
def test_stuck_threads_are_replaced_and_then_their_users_refused(stuck: Fuse) -> None:
    with threads() as closing, aborted(stuck):
        for count in range(1, REPLACEMENTS_MAX + 1):
            assert closing.refused_users == frozenset()
            hang(closing, stuck, now_s=count * 100.0)
            require_closes(closing, POLITE)
        assert closing.refused_users == {HOSTILE}
        reader, writer = pipe()
        closing.close(Job([writer], HOSTILE))
        require_closes(closing, POLITE)
        assert not select.select([reader], [], [], 0)[0], "what a refused user passed is left alone"
        second_reader, second_writer = pipe()
        queued = Job([second_writer], HOSTILE, is_unwanted=True)
        closing._waiting[HOSTILE] = 1
        closing._jobs.put(queued)  # as if it had been passed just before its user was refused
        require_closes(closing, POLITE)
        while not queued.is_done:  # nobody waits for what stays open
            assert select.select([closing], [], [], PATIENCE_S)[0]
            closing.collect()
        stuck.abort()
        for each in (reader, second_reader):
            assert is_closed(each)
            os.close(each)
        assert closing.refused_users == frozenset()


@pytest.mark.usefixtures("_signals_are_taken")
def test_two_stuck_closes_at_once_hold_up_nobody_for_longer_than_it_takes_to_see_that(stuck: Fuse) -> None:
    with threads() as closing:
        for _ in range(WORKERS):
            closing.close(Job([stuck.open()], HOSTILE))
            stuck.await_hang(PATIENCE_S)
        reader, writer = pipe()
        closing.close(Job([writer], POLITE))
        closing.look(0.0)
        closing.look(STUCK_AFTER_S - 0.1)
        assert not select.select([reader], [], [], 0)[0]
        closing.look(STUCK_AFTER_S)
        assert is_closed(reader)
        os.close(reader)
        stuck.abort()


def test_lingering_close_is_interrupted() -> None:
    interruptions: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        interruptions.append(number)  # An Event has a lock: a signal that comes while it is set would wait for ever.

    before = signal.signal(signal.SIGUSR2, note)
    try:
        with threads() as closing, socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
            with far:
                near.setblocking(False)
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
                while select.select([], [near], [], 0)[1]:
                    near.send(bytes(65_536))
                job = Job([near.detach()], HOSTILE)
                closing.close(job)
                give_up_s = time.monotonic() + PATIENCE_S
                while not job.is_done:
                    assert closing.look(time.monotonic()) in (INTERRUPT_AFTER_S, INTERRUPT_AMONG_OTHERS_S, None)
                    assert time.monotonic() < give_up_s
                    select.select([closing.fileno()], [], [], INTERRUPT_AMONG_OTHERS_S)
        assert interruptions
        assert not closing.refused_users
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_thread_can_be_waited_for_as_soon_as_it_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    closing, start, not_started = ClosingThreads(Silence()), threading.Thread.start, list[object]()

    def look_and_start(thread: threading.Thread) -> None:
        not_started.extend(each for each in closing._workers if each.thread is thread)
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", look_and_start)
        closing.start()
    assert not_started == []
    assert closing.finish(PATIENCE_S)


def test_without_any_thread_everything_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """RLIMIT_NPROC, or TasksMax= of a unit, may allow no other thread."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    closing = ClosingThreads(Silence())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        closing.start()
    for is_unwanted in (False, True):
        reader, writer = pipe()
        job = Job([writer], HOSTILE, is_unwanted=is_unwanted)
        closing.close(job)
        assert job.is_done
        assert select.select([reader], [], [], 0)[0], "the other end is closed"
        os.close(reader)
    assert not closing.crowded_users
    assert closing.finish(PATIENCE_S)


def test_user_of_whom_much_is_waiting_is_crowded_until_it_is_closed() -> None:
    closing = ClosingThreads(Silence())  # its threads are not started yet
    readers, writers = zip(*(pipe() for _ in range(CROWDED_MAX // 253 + 1)), strict=True)
    for writer in writers:
        copies = [os.dup(writer) for _ in range(252)]
        closing.close(Job([writer, *copies], HOSTILE, is_unwanted=True))
    assert closing.crowded_users == {HOSTILE}
    closing.start()
    for reader in readers:
        assert is_closed(reader)
        os.close(reader)
    while closing.crowded_users:
        assert select.select([closing], [], [], PATIENCE_S)[0]
        closing.collect()
    assert closing.finish(PATIENCE_S)


def test_what_expires_and_hangs_holds_up_nobody(stuck: Fuse, tmp_path: Path) -> None:
    with (
        running("--listen", tmp_path / "s", "--ttl-limit", "1h") as server,
        aborted(stuck),
        Client(tmp_path / "s") as client,
    ):
        passed = stuck.open()
        assert client.save(b"hangs", passed, ttl=b"1") == DONE
        with client.park(b"e", ttl=b"1") as far:
            stuck.await_hang(PATIENCE_S)
            assert client.say(find_endp(b"hangs")) == MISSED
            assert far.recv(1) == b""
        let_go(stuck, passed)
        server.end()


def test_user_whose_files_hang_is_refused_by_a_real_process(stuck: Fuse, tmp_path: Path) -> None:
    with (
        running("--listen", tmp_path / "s", "--ttl-limit", "1h") as server,
        aborted(stuck),
        Client(tmp_path / "s") as client,
    ):
        passed = [stuck.open() for _ in range(REPLACEMENTS_MAX)]
        for each in passed:
            assert client.save(b"hangs", each, ttl=b"1") == DONE
        server.line("nothing that these users pass is parked")
        with socket.socket() as spare:
            assert client.save(b"e", spare.fileno()) == FAILED
            let_go(stuck, *passed)
            server.line("is closed now, 0 are stuck")
            assert client.save(b"e", spare.fileno()) == DONE
        server.end()


def test_LIFE_4_end_with_a_stuck_close_closes_everything_else(stuck: Fuse, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running("--listen", path, "--ttl-limit", "1h") as server, aborted(stuck), Client(path) as client:
        passed = stuck.open()
        assert client.save(b"hangs", passed) == DONE
        with client.park(b"e") as far:
            server.process.send_signal(signal.SIGTERM)
            far.settimeout(PATIENCE_S)
            assert client.is_closed()
            assert far.recv(1) == b""
        server.line("this process stays until they do")
        # Nobody listens, so that a server which starts now takes the path. (Starting one here would hang: a process
        # that starts closes its copies of this one's descriptors.)
        with socket.socket(socket.AF_UNIX) as probe:
            assert probe.connect_ex(str(path)) in (errno.ECONNREFUSED, errno.ENOENT)
        let_go(stuck, passed)
        assert server.process.wait(PATIENCE_S) == 0
