"""Clients held against the specification: ours conform, each wrong one fails a case of a clause that it breaks."""

import os
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S
from tests.wrong.clients import SLIPS

from scache_conformance.clients.cases import CASES, ClientCase
from scache_conformance.clients.command import LINE_BYTES_MAX, hold, run
from scache_conformance.suite.verdicts import Exit, Result, Verdict

WRONG = [sys.executable, str(ROOT / "tests/wrong/clients.py")]
OURS = [sys.executable, str(ROOT / "tests/client/scripted_client.py")]
ARGUMENTS = ["{socket}", "{script}", "{timeout_s}"]

CAUGHT_BY = {
    "sends-before-greeting": "save-endp",
    "takes-any-greeting": "wrong-greeting",
    "attributes-out-of-order": "save-endp",
    "no-properties": "save-endp",
    "labels-end-with-newline": "find-endp",
    "two-requests-ahead": "find-endp",
    "no-end-of-list": "find-endp",
    "descriptor-before-invitation": "save-endp",
    "two-descriptors": "save-endp",
    "no-descriptor": "save-endp",
    "two-bytes-with-descriptor": "save-endp",
    "saved-without-status": "save-refused-afterwards",
    "descriptor-after-refusal": "save-refused-at-once",
    "ready-after-refusal": "miss-then-hit",
    "ready-ahead": "find-endp",
    "no-ready": "find-endp",
    "no-received": "find-endp",
    "one-read-is-a-reply": "one-byte-at-a-time",
    "first-of-several": "two-descriptors",
    "found-without-descriptor": "no-descriptor",
    "waits-for-ever": "silent-before-greeting",
    "dies-with-its-server": "ends-after-request",
    "parks-again": "ends-after-parked",
    "keeps-what-it-parked": "save-endp",
    "keeps-broken-connections": "ends-after-request",
    "takes-everything-for-a-socket": "not-a-socket",
}


def case(name: str) -> ClientCase:
    return next(each for each in CASES if each.slug == f"client/{name}")


def held(slip: str) -> Result:
    return hold(case(CAUGHT_BY[slip]), [*WRONG, slip, *ARGUMENTS], 0.5)


@pytest.mark.generated
def test_each_wrong_client_is_caught_by_a_case_of_a_clause_that_it_breaks(pytestconfig: pytest.Config) -> None:
    """A quarter of them, and with --full every one."""
    assert len(SLIPS) >= 20
    slips = list(SLIPS) if pytestconfig.getoption("--full") else list(SLIPS)[::4]
    with ThreadPoolExecutor(8) as pool:
        results = dict(zip(slips, pool.map(held, slips), strict=True))
    assert [slip for slip, result in results.items() if result.verdict is not Verdict.FAIL] == []
    assert [slip for slip, each in results.items() if not set(each.clauses) & set(SLIPS[slip].clauses)] == []


@pytest.mark.generated
@pytest.mark.parametrize("command", [[*OURS, "blocking"], [*OURS, "asyncio"], [*WRONG, "right"]], ids=lambda c: c[-1])
def test_right_client_passes(command: list[str], pytestconfig: pytest.Config) -> None:
    """Two cases, and with --full every one."""
    tried = CASES if pytestconfig.getoption("--full") else [case("save-endp"), case("miss-then-hit")]
    results = [hold(each, [*command, *ARGUMENTS], 3.0) for each in tried]
    assert [(each.slug, each.actual) for each in results if each.verdict is not Verdict.PASS] == []


@pytest.mark.needs("compiler")
def test_client_in_c_of_the_examples_passes(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Two cases, and with --full every one."""
    strict = ["cc", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", str(tmp_path / "client")]
    subprocess.run([*strict, str(ROOT / "examples/client.c")], check=True, timeout=PATIENCE_S)
    tried = CASES if pytestconfig.getoption("--full") else [case("save-endp"), case("miss-then-hit")]
    results = [hold(each, [str(tmp_path / "client"), *ARGUMENTS], 3.0) for each in tried]
    assert [(each.slug, each.actual) for each in results if each.verdict is not Verdict.PASS] == []


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("yes | tr -d '\\n'", f"a line of more than {LINE_BYTES_MAX} bytes"),
        ("yes", "y"),
        ("exec >&-; exec sleep 1000", "it closed its standard output, and runs on"),
        ("exec sleep 1000", "nothing within"),
        ("exit 3", "it ended with status 3"),
    ],
)
def test_client_that_says_too_much_or_nothing_is_given_up(
    script: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scache_conformance.clients.command.SLACK_S", 0.1)
    result = hold(case("save-endp"), ["sh", "-c", script, "{socket}", "{script}"], 0.1)
    assert (result.verdict, complaint in result.actual) == (Verdict.FAIL, True), result


def test_client_leaves_no_child_behind(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)  # ends when the last one that has it open for writing ends
    try:
        script = f"exec 9>{alive}; sleep 1000 & echo child >&9; exit 3"
        assert hold(case("save-endp"), ["sh", "-c", script, "{socket}", "{script}"], 1.0).verdict is Verdict.FAIL
        ready, _, _ = select.select([reader], [], [], 10)
        assert ready
        assert os.read(reader, 100) == b"child\n"
        ready, _, _ = select.select([reader], [], [], 10)
        assert ready, "the child still runs"
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


def test_script_is_a_line_of_words_whatever_the_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ü b").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "ü b"))
    command = [*OURS, "blocking", *ARGUMENTS]
    result = hold(case("save-endp"), command, 3.0)
    assert result.verdict is Verdict.PASS, result


@pytest.mark.parametrize("timeout", ["nan", "inf", "0", "-1"])
def test_timeout_that_is_none_is_refused(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--exec", "true {socket} {script}", f"--timeout={timeout}"]) is Exit.NO_VERDICT
    assert "write a number of seconds above 0" in capsys.readouterr().err


def test_command_line_without_places_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--exec", "my-client"]) is Exit.NO_VERDICT
    assert run(["--exec", "my-client {socket} {script}", "--run", "nothing/*"]) is Exit.NO_VERDICT
    assert "needs {socket} and {script}" in capsys.readouterr().err
