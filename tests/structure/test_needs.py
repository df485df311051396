"""Tests whose needs are not met: skipped with a reason, summed up in one line, and no secret from CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.support.needs import NEEDS

TESTS = """
import pytest

@pytest.mark.needs("spin", "strace")
def test_search(): assert False

@pytest.mark.needs("strace", "root")
def test_trace(): assert False

@pytest.mark.needs("mounts")
def test_mount(): assert False

def test_plain(): pass
"""

SKIP = """
def test_on_a_whim(): pytest.skip("a whim")
"""

LACKS = """
import os
from tests.support import needs

for name in os.environ["LACKS"].split():
    need = needs.NEEDS[name]
    needs.NEEDS[name] = needs.Need(need.missing, need.packages, lambda: False)
for name in os.environ["HAS"].split():
    need = needs.NEEDS[name]
    needs.NEEDS[name] = needs.Need(need.missing, need.packages, lambda: True)

pytest_plugins = ["tests.support.needs"]
"""
"""What stands for the machine."""

EVERYTHING = tuple(NEEDS)


def run(folder: Path, *options: str, tests: str = TESTS, lacks: tuple[str, ...] = EVERYTHING) -> tuple[int, str]:
    """Run tests on a machine that lacks these; return the exit status and what was said."""
    (folder / "conftest.py").write_text(LACKS)
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    has = [name for name in EVERYTHING if name not in lacks]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]), "LACKS": " ".join(lacks),
        "HAS": " ".join(has), "COLUMNS": "200", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *options]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "two workers"])
def test_skips_have_reasons_and_the_run_ends_in_the_packages(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, said = run(tmp_path, *options)
    assert status == 0, said
    assert "1 passed, 3 skipped" in said
    strace = "strace is not installed, or may not trace here: apt-get install strace"
    assert f"spin is not installed: apt-get install spin; {strace}\n" in said
    assert f"{strace}; only root can do this\n" in said
    assert "no mount namespace can be made here, which takes root\n" in said
    assert "\nTo run the skipped tests too: apt-get install spin strace\n" in said


def test_privileges_alone_are_no_matter_of_packages(tmp_path: Path) -> None:
    status, said = run(tmp_path, "-k", "mount")
    assert status == 0, said
    assert "1 skipped" in said
    assert "To run" not in said


def test_nothing_is_said_where_nothing_is_missing(tmp_path: Path) -> None:
    status, said = run(tmp_path, lacks=())
    assert status == 1
    assert "3 failed, 1 passed" in said
    assert "To run" not in said


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "two workers"])
def test_skip_that_is_not_on_the_list_fails_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    listed = tmp_path / "allowed.toml"
    listed.write_text('"test_it.py::test_search" = "no spin"\n"test_it.py::test_mount" = "no mounts"\n')
    status, said = run(tmp_path, "--skips-allowed", str(listed), *options)
    assert status == 1, said
    assert said.count("SKIP NOT ALLOWED") == 1
    assert "\nSKIP NOT ALLOWED test_it.py::test_trace: Skipped: strace is not installed" in said


def test_skips_on_the_list_do_not(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.toml"
    listed.write_text('"test_it.py::test_" = "whatever"\n')
    assert run(tmp_path, "--skips-allowed", str(listed))[0] == 0


def test_module_that_is_skipped_counts(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.toml"
    listed.write_text("")
    tests = 'import pytest\npytest.importorskip("no_such_module")\n'
    status, said = run(tmp_path, "--skips-allowed", str(listed), tests=tests)
    assert "SKIP NOT ALLOWED test_it.py: " in said
    assert status != 0


def test_bare_machine_may_skip_what_it_lacks_and_nothing_else(tmp_path: Path) -> None:
    assert run(tmp_path, "--bare")[0] == 0
    status, said = run(tmp_path, "--bare", tests=TESTS + SKIP)
    assert status == 1, said
    assert "SKIP NOT ALLOWED test_it.py::test_on_a_whim: Skipped: a whim" in said


def test_bare_machine_that_has_something_is_none(tmp_path: Path) -> None:
    lacks = tuple(name for name in EVERYTHING if name not in ("spin", "systemd"))
    status, said = run(tmp_path, "--bare", lacks=lacks)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "--bare: this machine is not, it has spin, systemd" in said


def test_unknown_need_is_a_mistake(tmp_path: Path) -> None:
    status, said = run(tmp_path, tests='import pytest\n@pytest.mark.needs("spim")\ndef test_it(): pass\n')
    assert status == 1
    assert "KeyError: 'spim'" in said
