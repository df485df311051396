"""What tests need of the machine beyond Python, and what becomes of tests whose needs are not met.

`@pytest.mark.needs("spin", "compiler")` skips a test where one of the two is missing. The run ends in one line that
names the Debian packages which would bring the skipped tests. For CI, where nothing may be missing unnoticed:

* `--skips-allowed=FILE` fails the run on every skip that the file does not list.
* `--bare` fails the run if a program is there that a test can need, and on every skip for another reason.
"""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from scache_conformance.servers.postfix import scache_program
from scache_conformance.servers.unavailable import Unavailable

PACKAGES: Final = "Debian packages"
"""The name under which a skipped test's report carries them."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a machine may lack."""

    missing: str
    """The reason of a skip."""

    packages: str
    """The Debian packages that bring it; none for what no package brings."""

    is_met: Callable[[], bool]

    def reason(self) -> str:
        return f"{self.missing}: apt-get install {self.packages}" if self.packages else self.missing


def _has(*programs: str) -> Callable[[], bool]:
    # Programs of the administrator are not on everybody's PATH.
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"
    return lambda: all(shutil.which(program, path=path) for program in programs)


def _works(*command: str) -> Callable[[], bool]:
    def is_met() -> bool:
        return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0

    return is_met


def _has_postfix() -> bool:
    try:
        scache_program()
    except Unavailable:
        return False
    return _has("postfix", "smtp-sink", "smtp-source")()


def libfaketime() -> Path | None:
    """Return the library that Debian's package libfaketime installs."""
    found = [path for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1") if path.is_file()]
    return found[0] if found else None


NEEDS: Final = {
    "compiler": Need(
        "no C compiler with its headers is installed", "gcc libc6-dev",
        _works("cc", "-fsyntax-only", "-include", "stdio.h", "-x", "c", "/dev/null"),
    ),
    "faketime": Need("libfaketime is not installed", "libfaketime", lambda: libfaketime() is not None),
    "fish": Need("fish is not installed", "fish", _has("fish")),
    "man": Need("mandoc or groff is not installed", "groff mandoc", _has("mandoc", "groff")),
    "go": Need("no Go toolchain is installed", "golang-go", _has("go")),
    "make": Need("make is not installed", "make", _has("make")),
    "mounts": Need("no mount namespace can be made here, which takes root", "", _works("unshare", "-m", "true")),
    "postfix": Need("Postfix is not installed", "postfix", _has_postfix),
    "promtool": Need("Prometheus is not installed", "prometheus", _has("prometheus", "promtool")),
    "root": Need("only root can do this", "", lambda: os.geteuid() == 0),
    "setpriv": Need("setpriv is not installed", "util-linux", _has("setpriv")),
    "spin": Need("spin is not installed", "spin", _has("spin")),
    "strace": Need(
        "strace is not installed, or may not trace here", "strace", _works("strace", "-qq", "-o", "/dev/null", "true"),
    ),
    "stunnel": Need("stunnel or openssl is not installed", "openssl stunnel4", _has("openssl", "stunnel")),
    "systemd": Need("systemd is not installed", "systemd", _has("systemd-analyze", "systemd-socket-activate")),
    "zsh": Need("zsh is not installed", "zsh", _has("zsh")),
}  # fmt: skip
"""Everything that a test may name."""

ON_A_BARE_MACHINE: Final = {"make", "mounts", "root", "setpriv"}
"""What cannot or need not be missing there: setpriv is in a package that every Debian has."""


@cache
def is_met(name: str) -> bool:
    """Say whether the machine has what the name stands for. Looks once."""
    return NEEDS[name].is_met()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of CI."""
    parser.addoption(
        "--skips-allowed", metavar="FILE", type=Path, help="fail on every skip that FILE (TOML) does not list"
    )
    parser.addoption(
        "--bare", action="store_true", help="fail if a program is there that a test can need, and on any other skip"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker, and see that --bare tests what it says."""
    config.addinivalue_line("markers", f"needs(names): skip where the machine lacks one of {', '.join(NEEDS)}")
    config.pluginmanager.register(Skips(config), "skips")
    if config.getoption("--bare") and (
        there := [name for name in NEEDS if name not in ON_A_BARE_MACHINE and is_met(name)]
    ):
        raise pytest.UsageError(f"--bare: this machine is not, it has {', '.join(there)}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose needs are not met, before its fixtures are made."""
    names = [name for marker in item.iter_markers("needs") for name in marker.args]
    if missing := [NEEDS[name] for name in dict.fromkeys(names) if not is_met(name)]:
        item.user_properties.append((PACKAGES, " ".join(need.packages for need in missing)))
        pytest.skip("; ".join(need.reason() for need in missing))


class Skips:
    """The skips of one run: which are unexpected, and what would make them go."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the list of those that are allowed."""
        listed: Path | None = config.getoption("--skips-allowed")
        self._allowed: Final = tomllib.loads(listed.read_text(encoding="utf-8")) if listed else {}
        self._is_strict: Final = listed is not None or config.getoption("--bare")
        self._lacks_are_allowed: Final = config.getoption("--bare")
        self._packages: Final = set[str]()
        self._unexpected: Final = dict[str, str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that was skipped."""
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that was skipped."""
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        lacks = dict(getattr(report, "user_properties", ()))
        self._packages.update(lacks.get(PACKAGES, "").split())
        is_allowed = any(report.nodeid.startswith(beginning) for beginning in self._allowed)
        if self._is_strict and not is_allowed and not (self._lacks_are_allowed and PACKAGES in lacks):
            self._unexpected[report.nodeid] = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run if a skip was unexpected."""
        if self._unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None]:
        """Write what was unexpected, and the line that names the packages, below pytest's own list of skips."""
        yield
        for test, reason in sorted(self._unexpected.items()):
            terminalreporter.write_line(f"SKIP NOT ALLOWED {test}: {reason}", red=True)
        if self._packages:
            terminalreporter.write_line(
                f"To run the skipped tests too: apt-get install {' '.join(sorted(self._packages))}"
            )
