"""Servers that were written from SPEC.md alone, each right, and how a version of one with a slip is compiled."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
BUILT: Final = Path(__file__).parents[3] / ".cache" / "strangers"
COMPILERS: Final = {
    ".c": ("cc", "-O1", "-Wall", "-pthread", "-o"),
    ".go": ("go", "build", "-o"),
}

Edit = tuple[str, str]
"""What stands in the source, once, and what stands there instead."""


@dataclass(frozen=True, slots=True)
class Slip:
    """One slip: the source it was made in, the clauses it breaks, what is wrong, and the edits."""

    source: str
    clauses: tuple[str, ...]
    what: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Stranger:
    """One of the servers: its source, the prefix of the names of its slips, and its slips."""

    source: str
    prefix: str
    slips: dict[str, Slip] = field(default_factory=dict)

    def slip(self, name: str, clauses: str, what: str, *edits: Edit) -> None:
        """Add a slip; `clauses` are separated by blanks."""
        full_name = f"{self.prefix}-{name}"
        assert full_name not in self.slips, f"two slips named {full_name}"
        self.slips[full_name] = Slip(self.source, tuple(clauses.split()), what, edits)


def edited(source: str, edits: Sequence[Edit]) -> str:
    """Return a source with these edits. Raises ValueError for one whose text is not there exactly once."""
    text = (HERE / source).read_text(encoding="utf-8")
    for before, after in edits:
        if (count := text.count(before)) != 1:
            raise ValueError(f"{source} has this {count} times, not once: {before!r}")
        text = text.replace(before, after)
    return text


def compiled(source: str, edits: Sequence[Edit] = ()) -> Path:
    """Return the program with these edits, compiled unless that was done before. Raises CalledProcessError."""
    text = edited(source, edits)
    program = BUILT / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not program.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            written = Path(folder) / source
            written.write_text(text, encoding="utf-8")
            made = Path(folder) / "program"
            subprocess.run([*COMPILERS[written.suffix], str(made), str(written)], check=True)
            os.rename(made, program)  # another process may compile the same at the same time
    return program
