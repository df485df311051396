"""How the relay begins: the socket that it listens at, and how many descriptors it may have."""

import errno
import os
import resource
import socket
from contextlib import ExitStack
from pathlib import Path


def listener(path: Path, server: Path) -> socket.socket:
    """Listen at a path, with the mode and the owner of the server's socket. Raises OSError."""
    _remove_stale(path)
    with ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX))
        listener.setblocking(False)
        listener.bind(str(path))
        undo.callback(path.unlink)
        try:
            of_server = server.stat()
        except FileNotFoundError:
            of_server = path.stat()  # the server is not there yet: as the umask has it
        path.chmod(of_server.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(path, of_server.st_uid, of_server.st_gid)
        listener.listen(socket.SOMAXCONN)
        undo.pop_all()
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens at. Raises FileExistsError for any other file."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as trial:
        trial.setblocking(False)
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            if path.is_socket():
                path.unlink()
                return
        except OSError:
            pass  # whatever it is, it is not ours
    raise FileExistsError(errno.EEXIST, "somebody listens there, or it is no socket", str(path))


def raise_descriptor_limit() -> int:
    """Allow this process as many descriptors as it may have, and return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
