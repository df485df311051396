"""Files of a FUSE server of the suite, which answers each use of such a file or withholds the answer.

They are the hardest files that a client can pass. A process that closes a copy waits for the answer to a FLUSH, and no
signal ends that wait. A process that sends from memory that maps the file waits for the answer to a READ, and its
socket is locked meanwhile. Any user may make such files where fusermount is installed.

Needs /dev/fuse and the right to mount. The connection to the kernel is aborted at the end in any case, and every
process that still waits then gets an error.

Sources: fuse(4), <linux/fuse.h>.
"""

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.files.fuse_server import FILE_BYTES, Opcode
from scache_conformance.wire import processes
from scache_conformance.wire.line import readable

__all__ = ["FILE_BYTES", "FLUSH", "POLL", "READ", "Fuse"]

FLUSH, POLL, READ = Opcode.FLUSH, Opcode.POLL, Opcode.READ

_SERVER: Final = Path(__file__).with_name("fuse_server.py")

_NOSUID_NODEV: Final = 2 | 4
_FORCE_DETACH: Final = 1 | 2  # of umount2(2): ends the connection at once, and the mount when nobody uses it any more

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Fuse:
    """A mounted file system of one file. A context manager.

    Its server is a process of its own that ends when this one does, however that happens. Were it a thread of this
    process, a close that hangs here could keep it from ending, and from letting go of what hangs.
    """

    def __init__(self, withheld: Iterable[Opcode] = (), *, from_pid: int = 0) -> None:
        """Mount it. Answers to the `withheld` requests are not given, to nobody or to the process that is named.

        This process closes copies, too, and so does each process that it starts: name one to withhold a FLUSH from,
        unless nobody else has a copy. Raises Unavailable where it cannot be mounted.
        """
        self._folder: Final = tempfile.TemporaryDirectory(prefix="scache-conformance-")
        try:
            device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            self._folder.cleanup()
            raise Unavailable(f"no files of a FUSE server: /dev/fuse: {error.strerror}") from None
        options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},allow_other"
        if _libc.mount(b"scache", os.fsencode(self._folder.name), b"fuse", _NOSUID_NODEV, options.encode()) != 0:
            reason = os.strerror(ctypes.get_errno())
            os.close(device)
            self._folder.cleanup()
            raise Unavailable(f"no files of a FUSE server: mount: {reason}; run as root")
        given = device, ",".join(str(int(each)) for each in withheld), from_pid
        with processes.STARTING:
            self._server: Final = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SERVER), *map(str, given)], pass_fds=[device], stdout=subprocess.PIPE
            )
        os.close(device)

    def open(self, flags: int = os.O_RDWR) -> int:
        """Return a new open file."""
        return os.open(Path(self._folder.name) / "file", flags | os.O_CLOEXEC)

    def await_hang(self, patience_s: float) -> None:
        """Wait until somebody begins to wait for one of the files; each is told once. Raises TimeoutError."""
        assert self._server.stdout is not None
        if not readable([self._server.stdout.fileno()], patience_s):
            raise TimeoutError(f"nobody began to wait for {patience_s} s")
        os.read(self._server.stdout.fileno(), 1)

    def abort(self) -> None:
        """Let everybody who waits go on: their calls fail from now on. A second time does nothing."""
        if self._server.returncode is not None:
            return
        _libc.umount2(os.fsencode(self._folder.name), _FORCE_DETACH)
        self._server.kill()
        with self._server:
            pass
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()
