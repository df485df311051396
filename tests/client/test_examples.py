"""The examples do what they say, with the production server and real peers."""

import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.client.smtp_figures import aiosmtpd, figures
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S
from tests.support.processes import environment, running

EXAMPLES = ROOT / "examples"


class _Numbering(socketserver.StreamRequestHandler):
    timeout = PATIENCE_S

    def handle(self) -> None:
        for number, line in enumerate(self.rfile, start=1):
            self.wfile.write(b"line %d: %b" % (number, line))


@pytest.fixture
def peer(_no_descriptor_is_left: None) -> Iterator[list[str]]:  # type: ignore[override, unused-ignore]
    """Return host and port of a peer that numbers the lines of a connection and sends them back."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Numbering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield [str(each) for each in server.server_address]
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[str]:
    with running("--listen", tmp_path / "s", "--ttl-limit", "1m"):
        yield str(tmp_path / "s")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd=EXAMPLES,
        env=environment({"PYTHON": sys.executable}),
    )  # fmt: skip


def test_two_programs_share_a_connection(cache: str, peer: list[str]) -> None:
    first = run(sys.executable, "one_parks.py", cache, *peer)
    assert first.stdout == "line 1: hello from the first program\nparked\n", first.stderr
    second = run(sys.executable, "other_takes_up.py", cache, *peer)
    assert second.stdout == "taken up, with greeted=yes\nline 2: hello from the second program\n", second.stderr
    third = run(sys.executable, "other_takes_up.py", cache, *peer)
    assert third.stderr == "nothing is parked there: run one_parks.py first\n"


@pytest.mark.needs("compiler")
def test_shell_script_goes_on_through_the_client_in_c(cache: str, peer: list[str]) -> None:
    result = run("sh", "from_a_shell.sh", cache, *peer)
    assert result.stdout == "line 1: hello from the first program\nparked\nline 2: hello from a shell\n", result.stderr
    assert (result.stderr, result.returncode) == ("nothing is parked there\n", 0)


@pytest.mark.needs("compiler")
def test_client_in_c_compiles_without_a_warning(tmp_path: Path) -> None:
    result = run("cc", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", str(tmp_path / "find"), "find.c")
    assert result.returncode == 0, result.stderr


@pytest.mark.needs("compiler")
def test_client_in_c_does_not_wait_for_a_server_that_accepts_nobody(tmp_path: Path) -> None:
    built = run("cc", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", str(tmp_path / "client"), "client.c")
    assert built.returncode == 0, built.stderr
    script = tmp_path / "script"
    script.write_text("find_endp e\n")
    with socket.socket(socket.AF_UNIX) as server, ExitStack() as waiting:
        server.bind(str(tmp_path / "s"))
        server.listen(0)
        with suppress(BlockingIOError):  # the backlog is full
            while True:
                client = waiting.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(tmp_path / "s"))
        said = run(str(tmp_path / "client"), str(tmp_path / "s"), str(script), "0.2")
    assert (said.stdout, said.returncode) == ("failed\n", 0)


def test_prefork_workers_share_sessions(cache: str) -> None:
    with aiosmtpd() as (host, port):
        lines = figures(cache, host, port, mails=40)
    assert len(lines) == 3
    assert re.fullmatch(r"without the cache: 40 mails, \d+ a second, 40 handshakes", lines[0])
    shared = re.fullmatch(r"with the cache: 40 mails, \d+ a second, (\d+) handshakes", lines[1])
    assert shared is not None, lines
    assert 1 <= int(shared[1]) <= 8, "four workers, and a few sessions more where two workers met"


def test_readme_lists_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert {each.name for each in EXAMPLES.iterdir() if each.suffix in {".py", ".c", ".sh"}} == set(
        re.findall(r"\]\(([\w.]+\.(?:py|c|sh))\)", text)
    )
    assert shutil.which("sh")
