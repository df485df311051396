"""What the tools print on a terminal, from real runs: a server with a few parked connections, and who looks at it."""

import html
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.client import PATIENCE_S
from tests.support.processes import environment, running

from scache_client import Client

WIDTH: Final = {"desk": 120, "phone": 60}
"""Columns of the terminal."""

PAGE: Final = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>:root {{ color-scheme: light dark; }} body {{ margin: 1rem; font: 13px/1.35 monospace; }}</style>
<pre><b>$ {title}</b>
{text}</pre>"""


def pages(view: str) -> Iterator[tuple[str, str]]:
    """Yield a name and a page for each tool, as a terminal of this view shows it."""
    for name, command, output in _outputs(WIDTH[view]):
        yield name, PAGE.format(title=html.escape(command), text=html.escape(output))


def _outputs(columns: int) -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        path, admin = Path(folder, "s"), Path(folder, "a")
        with running("--listen", path, "--admin", admin, "--ttl-limit", "10m"):
            ends = [socket.socketpair() for _ in range(5)]
            with Client(path) as client:
                for number, (mine, _) in enumerate(ends):
                    label = b"smtp\n192.0.2.%d\n25\n" % (number % 3)
                    client.save_endp(label, b"reuse_count=%d" % number, 60 + number, mine)
                client.save_dest(
                    b"smtp\nexample.org\n", b"host_name=mx.example.org", b"smtp\n192.0.2.0\n25\n", ttl_s=300
                )
                for command in ("list", "stats", "top --count 1"):
                    words = ["scache_ctl", "--admin", str(admin), *command.split()]
                    yield f"scachectl-{command.split()[0]}", f"scachectl {command}", _run(words, columns)
            for end in (end for pair in ends for end in pair):
                end.close()
    server = f"{sys.executable} -m scache_fast --listen {{socket}}"
    words = ["scache_conformance", "--exec", server, "--run", "endp/*"]
    yield (
        "scache-conformance",
        "scache-conformance --exec 'scached --listen {socket}' --run 'endp/*'",
        _run(words, columns),
    )


def _run(words: list[str], columns: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        env=environment({"COLUMNS": str(columns), "LINES": "24", "PATH": os.environ["PATH"]}),
    )  # fmt: skip
    return done.stdout + done.stderr
