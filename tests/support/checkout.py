"""The files of this project, also where it was unpacked and there is no git."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_MADE: Final = ("__pycache__", "build", "dist")
"""Folders that tools make, as those are that begin with a dot."""


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Yield every file that somebody wrote."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            if path.name != ".git":  # in a further worktree of a clone it is a file
                yield path
        elif path.name in (".ci", ".make") or (not path.name.startswith(".") and path.name not in _MADE):
            yield from files(path)
