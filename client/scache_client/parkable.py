"""What can be parked, and the caller's copy of it.

A finder gets the descriptor and the properties, and nothing else of the parking process: whatever the parking process
knows besides (TLS keys, bytes that a transport has already read) is lost. What depends on that is refused here, before
a byte is sent.
"""

import errno
import os
import ssl
from asyncio.trsock import TransportSocket
from socket import socket
from typing import Final

INT_MAX: Final = 2**31 - 1
"""The largest number that can be a descriptor; of a larger one os.fstat says OverflowError."""


def descriptor_of(connection: object) -> int:
    """Return the descriptor of a connection to park.

    TypeError for what cannot be parked, ValueError for what is closed, OSError for a number that is no open descriptor.
    """
    match connection:
        case bool():
            raise TypeError(f"{connection} is not a connection; park a socket, or the number of a descriptor")
        case int():
            fd = connection
        case ssl.SSLSocket():
            raise TypeError(
                "a TLS connection cannot be parked: its keys stay in this process, and the next program would write "
                "plain text into it; park a plain-text connection to a local TLS proxy instead"
            )
        case socket():
            fd = connection.fileno()
        case TransportSocket():
            raise TypeError(
                "this socket belongs to an asyncio transport, which continues to read it; park a socket that no "
                "transport uses (loop.sock_connect, loop.sock_recv, loop.sock_sendall)"
            )
        case _:
            raise TypeError(f"{connection!r} is not a connection; park a socket, or the number of a descriptor")
    if fd < 0:
        raise ValueError(f"{connection!r} is closed; park an open connection")
    if fd > INT_MAX:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    os.fstat(fd)
    return fd


def close_copy(connection: socket | int) -> None:
    """Close the caller's copy of a connection that the server has."""
    if isinstance(connection, int):
        os.close(connection)
    else:
        connection.close()
