"""A server that says what a test tells it to say, whatever it is told.

Decides nothing: each connection gets the same bytes and descriptors, what arrives is kept.
"""

import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

GREETING = b"protocol\0connection_cache_protocol\0\0"


@contextmanager
def scripted(folder: Path, *said: tuple[bytes, Sequence[int]], keep_open: bool = True) -> Iterator[Path]:
    """Serve one client after the other: say all this, each in a write of its own, then hang up or wait for its end."""
    path = folder / "scripted"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_serve, args=[listener, said, keep_open], daemon=True)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _wait_until_taken(client: socket.socket) -> None:
    """Wait until the other side has read all: the kernel may glue what is written next to what was not read yet."""
    deadline_s = time.monotonic() + 5
    while struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0] and time.monotonic() < deadline_s:
        time.sleep(0.000_5)


def _serve(listener: socket.socket, said: tuple[tuple[bytes, Sequence[int]], ...], keep_open: bool) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # the listener was shut down: EINVAL
            return
        with client:
            for data, fds in said:
                _wait_until_taken(client)
                if fds:
                    socket.send_fds(client, [data], fds)
                else:
                    client.sendall(data)
            while keep_open and client.recv(65_536):
                pass
