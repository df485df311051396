"""Make the environment that tests and checks run in, or make it anew where it cannot be right any more.

    python3 .make/environment.py FOLDER

The folder says what it was made from, as the last thing that is done to it: one that was moved, or made by another
interpreter, or whose making was interrupted, is made anew; after a change of pyproject.toml what is listed there is
installed. Whatever fails ends in one line that says what to do.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

PROJECT = Path("pyproject.toml")

INTERPRETER = os.path.realpath(sys.executable)
"""Not the one of an environment: that environment may be what is made anew."""

NO_INDEX = re.compile(r"connection broken|Could not fetch URL|Max retries|timed out|NewConnectionError|name resolution")
"""What pip says of a package index that it cannot talk to."""


def main(folder: Path) -> None:
    """Return when the environment in the folder is right."""
    made_from = folder / "made-from.json"
    python = {"interpreter": INTERPRETER, "version": sys.version, "folder": str(folder.absolute())}
    wanted = python | {"project": hashlib.sha256(PROJECT.read_bytes()).hexdigest()}
    with PROJECT.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes in two terminals
        found = _read(made_from)
        if found == wanted:
            return
        must_be_made = any(found.get(name) != value for name, value in python.items())
        if must_be_made and importlib.util.find_spec("ensurepip") is None:
            package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
            _fail(f"this Python has no ensurepip: install it (Debian, Ubuntu: apt-get install {package})")
        print(f"setting up {folder} with Python {sys.version.split()[0]}; this takes a package index and a minute")
        sys.stdout.flush()
        made_from.unlink(missing_ok=True)
        if must_be_made:
            _make(folder)
        _install(folder)
        made_from.write_text(json.dumps(wanted))


def _read(made_from: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(made_from.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _make(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    _run(folder, [INTERPRETER, "-m", "venv", str(folder)])


def _install(folder: Path) -> None:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    _run(folder, [*pip, "--editable", ".[dev]"])


def _run(folder: Path, command: list[str]) -> None:
    # A folder that is not there yet has no log; pip tries an index six times before it gives up, which takes a minute.
    environment = {"PIP_RETRIES": "1", **os.environ}
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if ended.returncode == 0:
        return
    folder.mkdir(exist_ok=True)
    log = folder / "set-up.log"
    log.write_text(ended.stdout)
    if "CERTIFICATE_VERIFY_FAILED" in ended.stdout:
        _fail(f"pip does not trust the package index: name its authority's certificate in PIP_CERT; details in {log}")
    if NO_INDEX.search(ended.stdout):
        _fail(f"pip reaches no package index: mend the network, or name an index in PIP_INDEX_URL; details in {log}")
    said = [line for line in ended.stdout.splitlines() if line.strip()] or [f"status {ended.returncode}"]
    _fail(f"{' '.join(command[1:4])} failed: {said[-1].removeprefix('ERROR: ')}; details in {log}")


def _fail(what: str) -> NoReturn:
    sys.exit(f"{what}; then give the same command again")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except OSError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
