"""A server in C that was written from SPEC.md alone, threaded.c, and how a version of it is compiled."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("threaded.c")
BUILT: Final = Path(__file__).parents[3] / ".cache" / "strangers"

Edit = tuple[str, str]
"""What stands in the source, once, and what stands there instead."""


def edited(edits: Sequence[Edit]) -> str:
    """Return the source with these edits. Raises ValueError for one whose text is not there exactly once."""
    text = SOURCE.read_text(encoding="utf-8")
    for before, after in edits:
        if (count := text.count(before)) != 1:
            raise ValueError(f"threaded.c has this {count} times, not once: {before!r}")
        text = text.replace(before, after)
    return text


def compiled(edits: Sequence[Edit] = ()) -> Path:
    """Return the program with these edits, compiled unless that was done before. Raises CalledProcessError."""
    text = edited(edits)
    program = BUILT / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not program.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            made = Path(folder) / "threaded"
            command = ["cc", "-O1", "-Wall", "-pthread", "-x", "c", "-", "-o", str(made)]
            subprocess.run(command, input=text.encode(), check=True)
            os.rename(made, program)  # another process may compile the same at the same time
    return program
