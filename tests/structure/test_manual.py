"""The manual page is what the table of settings says."""

from pathlib import Path

from scache_fast.settings.manual import render
from scache_fast.settings.table import SETTINGS

PAGE = Path(__file__).parents[2] / "deploy/man/scached.8"


def test_manual_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "deploy/man/scached.8 is not current: run make spec"


def test_manual_page_names_every_setting() -> None:
    page = PAGE.read_text(encoding="utf-8").replace("\\-", "-")
    assert [setting.option for setting in SETTINGS if f"\\fB{setting.option}\\fR" not in page] == []
