"""Who may connect, beyond what the socket file's mode and folder say: SO_PEERCRED against lists of users and groups.

Without a list, everybody who can reach the socket may connect, as with other UNIX services. The kernel notes a peer's
user and groups when the peer connects: they cannot be forged or changed afterwards. They are those of whoever
connected, also when the connection has been passed on to another process since.
"""

import socket
import struct
import time
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

from scache_fast.engine.log import Log

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS: Final = 59  # <asm-generic/socket.h>; the socket module does not name it
_GROUPS_BYTES_MAX: Final = 1024
"""Room for 256 groups, the most that Python's getsockopt has. A peer with more counts as in its first group alone."""

_SAID_AGAIN_AFTER_NS: Final = 60_000_000_000
_SAID_MAX: Final = 1000
"""How many refused users are remembered. Arbitrary; beyond it all are forgotten, and each is said once more."""


class Access(NamedTuple):
    """Whose processes may connect: those of these users and members of these groups; with nobody listed, all."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()


class Doorkeeper:
    """Asks each client's socket who its peer is. `refused` counts the clients that were refused."""

    def __init__(self, access: Access, log: Log, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._access = access
        self._log = log
        self._clock = clock
        self._said_ns: dict[int, int] = {}
        self.refused = 0

    def may_connect(self, sock: socket.socket) -> bool:
        """Say whether a client may connect; a refused user is a line in the log, once a minute."""
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        access = self._access
        if uid in access.uids or gid in access.gids or (access.gids and not access.gids.isdisjoint(_groups(sock))):
            return True
        self.refused += 1
        now_ns = self._clock()
        said_ns = self._said_ns.get(uid)
        if said_ns is None or now_ns - said_ns >= _SAID_AGAIN_AFTER_NS:
            if len(self._said_ns) >= _SAID_MAX:
                self._said_ns.clear()
            self._said_ns[uid] = now_ns
            self._log.warning(
                f"client refused: uid {uid}, gid {gid}, pid {pid} is on no allow list ({self.refused} refused so far)"
            )
        return False


def _groups(sock: socket.socket) -> list[int]:
    """Return the supplementary groups of a peer, none if the kernel does not say."""
    groups = array("I")
    try:
        groups.frombytes(sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES_MAX))
    except OSError:
        # ENOPROTOOPT: a kernel before 4.13; ERANGE: more groups than there is room for. Whatever the reason, the user
        # and the first group alone decide then.
        pass
    return groups.tolist()
