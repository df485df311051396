"""The socket file: taken when it may be, left alone when not."""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from scache_fast.process import listening
from scache_fast.process.errors import StartError
from scache_fast.process.listening import PATH_BYTES_MAX, SocketFile
from scache_fast.process.logger import Logger
from scache_fast.settings.values import Owner

Listen = Callable[..., SocketFile]
AS_MADE = Owner()


@pytest.fixture
def said() -> list[str]:
    """Collect what is logged."""
    return []


@pytest.fixture
def listen(said: list[str]) -> Listen:
    """Listen with a log that is collected, and as whoever makes the file unless a test wants it otherwise."""
    log = Logger(lambda priority, line: said.append(line))

    def at(path: str, mode: int, owner: Owner = AS_MADE, patience_s: float = 60) -> SocketFile:
        return listening.listen(path, mode, owner, log, patience_s)

    return at


def stale(path: Path) -> int:
    """Leave a socket file that nobody listens on; return its inode."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return path.stat().st_ino


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def put_away(file: SocketFile, log: list[str] | None = None) -> None:
    file.sock.close()
    assert file.remove(Logger(lambda priority, line: (log if log is not None else []).append(line))) is None
    file.close()


def test_new_socket_is_connectable_and_goes_at_the_end(tmp_path: Path, listen: Listen) -> None:
    file = listen(str(tmp_path / "s"), 0o600)
    assert can_connect(tmp_path / "s")
    put_away(file)
    assert list(tmp_path.iterdir()) == []


def test_relative_path_is_removed_from_wherever_the_process_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: Listen
) -> None:
    monkeypatch.chdir(tmp_path)
    file = listen("s", 0o600)
    monkeypatch.chdir("/")
    put_away(file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777, 0o000])
def test_mode_is_right_from_the_moment_of_creation(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch, listen: Listen
) -> None:
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


def test_stale_socket_is_replaced(tmp_path: Path, listen: Listen) -> None:
    stale(tmp_path / "s")
    file = listen(str(tmp_path / "s"), 0o600)
    assert can_connect(tmp_path / "s")
    put_away(file)


@pytest.mark.parametrize("full", [False, True])
def test_live_socket_is_an_error_and_stays(tmp_path: Path, full: bool, listen: Listen) -> None:
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


def test_live_datagram_socket_is_an_error_and_stays(tmp_path: Path, listen: Listen) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as alive:
        alive.bind(str(tmp_path / "s"))
        with pytest.raises(StartError, match="another process listens there"):
            listen(str(tmp_path / "s"), 0o600)
        assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize("kind", ["file", "folder", "link to a file", "link to nothing", "fifo"])
def test_anything_else_is_an_error_and_stays(tmp_path: Path, kind: str, listen: Listen) -> None:
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


def test_missing_folder_is_an_error(tmp_path: Path, listen: Listen) -> None:
    with pytest.raises(StartError, match=r"there is no folder '.*/nowhere'; make it first"):
        listen(str(tmp_path / "nowhere" / "s"), 0o600)


def test_file_instead_of_a_folder_is_an_error(tmp_path: Path, listen: Listen) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"there is no folder '.*/file'"):
        listen(str(tmp_path / "file" / "s"), 0o600)


@pytest.mark.parametrize("length", [PATH_BYTES_MAX, PATH_BYTES_MAX + 1])
def test_path_length(length: int, tmp_path: Path, listen: Listen) -> None:
    path = str(tmp_path / "s")
    path += "s" * (length - len(path))
    if length <= PATH_BYTES_MAX:
        put_away(listen(path, 0o600))
    else:
        with pytest.raises(StartError, match="has 108 bytes, a socket's may have 1 to 107; choose a shorter one"):
            listen(path, 0o600)


def test_empty_path_is_an_error(listen: Listen) -> None:
    with pytest.raises(StartError, match="has 0 bytes"):
        listen("", 0o600)


def test_somebody_elses_socket_is_not_removed(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "s"
    file = listen(str(path), 0o600)
    # The old inode is kept, or its number might be given to the new file.
    path.rename(tmp_path / "kept")
    inode = stale(path)
    put_away(file)
    assert path.stat().st_ino == inode


def test_socket_that_is_gone_already_is_no_complaint(tmp_path: Path, listen: Listen) -> None:
    file = listen(str(tmp_path / "s"), 0o600)
    (tmp_path / "s").unlink()
    put_away(file)


@contextmanager
def locked(folder: Path, how: int) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, how)
    yield
    os.close(fd)


LEFT_UNLOCKED = "if two servers start there at once, one of them may lose its socket file"


@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_lock_that_somebody_holds_is_a_warning_at_the_start_and_at_the_end(
    tmp_path: Path, said: list[str], listen: Listen, how: int
) -> None:
    """Everybody who may read a folder can lock it."""
    stale(tmp_path / "s")
    with locked(tmp_path, how):
        file = listen(str(tmp_path / "s"), 0o600, patience_s=0)
        assert can_connect(tmp_path / "s")
        put_away(file, said)
    assert list(tmp_path.iterdir()) == []
    line = (
        f"warning: the folder '{tmp_path}' is not locked: another process holds the lock, see lslocks; {LEFT_UNLOCKED}"
    )
    assert said == [line] * 2


def test_lock_that_is_released_in_time_is_waited_for(tmp_path: Path, said: list[str], listen: Listen) -> None:
    holder = ExitStack()
    holder.enter_context(locked(tmp_path, fcntl.LOCK_EX))

    def release(pause_s: float) -> None:
        holder.close()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("time.sleep", release)
        put_away(listen(str(tmp_path / "s"), 0o600))
    assert said == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_file_system_without_locks_is_a_warning(
    tmp_path: Path, said: list[str], listen: Listen, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    put_away(listen(str(tmp_path / "s"), 0o600))
    assert said == [f"warning: the folder '{tmp_path}' is not locked: {os.strerror(number)}; {LEFT_UNLOCKED}"]


# Somebody who may write to the folder, between two steps of a start.


def swapped_for(thing: str, path: Path, victim: Path) -> None:
    """Put something else at a path; what was there is kept, so that its inode number is not given out again."""
    path.rename(path.with_name("kept"))
    if thing == "link":
        path.symlink_to(victim)
    elif thing == "hard link":
        path.hardlink_to(victim)
    elif thing == "socket":
        stale(path)


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("thing", "before", "can_ask"),
    [
        (thing, before, can_ask)
        for thing in ("link", "hard link", "socket", "nothing")
        for before in ("_file_of", "_give_away", "_leads_to")
        for can_ask in (True, False)
        # Without CAP_NET_ADMIN one new socket file looks like another.
        if can_ask or (thing, before) != ("socket", "_file_of")
    ],
)
def test_no_other_file_is_given_away(
    tmp_path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, thing: str, before: str, can_ask: bool
) -> None:
    path, victim = tmp_path / "s", tmp_path / "victim"
    victim.write_text("of root's")
    if not can_ask:
        monkeypatch.setattr(listening, "_SIOCUNIXFILE", 0)
    step = getattr(listening, before)
    swaps: list[None] = []

    def swap_first(*arguments: object) -> object:
        if not swaps:
            swaps.append(None)
            swapped_for(thing, path, victim)
        return step(*arguments)

    monkeypatch.setattr(listening, before, swap_first)
    with pytest.raises(StartError, match=r"cannot listen on '.*/s': somebody put something else there"):
        listen(str(path), 0o600, Owner(65534, 65534))
    assert swaps
    assert (victim.stat().st_uid, victim.stat().st_gid, victim.read_text()) == (0, 0, "of root's")
    if thing == "nothing":
        assert not path.exists()
    elif thing == "socket":
        assert path.stat().st_uid == 0
    else:
        assert path.samefile(victim)


def test_of_two_that_race_for_a_stale_socket_the_slower_one_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: Listen
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
