"""The README's example runs as it stands, under the README's own server."""

import re
import socket
import textwrap
from pathlib import Path

from tests.support.checkout import ROOT
from tests.support.processes import running

from scache_fast.settings.values import parse_time_s

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_example_works_and_lives_as_long_as_it_says(tmp_path: Path) -> None:
    command = re.search(r"^    scached --listen (\S+) --ttl-limit (\S+)$", README, re.MULTILINE)
    assert command is not None
    path, limit = command.groups()
    _, beginning, rest = README.partition("    from scache_client import Client\n")
    block = re.match(r"(?:    .*\n|\n)+", beginning + rest)
    assert block is not None
    example = textwrap.dedent(block[0])
    (ttl,) = re.findall(r"ttl_s=(\d+)", example)
    assert int(ttl) <= parse_time_s(limit)
    here, there = socket.socketpair()
    variables = {"sock": here}
    with running("--listen", tmp_path / "s", "--ttl-limit", limit), there:
        exec(example.replace(path, str(tmp_path / "s")), variables)
        here.close()
        with variables["sock"] as found:
            assert found is not here
            found.sendall(b"still the same connection")
            assert there.recv(100) == b"still the same connection"
