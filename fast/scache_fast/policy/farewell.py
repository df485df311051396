"""The last bytes that are sent on a connection before it is closed unused.

The manual of Postfix's scache(8) lists this as a bug: a connection expires without the closing handshake of its
protocol. Such bytes can be sent only on a connection without TLS, because the cache has no keys. The operator's pattern
says which connections these are.
"""

import re
import socket
from fnmatch import translate
from typing import Final, NamedTuple

_ESCAPES: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt0\\]|.|$)", re.DOTALL)


class Farewell(NamedTuple):
    """The last bytes for connections whose endpoint label matches."""

    label: re.Pattern[bytes]
    data: bytes
    text: str
    """As it was given."""


def parse_farewell(text: str) -> Farewell:
    r"""Read `PATTERN=BYTES`: a pattern with shell wildcards, \r \n \t \0 \\ \xNN in both; raises ValueError."""
    pattern, equals, data = text.partition("=")
    if not equals or not pattern or not data:
        raise ValueError(rf"{text!r} is not a farewell: write PATTERN=BYTES, as in 'smtp*=QUIT\r\n'")
    label = translate(_unescape(pattern).decode("latin-1"))
    return Farewell(re.compile(label.encode("latin-1")), _unescape(data), text)


def _unescape(text: str) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        if escape.startswith(b"x") and len(escape) == 3:
            return bytes([int(escape[1:], 16)])
        if escape not in _ESCAPES:
            raise ValueError(rf"{text!r} holds a \ that begins no escape: there are \r \n \t \0 \\ and \xNN")
        return _ESCAPES[escape]

    return _ESCAPE.sub(plain, text.encode())


class Farewells:
    """Sends farewells. The first pattern that matches gives the bytes."""

    def __init__(self, farewells: tuple[Farewell, ...]) -> None:
        self._farewells = farewells

    def say(self, descriptor: int, endpoint: bytes) -> None:
        """Send the last bytes on a connection of an endpoint, as far as its socket takes them at once."""
        for farewell in self._farewells:
            if farewell.label.fullmatch(endpoint):
                _send(descriptor, farewell.data)
                return


def _send(descriptor: int, data: bytes) -> None:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        return  # ENOTSOCK: a pipe or a file may be parked too; writing to one could block.
    try:
        # A per-call flag: the parked descriptor itself may be blocking, and is not ours to change.
        sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        pass  # What a foreign file says is no news about this program: the connection is closed all the same.
    finally:
        sock.detach()
