"""`python -m tests.packages.debian`: the Debian packages of `make deb` in a new Debian with a systemd of its own.

A Debian is made by debootstrap, once, below .cache. systemd-nspawn boots a copy of it without a network, and runs
inside.py there. Where that cannot be done, the reason is printed, and the exit status is 0.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT
from tests.support.commands import status_of

BASE: Final = ROOT / ".cache/debian"
SUITE: Final = "bookworm"
MIRROR: Final = "http://deb.debian.org/debian"

TIME_S_MAX: Final = 300
"""What is not done by then hangs."""

UNIT: Final = """\
[Unit]
Description=Try the packages
After=multi-user.target
[Service]
Type=oneshot
Environment=DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
ExecStart=/bin/sh -c 'python3 /mnt/inside.py /mnt >/mnt/said 2>&1; echo $? >/mnt/status'
ExecStopPost=/bin/systemctl --force poweroff
"""


def main() -> int:
    """Try the packages; return 0 if all of it works, or nothing of it can be tried here."""
    packages = list((ROOT / ".cache/deb").glob("*.deb"))
    assert packages, "there are no packages: make deb"
    missing = [program for program in ("debootstrap", "systemd-nspawn") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        print(f"debian: not tried: {' and '.join(missing)} missing" if missing else "debian: not tried: it takes root")
        return 0
    if not (BASE / "etc/machine-id").exists():
        make_base()
    with tempfile.TemporaryDirectory(prefix="scached-", dir="/tmp") as name:
        folder = Path(name)
        for path in (*packages, Path(__file__).with_name("inside.py")):
            shutil.copy(path, folder)
        page = (ROOT / "docs/how-to/systemd.md").read_text(encoding="utf-8")
        (folder / "second-server.sh").write_text(commands_below(page, "Two servers on one machine"), encoding="utf-8")
        (folder / "try.service").write_text(UNIT, encoding="utf-8")
        console = boot(folder)
        status = folder / "status"
        print((folder / "said").read_text(encoding="utf-8") if status.exists() else console, end="")
        if not status.exists():
            print("debian: it did not boot, or hung; above is what its console said")
        return 0 if status.exists() and status.read_text().strip() == "0" else 1


def commands_below(page: str, title: str) -> str:
    """Return the commands that a page has below a title."""
    chapter = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    commands = [line.removeprefix("    ") for line in chapter.splitlines() if line.startswith("    ")]
    assert commands, f"no commands below {title!r}"
    return "\n".join(["set -eu", *commands, ""])


def make_base() -> None:
    """Make a Debian with nothing but systemd and Python."""
    shutil.rmtree(BASE, ignore_errors=True)
    packages = "--include=systemd,systemd-sysv,dbus,python3"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, SUITE, BASE, MIRROR], check=True, stdout=subprocess.DEVNULL
    )


def boot(folder: Path) -> str:
    """Boot a copy of the Debian, have it try what is in the folder, and return what its console said."""
    command = [
        "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--ephemeral",
        f"--directory={BASE}", f"--bind={folder}:/mnt",
        f"--bind-ro={folder}/try.service:/etc/systemd/system/try.service",
        "--boot", "systemd.wants=try.service",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as console:
        container = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        try:
            container.wait(TIME_S_MAX)
        except subprocess.TimeoutExpired:
            container.terminate()  # It powers the Debian off, or is killed with it.
            try:
                container.wait(30)
            except subprocess.TimeoutExpired:
                subprocess.run(["pkill", "--signal", "KILL", "--parent", str(container.pid)], check=False)
                container.wait()
        console.seek(0)
        return console.read().decode(errors="replace")


if __name__ == "__main__":
    sys.exit(status_of(main))
