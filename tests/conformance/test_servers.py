"""The whole suite against the three servers that are here: every case passes, or fails as written down."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.wrong.registry import LIMITS, served_by

from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite.files.fuse import Fuse
from scache_conformance.suite.registry import Schedule, all_cases


def conform(tmp_path: Path, *words: str) -> dict[str, set[str]]:
    """Run the suite; return which cases got each verdict. Fails unless its exit status is 0."""
    report = tmp_path / "run.json"
    command = [sys.executable, "-m", "scache_conformance", *words, "--strict", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    slugs: dict[str, set[str]] = {"XFAIL": set(), "SKIP": set()}
    for result in json.loads(report.read_text())["results"]:
        slugs.setdefault(result["word"], set()).add(result["slug"])
    return slugs


TAKES_FEWER_RIGHTS = {"fd/too-many-in-flight"}
"""Root may have any number of descriptors in flight. A test below takes that from it."""

TAKES_OTHER_USERS = {case.slug for case in all_cases() if {"FD-15", "LIMIT-12"} & set(case.clauses)}
"""Only root can connect as another user."""

TAKES_FUSE = {case.slug for case in all_cases() if case.slug.startswith(("fd/unanswered-", "fd/locked-"))}
"""A container has no /dev/fuse, or may not mount."""


@pytest.fixture(scope="module")
def skipped() -> set[str]:
    """Return the cases that cannot be tried here, whatever the server."""
    if os.geteuid() != 0:
        return TAKES_OTHER_USERS
    try:
        with Fuse():
            return TAKES_FEWER_RIGHTS
    except Unavailable:
        return TAKES_FEWER_RIGHTS | TAKES_FUSE


TAKES_A_CLOCK = {
    "ttl/after-a-long-pause",
    "ttl/expiry-before-requests",
    "ttl/many-due-at-once",
    "ttl/many-ends-in-any-order",
} | {case.slug for case in all_cases() if case.slug.startswith("limits/due-") or case.schedule is Schedule.REAL_TIME}
"""Those in real time are tried beside a virtual clock only: without one, every case is in real time."""

TAKES_A_LIMIT = {
    "fd/lingering-client-too-many",
    "fd/number-0",
    "fd/options-after-limit",
    "stats/refused-save-takes-no-peak",
    "stats/start-line-tells-when",
}
"""Postfix has no limits to set, and master(8) says what is open in its child, and in which zone it is."""


def test_reference_conforms_in_virtual_time(tmp_path: Path, skipped: set[str]) -> None:
    results = conform(tmp_path, "--exec", served_by("scache_reference"), "--expect-fail", "scache-reference")
    assert results["SKIP"] == skipped


def test_production_server_conforms_in_real_time(tmp_path: Path, skipped: set[str]) -> None:
    results = conform(tmp_path, "--exec", f"{sys.executable} -m scache_fast --listen {{socket}} {LIMITS}")
    assert results["SKIP"] == skipped | TAKES_A_CLOCK


def test_production_server_conforms_in_virtual_time(tmp_path: Path, skipped: set[str]) -> None:
    assert conform(tmp_path, "--exec", served_by("scache_fast"))["SKIP"] == skipped


@pytest.mark.needs("root", "setpriv")
@pytest.mark.parametrize("module", ["scache_reference", "scache_fast"])
def test_FD_10_session_that_cannot_be_sent_is_put_back(module: str, tmp_path: Path) -> None:
    server = (
        f"setpriv --bounding-set=-sys_admin,-sys_resource {sys.executable} -m {module} --listen {{socket}} {LIMITS}"
    )
    results = conform(tmp_path, "--exec", server, "--run", "fd/too-many-in-flight")
    assert results["PASS"] == TAKES_FEWER_RIGHTS


@pytest.mark.needs("postfix", "compiler")
def test_postfix_deviates_as_written_down(tmp_path: Path, skipped: set[str]) -> None:
    results = conform(tmp_path, "--postfix", "--deadline", "1", "--expect-fail", "postfix-scache")
    limits = {slug for slug in results["SKIP"] if slug.startswith("limits/")}
    assert results["SKIP"] - limits == skipped | TAKES_A_LIMIT, "only limits that Postfix does not have"
