"""A socket file that somebody removes while the server runs."""

import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from tests.support.client import PATIENCE_S, Client
from tests.support.messages import GREETING, MISSED, find_endp
from tests.support.processes import running
from tests.support.servers import Clock, Fast

from scache_fast.process.listening import SocketFile, listen, listen_for_operators
from scache_fast.process.logger import Logger
from scache_fast.process.socket_watch import LOOK_S, SocketWatch
from scache_fast.settings.sources import merge
from scache_spec.vocabulary import NS_PER_S


class Watched:
    """A server in this process with one socket file of its own, or one that was passed."""

    def __init__(self, path: Path, *, is_passed: bool, is_in_chroot: bool) -> None:
        self.path = path
        self.said: list[str] = []
        self.house = Fast()
        log = Logger(lambda priority, line: self.said.append(line))
        settings = merge({"test": {"mode": ["0640"]}})
        made = listen(str(path), settings.mode, settings.owner, log)
        self.house.server.add_listener(made.sock)
        self._files = [] if is_passed else [made]
        self._all: list[SocketFile] = [made]
        self._clock = Clock()
        self._watch = SocketWatch(
            self._files,
            [made.sock] if is_passed else [],
            settings,
            log,
            is_in_chroot=is_in_chroot,
            clock=self._clock,
            patience_s=PATIENCE_S,
        )
        self._all += self._watch._passed

    def after(self, seconds: float) -> list[str]:
        """Let time pass; return what is said then."""
        self._clock.now_ns += round(seconds * NS_PER_S)
        before = len(self.said)
        self._watch.after_turn(self.house.server)
        return self.said[before:]

    def is_reached(self) -> bool:
        """Say whether a client that comes by the path is served."""
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(self.path)) != 0:
                return False
            self.house.turn()
            return client.recv(100) == GREETING

    def close(self) -> None:
        self.house.__exit__()
        for file in (*self._all, *self._files, *self._watch._replaced):
            file.close()


@contextmanager
def watched(path: Path, *, is_passed: bool = False, is_in_chroot: bool = False) -> Iterator[Watched]:
    server = Watched(path, is_passed=is_passed, is_in_chroot=is_in_chroot)
    try:
        yield server
    finally:
        server.close()


def replace_by_a_dead_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


REMOVALS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "moved away": lambda path: path.rename(path.with_name("elsewhere")),
    "replaced by a dead socket": replace_by_a_dead_socket,
}


@pytest.mark.parametrize("how", REMOVALS)
def test_own_socket_file_is_bound_anew(how: str, tmp_path: Path) -> None:
    with watched(tmp_path / "s") as server:
        peer = server.house.peer()
        assert server.after(LOOK_S) == []
        REMOVALS[how](server.path)
        assert not server.is_reached()
        assert server.after(LOOK_S - 0.001) == []
        assert server.after(0.001) == [f"warning: somebody removed the socket '{server.path}': it is bound anew"]
        assert server.is_reached()
        assert server.path.stat().st_mode & 0o777 == 0o640
        assert peer.say(find_endp(b"zz")) == MISSED
        assert server.house.server.listeners == 3
        assert server.after(LOOK_S) == []
        assert server.house.server.listeners == 2  # the old one is closed by now


def test_client_that_had_connected_before_is_served(tmp_path: Path) -> None:
    with watched(tmp_path / "s") as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.path))
        server.path.unlink()
        assert len(server.after(LOOK_S)) == 1
        server.house.turn()
        assert client.recv(100) == GREETING


def test_what_is_removed_again_and_again_leaves_no_descriptor(tmp_path: Path) -> None:
    with watched(tmp_path / "s") as server:
        counts = set()
        for _ in range(5):
            server.path.unlink()
            assert len(server.after(LOOK_S)) == 1
            counts.add(len(os.listdir("/proc/self/fd")))
        assert len(counts) == 1


def test_what_cannot_be_bound_anew_is_one_warning_and_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with watched(folder / "s") as server:
        shutil.rmtree(folder)
        (line,) = server.after(LOOK_S)
        assert line.startswith(f"warning: somebody removed the socket '{folder}/s', clients cannot connect any more: ")
        assert line.endswith(f"there is no folder '{folder}'; make it first; this is tried again every {LOOK_S} s")
        assert server.after(LOOK_S) == server.after(LOOK_S) == []
        folder.mkdir()
        assert len(server.after(LOOK_S)) == 1
        assert server.is_reached()
        shutil.rmtree(folder)
        assert len(server.after(LOOK_S)) == 1  # it is news again


