"""Who is at the other end of a parked socket, found in /proc/net by its inode.

The server is not asked: getpeername waits for whoever holds the socket's lock. Only sockets of the network namespace
that scachectl runs in are found.
"""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scache_client.labels import printable

PROC_NET: Final = Path("/proc/net")

_WORD_DIGITS: Final = 8
"""The kernel prints addresses in words of 32 bits, each in the byte order of the machine."""

_UNIX_INODE: Final = 6
_INODE: Final = 9


def peers(folder: Path = PROC_NET) -> dict[int, str]:
    """Return `local -> remote` for each socket by inode; of a UNIX socket its path, if it has one."""
    found: dict[int, str] = {}
    for name, family in (
        ("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6), ("udp", socket.AF_INET), ("udp6", socket.AF_INET6),
    ):  # fmt: skip
        for fields in _lines(folder / name):
            if len(fields) > _INODE:
                found[int(fields[_INODE])] = f"{_address(fields[1], family)} -> {_address(fields[2], family)}"
    for fields in _lines(folder / "unix"):
        if len(fields) > _UNIX_INODE + 1:
            found[int(fields[_UNIX_INODE])] = printable(b" ".join(fields[_UNIX_INODE + 1 :]))
    return found


def _lines(path: Path) -> Iterator[list[bytes]]:
    try:
        with path.open("rb") as lines:
            next(lines, b"")  # the heading
            for line in lines:
                yield line.split()
    except OSError:
        return  # There is no IPv6, or /proc is not mounted: addresses are an extra.


def _address(text: bytes, family: socket.AddressFamily) -> str:
    host, _, port = text.decode("ascii").partition(":")
    words = [host[at : at + _WORD_DIGITS] for at in range(0, len(host), _WORD_DIGITS)]
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    name = socket.inet_ntop(family, packed)
    return f"[{name}]:{int(port, 16)}" if family == socket.AF_INET6 else f"{name}:{int(port, 16)}"
