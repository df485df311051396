"""What belongs into an archive of `make dist`, and what is in one."""

import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT, files

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAME: Final = f"scached-{PROJECT['project']['version']}"

COMPILED_GROUP: Final = "scache_fast__mypyc"
"""The library with the code of all compiled modules; each of them has a small one of its own."""


DESCRIPTION: Final = "PKG-INFO"
"""What an sdist says of itself. In an unpacked one it is among the files."""


def in_archive(archive: Path) -> set[str]:
    """Return the files of a wheel or an sdist, without what describes the archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    with tarfile.open(archive) as sdist:
        return {member.name.removeprefix(f"{NAME}/") for member in sdist if member.isfile()} - {DESCRIPTION}


def of_sdist() -> set[str]:
    """Return everything that somebody wrote."""
    return {str(path.relative_to(ROOT)) for path in files()} - {DESCRIPTION}


def of_wheel() -> set[str]:
    """Return what an installation has: the packages, the manual pages, and the results that the suite shows."""
    packages = [ROOT / folder for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    modules = {str(path.relative_to(package.parent)) for package in packages for path in files(package)}
    data = f"{NAME}.data/data/share"
    pages = {f"{data}/man/man{page.suffix[1:]}/{page.name}" for page in manual_pages()}
    return modules | pages | {f"{data}/doc/scached/RESULTS.md"}


def of_compiled_wheel(suffix: str) -> set[str]:
    """Return what the compiled wheel has; `suffix` is that of the extension modules, as in .cpython-311-….so."""
    engine = ROOT / "fast/scache_fast/engine"
    libraries = {f"scache_fast/engine/{path.stem}{suffix}" for path in files(engine) if path.suffix == ".py"}
    return of_wheel() | libraries | {f"{COMPILED_GROUP}{suffix}", f"scache_fast/engine/_wire{suffix}"}


def manual_pages() -> Iterator[Path]:
    """Yield the manual pages."""
    return files(ROOT / "deploy/man")
