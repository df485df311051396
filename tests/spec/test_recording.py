"""The recorded traffic, replayed: the specification answers every recorded byte with the recorded byte.

The recording begins in the middle: two connections were open, two sessions parked and one binding saved. The prologue
makes that so. All 300 lines fell within the lifetime of what was saved, so that the order of the lines is all of time
that matters; each line is given a tick of its own all the same.
"""

from collections import defaultdict

import pytest
from tests.spec.driver import Driver, sent
from tests.spec.vectors import Recorded, recording
from tests.support.messages import DONE, save_dest

from scache_spec.attributes import Decoded, decode
from scache_spec.effects import Effects, SendDescriptor
from scache_spec.events import Reading, reading
from scache_spec.vocabulary import PROPERTY

STRANGER = 99
"""Whoever saved what was there before the recording."""

MS = 1_000_000


def prologue() -> Driver:
    """Return a server in the state in which the recording begins, as far as the recording shows it."""
    driver, records = Driver(), recording()
    greeted = {record.client for record in records if record.data.startswith(b"protocol\0")}
    for client in sorted({record.client for record in records} - greeted | {STRANGER}):
        driver.connect(client)
    found = decode(records[1].data, list_bytes_max=10_000, attributes_max=9)
    assert isinstance(found, Decoded)
    destination_properties, endpoint_properties = (value for name, value in found.attributes if name == PROPERTY)
    assert driver.say(save_dest(DESTINATION, destination_properties, ENDPOINT), STRANGER) == DONE
    for handle in (1, 2):
        assert driver.park(handle, ENDPOINT, endpoint_properties, client=STRANGER) == DONE
    driver.gone(STRANGER)
    return driver


DESTINATION = b"smtp\n[127.0.0.1]:2600\n"
ENDPOINT = b"smtp\n127.0.0.1\n2600\n0\n"


Line = tuple[bytes, bool]
"""What the server sends at once: bytes, and whether they carry a descriptor."""


def replay(
    records: tuple[Recorded, ...], pieces_bytes_max: int = 100_000, ns_per_line: int = MS
) -> dict[int, list[Line]]:
    """Feed what clients said, check each recorded line of the server; return what it sent and the recording lacks.

    Raises AssertionError at the first line that differs.
    """
    driver = prologue()
    lines: defaultdict[int, list[Line]] = defaultdict(list)
    handle, now_ns = 2, 0

    def note(effects: Effects, client: int) -> None:
        if (data := sent(effects, client)) != b"":
            lines[client].append((data, False))
        if any(isinstance(effect, SendDescriptor) for effect in effects):
            lines[client].append((b"\0", True))

    for record in records:
        client, now_ns = record.client, now_ns + ns_per_line
        driver.tick(now_ns)
        if not record.from_client:
            if client not in driver.server.clients:
                note(driver.connect(client), client)
            assert lines[client], f"nothing was sent, recorded is {record}"
            assert lines[client].pop(0) == (record.data, record.descriptor)
        elif record.descriptor:
            handle += 1
            note(driver.descriptors(handle, client=client), client)
        else:
            for at in range(0, len(record.data), pieces_bytes_max):
                note(driver.feed(record.data[at : at + pieces_bytes_max], client), client)
    assert all(reading(driver.server, each) is Reading.BYTES for each in driver.server.clients)
    return {client: rest for client, rest in lines.items() if rest}


@pytest.mark.parametrize("pieces_bytes_max", [1, 2, 7, 100_000])
def test_CONN_13_recorded_replies_are_reproduced_however_requests_are_cut(pieces_bytes_max: int) -> None:
    assert len(recording()) == 300
    # The last line is a descriptor; the reply to it was not recorded any more.
    assert replay(recording(), pieces_bytes_max) == {1: [(DONE, False)]}


def test_TTL_2_replay_at_another_pace_differs() -> None:
    with pytest.raises(AssertionError):
        replay(recording(), ns_per_line=1_000_000_000)


REQUESTS = [
    line for line, record in enumerate(recording()) if record.from_client and record.data.startswith(b"request")
]


@pytest.mark.parametrize("line", REQUESTS[::7])
def test_replay_notices_a_request_that_is_missing(line: int) -> None:
    records = recording()
    with pytest.raises((AssertionError, KeyError)):
        replay((*records[:line], *records[line + 1 :]))
