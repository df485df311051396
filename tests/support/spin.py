"""Spin models: built with one mistake or none, and searched completely."""

import shutil
import subprocess
from pathlib import Path


def search(model: Path, folder: Path, *, bug: str | None = None, flags: tuple[str, ...] = ()) -> str:
    """Build the search for a model, with one mistake or none, run it in `folder` and return what it says."""
    shutil.copy(model, folder)
    defines = [] if bug is None else [f"-DBUG_{bug}"]
    commands = [
        ["spin", *defines, "-a", model.name],
        # -w: Spin wrote pan.c, so its warnings are not ours. -O0: a seeded mistake is found early, before -O2 pays.
        ["cc", "-w", "-O2" if bug is None else "-O0", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"],
        ["./pan", "-m50000", "-w20", *flags],
    ]
    said = ""
    for command in commands:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        said = result.stdout + result.stderr
        assert result.returncode == 0, said
    return said
