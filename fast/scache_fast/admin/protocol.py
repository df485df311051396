"""Lines of JSON on the admin socket: how they are read and written, on both sides of it.

A request is an object on a line of its own: `{"id": 1, "verb": "stats"}`. Each line of its answer is an object that
repeats `id`. Rows have `row`; the last line has `ok`, true or false, and with false `error` says why.

Labels and properties are bytes. In JSON each byte is the code point of its number, U+0000 to U+00FF: every byte goes
through unchanged, and whoever reads decides how to show it. Nothing here knows the verbs.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Final

VERSION: Final = 1
"""Of the protocol. It changes when an old reader would misread; new verbs and new keys do not change it."""

REQUEST_BYTES_MAX: Final = 524_288
"""Longest request. The longest label has 65 536 bytes and grows sixfold where every byte is escaped."""

_BARE_BYTES_MAX: Final = 4096
"""How many bytes of a request, without blanks, may be outside of its first strings. Arbitrary. Each may be a value, and
170 000 values take half a second to read."""

_STRINGS_MAX: Final = 256
"""How many strings at the beginning of a request are not counted as bytes of it. Arbitrary; a request has up to ten."""

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_BLANKS: Final = b" \t\r\n"

_DEPTH_MAX: Final = 16
"""How deep objects and arrays are nested at most. Arbitrary; the deepest answer has four levels."""

_DIGITS_MAX: Final = 300
"""Longest integer. Arbitrary: each is below the largest number that a float can be."""

_ID_CHARACTERS_MAX: Final = 200
_SHOWN_MAX: Final = 100
"""How much of a wrong value an error repeats. Arbitrary."""


class RequestError(Exception):
    """A request cannot be carried out; the text says why, for the answer."""


Request = Mapping[str, object]


def decode(line: bytes | bytearray) -> Request:
    """Return the object on a line; raises RequestError."""
    if len(line) > _BARE_BYTES_MAX and len(_bare(line)) > _BARE_BYTES_MAX:
        raise RequestError("not a request: it has too many values")
    try:
        found: object = json.loads(
            line.decode(), parse_constant=_refuse_constant, parse_float=_float, parse_int=_integer
        )
    except RecursionError:
        raise RequestError("not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise RequestError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise RequestError('not an object of JSON, as in {"verb": "stats"}')
    if _is_deep(found):
        raise RequestError(f"not JSON that can be read: it is nested more than {_DEPTH_MAX} levels deep")
    return found


def _bare(line: bytes | bytearray) -> bytes:
    """Return a line without its first strings and without blanks."""
    return _STRING.sub(b"", line, count=_STRINGS_MAX).translate(None, _BLANKS)


def _is_deep(found: dict[str, object]) -> bool:
    level: list[dict[str, object] | list[object]] = [found]
    for _ in range(_DEPTH_MAX):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def _float(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError(f"{text[:_SHOWN_MAX]} is beyond all numbers of 64 bits")
    return found


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"a number has {len(text)} digits, and {_DIGITS_MAX} at most are read")
    return int(text)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def encode(content: Mapping[str, object]) -> bytes:
    """Return a line. It is ASCII: no control character and no byte above 127 is in it but the newline at its end."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def id_of(request: Request) -> str | int | None:
    """Return the id of a request, None if it has none; raises RequestError for what cannot be one."""
    found = request.get("id")
    if found is None or (isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63):
        return found
    if isinstance(found, str) and len(found) <= _ID_CHARACTERS_MAX:
        return found
    raise RequestError(f"id is neither an integer of 64 bits nor a string of up to {_ID_CHARACTERS_MAX} characters")


def text_of(data: bytes) -> str:
    """Return bytes as text: one code point for each byte."""
    return data.decode("latin-1")


def bytes_of(text: str) -> bytes:
    """Return the bytes that a text stands for; raises RequestError if a code point is above U+00FF."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise RequestError(f"{text[:_SHOWN_MAX]!r} has code points above U+00FF: each stands for one byte") from None


def text_in(request: Request, name: str) -> str | None:
    """Return a string of a request, None if it is not there; raises RequestError, also for null."""
    if name not in request:
        return None
    found = request[name]
    if isinstance(found, str):
        return found
    raise RequestError(f"{name} is not a string: {shown(found)}")


def flag_in(request: Request, name: str) -> bool:
    """Return a boolean of a request, False if it is not there; raises RequestError."""
    found = request.get(name, False)
    if isinstance(found, bool):
        return found
    raise RequestError(f"{name} is neither true nor false: {shown(found)}")


def only(request: Request, *names: str) -> None:
    """See that a request has no other keys than these and those of every request; raises RequestError.

    A misspelled `label` would otherwise make a request about everything.
    """
    unknown = sorted(request.keys() - {"id", "v", "verb", *names})
    if unknown:
        raise RequestError(f"unknown key {unknown[0][:_SHOWN_MAX]!r}: there are {', '.join(names)}")


def shown(value: object) -> str:
    """Return the beginning of a wrong value, for an error."""
    return str(value)[:_SHOWN_MAX]
