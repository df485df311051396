"""Attribute lists as bytes, with an encoder and a decoder of the suite's own, and the lists of the protocol.

A bug shared with the server under test would be invisible.
"""

from typing import Final

from scache_conformance.wire.transcript import show

Attribute = tuple[bytes, bytes]
Attributes = tuple[Attribute, ...]

DONE: Final = 0
MALFORMED: Final = 1
FAILED: Final = 2

GREETING: Final[Attributes] = ((b"protocol", b"connection_cache_protocol"),)
DUMMY: Final[Attributes] = ((b"dummy", b""),)


def encode(*attributes: Attribute) -> bytes:
    r"""Return the bytes of an attribute list.

    >>> encode((b"dummy", b""))
    b'dummy\x00\x00\x00'
    """
    return b"".join(b"%b\0%b\0" % attribute for attribute in attributes) + b"\0"


def decode(stream: bytes) -> tuple[Attributes, int] | None:
    r"""Return the first attribute list of a stream and how many bytes it took; None while its end is missing.

    >>> decode(b"status\0002\0\0rest")
    (((b'status', b'2'),), 10)
    """
    fields: list[bytes] = []
    at = 0
    while (nul := stream.find(b"\0", at)) >= 0:
        if nul == at and len(fields) % 2 == 0:
            return tuple(zip(fields[::2], fields[1::2], strict=True)), nul + 1
        fields.append(stream[at:nul])
        at = nul + 1
    return None


def describe(attributes: Attributes) -> str:
    """Show a list for people, without loss."""
    return " ".join(f"{show(name)}={show(value)}" for name, value in attributes) or "an empty list"


DUMMY_LIST: Final = encode(*DUMMY)
"""What says ready, and received."""


def request(name: bytes, *attributes: Attribute) -> bytes:
    """Return the bytes of a request."""
    return encode((b"request", name), *attributes)


def save_endp(ttl_s: int, endpoint: bytes, properties: bytes) -> bytes:
    """Return the request to park a descriptor, which follows the server's invitation."""
    return request(b"save_endp", (b"ttl", b"%d" % ttl_s), (b"label", endpoint), (b"property", properties))


def save_dest(ttl_s: int, destination: bytes, properties: bytes, endpoint: bytes) -> bytes:
    """Return the request to bind a destination to an endpoint."""
    ttl, label = (b"ttl", b"%d" % ttl_s), (b"label", destination)
    return request(b"save_dest", ttl, label, (b"property", properties), (b"label", endpoint))


def find_endp(endpoint: bytes) -> bytes:
    """Return the request for a session of an endpoint."""
    return request(b"find_endp", (b"label", endpoint))


def find_dest(destination: bytes) -> bytes:
    """Return the request for a session that a destination leads to."""
    return request(b"find_dest", (b"label", destination))
