"""The socket file: how it comes to be, whose it is, whether it is still there, and how it goes.

Guarantees:

* What is at the path and is not a socket stays as it is. So does a socket that somebody listens on.
* The file never has a laxer mode than the one that was asked for: it is made under a umask that leaves just that.
* Only the file that was made here is given to another owner, whatever somebody puts at the path meanwhile: it is held
  by a descriptor. When the path leads to something else afterwards, the start fails.
* At the end only the file that was made here is removed, told by its inode.

How two servers that start at once are kept apart. Both may find the same stale file; checking, removing and binding
are three steps, and the slower server would remove the faster one's new socket. So every start and every removal holds
flock(2) on the *folder* meanwhile: it is there already, leaves no lock file behind, and the kernel releases it when
its holder dies. (A lock file beside the socket would have to be left there for ever, since removing one is the same
race again. Binding a temporary name and renaming it over the path would replace a socket that came alive since the
check.) The lock is best effort: everybody who may read the folder can hold it for ever, and some file systems have
none. Without it the race is possible again, which is said in a warning.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from scache_fast.process.errors import StartError
from scache_fast.process.logger import Logger
from scache_fast.settings.accounts import Account
from scache_fast.settings.values import Owner

PATH_BYTES_MAX: Final = 107
"""sockaddr_un holds 108 bytes, and Linux wants the closing NUL among them."""

_BACKLOG: Final = 1024
"""How many clients may wait to be accepted. Arbitrary; the kernel cuts it to net.core.somaxconn."""

_OPERATORS_MODE: Final = 0o600

_AS_MADE: Final = Owner()

START_PATIENCE_S: Final = 1.0
"""How long a start waits for the lock of a folder. Arbitrary; another server holds it for less than a millisecond."""

_END_PATIENCE_S: Final = 0.1
"""How long an end waits for it: supervisors wait for the end."""

_NOT_LISTENING: Final = frozenset({errno.ECONNREFUSED})
"""What connecting to a file that nobody listens on says."""

_LISTENING: Final = frozenset({errno.EAGAIN, errno.EPROTOTYPE})
"""What connecting says when somebody listens: its queue is full, or it is a datagram socket."""

_SOMETHING_ELSE: Final = "somebody put something else there meanwhile"

_SIOCUNIXFILE: Final = 0x89E0
"""<linux/un.h>: open the file that a socket is bound to, as with O_PATH."""


class SocketFile(NamedTuple):
    """A listening socket and the file by which clients reach it."""

    path: str
    sock: socket.socket
    file: int
    """An O_PATH descriptor of the file: good for telling what became of it, also in a chroot, and for nothing else."""

    def is_lost(self, *, is_in_chroot: bool) -> bool:
        """Say whether clients cannot reach the socket by its path any more.

        In a chroot the path means something else: only that the file has no name at all can be told there.
        """
        status = os.fstat(self.file)
        if status.st_nlink == 0 or is_in_chroot:
            return status.st_nlink == 0
        try:
            return not os.path.samestat(os.lstat(self.path), status)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # EACCES: whoever gave up privileges may not look there any more.

    def remove(self, log: Logger) -> str | None:
        """Remove the file if it is still the one that was made; return why that was not possible, if it was not."""
        try:
            with _locked(os.path.dirname(self.path), log, _END_PATIENCE_S):
                _unlink(self.path, self.file)
        except (FileNotFoundError, NotADirectoryError):
            return None  # The whole folder is gone.
        except OSError as error:
            return str(error.strerror)
        return None

    def close(self) -> None:
        """Close both descriptors; the file stays. A second time does nothing."""
        self.sock.close()
        try:
            os.close(self.file)
        except OSError:
            pass


def absolute(path: str) -> str:
    """Return a path from the root; raises StartError for one from the current folder if that folder is gone."""
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise StartError(
            f"{path!r} is no path: the current folder is gone ({error.strerror}); give one from /"
        ) from None


def listen(path: str, mode: int, owner: Owner, log: Logger, patience_s: float = START_PATIENCE_S) -> SocketFile:
    """Make a listening socket at a path, replacing one that nobody listens on any more.

    Raises StartError when that is not possible.
    """
    path = absolute(path) if path else path
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
        with _locked(folder, log, patience_s):
            _make_way(path)
            _bind(sock, path, mode)
            file = _file_of(sock, path)
            try:
                _give_away(path, file, owner)
                sock.listen(_BACKLOG)
                if not _leads_to(path, file):
                    raise OSError(errno.ESTALE, _SOMETHING_ELSE)
            except (OSError, StartError):
                _unlink(path, file)
                os.close(file)
                raise
    except (FileNotFoundError, NotADirectoryError) as error:
        sock.close()
        raise StartError(f"cannot listen on {path!r}: there is no folder {folder!r}; make it first") from error
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on {path!r}: {error.strerror}; see who may write to {folder!r}") from error
    except StartError:
        sock.close()
        raise
    return SocketFile(path, sock, file)


def listen_for_operators(path: str, user: Account | None, taken: Iterable[str], log: Logger) -> SocketFile:
    """Make the admin socket, for root and the user that the process is going to be; raises StartError.

    `taken` are the paths on which clients are listened to.
    """
    if absolute(path) in map(absolute, taken):
        raise StartError(f"the admin socket and a socket for clients are both {path!r}: choose another for one")
    return listen(path, _OPERATORS_MODE, Owner(None if user is None else user.uid), log)


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


def _file_of(sock: socket.socket, path: str) -> int:
    """Open the file that a socket has just been bound to; raises OSError."""
    try:
        return fcntl.ioctl(sock.fileno(), _SIOCUNIXFILE)
    except OSError:
        pass  # It takes CAP_NET_ADMIN. Without it, what is at the path is believed to be the file.
    try:
        file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(errno.ESTALE, _SOMETHING_ELSE) from None
    except OSError:
        os.unlink(path)  # EMFILE, ENFILE, ENOMEM: nothing is left behind.
        raise
    if not stat.S_ISSOCK(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.ESTALE, _SOMETHING_ELSE)
    return file


def _give_away(path: str, file: int, owner: Owner) -> None:
    """Change the owner of a new socket file; raises StartError."""
    if owner == _AS_MADE:
        return
    try:
        # By its descriptor: whoever may write to the folder can put a link to a file of root's at the path any time.
        # -1 leaves one as it is. Nobody gets in before listen(2), so nobody does under the wrong owner.
        os.chown(f"/proc/self/fd/{file}", *(-1 if each is None else each for each in (owner.uid, owner.gid)))
    except OSError as error:
        raise StartError(
            f"cannot give {path!r} to user {owner.uid}, group {owner.gid}: {error.strerror}; only root can give it to "
            "another user, and others only to a group of their own"
        ) from None


def _leads_to(path: str, file: int) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(file))


def _unlink(path: str, file: int) -> None:
    if _leads_to(path, file):
        os.unlink(path)


@contextmanager
def _locked(folder: str, log: Logger, patience_s: float) -> Iterator[None]:
    """Hold the lock of a folder, if it can be had in time; raises OSError if there is no such folder."""
    fd = -1
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        trouble = _lock(fd, patience_s)
    except PermissionError as error:
        trouble = str(error.strerror)  # A folder may be written to and not read.
    try:
        if trouble:
            log.warning(
                f"the folder {folder!r} is not locked: {trouble}; if two servers start there at once, one of them may "
                "lose its socket file"
            )
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def _lock(fd: int, patience_s: float) -> str:
    """Lock a folder; return why that is not possible, nothing if it is locked."""
    give_up_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_s:
                return "another process holds the lock, see lslocks"
            time.sleep(0.01)
        except OSError as error:
            return str(error.strerror)  # ENOLCK, EOPNOTSUPP, ENOSYS, EIO: some file systems have no locks.
        else:
            return ""
