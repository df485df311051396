"""Attribute lists as a client writes and reads them: `name NUL value NUL` pairs, then one more NUL."""

from typing import Final

from scache_client.errors import ProtocolError
from scache_spec.vocabulary import Attribute

REPLY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Longest reply that is read. Arbitrary: replies of 300 kB have been seen to pass, and memory must have an end."""

_SHOWN_BYTES_MAX: Final = 60
"""How much of a peer's bytes an error message shows. Arbitrary: it fits a line."""


def encode(attributes: tuple[Attribute, ...]) -> bytes:
    """Write one attribute list; ValueError for a NUL in a value, TypeError for anything that is not bytes."""
    for name, value in attributes:
        if not isinstance(value, bytes):
            raise TypeError(f"{name.decode()} is {value!r}; labels and properties are bytes: encode it first")
        if b"\0" in value:
            raise ValueError(
                f"{name.decode()} {shown(value)} has a NUL byte at {value.index(0)}, which ends a value: leave it out"
            )
    return b"".join(b"%b\0%b\0" % attribute for attribute in attributes) + b"\0"


def shown(data: bytes) -> str:
    """Show a peer's bytes in a message: escaped, so that they cannot forge a line, and cut to fit one."""
    if len(data) <= _SHOWN_BYTES_MAX:
        return repr(data)
    return f"{data[:_SHOWN_BYTES_MAX]!r}… ({len(data)} bytes)"


class Decoder:
    """Collect one attribute list out of pieces of any size.

    Each byte is looked at once: a long list that comes byte by byte costs no more than one that comes whole.
    """

    __slots__ = ("_buffer", "_end", "_name", "_searched", "_start", "attributes")

    def __init__(self) -> None:
        self.attributes: tuple[Attribute, ...] = ()
        self._buffer = bytearray()
        self._start = 0  # of the name or value that is not complete yet
        self._searched = 0  # up to here there is no NUL after _start
        self._name: bytes | None = None
        self._end: int | None = None

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; say whether the list is complete. ProtocolError for a list without an end."""
        self._buffer += data
        attributes: list[Attribute] = []
        while self._end is None and (nul := self._buffer.find(0, self._searched)) >= 0:
            word = bytes(self._buffer[self._start : nul])
            self._start = self._searched = nul + 1
            if self._name is not None:
                attributes.append((self._name, word))
                self._name = None
            elif word:
                self._name = word
            else:
                self._end = self._start
        self.attributes += tuple(attributes)
        if self._end is not None:
            return True
        self._searched = len(self._buffer)
        if self._searched > REPLY_BYTES_MAX:
            raise ProtocolError(
                f"{self._searched} bytes and no end of the attribute list; the longest that is read is "
                f"{REPLY_BYTES_MAX}: is this socket a connection cache?"
            )
        return False

    @property
    def tail(self) -> bytes:
        """What came after the end of the list."""
        return bytes(self._buffer[self._end :]) if self._end is not None else b""
