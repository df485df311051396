r"""How answers look: tables for people, lines of JSON for scripts.

Nothing that a server or a peer sent steers a terminal: labels and properties are shown with `\xNN`, other text has no
control character, no C1 byte and no bidi mark. JSON is ASCII, with every control character escaped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from scache_client.labels import printable

BYTES: Final = frozenset({"endpoint", "destination", "to", "properties", "held"})
"""Keys whose values are bytes, one code point for each."""


def harmless(text: str) -> str:
    r"""Return text with everything escaped that is not printable ASCII: `\xNN`, `\uNNNN`."""
    return "".join(each if " " <= each <= "~" else ascii(each)[1:-1] if each != "\x7f" else r"\x7f" for each in text)


def cell(key: str, value: object) -> str:
    """Return a value as it stands in a table."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case str() if key in BYTES and all(ord(each) < 256 for each in value):
            return printable(value.encode("latin-1"))
        case str():
            return harmless(value)
        case _:
            return harmless(json.dumps(value))


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> Iterable[str]:
    """Yield the lines of a table with a heading; numbers stand to the right."""
    cells = [[cell(key, row.get(key)) for key in columns] for row in rows]
    widths = [max(len(name), *(len(row[at]) for row in cells), 0) for at, name in enumerate(columns)]
    yield "  ".join(name.upper().ljust(width) for name, width in zip(columns, widths, strict=True)).rstrip()
    for row in cells:
        yield "  ".join(
            text.rjust(width) if text.replace(".", "", 1).isdigit() else text.ljust(width)
            for text, width in zip(row, widths, strict=True)
        ).rstrip()


def flat(answer: Mapping[str, object], before: str = "") -> Iterable[tuple[str, object]]:
    """Yield each value of nested objects with its path: `requests.save_endp.0`."""
    for key, value in answer.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def pairs(answer: Mapping[str, object]) -> Iterable[str]:
    """Yield a line for each value of an answer."""
    found = [(harmless(path), cell(path, value)) for path, value in flat(answer)]
    width = max((len(path) for path, _ in found), default=0)
    for path, value in found:
        yield f"{path.ljust(width)}  {value}"


def line_of_json(content: Mapping[str, object]) -> str:
    """Return an object as a line of JSON."""
    return json.dumps(content).replace("\x7f", r"\u007f")
