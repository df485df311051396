"""Attribute lists and the bytes they travel as.

Where a list ends in a stream of bytes, which attributes a request finds in it, and what a number looks like. What an
attribute means is not known here: nothing can tell a request from a reply.

Sources: attr_scan0(3) and attr_print0(3); the grammar of numbers is that of "%u" in scanf(3), as attr_scan0 uses it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scache_spec.vocabulary import TTL_S_MAX, Attribute, Limit


def encode(attributes: Sequence[Attribute]) -> bytes:
    r"""Return the bytes of an attribute list.

    WIRE-1  An attribute is sent as its name, a NUL, its value and a NUL. An attribute list is sent as its attributes in
    order, then one more NUL.

    >>> encode([(b"status", b"0"), (b"property", b"")])
    b'status\x000\x00property\x00\x00\x00'
    """
    return b"".join(name + b"\0" + value + b"\0" for name, value in attributes) + b"\0"


@dataclass(frozen=True, slots=True)
class Decoded:
    """One attribute list taken from the front of a stream, and the bytes after it."""

    attributes: tuple[Attribute, ...]
    rest: bytes


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The stream does not hold the end of a list yet."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """No list that begins here can keep to this limit."""

    limit: Limit


def decode(stream: bytes, list_bytes_max: int, attributes_max: int) -> Decoded | Unfinished | TooLong:
    r"""Take one attribute list from the front of the bytes that came so far.

    WIRE-2  A NUL where a name would begin ends the attribute list. A name is never empty. A value may be empty.

    WIRE-3  Names and values may hold any byte but NUL. There is no escape sequence and no character set: newlines and
    bytes above 127 are sent as they are.

    WIRE-4  How an attribute list is divided into writes and reads has no meaning. A list that comes whole, byte by byte
    or in any other pieces is the same list. Bytes after the end of a list belong to what comes next.

    WIRE-5  An attribute list has no effect if its client goes away before the last byte of the list was sent.

    LIMIT-1  An attribute list is too long if its closing NUL is not among its first `attribute_list_bytes_max` bytes,
    whatever the list is for. A client that sends a list that is too long is disconnected without a reply. [BEYOND]

    LIMIT-9  An attribute list has at most `attributes_max` attributes, whatever the list is for. When one attribute
    more begins, with the first byte of its name, the client is disconnected without a reply. [BEYOND]

    >>> decode(b"dummy\0\0\0request\0sa", list_bytes_max=100, attributes_max=9)
    Decoded(attributes=((b'dummy', b''),), rest=b'request\x00sa')
    """
    attributes: list[Attribute] = []
    begin = 0
    while begin < min(len(stream), list_bytes_max):
        if stream[begin : begin + 1] == b"\0":
            return Decoded(tuple(attributes), stream[begin + 1 :])
        if len(attributes) == attributes_max:
            return TooLong(Limit.ATTRIBUTES)
        name_end = stream.find(b"\0", begin)
        value_end = stream.find(b"\0", name_end + 1) if name_end >= 0 else -1
        if value_end < 0:
            break
        attributes.append((stream[begin:name_end], stream[name_end + 1 : value_end]))
        begin = value_end + 1
    return Unfinished() if len(stream) < list_bytes_max else TooLong(Limit.ATTRIBUTE_LIST_BYTES)


def match_in_order(attributes: Sequence[Attribute], wanted: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """Return the values of the wanted attributes, None if one of them is missing.

    WIRE-6  The attributes of a request are compared in order with the attributes that the request wants (CONN-12). The
    first attribute with another name than the wanted one ends the comparison. That wanted attribute and all wanted
    attributes after it are then missing, even if they come later in the list. [OBSERVED]

    WIRE-7  Attributes after the last attribute that a request wants are ignored. [OBSERVED]
    """
    if len(attributes) < len(wanted):
        return None
    if any(name != want for (name, _), want in zip(attributes, wanted, strict=False)):
        return None
    return tuple(value for _, value in attributes[: len(wanted)])


_TTL: Final = re.compile(rb"[ \t\n\v\f\r]*\+?0*([0-9]{1,10})")


def parse_ttl(value: bytes) -> int | None:
    """Return the ttl in seconds that a request names, None if it names none.

    WIRE-8  The value of a ttl is any number of white-space bytes, then at most one `+`, then one or more decimal
    digits, then nothing. White space is the bytes 9 to 13 (tab, line feed, vertical tab, form feed, carriage return)
    and 32 (blank). Leading zeros change nothing: the number is never octal. Any other value, the empty value too, is
    not a ttl. [OBSERVED]

    WIRE-9  A ttl is a number from 1 to 2147483647. [OBSERVED]

    WIRE-10  A number counts as it is written, not as it would be after an overflow of a C integer: 4294967297 and
    -4294967291 are not ttls. A ttl has no minus sign. A Postfix server accepts some numbers that overflow into the
    range of WIRE-9. [BEYOND]
    """
    match = _TTL.fullmatch(value)
    if match is None:
        return None
    ttl_s = int(match[1])
    return ttl_s if 1 <= ttl_s <= TTL_S_MAX else None
