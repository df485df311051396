"""The places of a clause, as `python -m scache_spec.clauses` prints them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.checkout import ROOT

from scache_spec import places
from scache_spec.clauses import gather


def test_a_clause_is_printed_with_its_places(capsys: pytest.CaptureFixture[str]) -> None:
    places.main(["ENDP-3"])
    printed = capsys.readouterr().out
    assert printed.startswith("ENDP-3  A find hands out the oldest session of its endpoint")
    assert "OBSERVED" in printed
    assert "Sources: " in printed
    for title, folder, _ in places.KINDS:
        _, _, found = printed.partition(f"\n{title}:")
        assert found.startswith(f"\n  {folder}/"), title


def test_a_row_of_the_table_is_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    places.main(["FD-8"])
    assert "Transition(State.RECEIVED, Action.LET_GO" in capsys.readouterr().out


def test_a_function_that_states_a_clause_is_a_place_and_a_list_that_names_it_is_none() -> None:
    carried_out = places.places("FD-1")["carried out in the specification"]
    assert carried_out is not None
    assert [(place.path.name, place.text.partition("(")[0]) for place in carried_out] == [
        ("events.py", "def on_unsolicited")
    ]


def test_several_clauses_are_printed_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    places.main(["ENDP-3", "WIRE-1"])
    assert "\n\nWIRE-1  " in capsys.readouterr().out


def test_without_a_clause_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    places.main([])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(gather())


def test_a_clause_that_nobody_states_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        places.main(["CONN-999"])
    assert exit_info.value.code == 2
    assert "there is no clause CONN-999" in capsys.readouterr().err


def test_installed_without_a_checkout_it_tells_what_is_there(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "spec/scache_spec", tmp_path / "scache_spec")
    shutil.copytree(ROOT / "fast/scache_fast", tmp_path / "scache_fast")
    run = "import runpy, sys; sys.path[:0] = [sys.argv.pop(1)]; runpy.run_module('scache_spec.clauses', {}, '__main__')"
    command = [sys.executable, "-I", "-c", run, str(tmp_path), "ENDP-3"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "\n  scache_spec/cache.py:" in printed
    assert "\n  scache_fast/engine/table.py:" in printed
    assert "\ntried by cases: not here\n" in printed


SOURCE = """\
text = "# ENDP-1"
one = 1  # ENDP-2
# ENDP-3, ENDP-4
if one:
    # a comment that names none
    # ENDP-5: and says why
    pass
    # ENDP-6 alone is no citation
"""


def test_citations_stand_behind_a_line_or_alone_above_it(tmp_path: Path) -> None:
    path = tmp_path / "cited.py"
    path.write_text(SOURCE, encoding="utf-8")
    found = [(place.line, cited) for place, cited in places.citations(path)]
    assert found == [(2, ("ENDP-2",)), (4, ("ENDP-3", "ENDP-4")), (7, ("ENDP-5",))]
