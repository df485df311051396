"""Pictures of columns and arrows as SVG: the conversation, drawn from its table, and the examples.

Colours come from the page's style sheet. An arrow that has a clause links to the clause's page.
"""

from dataclasses import dataclass
from html import escape
from typing import Final

from scache_docs.play import readable
from scache_spec.conversation import TRANSITIONS, State
from scache_spec.dances import EXAMPLES, Descriptors, Leaves, Waits, run

LANE_PX: Final = 122
"""So that six states fit into the width of a page."""

WIDE_LANE_PX: Final = 220
ROW_PX: Final = 40
HEAD_PX: Final = 44
CHARACTER_PX: Final = 7
"""About what one takes, of the style sheet's font."""

HEAD: Final = (
    '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
    '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
)


@dataclass(frozen=True, slots=True)
class Arrow:
    """One arrow from a column to another, or to itself; with no column at all a note across the picture."""

    source: str
    target: str
    text: str
    clause: str = ""


def draw(title: str, lanes: list[str], arrows: list[Arrow], clauses: str = "", lane_px: int = LANE_PX) -> str:
    """Return the picture. `clauses` is the address of a clause's page, with {} for its id."""
    width, height = lane_px * len(lanes), HEAD_PX + ROW_PX * len(arrows) + 16
    middle = {name: lane_px * number + lane_px // 2 for number, name in enumerate(lanes)}
    lines = [
        '<div class="picture">',
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(title)}">',
        HEAD,
    ]
    for name, x in middle.items():
        lines += [
            f'<line class="lane" x1="{x}" y1="{HEAD_PX - 8}" x2="{x}" y2="{height - 8}"/>',
            f'<rect x="{x - 52}" y="6" width="104" height="28" rx="4"/>',
            f'<text x="{x}" y="25" text-anchor="middle">{escape(name)}</text>',
        ]
    for number, arrow in enumerate(arrows):
        y = HEAD_PX + ROW_PX * number + 28
        lines.append(_arrow(arrow, middle, y, width, clauses))
    return "\n".join([*lines, "</svg>", "</div>"])


def _arrow(arrow: Arrow, middle: dict[str, int], y: int, width: int, clauses: str) -> str:
    room = (width - 12) // CHARACTER_PX
    text = arrow.text if len(arrow.text) <= room else arrow.text[: room - 1] + "…"
    if not arrow.source:
        return f'<text x="{width // 2}" y="{y}" text-anchor="middle" font-style="italic">{escape(text)}</text>'
    start, end = middle[arrow.source], middle[arrow.target]
    if start == end:
        line = f'<path d="M{start} {y - 10} h26 v12 h-22" marker-end="url(#head)"/>'
        x, anchor, text_y = start + 32, "start", y
    else:
        line = f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}" marker-end="url(#head)"/>'
        x, text_y = min(start, end) + 6, y - 6
        anchor = "start"
        if min(start, end) + CHARACTER_PX * len(text) > width:  # it would leave the picture on the right
            x, anchor = width - 6, "end"
    shown = f'{line}<text x="{x}" y="{text_y}" text-anchor="{anchor}">{escape(text)}</text>'
    if arrow.clause:
        shown = f'<a href="{escape(clauses.replace("{}", arrow.clause))}">{shown}<title>{arrow.clause}</title></a>'
    return shown


def conversation(clauses: str, only: str = "") -> str:
    """Return the conversation's table as a picture: all rows, or those of one clause."""
    arrows = [
        Arrow(state.name, row.next.name, f"{_words(what.name)}: {_words(row.action.name)}", row.clause)
        for (state, what), row in TRANSITIONS.items()
        if only in ("", row.clause)
    ]
    ends = {name for arrow in arrows for name in (arrow.source, arrow.target)}
    lanes = [state.name for state in State if state.name in ends]
    return draw("The conversation: states, and what leads from one to another", lanes, arrows, clauses)


def example(title: str) -> str:
    """Return one example as a picture: each client and the cache is a column."""
    said = run(EXAMPLES[title])
    clients = list(dict.fromkeys(f"client {each.client}" for each in said if not isinstance(each.what, Waits)))
    lanes = [*clients[:1], "cache", *clients[1:]]
    arrows = []
    for each in said:
        client = f"client {each.client}"
        source, target = ("cache", client) if each.by_server else (client, "cache")
        match each.what:
            case bytes(data):
                arrows.append(Arrow(source, target, readable(data)))
            case Descriptors(count=count):
                arrows.append(Arrow(source, target, f"one byte, {'with the' if count else 'no'} descriptor"))
            case Leaves():
                arrows.append(Arrow(source, target, "closes"))
            case Waits(seconds=seconds):
                arrows.append(Arrow("", "", f"{seconds} seconds pass"))
    return draw(title, lanes, arrows, lane_px=WIDE_LANE_PX)


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
