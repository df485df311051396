"""The decoder: both ways in, on every cut of every vector."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.support.messages import find_endp, save_dest, save_endp

from scache_fast.engine.attributes import Decoder, encode, parse_ttl, whole_list

TRAFFIC = Path(__file__).parents[1] / "data/smtp8-traffic.ndjson"
ENOUGH = 1 << 20

VECTORS = [
    b"\0",
    b"\0\0\0",
    b"dummy\0\0\0",
    b"dummy\0anything\0\0",
    b"dummy\0\0\0request\0save_dest\0\0",
    b"a\0\0\0",
    b"a\0\0b\0\0\0",
    b"a\0\0b\0\0\0\0c\0d\0\0",
    save_endp(b"smtp\n127.0.0.1\n2600\n0\n", b"tls_level=0\nreuse_count=2\n\n"),
    save_dest(b"", b"", b""),
    find_endp(b"\xff\x01\n\r") + find_endp(b"") + b"\0" + find_endp(b"x"),
    b"request\0unknown\0\0",
    b"unfinished",
    b"a\0unfinished",
    b"a\0b\0",
    b"a\0b\0\0tail",
]


def traffic() -> list[bytes]:
    records = [json.loads(line) for line in TRAFFIC.read_text(encoding="utf-8").splitlines()]
    seen = {r["bytes"].encode("latin-1") for r in records if r["from"] == "client" and "descriptor" not in r}
    return sorted(seen)


def decode(
    pieces: Iterable[bytes], bytes_max: int = ENOUGH, attributes_max: int = ENOUGH
) -> tuple[list[list[bytes]], bool, bool]:
    """Return the lists, whether everything was handed out, and whether the last list was too long."""
    decoder = Decoder(bytes_max, attributes_max)
    lists = []
    for piece in pieces:
        decoder.feed(piece)
        while (fields := decoder.next_list()) is not None:
            lists.append(fields)
    return lists, decoder.is_empty, decoder.met is not None


def plainly(data: bytes) -> list[list[bytes]]:
    """Decode the slow way, as the format reads: nothing here is shared with the decoder."""
    lists: list[list[bytes]] = []
    fields: list[bytes] = []
    while b"\0" in data:
        field, data = data.split(b"\0", 1)
        if not field and len(fields) % 2 == 0:
            lists.append(fields)
            fields = []
        else:
            fields = [*fields, field]
    return lists


@pytest.mark.parametrize("data", [*VECTORS, *traffic()], ids=range(len(VECTORS) + len(traffic())))
def test_WIRE_3_WIRE_4_cuts_have_no_meaning(data: bytes) -> None:
    whole = decode([data])
    assert whole[0] == plainly(data)
    assert decode(data[i : i + 1] for i in range(len(data))) == whole
    for cut in range(len(data) + 1):
        assert decode([data[:cut], data[cut:]]) == whole
    for tail in (b"\0", b"x", b"x\0y\0\0"):
        assert decode([data, tail]) == decode([data + tail])


@pytest.mark.parametrize("data", [*VECTORS, *traffic()], ids=range(len(VECTORS) + len(traffic())))
def test_WIRE_1_WIRE_2_cheap_way_takes_exactly_the_single_whole_lists(data: bytes) -> None:
    for end in range(len(data) + 1):
        lists, is_empty, _ = decode([data[:end]])
        single = lists[0] if len(lists) == 1 and is_empty else None
        assert whole_list(data[:end], ENOUGH) == single


def test_WIRE_2_empty_name_ends_the_list_but_an_empty_value_does_not() -> None:
    assert whole_list(b"a\0\0b\0\0\0", ENOUGH) == [b"a", b"", b"b", b""]
    assert decode([b"a\0\0\0b\0\0\0"])[0] == [[b"a", b""], [b"b", b""]]


def test_WIRE_5_nothing_comes_out_before_the_last_byte() -> None:
    whole = save_dest(b"d", b"p", b"e")
    assert [decode([whole[:end]])[0] for end in range(len(whole))] == [[]] * len(whole)


@pytest.mark.parametrize("data", [b"a\0b\0\0", b"\0", b"a\0\0b\0\0\0", b"\0a\0bb\0\0", b"a\0b\0\0" * 3])
@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_LIMIT_1_length_is_judged_by_bytes_alone(data: bytes, step: int) -> None:
    longest = max(len(encode(*fields)) for fields in plainly(data))
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    assert decode(pieces, longest) == (plainly(data), True, False)
    if longest > 1:
        lists, _, overlong = decode(pieces, longest - 1)
        assert overlong
        assert lists == [fields for fields in plainly(data) if len(encode(*fields)) < longest][: len(lists)]


@pytest.mark.parametrize("data", [b"x" * 9, b"n\0" + b"x" * 7, b"n\0v\0n\0v\0n", b"n\0v\0longer\0"])
def test_LIMIT_1_unfinished_list_is_too_long_when_its_last_byte_cannot_be_its_end(data: bytes) -> None:
    assert decode([data], len(data))[2]
    assert not decode([data], len(data) + 1)[2]
    assert decode((data[i : i + 1] for i in range(len(data))), len(data))[2]


def test_overlong_stays_so() -> None:
    decoder = Decoder(4, ENOUGH)
    decoder.feed(b"aaaa")
    assert decoder.next_list() is None
    assert decoder.met is not None
    decoder.feed(b"\0\0\0a\0\0\0")
    assert decoder.next_list() is None
    assert decoder.met is not None


@pytest.mark.parametrize("rest", [b"\0\0", b"xa\0b\0\0", b"x", b"\0a\0b\0\0", b"xx"])
@pytest.mark.parametrize("read_at_once", [True, False])
def test_FD_12_byte_behind_a_list_can_be_dropped(rest: bytes, read_at_once: bool) -> None:
    decoder = Decoder(ENOUGH, ENOUGH)
    decoder.feed(b"l\0\0\0" + rest if read_at_once else b"l\0\0\0")
    assert decoder.next_list() == [b"l", b""]
    if not read_at_once:
        assert not decoder.skip_byte()
        decoder.feed(rest)
    assert decoder.skip_byte()
    lists = []
    while (fields := decoder.next_list()) is not None:
        lists.append(fields)
    assert lists == plainly(rest[1:])


def test_list_of_many_single_bytes_is_looked_at_once() -> None:
    """65 536 reads of one byte: a decoder that starts over with each would look at two thousand million bytes."""
    data = b"name\0" + b"v" * 65_000 + b"\0\0"
    decoder = Decoder(65_536, ENOUGH)
    for i in range(len(data)):
        assert decoder._searched == i
        decoder.feed(data[i : i + 1])
        fields = decoder.next_list()
        assert (fields is None) == (i + 1 < len(data))


def test_WIRE_8_WIRE_9_WIRE_10_ttl() -> None:
    good = {
        b"5": 5, b" 5": 5, b"\t\n\v\f\r 5": 5, b"+5": 5, b" +5": 5, b"010": 10, b"1": 1, b"+1": 1,
        b"2147483647": 2147483647, b"0" * 5000 + b"7": 7, b"+" + b"0" * 5000 + b"2147483647": 2147483647,
    }  # fmt: skip
    assert {value: parse_ttl(value) for value in good} == good
    bad = [
        b"", b" ", b"+", b"0", b"+0", b"-0", b"-1", b"+-1", b"++1", b"+ 1", b"abc", b"5x", b"5 ", b"5\n", b"0x10",
        b"5.0", b"2147483648", b"4294967295", b"4294967297", b"-4294967291", b"9" * 5000, b"\xb2", "\u0665".encode(),
        b"1_0", b"\x1c5", b"\xa05", b"00000000000",
    ]  # fmt: skip
    assert [value for value in bad if parse_ttl(value) is not None] == []


def test_WIRE_1_encode() -> None:
    assert encode() == b"\0"
    assert encode(b"a", b"") == b"a\0\0\0"
    assert encode(b"a", b"b", b"c", b"d") == b"a\0b\0c\0d\0\0"
