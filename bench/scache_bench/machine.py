"""Where the figures come from: processor, kernel, and the versions of what was measured.

Nobody else can judge a figure without them.
"""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from scache_bench.servers import PYTHON


def describe() -> dict[str, str]:
    """Return what there is to say, by what it is about."""
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Processor": f"{_processor()}, {os.cpu_count()} cores visible",
        "Kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{_first_line([PYTHON, '--version'])} ({'its own' if sys.executable == PYTHON else PYTHON})",
        "scached": importlib.metadata.version("scached"),
        "Postfix": _first_line(["/usr/sbin/postconf", "-dh", "mail_version"]),
        "C compiler": _first_line(["cc", "--version"]),
        "Other load at the start": f"{os.getloadavg()[0]:.2f} runnable processes on average in the last minute",
    }


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _first_line(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "not installed"
    return said.partition("\n")[0]
