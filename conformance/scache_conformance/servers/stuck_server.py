"""The FUSE server behind stuck_files.py: a program of its own, `stuck_server.py DEVICE`.

It answers everything but flush and poll, and writes a byte to its standard output for each of these. It ends with the
process that started it, and the kernel then lets go of everybody who waits.
"""

import ctypes
import errno
import os
import signal
import stat
import struct
import sys
from typing import Final

_HEADER: Final = struct.Struct("=IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, and four bytes of no use
_REPLY: Final = struct.Struct("=IiQ")  # length, error, unique
_ATTRIBUTES: Final = struct.Struct("=6Q10I")
_MAJOR, _MINOR = 7, 31
_ROOT, _FILE = 1, 2
_FORGET, _FLUSH, _POLL, _BATCH_FORGET = 2, 25, 40, 42
_PR_SET_PDEATHSIG: Final = 1


def serve(device: int) -> None:
    """Answer everything but what closes and polls, until the file system is unmounted or the process is killed."""
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue  # The request was taken back.
            return  # ENODEV: unmounted
        _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
        if opcode in (_FLUSH, _POLL):
            os.write(1, b"x")
        elif opcode not in (_FORGET, _BATCH_FORGET):
            code, body = _answer(opcode, node)
            try:
                os.write(device, _REPLY.pack(_REPLY.size + len(body), -code, unique) + body)
            except OSError:
                pass  # ENOENT: whoever asked is gone


def _answer(opcode: int, node: int) -> tuple[int, bytes]:
    match opcode:
        case 26:  # INIT
            return 0, struct.pack("=4IHHIIHHI7I", _MAJOR, _MINOR, 0, 0, 0, 0, 65_536, 1, 0, 0, 0, *[0] * 7)
        case 1:  # LOOKUP
            return 0, struct.pack("=4Q2I", _FILE, 0, 3600, 3600, 0, 0) + _attributes(_FILE)
        case 3:  # GETATTR
            return 0, struct.pack("=Q2I", 3600, 0, 0) + _attributes(node)
        case 14 | 27:  # OPEN, OPENDIR
            return 0, struct.pack("=Q2I", 0, 0, 0)
        case 18 | 29:  # RELEASE, RELEASEDIR
            return 0, b""
        case _:
            return errno.ENOSYS, b""


def _attributes(node: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == _ROOT else stat.S_IFREG | 0o666
    return _ATTRIBUTES.pack(node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 512, 0)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    serve(int(sys.argv[1]))
