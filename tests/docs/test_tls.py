"""The page about TLS, followed word for word: two programs, one cache, one stunnel, one handshake."""

import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S
from tests.support.processes import TRY_AGAIN_MS, ended, environment, running

PAGE = (ROOT / "docs/how-to/tls.md").read_text(encoding="utf-8")
HOST = "mail.example.org"

LISTENS = "00010000"
"""The flags of a listening socket in /proc/net/unix."""


class Numbering(socketserver.StreamRequestHandler):
    """Sends each line back with its number on this connection."""

    timeout = PATIENCE_S

    def handle(self) -> None:
        for number, line in enumerate(self.rfile, start=1):
            self.wfile.write(b"line %d: %b" % (number, line))


class Encrypted(socketserver.ThreadingTCPServer):
    """A TLS server that counts handshakes."""

    daemon_threads = True
    handshakes = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Numbering)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with self._context.wrap_socket(request, server_side=True) as encrypted:
            self.handshakes += 1
            super().finish_request(encrypted, client_address)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Encrypted]:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem", "-subj", f"/CN={HOST}",
         "-addext", f"subjectAltName=DNS:{HOST}"],
        check=True, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    with Encrypted(tmp_path) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.needs("stunnel")
def test_two_programs_share_one_tls_session(tmp_path: Path, server: Encrypted) -> None:
    (settings,) = re.findall(r"^```ini\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    address = f"127.0.0.1:{server.server_address[1]}"
    replaced = {
        f"connect = {HOST}:465": f"connect = {address}",
        "/etc/ssl/certs/ca-certificates.crt": str(tmp_path / "certificate.pem"),
        "/run/tls-out/out.sock": str(tmp_path / "out.sock"),
        "/run/scached/scached.sock": str(tmp_path / "s"),
    }
    programs = dict(re.findall(r"^```python\n# file: (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    for name, text in {"stunnel.conf": settings, **programs}.items():
        for old, new in replaced.items():
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
    with running("--listen", tmp_path / "s", "--ttl-limit", "1m"):
        command = ["stunnel", str(tmp_path / "stunnel.conf")]
        proxy = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            _await_listener(proxy, tmp_path / "out.sock")
            said = [_run(tmp_path / name) for name in ("first.py", "second.py", "second.py")]
        finally:
            proxy.terminate()
            log = proxy.communicate(timeout=PATIENCE_S)[1]
    assert said == ["line 1: first\n", "line 2: second\n", "nothing is parked under this label\n"], log
    assert server.handshakes == 1


def _await_listener(proxy: subprocess.Popen[str], path: Path) -> None:
    """Return when somebody listens on the socket file; what is connected by nobody counts no handshake."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not any(
        fields[3] == LISTENS and fields[-1] == str(path)
        for fields in map(str.split, Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:])
    ):
        assert not ended(proxy.pid, TRY_AGAIN_MS), proxy.communicate()
        assert time.monotonic() < deadline_s


def _run(program: Path) -> str:
    return subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=True, timeout=PATIENCE_S,
        env=environment(),
    ).stdout  # fmt: skip
