"""The bytes of a takeover: what is written is read equal, and anything else is refused with a reason."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scache_fast.engine.table import Session, Table
from scache_fast.takeover import snapshot
from scache_fast.takeover.snapshot import HEADER_BYTES, Bound, Connected, Kind, Listener, Parked, SnapshotError
from scache_spec.vocabulary import Limits

NUMBERS = st.integers(-(2**63), 2**63 - 1)
INSTANTS = st.integers(0, 2**63 - 1)
TEXTS = st.binary(max_size=50)
PARKED = st.builds(Parked, TEXTS, TEXTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, INSTANTS)
BOUND = st.builds(Bound, TEXTS, TEXTS, TEXTS, NUMBERS, INSTANTS)
CONNECTED = st.builds(Connected, NUMBERS, NUMBERS, st.sampled_from([0, 1, 4]), NUMBERS, st.booleans(), NUMBERS, TEXTS,
                      TEXTS, TEXTS, TEXTS)  # fmt: skip
STATES = frozenset({0, 1, 4})

DECODERS: dict[str, Callable[[bytes], object]] = {
    "listeners": snapshot.decode_listeners,
    "sessions": snapshot.decode_sessions,
    "bindings": snapshot.decode_bindings,
    "clients": lambda payload: snapshot.decode_clients(payload, STATES),
    "counts": snapshot.decode_counts,
}


def session(parked: Parked) -> Session:
    return Session(parked.endpoint, parked.properties, 9, *parked[2:])


@given(st.lists(PARKED, max_size=20))
def test_sessions_are_read_as_they_were_written(rows: list[Parked]) -> None:
    assert snapshot.decode_sessions(snapshot.encode_sessions([session(each) for each in rows])) == rows


@given(st.lists(BOUND, max_size=20))
def test_bindings_are_read_as_they_were_written(rows: list[Bound]) -> None:
    table = Table(Limits())
    rows = list({(each.destination, each.endpoint, each.properties): each for each in rows}.values())
    for each in rows:
        table.adopt_binding(*each)
    read = snapshot.decode_bindings(snapshot.encode_bindings(table.bound()))
    assert sorted(read) == sorted(rows)
    assert [each for each in read if each.destination == b""] == [each for each in rows if each.destination == b""]


@given(st.lists(CONNECTED, max_size=20))
def test_clients_are_read_as_they_were_written(rows: list[Connected]) -> None:
    assert snapshot.decode_clients(snapshot.encode_clients(rows), STATES) == rows


@given(st.lists(st.builds(Listener, TEXTS, st.booleans(), st.booleans()), max_size=20))
def test_listeners_are_read_as_they_were_written(rows: list[Listener]) -> None:
    assert snapshot.decode_listeners(snapshot.encode_listeners(rows)) == rows


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
                       st.integers(-(2**200), 2**200), max_size=20))  # fmt: skip
def test_counts_are_read_as_they_were_written(counts: dict[str, int]) -> None:
    assert snapshot.decode_counts(snapshot.encode_counts(counts)) == counts


@pytest.mark.parametrize("name", DECODERS)
@given(payload=st.binary(max_size=300))
def test_bytes_at_random_are_read_or_refused(name: str, payload: bytes) -> None:
    try:
        DECODERS[name](payload)
    except SnapshotError:
        pass  # And nothing else gets out.


@given(st.lists(PARKED, min_size=1, max_size=5), st.data())
def test_every_message_that_was_cut_or_flipped_is_refused(rows: list[Parked], data: st.DataObject) -> None:
    payload = snapshot.encode_sessions([session(each) for each in rows])
    message = snapshot.encode_message(Kind.SESSIONS, payload, len(rows))
    bit = data.draw(st.integers(0, len(message) * 8 - 1))
    flipped = bytearray(message)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SnapshotError):
        read(bytes(flipped))
    with pytest.raises(SnapshotError):
        read(message[: data.draw(st.integers(HEADER_BYTES, len(message) - 1))])
    assert snapshot.decode_sessions(read(message)) == rows


def read(message: bytes) -> bytes:
    """Return the payload of a message that is all there is."""
    snapshot.check(snapshot.decode_header(message[:HEADER_BYTES]), message[HEADER_BYTES:])
    return message[HEADER_BYTES:]


def test_other_format_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (snapshot.FORMAT - 1, snapshot.FORMAT + 1):
        with monkeypatch.context() as changed:
            changed.setattr(snapshot, "FORMAT", number)
            message = snapshot.encode_message(Kind.END)
        with pytest.raises(SnapshotError, match=f"format {number}, and only"):
            snapshot.decode_header(message)


@given(st.lists(st.integers(0, 2 * snapshot.TEXT_BYTES_MAX), max_size=700))
def test_portions_are_all_rows_in_order_and_within_their_limits(sizes: list[int]) -> None:
    portions = list(snapshot.cut(sizes, lambda size: size))
    assert [size for portion in portions for size in portion] == sizes
    assert all(0 < len(portion) <= snapshot.ROWS_MAX for portion in portions)
    assert all(len(portion) == 1 or sum(portion) <= snapshot.TEXT_BYTES_MAX for portion in portions)


def test_sessions_are_queued_in_another_table_as_they_were() -> None:
    """LIFE-10: in the order of saving, with an expiry and who saved them."""
    one, other = Table(Limits()), Table(Limits())
    for number in range(9):
        one.save_endp(b"e%d" % (number % 2), b"p%d" % number, number, 60 + number, 10, user=5, pid=7, domain=1)
    for each in one.parked():
        other.put_back(
            Session(each.endpoint, each.properties, each.descriptor, 1, 5, 7, 10, each.expiry_ns), 0
        )  # fmt: skip
    assert (one.sizes, one.bytes, one.next_expiry_ns) == (other.sizes, other.bytes, other.next_expiry_ns)
    for label in (b"e0", b"e1"):
        while (expected := one.find_endp(label)) is not None:
            found = other.find_endp(label)
            assert found is not None
            assert (found.properties, found.expiry_ns) == (expected.properties, expected.expiry_ns)
