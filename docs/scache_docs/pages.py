"""Pages made from the code: the specification, a page for each clause, the settings and the commands.

`make_pages` writes MyST sources into a folder; Sphinx makes them into HTML. The pages of clauses are in `clause_pages`,
the answers to "what if" in `what_if`.
"""

import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

from scache_docs import pictures
from scache_docs.clause_pages import clause_page, linked, matrix, tags
from scache_docs.published import CLAUSES, ROOT, mutants, read, reasons, results
from scache_docs.what_if import DEEDS, STATES, anchor, answer, pair
from scache_fast.settings.sizing import MEGABYTE, ROWS, total_bytes
from scache_fast.settings.table import SETTINGS, Setting
from scache_spec import render
from scache_spec.clauses import AREAS
from scache_spec.conversation import Action, State
from scache_spec.dances import EXAMPLES
from scache_spec.vocabulary import Limits

EXTRAS: Final = (("security.md", "SECURITY.md"), ("how-to/postfix.md", "deploy/postfix/README.md"),
                 ("conformance/guide.md", "conformance/README.md"), ("reference/traces.md", "conformance/TRACES.md"),
                 ("speed.md", "bench/RESULTS.md"),
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
            text = (ROOT / source_name).read_text(encoding="utf-8")
            _write(folder / name, _with_links_of_the_site(text, PurePosixPath(source_name), PurePosixPath(name)))
    shutil.copytree(ROOT / "bench/plots", folder / "plots")  # pictures of the page about speed
    for name, text in {**_specification(), **_reference()}.items():
        _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip() + "\n", encoding="utf-8")


PAGE_OF: Final = {source: name for name, source in EXTRAS} | {
    "README.md": "index.md",
    "spec/SPEC.md": "spec/index.md",
    "conformance/RESULTS.md": "conformance/matrix.md",
    "deploy/man/scached.8": "how-to/size.md",
}
"""The page of the site that stands for a file of the project."""


def _with_links_of_the_site(text: str, source: PurePosixPath, page: PurePosixPath) -> str:
    """Return a page whose links to files lead to the pages that stand for them; without a page, no link is left."""

    def of_the_site(link: re.Match[str]) -> str:
        words, target = link.groups()
        file = posixpath.normpath(source.parent / target.partition("#")[0])
        name = file.removeprefix("docs/") if file.startswith("docs/") else PAGE_OF.get(file)
        return words if name is None else f"[{words}]({posixpath.relpath(name, page.parent)})"

    return re.sub(r"(?<!!)\[([^]]+)\]\((?!https?://|#)([^)]*)\)", of_the_site, text)


# The specification.


def _specification() -> dict[str, str]:
    sections = _sections(render.render())
    made = {
        "spec/index.md": _index(sections),
        "spec/words.md": linked(sections["Words"], "Words"),
        "spec/messages.md": linked(sections["The messages"], "The messages"),
        "spec/what-if.md": _what_if(),
        "spec/conversation.md": _conversation(sections["The conversation"]),
        "spec/owes.md": linked(sections["What a server's loop owes"], "What a server's loop owes"),
        "spec/limits.md": linked(sections["Limits and periods"], "Limits and periods"),
        "spec/vectors.md": linked(sections["Well-formed or not"], "Well-formed or not"),
        "spec/changes.md": linked(sections["Changes by clause"].replace("\n### ", "\n## "), "Changes by clause"),
        "spec/examples.md": _examples(),
        "spec/play.md": _play(),
    }
    why, broken = reasons(read("docs/rationale.md")), mutants(read("conformance/MUTANTS.md"))
    published = results(read("conformance/RESULTS.md"))
    made["conformance/matrix.md"] = matrix(published)
    for clause in CLAUSES.values():
        made[f"spec/clauses/{clause.id}.md"] = clause_page(
            clause, why.get(clause.id, ""), published, broken.get(clause.id, [])
        )
    for area in AREAS:
        made[f"spec/{area}.md"] = _area(area, sections)
    return made


def _sections(text: str) -> dict[str, str]:
    """Return the sections of SPEC.md by title."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts[1:]}


def _index(sections: dict[str, str]) -> str:
    areas = "\n".join(f"* [{area}: {title}]({area}.md)" for area, title in AREAS.items())
    tree = "\n".join(
        [
            "words",
            "what-if",
            "conversation",
            "play",
            "messages",
            "examples",
            *AREAS,
            "owes",
            "limits",
            "vectors",
            "changes",
        ]
    )
    intro = render.INTRODUCTION.partition("*Generated")[2].partition("\n\n")[2]
    return f"""# The specification

{intro}
* [Words](words.md): what each word means in the clauses.
* [What happens if …](what-if.md): what a server makes of each thing that a client may do, in each state.
* [The conversation](conversation.md): the table behind it, and its picture.
* [Play with it](play.md): the specification runs in the page.
* [The messages](messages.md), [examples with their bytes](examples.md), [well-formed or not](vectors.md).
{areas}
* [Changes by clause](changes.md).

All of it on one page is the file `spec/SPEC.md` of the project.

