"""What the accelerator's splitter is held to: `whole_list`, which in turn is held to `Decoder`."""

from scache_fast.engine.attributes import Decoder, whole_list


def split(data: bytes, attributes_max: int) -> list[bytes] | None:
    """Return the fields of the list that data is, None when it is anything else; raises AssertionError."""
    fields = whole_list(data, attributes_max)
    decoder = Decoder(len(data) + 1, attributes_max)
    decoder.feed(data)
    decoded = decoder.next_list()
    assert fields == (decoded if decoded is not None and decoder.is_empty else None), (data, fields, decoded)
    return fields
