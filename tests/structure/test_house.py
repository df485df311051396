"""Rules of the house that a program can check on every source file."""

import ast
import re
import tokenize
from pathlib import Path

import pytest
from tests.support.checkout import ROOT, files

SAYS_NOTHING = {"utils", "util", "common", "helpers", "misc"}

LINES_MAX = 450
"""Most are below 250, few above 400; more than this in one module is two subjects, or one told badly."""


FILES = [path for path in files() if path.suffix == ".py"]
assert len(FILES) > 100
SOURCES = [path for path in FILES if path.relative_to(ROOT).parts[0] != "tests"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no module docstring"


def test_names_say_something() -> None:
    assert [path for path in FILES if path.stem in SAYS_NOTHING] == []


def test_modules_are_of_readable_length() -> None:
    long = {str(path.relative_to(ROOT)): n for path in SOURCES if (n := path.read_text().count("\n")) > LINES_MAX}
    assert long == {}


def comments(path: Path) -> list[str]:
    with path.open("rb") as source:
        return [token.string for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT]


def test_no_marks_are_left_behind() -> None:
    marked = re.compile(r"#\s*(TODO|FIXME|XXX|HACK)\b")
    assert [path for path in FILES if any(marked.match(comment) for comment in comments(path))] == []


SLOW_ON_PURPOSE = {
    "tests/wrong/rules/process.py",
    "tests/support/scripted.py",
    "tests/attack/__main__.py",
    "tests/attack/attacks.py",
}
"""A server whose fault is that it takes its time, a queue of the kernel that can only be asked, not waited for, and a
measurement of waits."""


def test_no_test_sleeps() -> None:
    """A sleep in a test waits for a time where a fact could be waited for."""
    sleeping = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] == "tests" and str(path.relative_to(ROOT)) not in SLOW_ON_PURPOSE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
    ]
    assert sleeping == []


def test_no_any_in_the_core() -> None:
    core = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in {"spec", "reference", "fast"}]
    anything = re.compile(r"^from typing import .*\bAny\b|typing\.Any\b|^    Any,$", re.MULTILINE)
    assert [path for path in core if anything.search(path.read_text(encoding="utf-8"))] == []


EDGES = {
    "reference/scache_reference/shell.py",
    "conformance/scache_conformance/watch/relay.py",
    "fast/scache_fast/admin/connections.py",
    "fast/scache_fast/process/reloading.py",
    "fast/scache_fast/process/serving.py",
    "fast/scache_fast/takeover/predecessor.py",
    *(
        f"fast/scache_fast/engine/{name}.py"
        for name in ("server", "poller", "accepting", "requests", "context", "closing", "faults", "watched")
    ),
}
"""Where what nobody foresaw is contained, so that it ends one client, session or callback and not the loop."""


def test_no_broad_except_but_at_the_edges_of_the_loop() -> None:
    broad = {"Exception", "BaseException"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if str(path.relative_to(ROOT)) not in EDGES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in broad)
    ]
    assert found == []
