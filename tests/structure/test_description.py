"""The description of the packages has no link that is dead outside the repository."""

import importlib.util
import re
from collections.abc import Callable

import pytest
from tests.support.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

LINKS = re.findall(r"\]\(([^)]+)\)", README)


@pytest.fixture
def for_outside() -> Callable[[str, str | None, str], str]:
    specification = importlib.util.spec_from_file_location("description", ROOT / ".make/description.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    made: Callable[[str, str | None, str], str] = module.for_outside
    return made


def test_without_an_address_each_link_is_a_path(for_outside: Callable[[str, str | None, str], str]) -> None:
    text = for_outside(README, None, "1.2")
    assert "](" not in text
    assert [link for link in LINKS if f"(`{link}`)" not in text] == []


def test_with_an_address_each_link_leads_to_this_version(for_outside: Callable[[str, str | None, str], str]) -> None:
    text = for_outside(README, "https://code.example/scached/", "1.2")
    made = re.findall(r"\]\(([^)]+)\)", text)
    assert made == [f"https://code.example/scached/blob/v1.2/{link}" for link in LINKS]