@pytest.mark.parametrize("what", ["another server", "a file"])
def test_what_is_there_instead_stays(what: str, tmp_path: Path) -> None:
    with watched(tmp_path / "s") as server, socket.socket(socket.AF_UNIX) as other:
        server.path.unlink()
        if what == "a file":
            server.path.write_text("content")
        else:
            other.bind(str(server.path))
            other.listen()
        inode = server.path.stat().st_ino
        (line,) = server.after(LOOK_S)
        assert ("another process listens there" if what == "another server" else "is not a socket") in line
        assert server.after(LOOK_S) == []
        assert server.path.stat().st_ino == inode


@pytest.mark.parametrize(("is_passed", "is_in_chroot"), [(True, False), (True, True), (False, True)])
def test_what_cannot_be_mended_from_here_is_one_warning(is_passed: bool, is_in_chroot: bool, tmp_path: Path) -> None:
    with watched(tmp_path / "s", is_passed=is_passed, is_in_chroot=is_in_chroot) as server:
        assert server.after(LOOK_S) == []
        server.path.unlink()
        (line,) = server.after(LOOK_S)
        reason = "the process that passed the socket has to make it again" if is_passed else "restart the server"
        assert reason in line
        assert server.after(LOOK_S) == []
        assert not server.path.exists()


def test_path_means_nothing_in_a_chroot(tmp_path: Path) -> None:
    with watched(tmp_path / "s", is_in_chroot=True) as server:
        server.path.rename(tmp_path / "elsewhere")
        assert server.after(LOOK_S) == []


def test_name_outside_of_the_file_system_is_not_watched() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("")
        watch = SocketWatch([], [sock], merge({}), Logger(lambda priority, line: None), is_in_chroot=False)
        assert watch._passed == []


def test_idle_process_notices_and_removes_the_new_file_at_its_end(tmp_path: Path) -> None:
    program = (
        "import sys; from scache_fast.process import socket_watch;"
        "socket_watch.LOOK_S, socket_watch._LOOK_NS = 0.05, 50_000_000;"
        "from scache_fast.__main__ import main; sys.exit(main())"
    )
    with running("--listen", tmp_path / "s", command=[sys.executable, "-c", program]) as server:
        for _ in range(2):
            (tmp_path / "s").unlink()
            server.line("warning: somebody removed the socket")
            with Client(tmp_path / "s") as client:
                assert client.say(find_endp(b"zz")) == MISSED
        server.end()
    assert list(tmp_path.iterdir()) == []


def test_lost_socket_for_operators_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    clock, path = Clock(), tmp_path / "admin"
    with Fast() as house, socket.socket(socket.AF_UNIX) as operators:
        operators.bind(str(path))
        operators.listen()
        log = Logger(lambda priority, line: said.append(line))
        watch = SocketWatch(
            [], [], merge({}), log, is_in_chroot=False, operators=operators, clock=clock, patience_s=PATIENCE_S
        )
        for _ in range(3):
            clock.now_ns += LOOK_S * NS_PER_S
            watch.after_turn(house.server)
            replace_by_a_dead_socket(path)
        assert watch._operators is not None
        os.close(watch._operators.file)
    (line,) = said
    assert line.startswith(f"warning: somebody removed the socket '{path}', operators cannot connect any more: ")


def test_file_for_operators_that_came_with_a_takeover_is_watched(tmp_path: Path) -> None:
    """And no more, once the next process has taken over: it is that process's then."""
    said: list[str] = []
    clock, files = Clock(), list[SocketFile]()
    log = Logger(lambda priority, line: said.append(line))
    with Fast() as house:
        watch = SocketWatch(
            [], [], merge({}), log, is_in_chroot=False, admin_files=files, clock=clock, patience_s=PATIENCE_S
        )
        for name in ("admin", "later"):
            file = listen_for_operators(str(tmp_path / name), None, [], log)
            files.append(file)
            (tmp_path / name).unlink()
            if name == "later":
                files.clear()
            clock.now_ns += LOOK_S * NS_PER_S
            watch.after_turn(house.server)
            file.close()
    (line,) = said
    assert "admin" in line
    assert "operators cannot connect any more" in line


def test_file_system_that_does_not_answer_holds_up_nobody(tmp_path: Path) -> None:
    """The check hangs, and nobody waits for it; when it has ended, there are checks again."""
    with watched(tmp_path / "s") as server:
        answer, look = threading.Event(), server._watch._check
        with mock.patch.object(server._watch, "_check", lambda found: answer.wait(PATIENCE_S) and look(found)):
            server._watch._patience_s = 0
            server.path.unlink()
            assert server.after(LOOK_S) == server.after(LOOK_S) == []
            hanging = server._watch._look
        assert hanging is not None
        assert hanging.thread is not None
        answer.set()
        hanging.thread.join()
        assert server.after(0) == [f"warning: somebody removed the socket '{server.path}': it is bound anew"]
        assert server.is_reached()
