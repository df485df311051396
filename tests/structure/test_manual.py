"""The manual pages name every setting, and neither mandoc nor groff has anything to say about them."""

import subprocess

import pytest
from tests.support.checkout import ROOT, files

from scache_fast.settings.table import SETTINGS

FOLDER = ROOT / "deploy/man"
PAGES = [path.name for path in files(FOLDER)]


@pytest.mark.parametrize("name", ["scached.8", "scached.toml.5"])
def test_page_names_every_setting(name: str) -> None:
    page = (FOLDER / name).read_text(encoding="utf-8").replace("\\-", "-")
    names = [each.option if name == "scached.8" else each.name for each in SETTINGS]
    assert [each for each in names if f"\\fB{each}\\fR" not in page] == []


@pytest.mark.needs("man")
@pytest.mark.parametrize("name", PAGES)
def test_formatters_have_nothing_to_say(name: str) -> None:
    for command in (
        ("mandoc", "-T", "lint", "-W", "warning"),
        ("groff", "-ww", "-z", "-man", "-t", "-Kutf8", "-Tutf8", "-rLL=78n"),
    ):
        ended = subprocess.run([*command, FOLDER / name], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout + ended.stderr) == (0, ""), command
