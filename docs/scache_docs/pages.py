"""Pages made from the code: the specification, a page for each clause, the settings and the commands.

`make_pages` writes MyST sources into a folder; Sphinx makes them into HTML. What is said about a clause beyond its own
text is looked up: places in the sources, cases of the suite, conformance/RESULTS.md, MUTANTS.md and docs/rationale.md.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

from scache_conformance.suite.registry import all_cases
from scache_docs import pictures
from scache_fast.settings.sizing import MEGABYTE, ROWS, total_bytes
from scache_fast.settings.table import SETTINGS, Setting
from scache_spec import render
from scache_spec.clauses import AREAS, Clause, gather
from scache_spec.conversation import TRANSITIONS
from scache_spec.dances import EXAMPLES
from scache_spec.places import places
from scache_spec.vocabulary import Limits

ROOT: Final = Path(__file__).parents[2]
CLAUSES: Final = gather()
ID: Final = re.compile(rf"\b((?:{'|'.join(AREAS)})-[0-9]+)\b")

EXTRAS: Final = (("security.md", "SECURITY.md"), ("how-to/postfix.md", "deploy/postfix/README.md"),
                 ("conformance/guide.md", "conformance/README.md"), ("speed.md", "bench/RESULTS.md"),
                 ("changes.md", "CHANGELOG.md"))  # fmt: skip
"""Pages that are files of the project: where they stand on the site, and where they come from."""


def make_pages(folder: Path) -> None:
    """Write every page into a folder that is empty: those by hand, and those from the code."""
    for source in sorted((ROOT / "docs").rglob("*.md")):
        path = source.relative_to(ROOT / "docs")
        if path.name != "rationale.md":
            _write(folder / path, source.read_text(encoding="utf-8"))
    for name, source_name in EXTRAS:
        if (ROOT / source_name).is_file():
            _write(folder / name, _without_links_outside((ROOT / source_name).read_text(encoding="utf-8")))
    for name, text in {**_specification(), **_reference()}.items():
        _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip() + "\n", encoding="utf-8")


def _without_links_outside(text: str) -> str:
    """Return a page without links to files of the repository, which the site does not have."""
    return re.sub(r"\[([^]]+)\]\((?!https?://|#)[^)]*\)", r"\1", text)


# The specification.


def _specification() -> dict[str, str]:
    sections = _sections(render.render())
    made = {
        "spec/index.md": _index(sections),
        "spec/messages.md": _linked(sections["The messages"], "The messages"),
        "spec/conversation.md": _conversation(sections["The conversation"]),
        "spec/owes.md": _linked(sections["What a server's loop owes"], "What a server's loop owes"),
        "spec/limits.md": _linked(sections["Limits and periods"], "Limits and periods"),
        "spec/vectors.md": _linked(sections["Well-formed or not"], "Well-formed or not"),
        "spec/examples.md": _examples(),
        "spec/play.md": _play(),
    }
    rationale = _rationale()
    results, mutants = _results(), _mutants()
    ordered = list(CLAUSES.values())
    for number, clause in enumerate(ordered):
        near = (ordered[number - 1] if number else None, ordered[number + 1] if number + 1 < len(ordered) else None)
        made[f"spec/clauses/{clause.id}.md"] = _clause(clause, near, rationale.get(clause.id, ""), results, mutants)
    for area in AREAS:
        made[f"spec/{area}.md"] = _area(area, sections)
    return made


def _sections(text: str) -> dict[str, str]:
    """Return the sections of SPEC.md by title."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts[1:]}


