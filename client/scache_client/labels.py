r"""Labels and properties as a person types and reads them.

The escapes of the command line are `\n` `\t` `\r` `\\` and `\xNN`. Real labels contain newlines, which no shell makes
easy to type and which would forge lines when printed.
"""

import os
import re

_ESCAPE = re.compile(rb"\\(?:([ntr\\])|x([0-9A-Fa-f]{2})|)")
_MEANINGS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\"}
_SPELLINGS = {meaning[0]: (b"\\" + letter).decode() for letter, meaning in _MEANINGS.items()}


def typed(text: str) -> bytes:
    r"""Return the bytes that `text` stands for; ValueError for a backslash that begins no escape, or for a NUL."""
    data = _ESCAPE.sub(_meaning, os.fsencode(text))
    if b"\0" in data:
        raise ValueError(f"{text!r} has a NUL byte, which ends a value in the protocol: leave it out")
    return data


def printable(data: bytes) -> str:
    """Show bytes so that `typed` gives them back: printable ASCII as it is, everything else as an escape."""
    return "".join(_SPELLINGS.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in data)


def _meaning(escape: re.Match[bytes]) -> bytes:
    letter, hexadecimal = escape.groups()
    if letter is not None:
        return _MEANINGS[letter]
    if hexadecimal is not None:
        return bytes.fromhex(hexadecimal.decode())
    rest = escape.string[escape.start() : escape.start() + 4]
    raise ValueError(
        rf"{os.fsdecode(rest)!r} is not an escape; the escapes are \n \t \r \\ and \xNN (write \\ for a backslash)"
    )
