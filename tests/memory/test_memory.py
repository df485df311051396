"""The short form of filling the limits; `python -m tests.memory` is the long one."""

import re
from pathlib import Path

from tests.memory.filling import FILLERS, IN_THE_KERNEL, MARGIN, fill, scaled
from tests.support.checkout import ROOT

from scache_fast.settings.sizing import MEGABYTE, ROWS, total_bytes
from scache_spec.vocabulary import Limits

SCALE = 40


def test_every_row_of_the_table_is_filled() -> None:
    assert {row.what for row in ROWS if row.bytes_of(Limits())} == {*FILLERS, IN_THE_KERNEL}


def test_default_limits_allow_less_than_512_megabytes() -> None:
    assert total_bytes(Limits()) < 512 * MEGABYTE


def test_unit_allows_more_than_the_limits_do() -> None:
    unit = (ROOT / "deploy/systemd/scached.service").read_text(encoding="utf-8")
    (mebibytes,) = re.findall(r"^MemoryMax=(\d+)M$", unit, re.MULTILINE)
    assert int(mebibytes) * 2**20 > MARGIN * total_bytes(Limits())


def test_limits_cost_no_more_than_the_table_says(tmp_path: Path) -> None:
    assert [each for each in fill(tmp_path, scaled(SCALE)) if not each.is_within] == []
