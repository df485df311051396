"""Links between the project's own pages lead to files, and to headings that are there.

The pages in docs/ are sources of the site: tests/docs/test_pages.py looks at their links.
"""

import re
from pathlib import Path

import pytest
from tests.support.checkout import ROOT, files

PAGES = [path for path in files() if path.suffix == ".md" and path.relative_to(ROOT).parts[0] != "docs"]

LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")

HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: those it names itself, and those that code hosts make of its headings."""
    text = page.read_text(encoding="utf-8")
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text))
    return {*headings, *re.findall(r'<a id="([^"]+)">', text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    nowhere = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            nowhere.append(f"{target}#{anchor}")
    assert nowhere == []
