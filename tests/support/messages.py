"""What the tests write to a server and what they must read: the bytes, spelled out, and shared with no encoder."""

from typing import Final

GREETING: Final = b"protocol\0connection_cache_protocol\0\0"
DUMMY: Final = b"dummy\0\0\0"
"""The invitation to send a descriptor, and the client's "ready" and "received"."""
DONE: Final = b"status\x000\0\0"
MALFORMED: Final = b"status\x001\0\0"
FAILED: Final = b"status\x002\0\0"
MISSED: Final = b"status\x002\0property\0\0\0"
MISSED_DEST: Final = b"status\x002\0property\0\0property\0\0\0"


def save_endp(endpoint: bytes, properties: bytes = b"p", ttl: bytes = b"600") -> bytes:
    return b"request\0save_endp\0ttl\0%b\0label\0%b\0property\0%b\0\0" % (ttl, endpoint, properties)


def find_endp(endpoint: bytes) -> bytes:
    return b"request\0find_endp\0label\0%b\0\0" % endpoint


def save_dest(destination: bytes, properties: bytes, endpoint: bytes, ttl: bytes = b"600") -> bytes:
    pairs = ttl, destination, properties, endpoint
    return b"request\0save_dest\0ttl\0%b\0label\0%b\0property\0%b\0label\0%b\0\0" % pairs


def find_dest(destination: bytes) -> bytes:
    return b"request\0find_dest\0label\0%b\0\0" % destination


def found(*properties: bytes) -> bytes:
    return b"status\x000\0" + b"".join(b"property\0%b\0" % each for each in properties) + b"\0"
