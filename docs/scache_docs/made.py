"""`python -m scache_docs.made`: write every file of the tree that is made from the code, or has figures from elsewhere.

They are committed: packages ship them, and they are read without the tools that build the site.
"""

from scache_ctl import manual as scachectl
from scache_docs import figures, manual, messages, metrics
from scache_docs.published import ROOT
from scache_fast.settings import manual as scached
from scache_spec import render


def files() -> dict[str, str]:
    """Return the text of each file by its path in the tree."""
    return {
        "spec/SPEC.md": render.render(),
        "deploy/man/scached.8": scached.render(),
        **{f"deploy/{name}": text for name, text in scachectl.documents().items()},
        **{f"deploy/man/{name}": text for name, text in manual.pages().items()},
        "docs/reference/messages.md": messages.page(),
        "docs/reference/metrics.md": metrics.page(),
        figures.PAGE: figures.page(),
        figures.README: figures.readme(),
    }


def main() -> None:
    """Write every file."""
    for name, text in files().items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
