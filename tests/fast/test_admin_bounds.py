"""The admin socket at its bounds: no descriptor is left, rows as large as each buffer, a flush beside a list."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support.descriptors import is_hung_up
from tests.support.messages import MISSED, find_endp
from tests.support.operator import office
from tests.support.servers import Fast

from scache_fast.admin.connections import LOOK_S, OUTPUT_BYTES_MAX
from scache_fast.admin.protocol import encode
from scache_spec.vocabulary import Limits


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Have this process open as many descriptors as it may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_operator_gets_in_when_no_descriptor_is_left() -> None:
    with Fast() as house, office(house) as bureau:
        peer = house.peer()
        first, second = bureau.operator(), bureau.operator()
        with no_descriptor_left():
            with first:
                assert first.ask("version")["ok"]
                assert peer.say(find_endp(b"zz")) == MISSED
                second.send(b'{"verb": "version", "id": "waits"}\n')
                for _ in range(20):
                    bureau.turn()
                assert len(bureau.socket) == 1
                assert not is_hung_up(second.sock)
                assert sum("no connection is accepted" in line for line in house.log.warnings) == 1
            with second:
                bureau.turn()
                house.clock.now_ns += LOOK_S * 1_000_000_000
                assert second.line()["id"] == "waits"


@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_row_as_large_as_the_buffer_for_output_is_whole(excess: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = 4096
    monkeypatch.setattr("scache_fast.admin.connections.OUTPUT_BYTES_MAX", bound)
    with Fast(Limits(ttl_limit_s=1000)) as house, office(house) as bureau:
        peer = house.peer()
        with bureau.operator() as operator:
            with peer.park(b"x"):
                (row,) = operator.rows("list", id=1)
            operator.ask("flush")
            # A byte of a label of this kind is a byte of the line.
            label = b"x" * (bound - len(encode({"id": 1, "row": row})) + 1 + excess)
            with peer.park(label), peer.park(b"next"):
                assert [row["endpoint"] for row in operator.rows("list", id=1)] == [label.decode(), "next"]


def test_row_larger_than_the_buffer_for_output_is_whole() -> None:
    with Fast(Limits(ttl_limit_s=1000)) as house, office(house) as bureau:
        label = b"\xff" * 15_000
        assert 6 * len(label) > OUTPUT_BYTES_MAX
        with house.peer().park(label), bureau.operator() as operator:
            assert [row["endpoint"] for row in operator.rows("list")] == [label.decode("latin-1")]


def test_list_and_flush_beside_each_other_both_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scache_fast.admin.connections.SHARE_NS", 0)
    count = 300
    with Fast(Limits(ttl_limit_s=1000)) as house, office(house) as bureau:
        peer = house.peer()
        parked = [peer.park(b"%d" % number) for number in range(count)]
        with bureau.operator() as reader, bureau.operator() as flusher:
            reader.send(b'{"verb": "list", "id": "rows"}\n')
            bureau.turn()
            flusher.send(b'{"verb": "flush"}\n')
            names = [row["endpoint"] for line in reader.lines() if isinstance(row := line.get("row"), dict)]
            assert 0 < len(names) == len(set(names)) <= count
            *_, flushed = flusher.lines()
            assert flushed["sessions"] == count
            assert reader.rows("list") == []
        for sock in parked:
            assert sock.recv(1) == b""
            sock.close()
