"""Closing what others opened.

Decides that closing never waits and never fails for the server. Refuses to know why something is closed. What is
parked may be any kind of file, in any state: nothing here relies on its being a socket.
"""

import os
import socket
import struct
from typing import Final

from scache_fast.engine.log import Log

_NO_LINGER: Final = struct.pack("ii", 0, 0)


def close(descriptor: int, log: Log) -> None:
    """Close our copy of a descriptor that somebody else has too.

    Whatever close reports, Linux has let go of the descriptor (close(2)): there is nothing to be tried again. Which
    errors there are depends on the file behind it (EIO, ENOSPC, EDQUOT of a disk, EINTR of a network file system), so
    none is named here. EBADF alone would be a mistake in this program, and the line in the log is where it shows.
    """
    try:
        os.close(descriptor)
    except OSError as error:
        log.warning(f"closing a parked descriptor: {error.strerror}")


def discard(descriptor: int, log: Log) -> None:
    """Close a descriptor that nobody may have but us.

    The last close of a TCP socket with SO_LINGER waits for its peer, O_NONBLOCK or not (measured: the whole linger time
    if the peer reads nothing, a round trip otherwise). Without the option the kernel finishes the connection by itself.
    """
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        pass  # ENOTSOCK: a pipe or a file
    else:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            pass  # A family that knows no such option does not linger either.
        finally:
            sock.detach()
    close(descriptor, log)
