"""scached as a program that master(8) can start, made for one test.

A file stands for the installed command: an isolated interpreter, the sources of this checkout, and whatever is to
happen to the process before the command begins. A child runs with privileges dropped and in a chroot unless a test
wants it otherwise, as Debian's master.cf has it.
"""

import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT
from tests.support.client import Client
from tests.support.messages import MISSED, find_endp

from scache_conformance.servers.postfix import MasterChild

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


class Starter:
    """Starts children that are stopped when the test is over."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def __call__(
        self,
        *options: str,
        program: Path | None = None,
        prelude: str = "",
        arguments: list[str] | None = None,
        privileges: bool = False,
        root: bool = False,
        generation: str = "1",
        configuration: tuple[str, ...] = (),
        descriptors_max: int = 0,
    ) -> MasterChild:
        """Start a child and wait for its greeting; `privileges` and `root` are those that it keeps."""
        child = MasterChild(
            program or scached(self._folder, prelude),
            options=options,
            arguments=arguments,
            drop_privileges=not privileges and arguments is None,
            chroot=not root and arguments is None,
            generation=generation,
            configuration=configuration,
            descriptors_max=descriptors_max,
        )
        return self._stack.enter_context(child)


def miss(child: MasterChild) -> None:
    """Have the child serve one request."""
    with Client(child.socket_path) as peer:
        assert peer.say(find_endp(b"nothing")) == MISSED


def texts(child: MasterChild) -> list[str]:
    """Return what the child logged, without time, host and tag; statistics without their time."""
    found = [re.fullmatch(r"\S+ +\d+ \S+ private \S+\[\d+\]: (.*)", line) for line in child.log().splitlines()]
    assert all(found), child.log()
    return [re.sub(r"(?<=start interval ).*", "...", match[1]) for match in found if match]
