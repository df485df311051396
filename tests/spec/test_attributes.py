"""WIRE and LIMIT-1: attribute lists, the numbers in them, and how they are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spec.vectors import TTLS_ACCEPTED, TTLS_REFUSED, TTLS_WRAPPING_IN_C, recording

from scache_spec.attributes import Decoded, TooLong, Unfinished, decode, encode, match_in_order, parse_ttl
from scache_spec.vocabulary import Attribute, Limit

LONG = 1_000_000
MANY = 100
TOO_LONG = TooLong(Limit.ATTRIBUTE_LIST_BYTES)

names = st.binary(min_size=1, max_size=5).map(lambda name: name.replace(b"\0", b"n"))
values = st.binary(max_size=5).map(lambda value: value.replace(b"\0", b"\n"))
lists = st.lists(st.tuples(names, values), max_size=4).map(tuple)

VECTORS = [
    *sorted({record.data for record in recording() if not record.descriptor}),
    b"\0",
    b"dummy\0\0\0",
    b"\0\0\0",
    b"a\0\0b\0\0\0",
    b"request\0find_endp\0label\0" + b"x" * 3000 + b"\0\0",
    encode(((b"\xff", b"\x01\n\xfe"),)),
]


def all_of(stream: bytes, list_bytes_max: int = LONG) -> tuple[list[tuple[Attribute, ...]], bytes]:
    """Decode every list of a stream; return them and the bytes left over."""
    found = []
    while isinstance(decoded := decode(stream, list_bytes_max, MANY), Decoded):
        found.append(decoded.attributes)
        stream = decoded.rest
    assert isinstance(decoded, Unfinished)
    return found, stream


def fed_in_pieces(pieces: list[bytes]) -> tuple[list[tuple[Attribute, ...]], bytes]:
    """Decode after each piece, as a server does that reads what has come so far."""
    found, rest = [], b""
    for piece in pieces:
        more, rest = all_of(rest + piece)
        found += more
    return found, rest


def test_WIRE_1_list_is_pairs_and_one_more_nul() -> None:
    assert encode(((b"a", b"1"), (b"b", b"2"))) == b"a\x001\0b\x002\0\0"
    assert encode(()) == b"\0"
    assert decode(b"a\x001\0b\x002\0\0", LONG, MANY) == Decoded(((b"a", b"1"), (b"b", b"2")), b"")


@given(lists, st.binary(max_size=5))
@settings(max_examples=100)
def test_WIRE_1_decoding_undoes_encoding(attributes: tuple[Attribute, ...], tail: bytes) -> None:
    assert decode(encode(attributes) + tail, LONG, MANY) == Decoded(attributes, tail)


def test_WIRE_2_empty_value_does_not_end_a_list() -> None:
    assert decode(b"a\0\0b\0\0\0", LONG, MANY) == Decoded(((b"a", b""), (b"b", b"")), b"")


def test_WIRE_2_empty_name_does() -> None:
    assert decode(b"\0a\x001\0\0", LONG, MANY) == Decoded((), b"a\x001\0\0")


def test_WIRE_3_any_byte_but_nul_may_stand_in_names_and_values() -> None:
    every = bytes(range(1, 256))
    assert decode(encode(((every, every[::-1]),)), LONG, MANY) == Decoded(((every, every[::-1]),), b"")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: repr(vector[:40]))
def test_WIRE_4_a_vector_is_the_same_however_it_is_cut(vector: bytes) -> None:
    whole = all_of(vector)
    assert whole[0]
    assert whole[1] == b""
    assert fed_in_pieces([vector[at : at + 1] for at in range(len(vector))]) == whole
    for at in range(0, len(vector) + 1, 1 + len(vector) // 1000):
        assert fed_in_pieces([vector[:at], vector[at:]]) == whole


@pytest.mark.parametrize("tail", [b"\0", b"request\0sa", b"dummy\0\0\0", b"x"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: repr(vector[:40]))
def test_WIRE_4_a_tail_belongs_to_what_comes_next(vector: bytes, tail: bytes) -> None:
    first = decode(vector, LONG, MANY)
    assert isinstance(first, Decoded)
    assert decode(vector + tail, LONG, MANY) == Decoded(first.attributes, first.rest + tail)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: repr(vector[:40]))
def test_WIRE_5_a_list_without_its_end_is_unfinished(vector: bytes) -> None:
    attributes = all_of(vector)[0][0]
    first = encode(attributes)
    for at in range(0, len(first), 1 + len(first) // 1000):
        assert decode(first[:at], LONG, MANY) == Unfinished()


WANTED = (b"ttl", b"label")


def test_WIRE_6_wanted_attributes_match_in_order() -> None:
    assert match_in_order(((b"ttl", b"1"), (b"label", b"x")), WANTED) == (b"1", b"x")


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        ((b"ttl", b"1"),),
        ((b"label", b"x"), (b"ttl", b"1")),
        ((b"other", b""), (b"ttl", b"1"), (b"label", b"x")),
        ((b"ttl", b"1"), (b"other", b""), (b"label", b"x")),
        ((b"TTL", b"1"), (b"label", b"x")),
    ],
)
def test_WIRE_6_another_name_ends_the_match(attributes: tuple[Attribute, ...]) -> None:
    assert match_in_order(attributes, WANTED) is None


def test_WIRE_7_attributes_after_the_last_wanted_are_ignored() -> None:
    assert match_in_order(((b"ttl", b"1"), (b"label", b"x"), (b"ttl", b"2")), WANTED) == (b"1", b"x")
    assert match_in_order(((b"anything", b"1"),), ()) == ()


@pytest.mark.parametrize(("value", "ttl_s"), TTLS_ACCEPTED.items(), ids=lambda value: repr(value)[:20])
def test_WIRE_8_ttl_is_decimal(value: bytes, ttl_s: int) -> None:
    assert parse_ttl(value) == ttl_s


@pytest.mark.parametrize("value", TTLS_REFUSED, ids=lambda value: repr(value)[:20])
def test_WIRE_8_anything_else_is_no_ttl(value: bytes) -> None:
    assert parse_ttl(value) is None


@pytest.mark.parametrize(("value", "ttl_s"), [(0, None), (1, 1), (2**31 - 1, 2**31 - 1), (2**31, None), (2**32, None)])
def test_WIRE_9_ttl_has_bounds(value: int, ttl_s: int | None) -> None:
    assert parse_ttl(b"%d" % value) == ttl_s


@pytest.mark.parametrize("value", TTLS_WRAPPING_IN_C)
def test_WIRE_10_ttl_does_not_wrap(value: bytes) -> None:
    assert parse_ttl(value) is None


@given(st.binary(max_size=12) | st.text("0123456789+- \n", max_size=12).map(str.encode))
@settings(max_examples=200)
def test_WIRE_8_any_value_is_a_ttl_or_none(value: bytes) -> None:
    ttl_s = parse_ttl(value)
    assert ttl_s is None or int(value) == ttl_s


@pytest.mark.parametrize("vector", [b"\0", b"a\0\0\0", b"label\0" + b"x" * 90 + b"\0\0"])
def test_LIMIT_1_a_list_of_exactly_the_limit_passes(vector: bytes) -> None:
    assert decode(vector, len(vector), MANY) == Decoded(all_of(vector)[0][0], b"")


@pytest.mark.parametrize("vector", [b"a\0\0\0", b"label\0" + b"x" * 90 + b"\0\0", b"x" * 70])
def test_LIMIT_1_one_byte_more_does_not_however_it_is_cut(vector: bytes) -> None:
    limit = len(vector) - 1
    for at in range(len(vector)):
        assert decode(vector[:at], limit, MANY) == (TOO_LONG if at >= limit else Unfinished())
    assert decode(vector, limit, MANY) == TOO_LONG
    assert decode(vector + b"\0\0\0", limit, MANY) == TOO_LONG


def test_LIMIT_1_is_about_each_list_not_the_stream() -> None:
    assert decode(b"a\0\0\0" * 9, 4, MANY) == Decoded(((b"a", b""),), b"a\0\0\0" * 8)


def test_LIMIT_9_list_of_exactly_so_many_attributes_passes() -> None:
    assert decode(b"a\0\0" * 3 + b"\0", LONG, 3) == Decoded(((b"a", b""),) * 3, b"")
    assert decode(b"a\0\0" * 3, LONG, 3) == Unfinished()


@pytest.mark.parametrize("more", [b"a", b"a\0", b"a\0\0", b"a\0\0\0", b"abc\0x\0\0rest"])
def test_LIMIT_9_one_more_attribute_does_not_from_its_first_byte_on(more: bytes) -> None:
    assert decode(b"a\0\0" * 3 + more, LONG, 3) == TooLong(Limit.ATTRIBUTES)


def test_LIMIT_9_is_about_each_list_not_the_stream() -> None:
    assert decode(b"a\0\0\0" * 9, LONG, 1) == Decoded(((b"a", b""),), b"a\0\0\0" * 8)


@pytest.mark.parametrize(("list_bytes_max", "limit"), [(4, Limit.ATTRIBUTES), (3, Limit.ATTRIBUTE_LIST_BYTES)])
def test_LIMIT_9_the_limit_that_is_hit_first_is_told_however_the_list_is_cut(list_bytes_max: int, limit: Limit) -> None:
    whole = b"a\0\0b\0\0\0"
    seen = (decode(whole[:at], list_bytes_max, 1) for at in range(len(whole) + 1))
    assert next(each for each in seen if not isinstance(each, Unfinished)) == TooLong(limit)
    assert decode(whole, list_bytes_max, 1) == TooLong(limit)


@given(st.binary(max_size=30), st.integers(1, 20), st.integers(1, 4))
@settings(max_examples=300)
def test_WIRE_4_limits_do_not_depend_on_how_a_list_is_cut(stream: bytes, bytes_max: int, attributes_max: int) -> None:
    met = [decode(stream[:at], bytes_max, attributes_max) for at in range(len(stream) + 1)]
    assert next((each for each in met if isinstance(each, TooLong)), met[-1]) == met[-1]


@given(st.binary(max_size=30), st.integers(1, 20))
@settings(max_examples=200)
def test_WIRE_4_any_bytes_decode_to_something_that_encodes_back(stream: bytes, limit: int) -> None:
    decoded = decode(stream, limit, MANY)
    if isinstance(decoded, Decoded):
        assert encode(decoded.attributes) + decoded.rest == stream
        assert len(stream) - len(decoded.rest) <= limit
