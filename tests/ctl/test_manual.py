"""The manual page and the completions work."""

import os
import subprocess

import pytest
from tests.support.checkout import ROOT

from scache_ctl.manual import BASH, ZSH


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SCACHE")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("sta", ["stats"]),
        ("loglevel v", ["verbose"]),
        ("list --gl", ["--glob"]),
        ("--json list dest", ["destinations"]),
    ],
)
def test_bash_completes(words: str, found: list[str]) -> None:
    script = f"""
        source {ROOT}/deploy/{BASH}
        COMP_WORDS=(scachectl {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _scachectl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (found, "")


@pytest.mark.needs("zsh")
def test_zsh_reads_its_completion() -> None:
    done = subprocess.run(["zsh", "-n", ROOT / "deploy" / ZSH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
