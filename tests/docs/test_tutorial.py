"""The tutorial, followed word for word in an empty folder."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S
from tests.support.processes import environment


def test_every_command_works_and_prints_what_is_shown(tmp_path: Path) -> None:
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        text = text.replace("8025", str(free.getsockname()[1]))
    for name, source in re.findall(r"^```python\n# file: (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(source)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "scached").write_text(f'#!/bin/sh\nexec {sys.executable} -m scache_fast "$@"\n')
    (folder / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for each in folder.iterdir():
        each.chmod(0o755)
    script = "set -eu\n" + "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env=environment({"PATH": f"{folder}:{os.environ['PATH']}"}),
    )  # fmt: skip
    shown = "".join(re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(shown)
    assert "hits=1" in done.stdout[len(shown) :] or "hit" in done.stdout[len(shown) :]
