"""What counts as a failure, and the exit status."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.conformance.made_up import result

from scache_conformance.suite import expectations
from scache_conformance.suite.registry import all_cases
from scache_conformance.suite.verdicts import Exit, Level, Result, Verdict, exit_status

PASSED = result(Verdict.PASS)
SHOULD_FAILED = result(Verdict.FAIL, level=Level.SHOULD)


@pytest.mark.parametrize(
    ("results", "strict", "status"),
    [
        ([PASSED], False, Exit.GOOD),
        ([PASSED, result(Verdict.INFO, level=Level.INFO)], True, Exit.GOOD),
        ([PASSED, result(Verdict.SKIP)], True, Exit.GOOD),
        ([PASSED, result(Verdict.FAIL)], False, Exit.FAILED),
        ([PASSED, SHOULD_FAILED], False, Exit.GOOD),
        ([PASSED, SHOULD_FAILED], True, Exit.FAILED),
        ([PASSED, result(Verdict.FAIL, excuse="known")], True, Exit.GOOD),
        ([PASSED, result(Verdict.PASS, excuse="known")], False, Exit.FAILED),
        ([PASSED, result(Verdict.PASS, level=Level.SHOULD, excuse="known")], False, Exit.FAILED),
        ([PASSED, result(Verdict.ERROR)], False, Exit.NO_VERDICT),
        ([result(Verdict.FAIL), result(Verdict.ERROR)], False, Exit.NO_VERDICT),
        ([PASSED, result(Verdict.PASS, server_died=True)], False, Exit.NO_VERDICT),
        ([], False, Exit.NO_VERDICT),
        ([result(Verdict.SKIP)], False, Exit.NO_VERDICT),
    ],
)
def test_exit_status(results: list[Result], strict: bool, status: Exit) -> None:
    assert exit_status(results, strict=strict) is status


def write(folder: Path, text: str) -> Path:
    path = folder / "expected.toml"
    path.write_text(text)
    return path


def test_expected_failures_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[[deviation]]\nclauses=["ENDP-4"]\ncases=["endp/found-session-is-gone"]\nreason="It is kept."\n'
    )
    assert expectations.read(path, all_cases(), "virtual").reasons == {
        "endp/found-session-is-gone": "ENDP-4: It is kept."
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[deviation", "cannot read"),
        ("seen_on = 3\n", "name and version of a server"),
        ('[[deviation]]\nclauses=["ENDP-4"]\ncases=["endp/found-session-is-gone"]\n', "a reason"),
        ('[[deviation]]\nclauses=["ENDP-4"]\ncases=["endp/found-session-is-gone"]\nreason=""\n', "a reason"),
        ('[[deviation]]\nclauses=["ENDP-4"]\ncases=["endp/many"]\nreason="r"\nclock="x"\n', "clock 'x'"),
        ('[[deviation]]\nclauses=["ENDP-4"]\ncases=["endp/no-such"]\nreason="r"\n', "no case 'endp/no-such'"),
        ('[[deviation]]\nclauses=["STAT-1"]\ncases=["endp/found-session-is-gone"]\nreason="r"\n', "tries ENDP-4"),
        (
            '[[deviation]]\nclauses=["ENDP-3"]\nreason="r"\ncases=["endp/many", "endp/many"]\n',
            "twice",
        ),
    ],
)  # fmt: skip
def test_wrong_expectations_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(expectations.BadExpectations, match=complaint):
        expectations.read(write(tmp_path, text), all_cases(), "virtual")


def test_expectation_for_another_clock_does_not_count(tmp_path: Path) -> None:
    text = '[[deviation]]\nclauses=["ENDP-4"]\ncases=["endp/found-session-is-gone"]\nreason="r"\nclock="real"\n'
    assert expectations.read(write(tmp_path, text), all_cases(), "virtual").reasons == {}
    assert set(expectations.read(write(tmp_path, text), all_cases(), "real").reasons) == {"endp/found-session-is-gone"}


def test_differences_from_the_server_of_the_list_are_told(tmp_path: Path) -> None:
    text = (
        'seen_on = "Postfix 1"\n[[deviation]]\nclauses=["ENDP-4"]\ncases=["endp/found-session-is-gone"]\nreason="r"\n'
    )
    expected = expectations.read(write(tmp_path, text), all_cases(), "virtual")
    other = [replace(result(Verdict.FAIL), slug="new"), replace(result(Verdict.PASS), slug="mended", excuse="r")]
    assert list(expected.differences(other, "Postfix 2")) == [
        "The expected failures are those of Postfix 1; this is Postfix 2.",
        "  fails, and is not listed: new",
        "  passes, and is listed: mended",
    ]
    same = [replace(result(Verdict.FAIL), excuse="r"), result(Verdict.PASS)]
    *_, last = expected.differences(same, None)
    assert last == "  It fails no case that is not listed, and passes none that is."
    assert list(expectations.Expectations({}).differences(other, "Postfix 2")) == []


def test_missing_expectations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(expectations.BadExpectations, match=r"cannot read.*known by name: postfix-scache"):
        expectations.read(tmp_path / "nothing", all_cases(), "virtual")


def test_committed_expectations_fit_the_cases() -> None:
    names = {path.stem for path in expectations.FOLDER.glob("*.toml")}
    assert names == {"postfix-scache", "scache-reference"}
    for name in names:
        assert expectations.read(expectations.find(name), all_cases(), "virtual").reasons


def test_file_comes_before_the_list_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert expectations.find("postfix-scache").parent == expectations.FOLDER
    (tmp_path / "postfix-scache").touch()
    assert expectations.find("postfix-scache") == Path("postfix-scache")
    assert expectations.find("mine") == Path("mine")
