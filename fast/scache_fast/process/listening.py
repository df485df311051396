"""The socket file: how it comes to be, whose it is, and how it goes.

Guarantees:

* What is at the path and is not a socket stays as it is. So does a socket that somebody listens on.
* The file never has a laxer mode than the one that was asked for: it is made under a umask that leaves just that.
* At the end only the file that was made here is removed, told by its inode.

How two servers that start at once are kept apart. Both may find the same stale file; looking, removing it and binding
are three steps, and the slower one would remove the faster one's new socket. So every start and every removal holds
flock(2) on the *folder* meanwhile: it is there already, leaves no lock file behind, and the kernel releases it when
its holder dies. (A lock file beside the socket would have to be left there for ever, since removing one is the same
race again. Binding a temporary name and renaming it over the path would replace a socket that came alive since it was
looked at.) Whoever does not take part in the locking cannot be kept out by any of these.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from scache_fast.process.errors import StartError
from scache_fast.settings.values import Owner

PATH_BYTES_MAX: Final = 107
"""sockaddr_un holds 108 bytes, and Linux wants the closing NUL among them."""

_BACKLOG: Final = 1024
"""How many clients may wait to be accepted. Arbitrary; the kernel cuts it to net.core.somaxconn."""

_AS_MADE: Final = Owner()

_LOCK_WAIT_S: Final = 5.0
"""How long to wait for a folder. Arbitrary; another server holds it for less than a millisecond."""

_NOT_LISTENING: Final = frozenset({errno.ECONNREFUSED})
"""What connecting to a file that nobody listens on says."""

_LISTENING: Final = frozenset({errno.EAGAIN, errno.EPROTOTYPE})
"""What connecting says when somebody listens: its queue is full, or it is a datagram socket."""


@dataclass(frozen=True, slots=True)
class SocketFile:
    """A listening socket and the file it is reached by."""

    path: str
    sock: socket.socket
    device: int
    inode: int

    def remove(self) -> str | None:
        """Remove the file if it is still the one that was made; return why that was not possible, if it was not."""
        try:
            with _locked(os.path.dirname(self.path)):
                found = os.lstat(self.path)
                if (found.st_dev, found.st_ino) == (self.device, self.inode):
                    os.unlink(self.path)
        except FileNotFoundError:
            return None
        except (OSError, StartError) as error:
            return f"{self.path} is left behind: {error}"
        return None


def listen(path: str, mode: int, owner: Owner = _AS_MADE) -> SocketFile:
    """Make a listening socket at a path, replacing one that nobody listens on any more.

    Raises StartError when that is not possible.
    """
    path = os.path.abspath(path) if path else path
    length = len(os.fsencode(path))
    if not 0 < length <= PATH_BYTES_MAX:
        raise StartError(
            f"cannot listen on {path!r}: the path has {length} bytes, a socket's may have 1 to {PATH_BYTES_MAX}; "
            "choose a shorter one"
        )
    folder = os.path.dirname(path)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"cannot listen on {path!r}: {error.strerror}") from error  # EMFILE, ENFILE
    try:
        with _locked(folder):
            _make_way(path)
            _bind(sock, path, mode)
            made = os.lstat(path)
            _give_away(path, owner)
            sock.listen(_BACKLOG)
    except (FileNotFoundError, NotADirectoryError) as error:
        sock.close()
        raise StartError(f"cannot listen on {path!r}: there is no folder {folder!r}; make it first") from error
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on {path!r}: {error.strerror}; see who may write to {folder!r}") from error
    except StartError:
        sock.close()
        raise
    return SocketFile(path, sock, made.st_dev, made.st_ino)


def _make_way(path: str) -> None:
    """Remove a socket file that nobody listens on; leave everything else and raise StartError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(f"cannot listen on {path!r}: it exists and is not a socket; move it away or choose another")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        error = probe.connect_ex(path)
    if error == 0 or error in _LISTENING:
        raise StartError(f"cannot listen on {path!r}: another process listens there; stop it, or choose another path")
    if error not in _NOT_LISTENING:
        raise StartError(f"cannot tell whether {path!r} is in use: {os.strerror(error)}; remove it if it is not")
    os.unlink(path)


def _bind(sock: socket.socket, path: str, mode: int) -> None:
    before = os.umask(~mode & 0o777)
    try:
        sock.bind(path)
    finally:
        os.umask(before)


def _give_away(path: str, owner: Owner) -> None:
    """Change the owner of a new socket file; raises StartError, and the file is gone then."""
    if owner == _AS_MADE:
        return
    try:
        # -1 leaves one as it is. Nobody gets in before listen(2), so nobody does under the wrong owner.
        os.chown(path, *(-1 if each is None else each for each in (owner.uid, owner.gid)))
    except OSError as error:
        os.unlink(path)
        raise StartError(
            f"cannot give {path!r} to user {owner.uid}, group {owner.gid}: {error.strerror}; only root can give it to "
            "another user, and others only to a group of their own"
        ) from None


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        give_up_s = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up_s:
                    raise StartError(
                        f"the folder {folder!r} has been locked by another process for {_LOCK_WAIT_S:.0f} s; "
                        "see who holds it with lslocks, or choose another folder"
                    ) from None
                time.sleep(0.01)
            else:
                break
        yield
    finally:
        os.close(fd)
