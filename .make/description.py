"""The description of the packages: README.md, with links that also work outside the repository.

The metadata hook of hatchling. The address of the project is `Source` of [project.urls] in pyproject.toml. As long as
there is none, a link becomes its text and the path in the source archive.
"""

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK: Final = re.compile(r"\[([^]]+)\]\((?!https?://|#)([^)]+)\)")


class Description(MetadataHookInterface):
    """What hatchling calls for the field `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description."""
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = for_outside(readme, metadata.get("urls", {}).get("Source"), metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def for_outside(readme: str, source: str | None, version: str) -> str:
    """Return the README with links to the files of this version, or without links if the project has no address."""
    if source is None:
        return LINK.sub(r"\1 (`\2`)", readme)
    return LINK.sub(lambda link: f"[{link[1]}]({source.rstrip('/')}/blob/v{version}/{link[2]})", readme)
