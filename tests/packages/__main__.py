"""`python -m tests.packages`: hold every archive in dist/ to its contents, install it where nothing else is, use it.

Each archive gets an environment of its own. A server is started there by its command. Two clients with the installed
library park a connection and take it up. Tests of the sdist are run from the unpacked archive, where there is no git.
"""

import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from tests.packages.contents import NAME, PROJECT, in_archive, manual_pages, of_compiled_wheel, of_sdist, of_wheel
from tests.support.checkout import ROOT
from tests.support.commands import status_of
from tests.support.processes import running

PARK_AND_TAKE = """
import socket, sys
from scache_client import Client
near, far = socket.socketpair()
with Client(sys.argv[1]) as cache:
    cache.save_endp(b"label", b"properties", ttl_s=60, connection=near)
with Client(sys.argv[1]) as cache:
    found = cache.find_endp(b"label")
assert found is not None
with found.socket() as sock:
    sock.sendall(b"still open")
assert far.recv(100) == b"still open"
"""

TESTS = ("tests/spec", "tests/structure", "tests/packages", "tests/fast/test_table.py")
"""What is run from the sdist: what reads the files of the project, and some of what runs them."""


def main() -> int:
    """Check all; return 1 where something is missing or superfluous. What does not work raises."""
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    status = 0
    for archive in sorted((ROOT / "dist").iterdir()):
        is_compiled = archive.suffix == ".whl" and not archive.name.endswith("-none-any.whl")
        is_sdist = archive.suffix == ".gz"
        wanted = of_sdist() if is_sdist else of_compiled_wheel(suffix) if is_compiled else of_wheel()
        found = in_archive(archive)
        for name in sorted(wanted ^ found):
            print(f"{archive.name}: {name} {'is missing' if name in wanted else 'does not belong there'}")
            status = 1
        with tempfile.TemporaryDirectory(dir="/tmp", prefix="scached-") as folder:
            form = install_and_use(archive, Path(folder))
            assert form == ("compiled" if is_compiled else "plain Python"), form
            if is_sdist:
                run_tests(archive, Path(folder))
        print(f"{archive.name}: {len(found)} files; installed; the engine is {form}; parks and takes", flush=True)
    return status


def install_and_use(archive: Path, folder: Path) -> str:
    """Install an archive into an environment of its own, and use what is there; return the form of its engine."""
    environment, path = folder / "venv", folder / "s"
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", archive)
    for script in PROJECT["project"]["scripts"]:
        run(environment / "bin" / script, "--help")
    for page in manual_pages():
        assert (environment / f"share/man/man{page.suffix[1:]}" / page.name).is_file(), page
    command = [str(environment / "bin/scached")]
    with running("--listen", path, command=command, env={"PYTHONPATH": ""}) as server:
        run(python, "-I", "-c", PARK_AND_TAKE, path)
        server.end()
    _version, engine, *_ = run(*command, "--version", "-v").splitlines()
    return engine.removeprefix("engine: ")


def run_tests(sdist: Path, folder: Path) -> None:
    """Run tests from an unpacked sdist."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, cwd=folder / NAME)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that has to succeed; return what it printed."""
    ended = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(status_of(main))
