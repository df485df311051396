"""The C programs of the benchmark, compiled on the spot."""

import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

COMPILER_FLAGS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


class NoCompilerError(Exception):
    """There is no C compiler here."""


AFTERNOON: Final = Path(__file__).parents[2] / "tests/wrong/strangers/threaded.c"
"""A right server as a C programmer writes one from SPEC.md: the tests make wrong ones of it."""


def build(name: Literal["load", "floor", "threaded"], folder: Path) -> Path:
    """Compile one program into a folder and return its path.

    Raises NoCompilerError. CalledProcessError would be a mistake in the program: the compiler says which.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompilerError("there is no C compiler called cc: install gcc and libc6-dev")
    program = folder / name
    source = AFTERNOON if name == "threaded" else Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, *COMPILER_FLAGS, "-pthread", "-o", str(program), str(source)], check=True)
    return program
