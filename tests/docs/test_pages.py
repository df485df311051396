"""Pages made from the code: nothing of it is left out, and every link within them leads somewhere."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from scache_docs.pages import make_pages
from scache_docs.pictures import conversation, example
from scache_docs.published import CLAUSES, read, results
from scache_docs.what_if import DEEDS, STATES, anchor, answer
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


def test_no_level_of_headings_is_left_out(pages: Path) -> None:
    """Sphinx warns of one, and a warning ends the build of the site."""
    leaps = []
    for path in pages.rglob("*.md"):
        text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        levels = [0, *(len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE))]
        leaps += [path.name for above, level in pairwise(levels) if level > above + 1]
    assert leaps == []


def test_each_setting_is_described(pages: Path) -> None:
    text = (pages / "reference/settings.md").read_text()
    assert [each.name for each in SETTINGS if f"| `{each.name}` |" not in text] == []


def test_picture_has_an_arrow_for_each_row(pages: Path) -> None:
    assert conversation("{}.html").count("marker-end") == len(TRANSITIONS)
    assert {row.clause for row in TRANSITIONS.values()} == set(
        re.findall(r'href="([^"]+)\.html"', conversation("{}.html"))
    )


def test_every_row_of_the_table_is_an_answer_to_what_if() -> None:
    fired = {each.what for state in STATES for deed in DEEDS for each in answer(state, deed) if each.who == "row"}
    rows = {f"{state.name}: {what.value} → {row.action.value} → {row.next.name}".replace("`", '"')
            for (state, what), row in TRANSITIONS.items()}  # fmt: skip
    assert {row for row in rows - fired if not row.startswith("SENDING")} == set()


def test_every_pair_has_a_story_and_a_link_to_it(pages: Path) -> None:
    text = (pages / "spec/what-if.md").read_text()
    for state in STATES:
        for deed in DEEDS:
            assert text.count(f"](#{anchor(state, deed)})") == 1
            assert f"({anchor(state, deed)})=\n### {deed} in {state.name}\n" in text


def test_verdicts_stand_under_the_name_of_their_program(pages: Path) -> None:
    published = results(read("conformance/RESULTS.md"))
    clients = ["blocking client", "asyncio client", "Postfix smtp(8)"]
    assert len(published.programs) == 6
    assert [each.program for each in published.verdicts["FD-10"]] == ["reference", "scached", "Postfix scache(8)"]
    assert [each.program for each in published.verdicts["CLNT-3"]] == clients
    text = (pages / "spec/clauses/FD-10.md").read_text()
    assert "| reference | scached | Postfix scache(8) |" in text
    assert "Postfix scache(8) fails `deaths/put-back`." in text
    assert "scache-conformance client" in (pages / "spec/clauses/CLNT-3.md").read_text()


def test_matrix_and_pages_of_clauses_lead_to_each_other(pages: Path) -> None:
    matrix = (pages / "conformance/matrix.md").read_text()
    for clause in results(read("conformance/RESULTS.md")).verdicts:
        assert f'<a id="{clause.lower()}"></a>[{clause}](../spec/clauses/{clause}.md)' in matrix
        assert f"../../conformance/matrix.html#{clause.lower()}" in (pages / f"spec/clauses/{clause}.md").read_text()


@pytest.mark.parametrize("title", EXAMPLES)
def test_each_example_is_drawn(title: str) -> None:
    assert example(title).count("<svg") == 1
