"""The live view: sizes, restarts, odd terminals, and how it leaves the terminal behind."""

import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.support.client import PATIENCE_S
from tests.support.processes import environment, module, run, running

from scache_client import Client
from scache_ctl.frame import Seen, frame
from scache_fast.admin.client import AdminClient

ODD: Final = bytes(range(1, 256))
END: Final = b"\x1b[?7h\x1b[?25h\x1b[?1049l"


class Terminal:
    """A terminal in which a live view runs."""

    def __init__(self, admin: Path, lines: int, columns: int, term: str) -> None:
        self.near, far = pty.openpty()
        termios.tcsetwinsize(far, (lines, columns))
        self.before = termios.tcgetattr(far)
        self.far = far
        self.process = subprocess.Popen(
            [*module("scache_ctl"), "--admin", admin, "top", "--interval", "0.05"],
            stdin=far, stdout=far, stderr=far, env=environment({"TERM": term}), start_new_session=True,
        )  # fmt: skip
        self.text = b""

    def await_text(self, wanted: bytes) -> None:
        """Wait for text that is new."""
        self.text = b""
        while wanted not in self.text:
            ready, _, _ = select.select([self.near], [], [], PATIENCE_S)
            assert ready, self.text
            self.text += os.read(self.near, 65_536)

    def end(self, status: int) -> bytes:
        """Take everything to its end."""
        while self.process.poll() is None:
            if select.select([self.near], [], [], 0.01)[0]:
                self.text += os.read(self.near, 65_536)
        assert self.process.returncode == status, self.text
        while select.select([self.near], [], [], 0)[0]:
            self.text += os.read(self.near, 65_536)
        assert b"Traceback" not in self.text
        assert termios.tcgetattr(self.far) == self.before
        return self.text


@contextmanager
def terminal(admin: Path, lines: int = 24, columns: int = 80, term: str = "xterm") -> Iterator[Terminal]:
    opened = Terminal(admin, lines, columns, term)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()
        os.close(opened.near)
        os.close(opened.far)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What a real server told."""
    folder = tmp_path_factory.mktemp("top")
    with (
        running("--listen", folder / "s", "--admin", folder / "a", "--ttl-limit", "10m"),
        Client(str(folder / "s")) as cache, AdminClient(str(folder / "a")) as admin, socket.socket() as mine,
    ):  # fmt: skip
        for number in range(30):
            cache.save_endp(b"often" if number % 3 else ODD, b"", 60, mine.dup())
        cache.save_dest(b"dest", b"", b"often", 50)
        return Seen(5.0, admin.ask("version"), admin.ask("stats"), [*admin.rows("list")], [*admin.rows("clients")])


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (20, 5), (1, 1), (200, 100), (80, 7)])
def test_picture_fits(seen: Seen, columns: int, lines: int) -> None:
    for now in (seen, Seen(trouble="gone\x1b\x9b\u202e")):
        shown = frame(now, Seen(), columns, lines)
        assert 0 < len(shown) <= lines
        assert all(re.fullmatch(f"[ -~]{{0,{columns}}}", line) for line in shown)


def test_picture_has_rates_and_lists(seen: Seen) -> None:
    before = Seen(3.0, seen.version, {**seen.stats, "requests": {"save_endp": {"0": 10}}})
    shown = "\n".join(frame(seen, before, 80, 24))
    assert "requests 10.5/s" in shown
    assert "EXPIRING NEXT (31)\n" in shown
    assert "dest -> often" in shown
    assert re.search(r"^ +20    often$", shown, re.MULTILINE)
    assert "CLIENTS (1)" in shown


def test_counters_of_another_process_make_no_rate(seen: Seen) -> None:
    before = Seen(3.0, seen.version, {**seen.stats, "pid": 1, "requests": {"save_endp": {"0": 0}}})
    assert "requests 0.0/s" in frame(seen, before, 80, 24)[1]


@pytest.mark.parametrize(
    ("ending", "status"), [("q", 0), ("\x03", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 0)]
)
def test_terminal_is_as_it_was(tmp_path: Path, ending: str | signal.Signals, status: int) -> None:
    with terminal(tmp_path / "a") as shown:
        shown.await_text(b"does not answer")
        if isinstance(ending, signal.Signals):
            shown.process.send_signal(ending)
        elif ending == "\x03":
            shown.process.send_signal(signal.SIGINT)  # The terminal of a test has no session that it could signal.
        else:
            os.write(shown.near, ending.encode())
        assert shown.end(status).endswith(END)


def test_server_comes_goes_and_comes_and_the_terminal_changes(tmp_path: Path) -> None:
    with terminal(tmp_path / "a", 5, 20) as shown:
        shown.await_text(b"scached does not")
        for _ in range(2):
            with running("--listen", tmp_path / "s", "--admin", tmp_path / "a") as server:
                shown.await_text(b"requests ")
                for lines, columns in ((24, 80), (1, 1), (5, 20)):
                    termios.tcsetwinsize(shown.far, (lines, columns))
                    shown.process.send_signal(signal.SIGWINCH)
                    shown.await_text(b"\x1b[H")
                server.end()
            shown.await_text(b"scached does not")
        os.write(shown.near, b"q")
        shown.end(0)


def test_dumb_terminal_gets_no_control_sequence(tmp_path: Path) -> None:
    with terminal(tmp_path / "a", term="dumb") as shown:
        shown.await_text(b"does not answer")
        shown.process.send_signal(signal.SIGTERM)
        assert b"\x1b" not in shown.end(143)


def test_no_terminal(tmp_path: Path) -> None:
    done = run("--admin", tmp_path / "a", "top", "--count", "2", "--interval", "0.01", command=module("scache_ctl"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("scached does not answer") == 2
    assert "\x1b" not in done.stdout
