"""Attribute lists: bytes to fields, fields to bytes, and the number that a ttl spells.

Nothing here knows what an attribute means, and nothing here touches a socket.

A list is `name NUL value NUL` pairs and one more NUL. Here it becomes a flat list of fields, `[name, value, name,
value]`: a request is then matched by comparing one slice of names, whatever follows the last wanted name.

There are two decoders. The tests check that both give the same result on every cut of every vector:

* `whole_list` is for bytes that are exactly one list, as nearly every read is. It takes one split and one comparison.
* `Decoder` is for everything else. It never searches a byte for a NUL twice, so a list that comes in 65 536 reads of
  one byte costs no more than 65 536 short reads.
"""

import re
from typing import Final

from scache_spec.vocabulary import TTL_S_MAX, Limit

_NUL: Final = b"\0"

_TTL: Final = re.compile(rb"[ \t\n\v\f\r]*\+?0*([0-9]{1,10})")
"""What C's sscanf("%u") takes without wrapping: ten digits hold TTL_S_MAX; int() never sees a longer number."""


def encode(*fields: bytes) -> bytes:
    """Return the bytes of one list, given its names and values in turn."""
    return _NUL.join(fields) + b"\0\0" if fields else _NUL  # WIRE-1


ATTRIBUTES_AT_ONCE_MAX: Final = 32
"""How many attributes `whole_list` may be asked for: its twin in C has room for so many. Real requests have five."""


def whole_list(data: bytes, attributes_max: int) -> list[bytes] | None:
    """Return the fields of the list that data is, or None when data is anything but exactly one whole list.

    None also for a list of more attributes than `attributes_max`, which is at most `ATTRIBUTES_AT_ONCE_MAX`: `Decoder`
    takes it, or says where it breaks the limit.
    """
    fields = data.split(_NUL, 2 * attributes_max + 2)
    # The closing NUL leaves an empty last name and, behind it, the empty rest; names and values come in pairs.
    if len(fields) & 1 or fields.pop() or fields.pop() or b"" in fields[::2]:  # WIRE-2
        return None
    return fields


def parse_ttl(value: bytes) -> int | None:
    """Return the seconds that a ttl spells, 1 to TTL_S_MAX, or None when it is malformed."""
    # WIRE-8
    if len(value) < 10 and value.isdigit():  # the cheap way, for what everybody sends
        return int(value) or None  # WIRE-9
    match = _TTL.fullmatch(value)
    if match is None:  # WIRE-8, WIRE-10
        return None
    ttl_s = int(match[1])
    return ttl_s if 0 < ttl_s <= TTL_S_MAX else None  # WIRE-9, WIRE-10


class Decoder:
    """Cuts the bytes of one client into lists, as they come. What is not a whole list yet costs its bytes, no more.

    Guarantees: which lists come out, and which limit is `met`, depends on the bytes alone, never on how they were cut
    into `feed`s. A list of exactly `bytes_max` bytes, its closing NUL included, and one of exactly `attributes_max`
    attributes come out.
    """

    __slots__ = ("_attributes", "_attributes_max", "_bytes_max", "_data", "_field", "_is_value", "_searched", "met")

    def __init__(self, bytes_max: int, attributes_max: int) -> None:
        self._bytes_max = bytes_max
        self._attributes_max = attributes_max
        self._data = bytearray()  # from the first byte of the current list on
        self._field = 0  # where the first unfinished field begins
        self._is_value = False  # whether that field is a value
        self._searched = 0  # no NUL is in the unfinished field before
        self._attributes = 0  # how many attributes of the current list are whole
        self.met: Limit | None = None
        """The limit that the current list breaks: nothing more will come out."""

    @property
    def is_empty(self) -> bool:
        """Say whether every byte that was fed has been handed out."""
        return not self._data

    @property
    def unserved(self) -> bytes:
        """Return the bytes that were fed and not handed out."""
        return bytes(self._data)

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        self._data += data  # WIRE-4

    def next_list(self) -> list[bytes] | None:
        """Return the fields of the next whole list, or None when none is there yet (or a limit is met)."""
        data = self._data
        while self.met is None:
            start = self._field
            if start >= self._bytes_max:  # LIMIT-1
                self.met = Limit.ATTRIBUTE_LIST_BYTES
            elif not self._is_value and data[start : start + 1] == _NUL:  # WIRE-2
                return self._finish(start)
            elif start < len(data) and self._attributes >= self._attributes_max:  # LIMIT-9
                self.met = Limit.ATTRIBUTES
            else:
                end = data.find(_NUL, self._searched)  # WIRE-3
                if end < 0:  # WIRE-5
                    self._searched = len(data)
                    if len(data) >= self._bytes_max:  # LIMIT-1
                        self.met = Limit.ATTRIBUTE_LIST_BYTES
                    return None
                self._attributes += self._is_value
                self._is_value = not self._is_value
                self._field = self._searched = end + 1
        return None

    def skip_byte(self) -> bool:
        """Drop the first byte after the last list; False: it has not been read yet."""
        if not self._data:
            return False
        del self._data[0]  # FD-12
        return True

    def _finish(self, end: int) -> list[bytes]:
        done = bytes(self._data[:end]).split(_NUL)
        done.pop()
        del self._data[: end + 1]
        self._field = self._searched = self._attributes = 0
        return done
