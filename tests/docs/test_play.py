"""The specification as the page plays with it."""

import json

import pytest

from scache_docs.play import Page, deed, readable, request, unescaped
from scache_spec.conversation import TRANSITIONS, State
from scache_spec.dances import EXAMPLES, SAVE_ENDP_LIST


@pytest.mark.parametrize("title", EXAMPLES)
def test_each_example_can_be_stepped_through(title: str) -> None:
    page = Page()
    clauses = {row.clause for row in TRANSITIONS.values()}
    told = [json.loads(page.example(title, number)) for number in range(page.length(title))]
    rows = [line for each in told for line in each["log"] if line["who"] == "row"]
    assert rows
    assert {line["clause"] for line in rows} <= clauses
    assert not [line for line in rows if "`" in line["what"]], "the page shows text, not Markdown"


def test_form_parks_and_time_ends_it() -> None:
    page = Page()
    save = {"do": "request", "name": "save_endp", "ttl": "60", "first": "e", "properties": "p", "second": ""}
    page.step("A", json.dumps(save))
    told = json.loads(page.step("A", json.dumps({"do": "descriptors", "count": "1"})))
    assert [session["ends in"] for session in told["sessions"]] == ["60 s"]
    told = json.loads(page.step("A", json.dumps({"do": "wait", "seconds": "60"})))
    assert told["sessions"] == []
    assert told["log"][-1]["what"] == "the cache closes its copy of #1 of A"


def test_client_that_leaves_is_gone_and_may_come_again() -> None:
    page = Page()
    page.step("A", json.dumps({"do": "bytes", "text": r"dummy\0\0\0"}))
    told = json.loads(page.step("A", json.dumps({"do": "leave"})))
    assert told["clients"] == []
    told = json.loads(page.step("A", json.dumps({"do": "bytes", "text": ""})))
    assert [client["waits for"] for client in told["clients"]] == [f"REQUEST: {State.REQUEST.value}"]


def test_list_that_is_too_long_for_the_server_ends_its_client() -> None:
    page = Page()
    told = json.loads(page.step("A", json.dumps({"do": "bytes", "text": "x" * 70_000})))
    assert told["clients"] == []


@pytest.mark.parametrize("step", [{"do": "bytes", "text": "\\x"}, {"do": "dance"}, {"do": "wait", "seconds": "soon"}])
def test_what_makes_no_sense_is_told(step: dict[str, str]) -> None:
    assert json.loads(Page().step("A", json.dumps(step)))["error"]


def test_bytes_are_written_as_in_a_program() -> None:
    assert unescaped(r"a\0\n\xff") == b"a\0\n\xff"
    assert readable(SAVE_ENDP_LIST[:9]) == r"unfinished: request\0s"
    assert readable(b"\0") == "empty list"


def test_form_makes_the_requests() -> None:
    made = request("save_dest", "5", "d", "p", "e")
    assert made == b"request\0save_dest\0ttl\x005\0label\0d\0property\0p\0label\0e\0\0"
    assert request("dummy", "", "", "", "") == b"dummy\0\0\0"
    assert deed({"do": "request", "name": "find_endp", "ttl": "", "first": "e", "properties": "", "second": ""}) == (
        b"request\0find_endp\0label\0e\0\0"
    )
