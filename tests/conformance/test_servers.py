"""The whole suite against the three servers that are here: every case passes, or fails as written down."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scache_spec.vocabulary import Limits

ROOT = Path(__file__).parents[2]
CLOCK = ROOT / "tests" / "conformance" / "under_virtual_clock.py"

LIMITS = " ".join(f"--{name.removesuffix('_s').replace('_', '-')} {{{name}}}" for name in Limits.__dataclass_fields__)


def conform(tmp_path: Path, *words: str) -> dict[str, int]:
    """Run the suite; return how many cases got each verdict. Fails unless its exit status is 0."""
    report = tmp_path / "run.json"
    command = [sys.executable, "-m", "scache_conformance", *words, "--strict", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    document = json.loads(report.read_text())
    counts: dict[str, int] = document["counts"]
    return counts


def test_reference_conforms_in_virtual_time(tmp_path: Path) -> None:
    command = f"{sys.executable} {CLOCK} {{clock}} scache_reference --listen {{socket}} {LIMITS}"
    counts = conform(tmp_path, "--exec", command)
    assert set(counts) == {"PASS", "INFO"}, counts


def test_production_server_conforms_in_real_time(tmp_path: Path) -> None:
    counts = conform(tmp_path, "--exec", f"{sys.executable} -m scache_fast --listen {{socket}} {LIMITS}")
    assert set(counts) == {"PASS", "SKIP", "INFO"}, counts
    assert counts["SKIP"] == 1, "only what takes a virtual clock"


def test_production_server_conforms_in_virtual_time(tmp_path: Path) -> None:
    command = f"{sys.executable} {CLOCK} {{clock}} scache_fast --listen {{socket}} {LIMITS}"
    counts = conform(tmp_path, "--exec", command)
    assert set(counts) == {"PASS", "INFO"}, counts


@pytest.mark.needs("postfix", "compiler")
def test_postfix_deviates_as_written_down(tmp_path: Path) -> None:
    counts = conform(tmp_path, "--postfix", "--deadline", "1", "--expect-fail", "postfix-scache")
    assert set(counts) == {"PASS", "XFAIL", "SKIP", "INFO"}, counts
    assert counts["SKIP"] == 16, "only limits that Postfix does not have"
