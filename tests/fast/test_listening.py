"""The socket file: taken when it may be, left alone when not."""

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from scache_fast.process import listening
from scache_fast.process.errors import StartError
from scache_fast.process.listening import PATH_BYTES_MAX, SocketFile, listen


def stale(path: Path) -> int:
    """Leave a socket file that nobody listens on; return its inode."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return path.stat().st_ino


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def put_away(file: SocketFile) -> None:
    file.sock.close()
    assert file.remove() is None


def test_new_socket_is_connectable_and_goes_at_the_end(tmp_path: Path) -> None:
    file = listen(str(tmp_path / "s"), 0o600)
    assert can_connect(tmp_path / "s")
    put_away(file)
    assert list(tmp_path.iterdir()) == []


def test_relative_path_is_removed_from_wherever_the_process_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = listen("s", 0o600)
    monkeypatch.chdir("/")
    put_away(file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777, 0o000])
def test_mode_is_right_from_the_moment_of_creation(tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []

    def seen(sock: socket.socket, path: str, wanted: int) -> None:
        bind(sock, path, wanted)
        modes.append(stat.S_IMODE(os.lstat(path).st_mode))

    bind = listening._bind
    monkeypatch.setattr(listening, "_bind", seen)
    before = os.umask(0o027)
    try:
        put_away(listen(str(tmp_path / "s"), mode))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert modes == [mode]


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    stale(tmp_path / "s")
    file = listen(str(tmp_path / "s"), 0o600)
    assert can_connect(tmp_path / "s")
    put_away(file)


@pytest.mark.parametrize("full", [False, True])
def test_live_socket_is_an_error_and_stays(tmp_path: Path, full: bool) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as alive, socket.socket(socket.AF_UNIX) as waiting:
        alive.bind(str(path))
        alive.listen(0)
        if full:
            waiting.connect(str(path))
        inode = path.stat().st_ino
        with pytest.raises(StartError, match="another process listens there; stop it, or choose another path"):
            listen(str(path), 0o600)
        assert path.stat().st_ino == inode


def test_live_datagram_socket_is_an_error_and_stays(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as alive:
        alive.bind(str(tmp_path / "s"))
        with pytest.raises(StartError, match="another process listens there"):
            listen(str(tmp_path / "s"), 0o600)
        assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize("kind", ["file", "folder", "link to a file", "link to nothing", "fifo"])
def test_anything_else_is_an_error_and_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("content")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        (tmp_path / "target").write_text("content")
        path.symlink_to(tmp_path / ("target" if kind == "link to a file" else "nothing"))
    before = path.lstat()
    with pytest.raises(StartError, match="it exists and is not a socket; move it away or choose another"):
        listen(str(path), 0o600)
    assert path.lstat() == before


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"there is no folder '.*/nowhere'; make it first"):
        listen(str(tmp_path / "nowhere" / "s"), 0o600)


def test_file_instead_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"there is no folder '.*/file'"):
        listen(str(tmp_path / "file" / "s"), 0o600)


@pytest.mark.parametrize("length", [PATH_BYTES_MAX, PATH_BYTES_MAX + 1])
def test_path_length(length: int, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    path += "s" * (length - len(path))
    if length <= PATH_BYTES_MAX:
        put_away(listen(path, 0o600))
    else:
        with pytest.raises(StartError, match="has 108 bytes, a socket's may have 1 to 107; choose a shorter one"):
            listen(path, 0o600)


def test_empty_path_is_an_error() -> None:
    with pytest.raises(StartError, match="has 0 bytes"):
        listen("", 0o600)


def test_somebody_elses_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    file = listen(str(path), 0o600)
    # The old inode is kept, or its number might be given to the new file.
    path.rename(tmp_path / "kept")
    inode = stale(path)
    put_away(file)
    assert path.stat().st_ino == inode


def test_socket_that_is_gone_already_is_no_complaint(tmp_path: Path) -> None:
    file = listen(str(tmp_path / "s"), 0o600)
    (tmp_path / "s").unlink()
    put_away(file)


def test_nothing_is_taken_while_another_server_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_LOCK_WAIT_S", 0.0)
    inode = stale(tmp_path / "s")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(StartError, match="locked by another process"):
            listen(str(tmp_path / "s"), 0o600)
        assert (tmp_path / "s").stat().st_ino == inode
    finally:
        os.close(fd)
    put_away(listen(str(tmp_path / "s"), 0o600))


def test_of_two_that_race_for_a_stale_socket_the_slower_one_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looks for the path's state before the first has bound: it must not act on what it saw."""
    path = str(tmp_path / "s")
    stale(tmp_path / "s")
    folder_is_locked: list[bool] = []

    def in_between(sock: socket.socket, bound: str, mode: int) -> None:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            folder_is_locked.append(True)
        finally:
            os.close(fd)
        bind(sock, bound, mode)

    bind = listening._bind
    monkeypatch.setattr(listening, "_bind", in_between)
    file = listen(path, 0o600)
    assert folder_is_locked == [True]
    with pytest.raises(StartError, match="another process listens there"):
        listen(path, 0o600)
    put_away(file)