```{{toctree}}
:hidden:

{tree}
```
"""


def _what_if() -> str:
    states = list(STATES)
    head = f"| the client sends | {' | '.join(f'{state.name}<br><small>{state.value}</small>' for state in states)} |"
    lines = [
        "# What happens if …",
        "",
        "What happens if my client sends X in state Y? A column is what the server waits for, a row is what the client",
        "does. The answer says what the client is sent. It leads to the whole story: a run of the specification.",
        "",
        head,
        f"|{'---|' * (len(states) + 1)}",
    ]
    for deed in DEEDS:
        cells = [f"[{_in_short(state, deed)}](#{anchor(state, deed)})" for state in states]
        lines.append(f"| {deed} | {' | '.join(cells)} |")
    lines += ["", WHILE_SENDING, ""]
    for state in states:
        lines += [f"## When the server waits for {state.value}", ""]
        for deed in DEEDS:
            lines += [f"({anchor(state, deed)})=", f"### {pair(state, deed)}", "", *_story(state, deed), ""]
    return "\n".join(lines)


WHILE_SENDING: Final = linked("""\
While the client's socket has not taken the descriptor's byte, and until the client has read it, nothing is served of
what the client sends (FD-14). If the client goes away before the byte was taken, the session is put back (FD-10);
after it, nothing is left to do (FD-11).""")


def _in_short(state: State, deed: str) -> str:
    """Return what the client is sent, in a word or two."""
    story = answer(state, deed)
    words = [
        each.what.removeprefix("to A: ").partition(",")[0].removesuffix("=") for each in story if each.who == "cache"
    ]
    if words:
        return "the descriptor" if "one byte" in words else ", ".join(f"`{word}`" for word in words)
    is_put_back = any(Action.PUT_BACK.value in each.what for each in story)
    return "no reply, put back" if is_put_back else "no reply"


def _story(state: State, deed: str) -> Iterator[str]:
    for each in answer(state, deed):
        match each.who:
            case "row":
                yield f"* *{each.what}* ([{each.clause}](clauses/{each.clause}.md))"
            case "inside":
                yield f"* {each.what}"
            case "cache":
                yield f"* the cache, {_quoted(each.what)}"
            case name:
                yield f"* client {name}: {_quoted(each.what)}"
    yield f'\n<a href="play.html#{quote(pair(state, deed))}">Step through it</a>'


def _quoted(text: str) -> str:
    """Return a line of the log with the bytes in it as code."""
    said, to, what = text.rpartition(": ") if text.startswith("to ") else ("", "", text)
    return f"{said}{to}`{what}`" if "=" in what else f"{said}{to}{what}"


def _conversation(section: str) -> str:
    text = linked(section).replace(
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
        lines += [f"**[{clause.id}](clauses/{clause.id}.md)** {linked(clause.text)}{tags(clause)}", ""]
    if area == "STAT":
        lines += ["", sections[f"{area}: {AREAS[area]}"].rpartition("\n\nAll of the lines")[1], ""]
        lines += [
            sections[f"{area}: {AREAS[area]}"]
            .rpartition("\n\nAll of the lines")[2]
            .replace(", in this", "All of the lines, in this", 1)
        ]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", tree, "```"])


# Reference.

SIZE: Final = """\
A server with nothing parked takes about 16 MB. Each limit in this table is a setting. However much clients send, the
server takes no more memory than the limits allow. `make memory` in a checkout fills each limit and measures."""

DESCRIPTORS: Final = """\
Each parked connection and each client takes one descriptor. The limit on open files (`ulimit -n`, `LimitNOFILE=`) must
be larger than the number of connections to park plus `clients_max` plus `descriptors_reserve`. When descriptors run
out, the server refuses saves and continues otherwise."""


COMMANDS: Final = {
    "scached": ("scache_fast",),
    "scachectl": ("scache_ctl",),
    "scache-conformance": ("scache_conformance",),
    "scache-conformance client": ("scache_conformance", "client"),
    "scache-conformance watch": ("scache_conformance", "watch"),
    "scache-reference": ("scache_reference",),
}  # fmt: skip
"""Commands whose help is on the page of commands, and the words that run them."""


def _reference() -> dict[str, str]:
    helps = "\n\n".join(f"## {name}\n\n```text\n{_help(*words)}\n```" for name, words in COMMANDS.items())
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
        "| limit and default | what takes memory | MB at most | effect of the limit |",
        "|---|---|---|---|",
    ]
    total = f"Together, this is at most {round(total_bytes(limits) / MEGABYTE)} MB with the defaults."
    return "\n".join(["# How much memory it takes", "", SIZE, "", *head, *rows, "", total, "", DESCRIPTORS])


def _help(*words: str) -> str:
    words = (sys.executable, "-m", *words, "--help")
    return subprocess.run(
        words, capture_output=True, text=True, check=True, env={"COLUMNS": "100", "PYTHONPATH": ":".join(sys.path)}
    ).stdout


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "Each setting is an option, a key of the file that `--config` names, and a variable of the environment: the",
        "option `--ttl-limit`, the key `ttl_limit` and the variable `SCACHED_TTL_LIMIT` are one setting.",
    ]
    for group in dict.fromkeys(setting.group for setting in SETTINGS):
        lines += ["", f"## {group.capitalize()}", "", "| option | meaning | default | key |", "|---|---|---|---|"]
        lines += [_setting(each) for each in SETTINGS if each.group == group]
    return "\n".join(lines)


def _setting(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    cells = (f"`{setting.option}` {setting.metavar}", setting.help, default, f"`{setting.name}`")
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
