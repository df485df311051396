"""The archives of `make dist` hold all that belongs there and nothing else. The compiled wheel: `make dist-check`."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.packages.contents import NAME, PROJECT, in_archive, manual_pages, of_sdist, of_wheel
from tests.support.checkout import ROOT


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an sdist and a pure wheel."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_wheel_holds_the_packages_and_the_manual_pages(dist: Path) -> None:
    assert in_archive(dist / f"{NAME}-py3-none-any.whl") == of_wheel()


def test_sdist_holds_every_file_that_somebody_wrote(dist: Path) -> None:
    assert in_archive(dist / f"{NAME}.tar.gz") == of_sdist()


def test_every_package_of_the_wheel_is_typed() -> None:
    packages = {name.partition("/")[0] for name in of_wheel() if name.endswith("__init__.py")}
    assert {f"{package}/py.typed" for package in packages} <= of_wheel()


def test_debian_packages_have_the_version_of_the_project() -> None:
    first, *_ = (ROOT / "deploy/debian/changelog").read_text(encoding="utf-8").splitlines()
    assert first.startswith(f"{NAME.replace('-', ' (')})")


def test_manual_pages_are_of_the_section_that_they_are_installed_in() -> None:
    data = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    for page in manual_pages():
        assert data[f"deploy/man/{page.name}"] == f"share/man/man{page.suffix[1:]}/{page.name}"
