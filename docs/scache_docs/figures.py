"""The figures of README.md and of the page "How we know that it is right".

They come from the documents and the code that have them, and `make spec` writes them into both.
"""

import re
from typing import Final

from scache_conformance.generated.command import HISTORIES, STEPS
from scache_docs.published import ROOT
from scache_spec.assurance import DANCE_STATES, EXPLORED, PROVED, TAKEOVER_STATES

PAGE: Final = "docs/explanation/how-we-know.md"
README: Final = "README.md"


def page() -> str:
    """Return the page with the figures of today; ValueError for a figure that it does not have."""
    return _with_figures(PAGE, _figures())


def readme() -> str:
    """Return README.md with the figures of today; ValueError for a figure or a row that it does not have."""
    text = _with_figures(README, [("each of N servers", _wrong_servers())])
    for title, cells in _beside_scache().items():
        text, count = re.subn(rf"(?m)^\| {title} \|.*$", f"| {title} | {' | '.join(cells)} |", text)
        if count != 1:
            raise ValueError(f"{README} has {count} rows {title!r}")
    return text


def _with_figures(path: str, figures: list[tuple[str, int]]) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    for words, number in figures:
        before, after = (r"\s+".join(map(re.escape, half.split(" "))) for half in words.split("N"))
        shown = f"{number:,}".replace(",", " ")
        text, count = re.subn(rf"({before})\d(?:[\d ]*\d)?({after})", rf"\g<1>{shown}\g<2>", text)
        if not count:
            raise ValueError(f"{path} does not say {words!r}, where N is {number}")
    return text


def _figures() -> list[tuple[str, int]]:
    """Return what the page says with each number in the place of N."""
    results, mutants, traces = (
        (ROOT / "conformance" / name).read_text(encoding="utf-8") for name in ("RESULTS.md", "MUTANTS.md", "TRACES.md")
    )
    ours = _found(r"\| cases \|[^|]*\|([^|]*)\|", results)
    in_c_or_go = len(re.findall(r"^\| \*\*(?:c|polling|workers|go|slots)-", mutants, re.MULTILINE))
    return [
        ("keep N invariants", PROVED.invariants),
        ("sessions: N pairs", PROVED.pairs),
        ("the dance (N states)", DANCE_STATES),
        ("the takeover (N states)", TAKEOVER_STATES),
        ("scopes: N states", EXPLORED[0]),
        ("states, N steps", EXPLORED[1]),
        ("sockets: N steps", STEPS),
        ("results. N histories", HISTORIES),
        ("cache, N traces", int(_found(r"transitions, ([\d ]+) traces", traces).replace(" ", ""))),
        ("any server: N cases", sum(map(int, re.findall(r"\d+", ours)))),
        ("Found: N deviations", int(_found(r".*but for (\d+) known deviations \|\n", results))),
        ("worth: N servers", _wrong_servers()),
        ("on purpose, N of them", in_c_or_go),
    ]


def _wrong_servers() -> int:
    return int(_found(r"^(\d+) wrong servers", (ROOT / "conformance/MUTANTS.md").read_text(encoding="utf-8")))


def _beside_scache() -> dict[str, list[str]]:
    """Return the rows of README's table: scached, then its compiled form, each beside scache(8)."""
    rows = {}
    for clients in ("1 client", "64 clients"):
        scache, *ours = _measured("Throughput", clients, r"([\d ]+) \(")
        rows[f"operations per second, {clients}"] = [f"{each / scache:.1f} times as many" for each in ours]
    scache, *ours = _measured("Latency", "64 clients", r"/ ([\d. ]+) /")
    rows["latency of 64 clients, 99th percentile"] = [f"1/{scache / each:.0f}" for each in ours]
    return rows


def _measured(heading: str, clients: str, number: str) -> list[float]:
    """Return what the benchmark's results say of scache(8), of scached, and of its compiled form."""
    results = (ROOT / "bench/RESULTS.md").read_text(encoding="utf-8")
    names, row = (
        [cell.strip() for cell in _found(rf"^## {heading}\n[^#]*?^(\| {first} .*)", results).split("|")]
        for first in ("scenario", f"endp, {clients}, 0 parked")
    )
    cells = dict(zip(names, row, strict=True))
    return [float(_found(number, cells[name]).replace(" ", "")) for name in ("scache", "fast", "compiled")]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, pattern
    return match[1]
