"""The page about the log: every message of the server, what it means and what to do.

Messages and their levels are collected from the code of fast/; what they mean is in messages.toml.
"""

import re
import tomllib
from pathlib import Path
from typing import Final

from scache_docs.log_calls import VALUE, Call, collect

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ROOT / "fast/scache_fast"
TABLE: Final = Path(__file__).with_name("messages.toml")

HEAD: Final = """\
# Messages of the log

Every message that `scached` may write, what it means, and what to do. A name in braces stands for a value. A client is
`client N (pid P, uid U)`: N is a number that later clients may get again, pid and uid are those of the process that
connected. Bytes of clients are in quotes, with escapes.

Levels: **info** and **warning** are as they say, and warnings of one kind are shown ten times a minute at most.
**fatal** and **panic** end the process. **-v** is shown with `--verbose`, or after `scachectl loglevel verbose`. The
errors of "Not started" are fatal at the start; at a reload, the line `the settings stay as they are` shows them.
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
