"""Bytes that clients write: the lists of the protocol, and lists that are not quite.

Decides no more than spelling.
"""

from typing import Final

from scache_spec.attributes import encode
from scache_spec.vocabulary import DUMMY, FIND_DEST, FIND_ENDP, LABEL, PROPERTY, REQUEST, SAVE_DEST, SAVE_ENDP, TTL

DUMMY_LIST: Final = encode(((DUMMY, b""),))


def save_endp(ttl: bytes, endpoint: bytes, properties: bytes) -> bytes:
    return encode(((REQUEST, SAVE_ENDP), (TTL, ttl), (LABEL, endpoint), (PROPERTY, properties)))


def save_dest(ttl: bytes, destination: bytes, properties: bytes, endpoint: bytes) -> bytes:
    pairs = ((TTL, ttl), (LABEL, destination), (PROPERTY, properties), (LABEL, endpoint))
    return encode(((REQUEST, SAVE_DEST), *pairs))


def find_endp(endpoint: bytes) -> bytes:
    return encode(((REQUEST, FIND_ENDP), (LABEL, endpoint)))


def find_dest(destination: bytes) -> bytes:
    return encode(((REQUEST, FIND_DEST), (LABEL, destination)))


TTLS: Final = (b"1", b"2", b"3", b"2147483647", b" +02")
"""What a ttl may look like; with a limit of 2 s or 3 s some are above it."""

NOT_READY: Final = (b"\0", b"ready\0\0\0", b"request\0find_endp\0label\0e\0\0", b"x\0\0dummy\0\0\0")
"""Lists that do not say that a client is ready."""

READY: Final = (DUMMY_LIST, b"dummy\0yes\0\0", b"dummy\0\0request\0find_endp\0\0")
"""Lists that do."""

MALFORMED: Final = (
    save_endp(b"0", b"e", b"p"),
    save_endp(b"-1", b"e", b"p"),
    save_endp(b"4294967297", b"e", b"p"),
    save_endp(b"5 ", b"e", b"p"),
    save_endp(b"2147483648", b"e", b"p"),
    save_dest(b"", b"d", b"p", b"e"),
    save_dest(b"0x10", b"d", b"p", b"e"),
    encode(((REQUEST, SAVE_ENDP), (LABEL, b"e"), (TTL, b"1"), (PROPERTY, b"p"))),
    encode(((REQUEST, SAVE_ENDP), (TTL, b"1"), (LABEL, b"e"))),
    encode(((REQUEST, SAVE_DEST), (TTL, b"1"), (LABEL, b"d"), (PROPERTY, b"p"))),
    encode(((REQUEST, FIND_ENDP),)),
    encode(((REQUEST, FIND_DEST), (PROPERTY, b"d"))),
    encode(((REQUEST, FIND_DEST), (b"x", b""), (LABEL, b"d"))),
    encode(((REQUEST, b"find_it"), (LABEL, b"d"))),
    encode(((REQUEST, b""),)),
)
"""Requests that are answered with status 1."""

SWALLOWED: Final = (b"\0", DUMMY_LIST, encode(((b"status", b"0"),)), encode(((LABEL, b"d"), (REQUEST, FIND_DEST))))
"""Lists that are not answered."""

WITH_EXTRAS: Final = (b"x\0y\0\0", b"label\0other\0\0")
"""What may replace the closing NUL of a request: attributes that nobody asked for, and a closing NUL."""
