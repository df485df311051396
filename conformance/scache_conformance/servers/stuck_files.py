"""Files whose last close never ends: those of a FUSE server that does not answer.

Every close of such a file asks the server to flush it, and waits for the answer in a way that no signal interrupts. So
does poll. They are the hardest files that a client can pass, and any user may make some where fusermount is installed.

Needs /dev/fuse and the right to mount. The connection to the kernel is aborted at the end, whatever happened: whoever
still waits goes on then.

Sources: fuse(4), <linux/fuse.h>.
"""

import ctypes
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, Self

from scache_conformance.servers.unavailable import Unavailable

_SERVER: Final = Path(__file__).with_name("stuck_server.py")


_DETACH: Final = 2  # MNT_DETACH of umount2(2)

_libc: Final = ctypes.CDLL(None, use_errno=True)


class StuckFiles:
    """A mounted file system in which every file's close and poll wait for ever. A context manager.

    Its server is a process of its own that ends when this one does, however that happens. Were it a thread of this
    process, a close that hangs here could keep it from ending, and from letting go of what hangs.
    """

    def __init__(self) -> None:
        """Mount it. Raises Unavailable where that is not possible."""
        self._folder: Final = tempfile.TemporaryDirectory(prefix="stuck-files-")
        try:
            device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            self._folder.cleanup()
            raise Unavailable(f"no files of a FUSE server: /dev/fuse: {error.strerror}") from None
        options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},allow_other"
        if _libc.mount(b"stuck", os.fsencode(self._folder.name), b"fuse", 0, options.encode()) != 0:
            reason = os.strerror(ctypes.get_errno())
            os.close(device)
            self._folder.cleanup()
            raise Unavailable(f"no files of a FUSE server: mount: {reason}; run as root")
        self._server: Final = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SERVER), str(device)], pass_fds=[device], stdout=subprocess.PIPE
        )
        os.close(device)

    def open(self) -> int:
        """Return a new open file; its close waits until `abort`."""
        return os.open(Path(self._folder.name) / "file", os.O_RDWR | os.O_CLOEXEC)

    def await_hang(self, patience_s: float) -> None:
        """Wait until somebody begins to wait for one of the files; each is told once. Raises TimeoutError."""
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], patience_s)[0]:
            raise TimeoutError(f"nobody closed a file or polled one for {patience_s} s")
        os.read(self._server.stdout.fileno(), 1)

    def abort(self) -> None:
        """Let everybody who waits go on: their calls fail from now on. A second time does nothing."""
        if self._server.returncode is not None:
            return
        _libc.umount2(os.fsencode(self._folder.name), _DETACH)
        self._server.kill()
        with self._server:
            pass
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()
