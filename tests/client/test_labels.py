"""Labels as they are typed and shown."""

import pytest

from scache_client.labels import printable, typed


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"smtp\n[127.0.0.1]:25\n", b"smtp\n[127.0.0.1]:25\n"),
        (r"\t\r\\n", b"\t\r\\n"),
        (r"\x41\xff", b"A\xff"),
        ("", b""),
        ("é", "é".encode()),
    ],
)
def test_escapes_are_read(text: str, data: bytes) -> None:
    assert typed(text) == data


@pytest.mark.parametrize("text", ["\\", r"a\q", r"\x4", r"\xg0", "\\é"])
def test_backslash_that_begins_no_escape_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not an escape"):
        typed(text)


def test_nul_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="NUL"):
        typed(r"a\x00")


def test_what_is_shown_can_be_typed() -> None:
    every = bytes(range(1, 256))
    assert typed(printable(every)) == every
    assert printable(every).isascii()
    assert printable(every).isprintable()
