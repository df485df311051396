"""Attribute lists: bytes to fields, fields to bytes, and the number that a ttl spells.

Decides where a list ends, however its bytes were cut into reads, and when it has become too long to go on with.
Refuses to know what the attributes mean, and touches no socket.

A list is `name NUL value NUL` pairs and one more NUL. Here it is a flat list of fields, `[name, value, name, value]`:
a request is then matched by comparing one slice of names, whatever follows the last of them.

There are two ways in, and the tests hold them equal on every cut of every vector:

* `whole_list` for bytes that are exactly one list, as nearly every read is: one split, one look at the names.
* `Decoder` for everything else. It looks at each byte once: 65 536 reads of one byte cost as much as they must and
  no more, because finished fields are never searched again and the unfinished one only grows.
"""

import re
from typing import Final

from scache_spec.vocabulary import TTL_S_MAX

_NUL: Final = b"\0"

_TTL: Final = re.compile(rb"[ \t\n\v\f\r]*\+?0*([0-9]{1,10})")
"""What C's sscanf("%u") takes without wrapping: ten digits hold TTL_S_MAX; int() never sees a longer number."""


def encode(*fields: bytes) -> bytes:
    """Return the bytes of one list, given its names and values in turn."""
    return _NUL.join(fields) + b"\0\0" if fields else _NUL  # WIRE-1


def whole_list(data: bytes) -> list[bytes] | None:
    """Return the fields of the list that data is, or None when data is anything but exactly one whole list."""
    fields = data.split(_NUL)  # WIRE-3
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
    """Cuts the bytes of one client into lists, as they come.

    Guarantees: which lists come out, and whether `overlong` is set, depends on the bytes alone, never on how they
    were cut into `feed`s. A list of exactly `bytes_max` bytes, its closing NUL included, comes out.
    """

    __slots__ = ("_bytes_max", "_fields", "_list_bytes", "_scanned", "_start", "_tail", "overlong")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._fields: list[bytes] = []  # finished fields, those of handed-out lists included until the next feed
        self._start = 0  # index of the first field of the current list
        self._scanned = 0  # index of the first name that was not looked at
        self._list_bytes = 0  # length of the current list up to there
        self._tail = bytearray()  # the unfinished field
        self.overlong = False
        """The current list cannot end in time: nothing more will come out."""

    @property
    def is_empty(self) -> bool:
        """Say whether every byte that was fed has been handed out."""
        return self._start == len(self._fields) and not self._tail

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        if self._start:
            del self._fields[: self._start]
            self._scanned -= self._start
            self._start = 0
        finished = data.split(_NUL)  # WIRE-3
        tail = finished.pop()
        if finished:
            finished[0] = bytes(self._tail) + finished[0]  # WIRE-4
            self._fields += finished
            self._tail.clear()
        self._tail += tail  # WIRE-4

    def next_list(self) -> list[bytes] | None:
        """Return the fields of the next whole list, or None when none is there yet (or `overlong` is set)."""
        fields = self._fields
        count = len(fields)
        while self._scanned < count and not self.overlong:
            name = fields[self._scanned]
            if not name:  # WIRE-2
                return self._finish()
            if self._scanned + 1 == count:  # WIRE-5
                break
            self._list_bytes += len(name) + len(fields[self._scanned + 1]) + 2
            self._scanned += 2
        unfinished = len(self._tail) + (len(fields[self._scanned]) + 1 if self._scanned < count else 0)
        self.overlong = self._list_bytes + unfinished >= self._bytes_max  # LIMIT-1
        return None

    def skip_byte(self) -> bool:
        """Drop the first byte after the last list; False: it has not been read yet."""
        if self._start < len(self._fields):
            first = self._fields[self._start]
            if first:
                self._fields[self._start] = first[1:]  # FD-12
            else:
                self._start += 1
                self._scanned = self._start
            return True
        if self._tail:
            del self._tail[0]  # FD-12
            return True
        return False

    def _finish(self) -> list[bytes] | None:
        if self._list_bytes >= self._bytes_max:  # LIMIT-1
            self.overlong = True
            return None
        done = self._fields[self._start : self._scanned]
        self._scanned += 1
        self._start = self._scanned
        self._list_bytes = 0
        return done
