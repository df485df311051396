"""The C programs of the benchmark, compiled on the spot.

Decides how they are compiled. Refuses to know what they do.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

COMPILER_FLAGS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


class NoCompilerError(Exception):
    """There is no C compiler here."""


def build(name: Literal["load", "floor"], folder: Path) -> Path:
    """Compile one program into a folder and return its path.

    Raises NoCompilerError. CalledProcessError would be a mistake in the program: the compiler says which.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompilerError("there is no C compiler called cc: install gcc and libc6-dev")
    program = folder / name
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, *COMPILER_FLAGS, "-o", str(program), str(source)], check=True)
    return program
