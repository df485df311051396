"""What a newcomer meets first: `make run`, and the environment behind `make test`, on machines that lack something."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.support.processes import run

FAKE_VENV = """
import os, sys
os.makedirs(sys.argv[1] + "/bin")
os.symlink(sys.executable, sys.argv[1] + "/bin/python")
"""

FAKE_PIP = """
import os, sys
with open(os.environ["INSTALLED"], "a") as log:
    print(" ".join(sys.argv[1:]), file=log)
print(os.environ.get("PIP_SAYS", ""))
if "PIP_DIES" in os.environ:
    os.kill(os.getppid(), 9)
sys.exit("PIP_SAYS" in os.environ)
"""

NO_ENSUREPIP = "import sys; sys.modules['ensurepip'] = None"
"""What python3 is like on Debian without python3-venv."""


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[str]:
    """Start what make run starts; return what it says to type."""
    command = [sys.executable, f"{ROOT}/.make/try.py", "s"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        shown = ""
        while "Ctrl-C" not in shown:
            shown += (line := server.stdout.readline())
            assert line, server.stderr.read()
        assert "listening on" in server.stderr.readline()
        yield "".join(line for line in shown.splitlines(keepends=True) if line.startswith("    "))
        server.send_signal(signal.SIGTERM)
        server.communicate()
    assert server.returncode == 0


@pytest.mark.parametrize(
    "shell", ["sh", "bash", *(pytest.param(name, marks=pytest.mark.needs(name)) for name in ("zsh", "fish"))]
)
def test_lines_that_make_run_shows_work_in_every_shell(shell: str, shown: str, tmp_path: Path) -> None:
    ended = subprocess.run([shell], input=shown, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.findall("received +(.*)", ended.stdout) == [
        "connection 1, line 1: hello",
        "connection 1, line 2: hello again",
    ]


def test_what_make_run_starts_can_be_watched_and_is_not_started_twice(shown: str, tmp_path: Path) -> None:
    park = next(line.strip() for line in shown.splitlines() if " park " in line)
    parked, listed = (
        subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        for command in (park, ".run/scachectl list")
    )
    assert (parked.returncode, listed.returncode, listed.stderr) == (0, 0, "")
    assert "demo" in listed.stdout
    again = [sys.executable, f"{ROOT}/.make/try.py", "s"]
    refused = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("make run: another server listens on s: ")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("x" * 102, f"{'x' * 102}.admin is too long for a socket: make run SOCKET="),
        ("f/s", "cannot write f: File exists"),
    ],
)
def test_make_run_says_in_one_line_why_it_cannot(path: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    command = [sys.executable, f"{ROOT}/.make/try.py", path]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert complaint in ended.stderr


def set_up(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Have an environment made for a project that is not there, by a venv and a pip that are quick."""
    (folder / "venv.py").write_text(FAKE_VENV)
    (folder / "pip.py").write_text(FAKE_PIP)
    (folder / "pyproject.toml").touch()
    environment = os.environ | {"PYTHONPATH": str(folder), "INSTALLED": str(folder / "installed")} | variables
    command = [sys.executable, f"{ROOT}/.make/environment.py", ".venv"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def installed(folder: Path) -> int:
    """Return how often pip was called."""
    return (folder / "installed").read_text().count("--editable .[dev]\n") if (folder / "installed").exists() else 0


def made_new(folder: Path) -> bool:
    """Say whether the environment was made since the last call."""
    mark = folder / ".venv/mark"
    is_new = not mark.exists()
    mark.touch()
    return is_new


def fails_in_one_line(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 1
    assert ended.stderr.endswith("; then give the same command again\n")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_environment_is_made_once_and_again_where_it_must(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    assert set_up(here).returncode == 0
    assert (made_new(here), installed(here)) == (True, 1)
    again = set_up(here)
    assert (again.returncode, again.stdout, made_new(here), installed(here)) == (0, "", False, 1)
    (here / "pyproject.toml").write_text("# something more to install")
    assert set_up(here).returncode == 0
    assert (made_new(here), installed(here)) == (False, 2)
    shutil.move(here, there)
    assert set_up(there).returncode == 0
    assert (made_new(there), installed(there)) == (True, 3)


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"PIP_SAYS": "connection broken by 'NewConnectionError"}, "pip reaches no package index: mend the network"),
        (
            {"PIP_SAYS": "connection broken by 'SSLError([SSL: CERTIFICATE_VERIFY_FAILED] certificate"},
            "pip does not trust the package index",
        ),
        ({"PIP_SAYS": "ERROR: No matching distribution found for x"}, "failed: No matching distribution found for x"),
    ],
    ids=["no index", "no trust", "no package"],
)
def test_pip_that_fails_is_one_line_and_the_next_try_begins_anew(
    tmp_path: Path, variables: Mapping[str, str], complaint: str
) -> None:
    said = fails_in_one_line(set_up(tmp_path, **variables))
    assert complaint in said
    log = re.search(r"details in (\S+);", said)
    assert log is not None
    assert variables["PIP_SAYS"] in (tmp_path / log[1]).read_text()
    assert made_new(tmp_path)
    assert set_up(tmp_path).returncode == 0
    assert made_new(tmp_path)


@pytest.mark.parametrize("is_first", [True, False])
def test_after_a_set_up_that_was_killed_the_next_one_begins_anew(tmp_path: Path, is_first: bool) -> None:
    if not is_first:
        assert set_up(tmp_path).returncode == 0
        (tmp_path / "pyproject.toml").write_text("# something more to install")
    assert set_up(tmp_path, PIP_DIES="1").returncode == -signal.SIGKILL
    assert made_new(tmp_path)
    assert set_up(tmp_path).returncode == 0
    assert made_new(tmp_path)


def test_python_without_ensurepip_is_one_line_that_names_the_package(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_ENSUREPIP)
    package = f"python3.{sys.version_info.minor}-venv"
    ended = set_up(tmp_path)
    assert (ended.stdout, installed(tmp_path)) == ("", 0)
    assert f"apt-get install {package}" in fails_in_one_line(ended)


@pytest.mark.needs("make")
def test_makefile_knows_when_there_is_no_python() -> None:
    ended = subprocess.run(["make", "setup", "PYTHON=nosuch"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    first, _make_says = ended.stderr.splitlines()
    assert first.startswith("scached needs Python 3.11 or later, and 'nosuch' is none: install it")


def test_command_of_the_makefile_that_is_interrupted_ends_in_one_line() -> None:
    """The next test shows what the two functions do."""
    names = set(re.findall(r"python -m (tests[.\w]+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert len(names) > 10
    for name in names:
        path = ROOT / name.replace(".", "/")
        source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
        assert re.search(r"status_of\((main|lambda: main\(.*)\)|    end_when_interrupted\(\)\n", source), name


@pytest.mark.parametrize(
    "source",
    [
        "from tests.support.commands import status_of; sys.exit(status_of(lambda: os.kill(os.getpid(), 2)))",
        "from scache_proof.__main__ import end_when_interrupted; end_when_interrupted(); os.kill(os.getpid(), 2)",
    ],
    ids=["status_of", "end_when_interrupted"],
)
def test_interrupted_command_prints_one_line_and_ends_with_130(source: str) -> None:
    ended = run("-c", f"import os, sys; {source}", command=[sys.executable])
    assert (ended.returncode, ended.stderr.count("\n"), ended.stdout) == (130, 2, "")
    assert re.search(r"interrupted(: nothing is proved)?\n$", ended.stderr)
