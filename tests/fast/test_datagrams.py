"""Lines as datagrams, for postlogd and syslogd: their bytes, and what happens when the reader is slow or gone."""

import os
import re
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scache_fast.process.logger import Logger, Priority
from scache_fast.process.sinks import WAITING_RECORDS_MAX, Datagrams, to_postlog, to_syslog
from scache_fast.settings.values import FACILITIES


class Reader:
    """Somebody who reads at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._sock.setblocking(False)

    def read(self) -> list[str]:
        """Return what has arrived since the last call."""
        found = []
        while True:
            try:
                found.append(self._sock.recv(65_536).decode())
            except BlockingIOError:
                return found

    def texts(self) -> list[str]:
        """Return what has arrived since the last call, without date and tag."""
        return [line.partition("]: ")[2] for line in self.read()]

    def end(self) -> None:
        self._sock.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path / "log")
    yield reader
    reader.end()


@pytest.fixture
def sink(reader: Reader) -> Iterator[Datagrams]:
    sink = to_postlog(str(reader.path), "postfix/scached", "host")
    yield sink
    sink.finish()


def test_postlog_record_is_a_line_of_a_mail_log(reader: Reader, sink: Datagrams) -> None:
    before = time.time()
    sink(Priority.WARNING, "warning: text")
    (record,) = reader.read()
    date, rest = record[:15], record[15:]
    assert rest == f" host postfix/scached[{os.getpid()}]: warning: text"
    assert date in {time.strftime("%b %e %T", time.localtime(before + late_s)) for late_s in range(60)}


def test_syslog_record_begins_with_facility_and_priority(reader: Reader) -> None:
    sink = to_syslog("scached", "mail", str(reader.path))
    sink(Priority.INFO, "text")
    (record,) = reader.read()
    assert re.fullmatch(rf"<22>\w{{3}} [ \d]\d \d\d:\d\d:\d\d scached\[{os.getpid()}\]: text", record)
    sink.finish()


def test_facilities_have_the_numbers_of_syslog_h(reader: Reader) -> None:
    levels = []
    for facility in FACILITIES:
        sink = to_syslog("scached", facility, str(reader.path))
        sink(Priority.WARNING, "text")
        sink.finish()
        levels += [int(record[1:].partition(">")[0]) for record in reader.read()]
    assert levels == [8 * number + 4 for number in [*range(11), *range(16, 24)]]


def test_prefixes_are_those_of_postfix(reader: Reader, sink: Datagrams) -> None:
    log = Logger(sink)
    log.info("one")
    log.warning("two")
    log.fatal("three")
    try:
        raise ZeroDivisionError("four")
    except ZeroDivisionError as error:
        log.panic(error)
    *lines, panic = reader.texts()
    assert lines == ["one", "warning: two", "fatal: three"]
    assert re.fullmatch(rf"panic: ZeroDivisionError: four at {re.escape(__file__)}:\d+", panic)


def test_line_is_one_line_and_ends_at_2000_characters(reader: Reader, sink: Datagrams) -> None:
    log = Logger(sink)
    log.info("one\nNov 22 11:03:25 host postfix/smtp[1]: forged\r\x1b[2J\u2028")
    log.info("x" * 2000)
    log.info("x" * 1999 + "\n")
    one, full, cut = reader.texts()
    assert one == r"one\nNov 22 11:03:25 host postfix/smtp[1]: forged\r\x1b[2J\u2028"
    assert full == "x" * 2000
    assert cut == "x" * 1999 + "\\"


def test_text_that_is_not_unicode_is_escaped(reader: Reader, sink: Datagrams) -> None:
    Logger(sink).info(b"\xff\xfe".decode(errors="surrogateescape"))
    assert reader.texts() == [r"\udcff\udcfe"]


def fill(sink: Datagrams) -> int:
    """Write lines until one has to wait; return how many there are."""
    for count in range(1, 100_000):
        sink(Priority.INFO, str(count))
        if sink._waiting:
            return count
    raise AssertionError("the kernel takes lines without end")


def test_lines_wait_for_a_slow_reader_and_arrive_in_order(reader: Reader, sink: Datagrams) -> None:
    count = fill(sink)
    sink(Priority.INFO, str(count + 1))
    assert reader.texts() == [str(number) for number in range(1, count)]
    sink.flush()
    assert not sink._waiting
    assert reader.texts() == [str(count), str(count + 1)]


@pytest.mark.parametrize("excess", [0, 1, 7])
def test_lines_beyond_those_that_may_wait_are_lost_and_counted(reader: Reader, sink: Datagrams, excess: int) -> None:
    taken = fill(sink) - 1
    for number in range(WAITING_RECORDS_MAX - 1 + excess):
        sink(Priority.INFO, f"more {number}")
    received = []
    while lines := reader.texts():
        received += lines
        sink.flush()
    assert len(received) == taken + WAITING_RECORDS_MAX + bool(excess)
    complaint = f"warning: {excess} lines of this log are lost: they were not accepted in time"
    assert [line for line in received if "lost" in line] == ([complaint] if excess else [])


def test_reader_that_comes_back_gets_the_lines_in_between(reader: Reader, sink: Datagrams, tmp_path: Path) -> None:
    sink(Priority.INFO, "before")
    assert reader.texts() == ["before"]
    reader.end()
    sink(Priority.INFO, "between")
    again = Reader(tmp_path / "log")
    sink(Priority.INFO, "after")
    assert again.texts() == ["between", "after"]
    again.end()


def test_reader_that_comes_back_at_a_relative_path_is_found_in_the_folder_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(Path("log"))
    sink = to_postlog("log", "name", "host")
    reader.end()
    reader = Reader(Path("log"))
    sink(Priority.INFO, "after")
    assert reader.texts() == ["after"]
    sink.finish()
    reader.end()


def test_syslogd_may_come_up_later(tmp_path: Path) -> None:
    sink = to_syslog("scached", "mail", str(tmp_path / "log"))
    sink(Priority.INFO, "one")
    reader = Reader(tmp_path / "log")
    sink(Priority.INFO, "two")
    assert reader.texts() == ["one", "two"]
    sink.finish()
    reader.end()


def test_postlogd_must_be_there_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        to_postlog(str(tmp_path / "log"), "name", "host")


class ReadWhileWaiting:
    """A poll object during whose waits somebody reads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.received: list[str] = []
        self.waits = 0

    def register(self, fd: int, events: int) -> None:
        assert events == select.POLLOUT

    def poll(self, patience_ms: float) -> list[int]:
        assert 0 < patience_ms <= 200
        self.waits += 1
        self.received += self._reader.texts()
        return [1]


def test_last_lines_wait_for_a_slow_reader(reader: Reader, sink: Datagrams, monkeypatch: pytest.MonkeyPatch) -> None:
    count = fill(sink)
    slow = ReadWhileWaiting(reader)
    monkeypatch.setattr(select, "poll", lambda: slow)
    sink.finish()
    assert not sink._waiting
    assert slow.received + reader.texts() == [str(number) for number in range(1, count + 1)]


def test_end_does_not_wait_for_a_reader_for_ever(reader: Reader, sink: Datagrams) -> None:
    fill(sink)
    sink.finish()
    assert sink._waiting


def test_end_does_not_wait_for_a_reader_that_is_gone(
    reader: Reader, sink: Datagrams, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reader.end()
    sink(Priority.INFO, "nobody is there")
    elsewhere = Reader(tmp_path / "elsewhere")
    nobody = ReadWhileWaiting(elsewhere)
    monkeypatch.setattr(select, "poll", lambda: nobody)
    sink.finish()
    assert sink._waiting
    assert nobody.waits == 1
    elsewhere.end()
