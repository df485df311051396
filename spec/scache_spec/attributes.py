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

    WIRE-1  An attribute is its name, a NUL, its value and a NUL; an attribute list is its attributes in order, then one
    more NUL.

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

    WIRE-2  A NUL where a name would begin ends the list: no name is empty. A value may be.

    WIRE-3  Names and values hold any byte but NUL: no escapes, no character set, newlines and high bytes as they are.

    WIRE-4  How a list is cut into reads and writes has no meaning: whole, byte by byte and every way between are the
    same list, and bytes after its end belong to what comes next.

    WIRE-5  A list that never ends, because its client goes away first, has no effect.

    LIMIT-1  A list whose closing NUL is not among its first `attribute_list_bytes_max` bytes closes its client without
    a reply, whatever the list is for. [BEYOND]

    LIMIT-9  A list has at most `attributes_max` attributes. When one more begins, with the first byte of its name, the
    list closes its client without a reply, whatever the list is for. [BEYOND]

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

    WIRE-6  Attributes are matched in order. The first whose name is not the wanted one ends the match: it and all that
    is wanted after it are missing, even if they come later in the list. [OBSERVED]

    WIRE-7  Attributes after the last wanted one are ignored. [OBSERVED]
    """
    if len(attributes) < len(wanted):
        return None
    if any(name != want for (name, _), want in zip(attributes, wanted, strict=False)):
        return None
    return tuple(value for _, value in attributes[: len(wanted)])


_TTL: Final = re.compile(rb"[ \t\n\v\f\r]*\+?0*([0-9]{1,10})")


def parse_ttl(value: bytes) -> int | None:
    """Return the ttl in seconds that a request names, None if it names none.

    WIRE-8  A ttl is decimal: any white space of the C locale, at most one `+`, then digits to the end of the value;
    leading zeros do not make it octal. Anything else, nothing at all included, is not a ttl. [OBSERVED]

    WIRE-9  A ttl is at least 1 and at most 2147483647. [OBSERVED]

    WIRE-10  A value that only C's overflow would bring into that range, such as 4294967297 or -4294967291, is not a
    ttl: there is no minus and no wrapping. [BEYOND]
    """
    match = _TTL.fullmatch(value)
    if match is None:
        return None
    ttl_s = int(match[1])
    return ttl_s if 1 <= ttl_s <= TTL_S_MAX else None
