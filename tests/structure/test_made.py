"""Every file that is made from the code is what the code says."""

import pytest
from tests.support.checkout import ROOT

from scache_docs import made


@pytest.mark.parametrize("name", made.files())
def test_file_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == made.files()[name], f"{name} is old: run make spec"
