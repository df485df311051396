"""The figures on the page "How we know that it is right": from the documents and the code that have them.

`make spec` writes them into the page.
"""

import re
from typing import Final

from scache_conformance.generated.command import HISTORIES, STEPS
from scache_docs.published import ROOT
from scache_spec.assurance import DANCE_STATES, EXPLORED, PROVED, TAKEOVER_STATES

PAGE: Final = "docs/explanation/how-we-know.md"


def page() -> str:
    """Return the page with the figures of today; ValueError for a figure that it does not have."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for words, number in _figures():
        before, after = (r"\s+".join(map(re.escape, half.split(" "))) for half in words.split("N"))
        shown = f"{number:,}".replace(",", " ")
        text, count = re.subn(rf"({before})\d(?:[\d ]*\d)?({after})", rf"\g<1>{shown}\g<2>", text)
        if not count:
            raise ValueError(f"{PAGE} does not say {words!r}, where N is {number}")
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
        ("worth: N servers", int(_found(r"^(\d+) wrong servers", mutants))),
        ("on purpose, N of them", in_c_or_go),
    ]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, pattern
    return match[1]
