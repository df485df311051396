"""The page about the log: every message of the server, what it means and what to do.

Messages and their levels are collected from the code of fast/; what they mean is in messages.toml.
"""

import re
import tomllib
from pathlib import Path
from typing import Final

from scache_docs.log_calls import VALUE, Call, collect
from scache_docs.published import ROOT

CODE: Final = ROOT / "fast/scache_fast"
TABLE: Final = Path(__file__).with_name("messages.toml")

HEAD: Final = """\
# Messages of the log

This page has every message of `scached`, what it means, and what to do. A name in braces stands for a value. A client
is shown as `client N (pid P, uid U)`. Later clients may get the same number N. The pid and the uid are those of the
process that connected. Bytes that clients sent are in quotes, with escapes.

There are five levels:

* **info**: the line is always logged.
* **warning**: the line is logged at most ten times a minute for each kind of warning.
* **fatal** and **panic**: the process ends. But if an error of "Not started" occurs at a reload, the server continues,
  and the line `the settings stay as they are` shows the error.
* **-v**: the line is logged with `--verbose`, or after `scachectl loglevel verbose`.
"""


def texts_in_the_code() -> dict[str, list[Call]]:
    """Return the calls that write each text; those that pass on the text of another one are left out."""
    found: dict[str, list[Call]] = {}
    for call in collect(CODE):
        if call.text.strip(f"{VALUE}[] ") and call.text != f"{VALUE}: error: {VALUE}":
            found.setdefault(call.text, []).append(call)
    return found


def sections() -> dict[str, list[dict[str, str]]]:
    """Return the messages of the table by section."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def normal(text: str) -> str:
    """Return a text of the table as the code has it: the names of values do not matter."""
    return re.sub(rf"{VALUE}+", VALUE, re.sub(r"\{[a-z]+\}", VALUE, text))


def page() -> str:
    """Return the page."""
    known = texts_in_the_code()
    lines = [HEAD]
    for section, messages in sections().items():
        lines += [f"## {section}", "", "| message | level | what it means | what to do |", "|---|---|---|---|"]
        for each in messages:
            levels = ", ".join(dict.fromkeys(call.level for call in known.get(normal(each["text"]), [])))
            cells = (f"`{each['text']}`", levels, each["means"], each["do"])
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)
