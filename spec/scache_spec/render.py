"""SPEC.md, written from the code: `python -m scache_spec.render [FILE]`.

What a reader sees and in which order. Nothing is stated here about the protocol itself: clauses come from docstrings,
the table and its diagram from TRANSITIONS, examples from running the specification.
"""

import sys
from dataclasses import fields
from inspect import cleandoc
from pathlib import Path
from typing import Final, assert_never

from scache_spec import assurance, dances, events, statistics, vocabulary
from scache_spec.attributes import Decoded, decode, encode, parse_ttl
from scache_spec.clauses import AREAS, MODULES, Clause, Tag, docstrings, gather, sources
from scache_spec.conversation import TRANSITIONS, Action, Input, State, classify_list, request_name
from scache_spec.statistics import Counters
from scache_spec.vocabulary import LABEL, PROPERTY, REPLY_PROPERTIES, REQUEST, REQUEST_ATTRIBUTES, TTL, Limits

INTRODUCTION: Final = """\
# The shared connection cache: specification

*Generated from the code in `spec/scache_spec` by `make spec`; a test holds it current. Do not edit it.*

A shared connection cache lets programs on one machine *park* open connections and lets others pick them up. A program
passes the file descriptor of a connection over a UNIX-domain stream socket (`SCM_RIGHTS`), with a label and a time to
live; any program that asks for the label before that time is over is handed the descriptor, and goes on where the first
one stopped. Postfix's scache(8) is such a server, and every smtp(8) process is its client.

    destination label  --0..n-->  endpoint label  --0..n-->  session
                       (binding: properties, ttl)            (descriptor, properties, ttl)

There are four requests: **save_endp** parks a session under an endpoint, **find_endp** takes one up, **save_dest**
binds a destination to an endpoint, **find_dest** takes up a session of any endpoint that a destination is bound to.

## How to read this

* A **clause** such as `ENDP-4` is one promise. Numbers are never reused, and their order has no meaning. Tests, code
  and the conformance suite cite clauses by these ids.
* The clauses say what holds. The [table](#the-conversation) says what a server does at each moment; it *is* the
  program, not a drawing of it. The [examples](#examples) were made by running it.
* Everything that a peer can see is here, and the statistics, which operators read. How else a server logs, how it is
  built and how it is configured is its own affair.
* To build a server: read the examples, then the table, then the clauses; build the decoder, the conversation and the
  cache apart, as the clauses are; then let `scache-conformance` tell you where you stand.
"""

SURROUNDINGS: Final = """\
## What a server's loop owes

The specification is a set of functions over values: it does no I/O. This is what the part that does it has to keep to.
"""

SHOWN: Final = str.maketrans({0: "␀", 10: "␊"})


