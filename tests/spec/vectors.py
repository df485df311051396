"""Byte vectors: the recorded traffic of real clients and a real server, and values that were tried by hand."""

import json
from dataclasses import dataclass
from pathlib import Path

RECORDING = Path(__file__).parents[1] / "data" / "smtp8-traffic.ndjson"
"""What smtp(8) processes and scache(8) of Postfix 3.7.11 said to each other while 30 messages went through."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One read or write of the recording, in the order in which the server saw it."""

    client: int
    from_client: bool
    data: bytes
    descriptor: bool


def recording() -> tuple[Recorded, ...]:
    lines = (json.loads(line) for line in RECORDING.read_text(encoding="utf-8").splitlines())
    return tuple(
        Recorded(line["client"], line["from"] == "client", line["bytes"].encode("latin-1"), "descriptor" in line)
        for line in lines
    )


TTLS_ACCEPTED: dict[bytes, int] = {
    b"5": 5,
    b" 5": 5,
    b"\t\n\v\f\r 5": 5,
    b"+5": 5,
    b" +5": 5,
    b"010": 10,
    b"+0010": 10,
    b"1": 1,
    b"2147483647": 2147483647,
    b"0" * 5000 + b"7": 7,
}

TTLS_REFUSED: tuple[bytes, ...] = (
    b"", b" ", b"+", b"0", b"+0", b"00", b"-1", b"-0", b"abc", b"5x", b"5 ", b"5\n", b"x5", b"0x10", b"5.0", b"1e3",
    b"++5", b"+ 5", b"+-5", b"1_0", b"1 0", b"\xa05", b"\xd9\xa5", b"2147483648", b"4294967295", b"9" * 20, b"9" * 5000,
)  # fmt: skip

TTLS_WRAPPING_IN_C: tuple[bytes, ...] = (b"4294967297", b"-4294967291", b"18446744073709551617")
