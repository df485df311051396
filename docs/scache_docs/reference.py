"""Pages of the site that are kept as files, since operators read them in the packages as well.

python -m scache_docs.reference [FOLDER]
"""

import argparse
from pathlib import Path
from typing import Final

from scache_docs import messages, metrics

FOLDER: Final = Path(__file__).parents[1] / "reference"


def pages() -> dict[str, str]:
    """Return each page by its name in docs/reference."""
    return {"messages.md": messages.page(), "metrics.md": metrics.page()}


def main(folder: Path) -> None:
    """Write every page."""
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        prog="python -m scache_docs.reference", description="Write the pages of reference that are made from the code."
    )
    arguments.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER",
                           help="folder of the pages (default: docs/reference)")  # fmt: skip
    main(arguments.parse_args().folder)