def render() -> str:
    """Return the text of SPEC.md."""
    clauses = gather()
    parts = [
        INTRODUCTION,
        _tags(),
        _messages(),
        _conversation(),
        *(_area(area, clauses) + (_statistics() if area == "STAT" else "") for area in AREAS),
        SURROUNDINGS,
        _owed(),
        _limits(),
        _vectors(),
        _examples(),
        assurance.page(),
        _sources(),
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _tags() -> str:
    return "\n".join(
        ["Some clauses carry a tag; the others simply hold:", "", *(f"* `{tag.name}`: {tag.value}." for tag in Tag)]
    )


def _messages() -> str:
    rows = [
        f"| `{name.decode()}` | {', '.join(f'`{want.decode()}`' for want in wanted)} |"
        f" {', '.join(['`status`', *['`property`'] * REPLY_PROPERTIES[name]])} |"
        for name, wanted in REQUEST_ATTRIBUTES.items()
    ]
    statuses = ", ".join(f"{status.value} {status.name.lower()}" for status in vocabulary.Status)
    return "\n".join(
        [
            "## The messages",
            "",
            "All but the descriptor itself travels as *attribute lists*: `name NUL value NUL` for each attribute, then",
            "one more NUL. The server's greeting, in hexadecimal and as text (␀ is the byte 0, ␊ the byte 10):",
            "",
            f"    {events.GREETING.hex(' ')}",
            f"    {_shown(events.GREETING)}",
            "",
            "An empty value makes three NULs, as in `dummy␀␀␀`: the end of the name, the end of the value, the end of",
            "the list. If one of them is missing, the list is unfinished.",
            "",
            "| request | attributes after `request`, in this order | attributes of the reply |",
            "|---|---|---|",
            *rows,
            "",
            "A `label` is the endpoint's, except the one of find_dest and the first of save_dest: the destination's.",
            "Of the two `property` in a reply to find_dest the first is the destination's.",
            f"`status` is one of: {statuses}.",
        ]
    )


def _conversation() -> str:
    lines = ["## The conversation", "", "What the server waits for:", ""]
    lines += [f"* **{state.name}**: {state.value}." for state in State]
    lines += ["", "```mermaid", "stateDiagram-v2", "    [*] --> REQUEST: connect / greet"]
    edges: dict[tuple[State, State], list[str]] = {}
    for (state, what), row in TRANSITIONS.items():
        edges.setdefault((state, row.next), []).append(f"{what.name} / {row.action.name}")
    # One arrow for all rows between two states, and a note for those that stay: renderers draw parallel arrows and
    # loops on top of each other.
    for (state, after), labels in edges.items():
        if state is after:
            lines += [f"    note left of {state.name}", *(f"        {label}" for label in labels), "    end note"]
        else:
            lines.append(f"    {state.name} --> {after.name}: {'<br/>'.join(labels)}")
    lines += ["    CLOSED --> [*]", "```", "", "Every row of the table; a pair that is not here cannot happen.", ""]
    lines += ["| in state | when this comes | do this | then wait in | clause |", "|---|---|---|---|---|"]
    lines += [
        f"| {state.name} | {what.value} | {row.action.value} | {row.next.name} "
        f"| [{row.clause}](#{row.clause.lower()}) |"
        for (state, what), row in TRANSITIONS.items()
    ]
    assert {row.action for row in TRANSITIONS.values()} == set(Action)
    return "\n".join(lines)


def _area(area: str, clauses: dict[str, Clause]) -> str:
    mine = [clause for clause in clauses.values() if clause.area == area]
    lines = [f"## {area}: {AREAS[area]}", ""]
    for clause in mine:
        tags = "".join(f" `{tag.name}`" for tag in Tag if tag in clause.tags)
        lines += [f'<a id="{clause.id.lower()}"></a>**{clause.id}** {clause.text}{tags}', ""]
    return "\n".join(lines)


def _statistics() -> str:
    counters = Counters(
        dest_hits=2, dest_misses=1, endp_hits=5, endp_misses=2, destinations_max=1, endpoints_max=2, sessions_max=4
    )
    return "\n".join(
        [
            "",
            "All of the lines, in this order, whatever else a log puts before them. Here two of three find_dest and",
            "five of seven find_endp hit, and there were at most one destination, two endpoints and four sessions:",
            "",
            *(f"    {line}" for line in statistics.lines(counters, "Nov 22 11:03:25")),
        ]
    )


def _owed() -> str:
    _, _, owed = (events.__doc__ or "").partition("What the surroundings owe:\n")
    return cleandoc(owed.partition("\nSources:")[0])


def _limits() -> str:
    meaning = {where.rpartition(".")[2]: " ".join(text.split()) for where, text in docstrings(vocabulary)}
    rows = []
    for each in fields(Limits):
        value = getattr(Limits(), each.name)
        shown = NOT_THERE[each.name] if value is None else str(value)
        rows.append(f"| `{each.name}` | {shown} | {meaning[each.name].partition('; None: ')[0]} |")
    return "\n".join(
        [
            "## Limits and periods",
            "",
            "Every bound is a parameter of the server; these are the specification's defaults.",
            "",
            "| parameter | default | meaning |",
            "|---|---|---|",
            *rows,
        ]
    )


TAB: Final = "\t"

NOT_THERE: Final = {"max_idle_s": "never", "clients_per_user_max": "any number"}
"""What stands for a limit that is not there."""

TTL_VECTORS: Final = (
    b"5", b" 5", b"\t5", b"+5", b"++5", b"+ 5", b"010", b"2147483647",
    b"0", b"-1", b"abc", b"5x", b"5 ", b"", b"0x10", b"5.0", b"2147483648",
    b"4294967295", b"4294967297", b"-4294967291", b"99999999999999999999",
)  # fmt: skip

LIST_VECTORS: Final = (
    (),
    ((LABEL, b"a"), (REQUEST, b"find_endp")),
    ((REQUEST, b"find_endp"),),
    ((REQUEST, b"find_endp"), (LABEL, b"a")),
    ((REQUEST, b"find_endp"), (LABEL, b"a"), (b"more", b"x")),
    ((REQUEST, b"find_endp"), (b"more", b"x"), (LABEL, b"a")),
    ((REQUEST, b"find_dest"), (PROPERTY, b"a")),
    ((REQUEST, b"save_endp"), (LABEL, b"a"), (TTL, b"2"), (PROPERTY, b"")),
    ((REQUEST, b"save_endp"), (TTL, b"0"), (LABEL, b"a"), (PROPERTY, b"")),
    ((REQUEST, b"save_dest"), (TTL, b"2"), (LABEL, b"d"), (PROPERTY, b""), (LABEL, b"e")),
    ((REQUEST, b"flush"),),
)


def _vectors() -> str:
    ttls = [
        f"| `{value.decode().replace(TAB, '␉') or ' '}` | "
        f"{'refused' if (ttl := parse_ttl(value)) is None else f'{ttl} s'} |"
        for value in TTL_VECTORS
    ]
    lists = []
    for attributes in LIST_VECTORS:
        what = classify_list(State.REQUEST, attributes)
        meaning = what.value if isinstance(what, Input) else f"a well-formed {_shown(request_name(attributes) or b'')}"
        lists.append(f"| `{_shown(encode(attributes))}` | {meaning} |")
    return "\n".join(
        [
            "## Well-formed or not",
            "",
            "Values of `ttl` (WIRE-8 to WIRE-10), and what the server takes them for:",
            "",
            "| value | means |",
            "|---|---|",
            *ttls,
            "",
            "Lists that come while a request is awaited (WIRE-6, WIRE-7, CONN-4 to CONN-7):",
            "",
            "| list | is |",
            "|---|---|",
            *lists,
        ]
    )


def _examples() -> str:
    lines = ["## Examples", "", "Labels and properties are those of a real smtp(8), shortened in the pictures."]
    for title, example in dances.EXAMPLES.items():
        said = dances.run(example)
        lines += ["", f"### {title}", "", "```mermaid", "sequenceDiagram"]
        lines += [f"    participant {name} as client {name}" for name in sorted({each.client for each in said})]
        lines += ["    participant S as cache", *(f"    {_arrow(each)}" for each in said), "```", ""]
        width = max(len(who(each)) for each in said)
        lines += [
            f"    {who(each):{width}}  {bytes_of(each)}" for each in said if not isinstance(each.what, dances.Waits)
        ]
    return "\n".join(lines)


def _arrow(said: dances.Said) -> str:
    match said.what:
        case bytes():
            text = " then ".join(_attributes(said.what))
        case dances.Descriptors(count=count):
            text = f"one byte, {count or 'no'} descriptor"
        case dances.Leaves():
            text = "closes"
        case dances.Waits(seconds=seconds):
            return f"Note over S: {seconds} seconds pass"
        case _:
            assert_never(said.what)
    return f"S->>{said.client}: {text}" if said.by_server else f"{said.client}->>S: {text}"


def _attributes(data: bytes) -> list[str]:
    """Return each list in the bytes, as a picture shows it."""
    lists = []
    while data:
        decoded = decode(data, len(data), len(data))
        assert isinstance(decoded, Decoded)
        data = decoded.rest
        lists.append(", ".join(f"{name.decode()}={_short(value)}" for name, value in decoded.attributes))
    return lists


def _short(value: bytes) -> str:
    text = value.decode().replace("\n", " ").strip()
    return text if len(text) <= 24 else text[:23].rstrip() + "…"


def _sources() -> str:
    named = {module.__name__.rpartition(".")[2]: text for module in MODULES if (text := sources(module))}
    return "\n".join(
        [
            "## Sources",
            "",
            "What a Postfix server does was measured with Postfix 3.7.11 on Linux. The modules rest on:",
            "",
            *(f"* `{name}`: {text}" for name, text in named.items()),
        ]
    )


def who(said: dances.Said) -> str:
    """Return who says something, and to whom; nothing if time passes."""
    if isinstance(said.what, dances.Waits):
        return ""
    return f"{said.client} <- cache" if said.by_server else f"{said.client} -> cache"


def bytes_of(said: dances.Said) -> str:
    """Return what is said, one character for each byte."""
    match said.what:
        case bytes():
            return _shown(said.what)
        case dances.Descriptors(count=count):
            return "␀" + (" and the descriptor" if count == 1 else "")
        case dances.Waits(seconds=seconds):
            return f"({seconds} seconds pass)"
        case dances.Leaves():
            return "(closes)"
        case _:
            assert_never(said.what)


def _shown(data: bytes) -> str:
    return data.decode().translate(SHOWN)


def main(arguments: list[str]) -> None:
    """Write SPEC.md to the file named, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main(sys.argv[1:])
