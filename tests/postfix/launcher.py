"""scached as a program that master(8) can start, made for one test.

Decides what the file holds that stands for the installed command: an isolated interpreter, the sources of this
checkout, and whatever is to happen to the process before the command begins. Refuses to know what starts it.
"""

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

SOURCES: Final = (ROOT / "fast", ROOT / "spec")

_SCRIPT: Final = """\
#!{interpreter} -I
import os, sys
sys.path[:0] = {sources!r}
{prelude}
from scache_fast.__main__ import main
sys.exit(main())
"""


def scached(folder: Path, prelude: str = "", *, interpreter: str = sys.executable) -> Path:
    """Write the program `scached` into a folder, with Python statements to run before it; return its path."""
    program = folder / "scached"
    script = _SCRIPT.format(interpreter=interpreter, sources=[str(path) for path in SOURCES], prelude=prelude)
    program.write_text(script)
    program.chmod(0o755)
    return program


def traced(folder: Path, calls: str) -> tuple[Path, Path]:
    """Write a program `scached` that runs under strace; return its path and that of the trace."""
    inner = folder / "traced"
    inner.mkdir()
    trace = folder / "trace"
    command = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace), sys.executable, "-I"]
    prelude = f"os.execvp('strace', [*{command!r}, {str(scached(inner))!r}, *sys.argv[1:]])"
    # strace is looked up here: the environment that master(8) passes on has no PATH.
    return scached(folder, f"os.environ['PATH'] = '/usr/bin:/usr/local/bin'\n{prelude}"), trace