def _linked(text: str, title: str = "", to: str = "clauses/") -> str:
    """Return a text whose clause numbers are links to the clauses' pages, without pictures for other programs."""
    text = re.sub(r"^```mermaid\n.*?^```\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r'<a id="[^"]*"></a>', "", text)
    text = re.sub(r"\[([A-Z]+-[0-9]+)\]\(#[^)]*\)", r"\1", text)
    text = ID.sub(lambda match: f"[{match[1]}]({to}{match[1]}.md)" if match[1] in CLAUSES else match[1], text)
    return f"# {title}\n\n{text}" if title else text


def _index(sections: dict[str, str]) -> str:
    areas = "\n".join(f"* [{area}: {title}]({area}.md)" for area, title in AREAS.items())
    tree = "\n".join(["play", "conversation", "messages", "examples", *AREAS, "owes", "limits", "vectors"])
    intro = render.INTRODUCTION.partition("## How to read this")[0].partition("*Generated")[2].partition("\n\n")[2]
    return f"""# The specification

{intro}
* [Play with it](play.md): the specification runs in the page.
* [The conversation](conversation.md): what a server does when this comes in that state.
* [The messages](messages.md), [examples with their bytes](examples.md), [well-formed or not](vectors.md).
{areas}

All of it on one page is the file `spec/SPEC.md` of the project.

```{{toctree}}
:hidden:

{tree}
```
"""


def _conversation(section: str) -> str:
    text = _linked(section).replace(
        "Every row of the table", pictures.conversation("clauses/{}.html") + "\n\nEvery row of the table"
    )
    return (
        "# The conversation\n\nEach arrow is a row of the table, and leads to the clause that asks for it.\n\n" + text
    )


def _examples() -> str:
    parts = ["# Examples", "Each was made by running the specification."]
    for title in EXAMPLES:
        parts += [f"## {title}", f'<a href="play.html#{quote(title)}">Step through it</a>', pictures.example(title)]
    return "\n\n".join(parts)


def _play() -> str:
    template = (Path(__file__).parent / "static" / "play.html").read_text(encoding="utf-8")
    return f"""# Play with it

This is the specification itself, running in the page. Choose an example and step through it, or say what a client does:
send a request or any bytes, pass a descriptor, let time pass, leave. The log shows the row of
[the table](conversation.md) that fired and the clause behind it; below it stand the clients and the cache.

{template}"""


def _area(area: str, sections: dict[str, str]) -> str:
    mine = [clause for clause in CLAUSES.values() if clause.area == area]
    tree = "\n".join(f"clauses/{clause.id}" for clause in mine)
    lines = [f"# {area}: {AREAS[area]}", ""]
    for clause in mine:
        lines += [f"**[{clause.id}](clauses/{clause.id}.md)** {_linked(clause.text)}{_tags(clause)}", ""]
    if area == "STAT":
        lines += ["", sections[f"{area}: {AREAS[area]}"].rpartition("\n\nAll of the lines")[1], ""]
        lines += [
            sections[f"{area}: {AREAS[area]}"]
            .rpartition("\n\nAll of the lines")[2]
            .replace(", in this", "All of the lines, in this", 1)
        ]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", tree, "```"])


def _tags(clause: Clause) -> str:
    return "".join(f" `{tag.name}`" for tag in sorted(clause.tags, key=lambda tag: tag.name))


def _clause(
    clause: Clause,
    near: tuple[Clause | None, Clause | None],
    rationale: str,
    results: dict[str, str],
    mutants: dict[str, list[tuple[str, str]]],
) -> str:
    before, after = near
    lines = [f"# {clause.id}", "", f"> {_linked(clause.text, to='')}", ""]
    lines += [f"* `{tag.name}`: {tag.value}." for tag in sorted(clause.tags, key=lambda tag: tag.name)]
    lines += ["", f"Area: [{clause.area}: {AREAS[clause.area]}](../{clause.area}.md)", ""]
    if any(row.clause == clause.id for row in TRANSITIONS.values()):
        lines += ["## In the conversation", "", pictures.conversation("{}.html", clause.id), ""]
    if rationale:
        lines += ["## Why", "", _linked(rationale, to=""), ""]
    lines += ["## Where", ""]
    for title, found in places(clause.id).items():
        if found:
            lines += [f"{title[0].upper()}{title[1:]}:", ""]
            lines += [
                f"* `{place.path.relative_to(ROOT)}:{place.line}`: ``{place.text.replace('`', '')}``" for place in found
            ]
            lines += [""]
    tried = [case for case in all_cases() if clause.id in case.clauses]
    lines += ["## Cases of the suite", "", *(f"* `{case.slug}` ({case.level.name}): {case.title}" for case in tried)]
    lines += [] if tried else ["None: it cannot be seen from outside, or nothing is demanded."]
    lines += ["", f"```text\nscache-conformance --exec 'your-server {{socket}}' --clause {clause.id}\n```", ""]
    if broken := mutants.get(clause.id):
        lines += ["## Servers that break it", "", *(f"* **{name}**: {text}" for name, text in broken), ""]
    if clause.id in results:
        lines += ["## Published verdicts", "", results[""], results[clause.id], ""]
    lines += ["## Neighbours", ""]
    lines += [f"* before: [{before.id}]({before.id}.md)"] if before else []
    lines += [f"* after: [{after.id}]({after.id}.md)"] if after else []
    return "\n".join(lines)


def _rationale() -> dict[str, str]:
    """Return what docs/rationale.md says about clauses."""
    text = (ROOT / "docs/rationale.md").read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        found.update({clause_id: body.strip() for clause_id in title.split(", ")})
    if unknown := set(found) - set(CLAUSES):
        raise ValueError(f"docs/rationale.md speaks of {', '.join(sorted(unknown))}, which nobody states")
    return found


def _results() -> dict[str, str]:
    """Return each clause's row of conformance/RESULTS.md without the clause, and under "" the head of that table."""
    found = {}
    for line in (ROOT / "conformance/RESULTS.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "clause":
            found[""] = f"| {' | '.join(cells[2:])} |\n|{'---|' * len(cells[2:])}"
        elif cells[0] in CLAUSES:
            found[cells[0]] = f"| {' | '.join(cells[2:])} |"
    return found


def _mutants() -> dict[str, list[tuple[str, str]]]:
    """Return the wrong servers of conformance/MUTANTS.md by the clauses that they break."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in (ROOT / "conformance/MUTANTS.md").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| \*\*([^*]+)\*\* ([^|]+) \| ([^|]+) \|", line):
            for clause_id in match[3].split():
                found.setdefault(clause_id, []).append((match[1], match[2]))
    return found


# Reference.

SIZE: Final = """\
A server with nothing parked takes about 16 MB. Each limit is a setting, and memory grows with what the limits allow,
not with what clients send. `make memory` in a checkout fills the limits one after the other and measures."""

DESCRIPTORS: Final = """\
Each parked connection and each client is a descriptor. The limit on open files (`ulimit -n`, `LimitNOFILE=`) has to be
above what is to be parked, plus `clients_max` and `descriptors_reserve`. When descriptors run out, saves are refused,
and everything else goes on."""


def _reference() -> dict[str, str]:
    commands = {"scached": "scache_fast", "scachectl": "scache_ctl", "scache-conformance": "scache_conformance"}
    helps = "\n\n".join(f"## {name}\n\n```text\n{_help(module)}\n```" for name, module in commands.items())
    return {
        "how-to/size.md": _size(),
        "reference/settings.md": _settings(),
        "reference/commands.md": f"# Commands\n\n{helps}",
    }


def _size() -> str:
    limits, defaults = Limits(), {setting.name: setting.default for setting in SETTINGS}
    rows = [
        f"| {f'`{row.limit}` = {defaults[row.limit]}' if row.limit else ''} | {row.what} "
        f"| {round(row.bytes_of(limits) / MEGABYTE) or ''} | {row.client_sees} |"
        for row in ROWS
    ]
    head = [
        "| limit and default | what takes memory | MB at most | what a client sees beyond it |",
        "|---|---|---|---|",
    ]
    total = f"All of it together is at most {round(total_bytes(limits) / MEGABYTE)} MB with the defaults."
    return "\n".join(["# How much memory it takes", "", SIZE, "", *head, *rows, "", total, "", DESCRIPTORS])


def _help(module: str) -> str:
    words = [sys.executable, "-m", module, "--help"]
    return subprocess.run(
        words, capture_output=True, text=True, check=True, env={"COLUMNS": "100", "PYTHONPATH": ":".join(sys.path)}
    ).stdout


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "Each is an option, a key of the file given with `--config`, and a variable of the environment.",
    ]
    for group in dict.fromkeys(setting.group for setting in SETTINGS):
        lines += ["", f"## {group.capitalize()}", "", "| option | key | default | meaning |", "|---|---|---|---|"]
        lines += [_setting(each) for each in SETTINGS if each.group == group]
    return "\n".join(lines)


def _setting(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    cells = (f"`{setting.option}` {setting.metavar}", f"`{setting.name}`", default, setting.help)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
