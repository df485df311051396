"""Reports can be read by what reads such reports, and nothing a server sent breaks out of them."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.conformance.made_up import EVERY_KIND, NASTY, result, run

from scache_conformance.reports import run as runs
from scache_conformance.reports.html import to_html
from scache_conformance.reports.junit import to_junit
from scache_conformance.reports.markdown import to_markdown
from scache_conformance.reports.matrix import State, rows
from scache_conformance.reports.tap import to_tap
from scache_conformance.reports.terminal import Terminal
from scache_conformance.suite.verdicts import Level, Verdict


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(runs.to_json(EVERY_KIND), encoding="utf-8")
    assert runs.read(path) == EVERY_KIND
    document = json.loads(path.read_text())
    assert document["exit_status"] == 2
    assert document["clauses"]["ENDP-3"].startswith("A find hands out the oldest")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other", "version": 1}', '{"format": 1'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(runs.NotARun, match="run"):
        runs.read(path)


def test_junit_is_xml_and_counts() -> None:
    suite = ElementTree.fromstring(to_junit(EVERY_KIND))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8", "failures": "2", "errors": "1", "skipped": "4",
    }  # fmt: skip
    cases = suite.findall("testcase")
    assert len(cases) == 8
    assert len(suite.findall("testcase/failure")) == 2
    assert len(suite.findall("testcase/error")) == 1
    assert len(suite.findall("testcase/skipped")) == 4
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert NASTY in str(failure.text)
    assert "ENDP-3  A find hands out" in str(failure.text)


def test_junit_is_xml_whatever_the_name_of_the_server() -> None:
    name = 'a\0\x1b\x85\ud800\uffff]]><&"é'
    suite = ElementTree.fromstring(to_junit(replace(EVERY_KIND, server=name)))
    assert suite.get("name") == 'scache-conformance: a\\x00\\x1b\x85\\xd800\\xffff]]><&"é'


def test_junit_counts_should_if_strict() -> None:
    suite = ElementTree.fromstring(to_junit(run(result(Verdict.FAIL, level=Level.SHOULD), strict=True)))
    assert suite.get("failures") == "1"


TAP_LINE = re.compile(r"(not )?ok (\d+) - \S+[^#]*(# (TODO|SKIP) [^#]+)?")


def test_tap_is_tap() -> None:
    lines = to_tap(EVERY_KIND).splitlines()
    assert lines[:2] == ["TAP version 14", "1..8"]
    points = [line for line in lines[2:] if not line.startswith(("#", "  "))]
    matches = [TAP_LINE.fullmatch(line) for line in points]
    assert all(matches), points
    assert [match[2] for match in matches if match] == [str(number) for number in range(1, 9)]
    bad = [match for match in matches if match and match[1] and match[4] != "TODO"]
    assert len(bad) == 3, "one failed, one passed that was to fail, one died"
    details = "\n".join(lines)
    assert details.count("\n  ---\n") == details.count("\n  ...") == 3


class Page(HTMLParser):
    """What a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.scripts = 0
        self.buttons = 0
        self.data = ""
        self._in_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href")]
        self.scripts += tag == "script"
        self.buttons += tag == "button"
        self._in_data = tag == "script" and ("id", "runs") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    def handle_data(self, data: str) -> None:
        self.data += data if self._in_data else ""


def test_html_loads_nothing_and_keeps_the_servers_words_apart() -> None:
    page, text = Page(), to_html([EVERY_KIND, run(result(Verdict.PASS), server="other")])
    page.feed(text)
    assert page.loaded == []
    assert page.scripts == 2, "the data and the code, and none that a server brought along"
    assert page.buttons == 4, "two clauses on two servers have cases"
    held = json.loads(page.data)
    assert [each["server"] for each in held] == ["mine <b>", "other"]
    assert held[0]["results"][1]["expected"] == NASTY
    assert "<b>mine" not in text
    assert "mine &lt;b&gt;" in text


def test_markdown_has_a_column_a_server_and_every_deviation() -> None:
    text = to_markdown([EVERY_KIND, run(result(Verdict.PASS), server="other")])
    row = next(line for line in text.splitlines() if line.startswith("| ENDP-3 |"))
    assert row.endswith("| ! 2/6 | \u2713 1/1 |")
    assert "`endp/many`" in text
    assert "None." in text


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        ([result(Verdict.PASS), result(Verdict.SKIP)], State.PASSES),
        ([result(Verdict.SKIP)], State.NOT_TRIED),
        ([result(Verdict.PASS), result(Verdict.FAIL)], State.FAILS),
        ([result(Verdict.PASS), result(Verdict.FAIL, excuse="known")], State.DEVIATES),
        ([result(Verdict.FAIL, level=Level.SHOULD)], State.DEVIATES),
        ([result(Verdict.PASS, excuse="known")], State.FAILS),
        ([result(Verdict.FAIL), result(Verdict.ERROR)], State.NO_VERDICT),
        ([result(Verdict.INFO)], State.NOTED),
    ],
)
def test_cell_is_the_worst_of_its_cases(verdicts: list[object], state: State) -> None:
    made_up = run(*(each for each in verdicts if isinstance(each, type(result(Verdict.PASS)))))
    row = next(row for rows_ in rows([made_up]).values() for row in rows_ if row.clause.id == "ENDP-3")
    assert row.cells[0].state is state


def test_terminal_repeats_failures_at_the_end_with_clause_and_transcript() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, len(EVERY_KIND.results))
    for each in EVERY_KIND.results:
        terminal.progress(each)
    terminal.summary(EVERY_KIND)
    end = stream.getvalue().rpartition("8/8")[2]
    for part in (
        "endp/found-session-is-gone",
        "ENDP-3  A find hands out",
        "expected:",
        "actual:   nothing",
        "A    -> ",
    ):
        assert part in end
    assert "passes; expected to fail: out of date" in end
    assert "needs # more" in end
    assert "\033" not in stream.getvalue(), "no colours where there is no terminal"
