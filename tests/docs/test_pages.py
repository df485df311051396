"""Pages made from the code: nothing of it is left out, and every link within them leads somewhere."""

import re
from pathlib import Path

import pytest

from scache_docs.pages import CLAUSES, make_pages
from scache_docs.pictures import conversation, example
from scache_fast.settings.table import SETTINGS
from scache_spec.conversation import TRANSITIONS
from scache_spec.dances import EXAMPLES


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    make_pages(folder)
    return folder


def test_each_clause_has_a_page_that_says_where_it_is(pages: Path) -> None:
    for clause in CLAUSES.values():
        text = (pages / f"spec/clauses/{clause.id}.md").read_text()
        assert text.startswith(f"# {clause.id}\n")
        assert "spec/scache_spec/" in text


def test_links_lead_to_pages(pages: Path) -> None:
    nowhere = [
        f"{path.relative_to(pages)}: {target}"
        for path in pages.rglob("*.md")
        for target in re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", path.read_text())
        if not (path.parent / target).is_file()
    ]
    assert nowhere == []


def test_each_setting_is_described(pages: Path) -> None:
    text = (pages / "reference/settings.md").read_text()
    assert [each.name for each in SETTINGS if f"| `{each.name}` |" not in text] == []


def test_picture_has_an_arrow_for_each_row(pages: Path) -> None:
    assert conversation("{}.html").count("marker-end") == len(TRANSITIONS)
    assert {row.clause for row in TRANSITIONS.values()} == set(
        re.findall(r'href="([^"]+)\.html"', conversation("{}.html"))
    )


@pytest.mark.parametrize("title", EXAMPLES)
def test_each_example_is_drawn(title: str) -> None:
    assert example(title).count("<svg") == 1
