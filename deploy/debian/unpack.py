"""Unpack a wheel into the folders of the packages, with a command in /usr/bin for each of its scripts.

    python3 unpack.py WHEEL

The conformance suite and the reference server go to one package, and everything else to the other.
"""

import configparser
import sys
import zipfile
from pathlib import Path
from typing import Final

SUITE: Final = ("scache_conformance", "scache_reference")

# -I: what is in the environment and the working directory of whoever starts it is not imported.
COMMAND: Final = """\
#!/usr/bin/python3 -I
import sys

from {module} import {function}

sys.exit({function}())
"""


def folder_for(package: str) -> Path:
    """Return the root of the Debian package that an import package belongs to."""
    return Path("debian") / ("scache-conformance" if package in SUITE else "scached")


def main(wheel: Path) -> None:
    """Unpack it."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            top = Path(name).parts[0]
            if not top.startswith("scached-"):
                archive.extract(name, folder_for(top) / "usr/lib/python3/dist-packages")
            elif name.endswith("/entry_points.txt"):
                scripts = configparser.ConfigParser()
                scripts.read_string(archive.read(name).decode())
                for command, target in scripts["console_scripts"].items():
                    write_command(command, *target.split(":"))


def write_command(command: str, module: str, function: str) -> None:
    """Write a command."""
    path = folder_for(module.partition(".")[0]) / "usr/bin" / command
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(COMMAND.format(module=module, function=function))
    path.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
