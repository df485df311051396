"""Metrics over HTTP, on standard output, or in a file. What the metrics are is in metrics.py."""

import os
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from scache_ctl.exits import DONE, complain
from scache_ctl.metrics import WITHIN_S, Scrape, scrape

SILENT_S: Final = 10
"""How long half a request is waited for. Arbitrary."""


class Exporter(ThreadingHTTPServer):
    """Serves /metrics; each scrape asks the server anew."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], scraped: Scrape) -> None:
        self.scraped = scraped
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a scraper that went away; tell anything else."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: Exporter
    timeout = SILENT_S

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in {"/", "/metrics"}:
            self.send_error(404, "only /metrics is here")
            return
        text = self.server.scraped.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
        """Say nothing of each scrape."""


def serve(address: tuple[str, int], admin: str, timeout_s: float) -> int:
    """Serve until interrupted."""
    with Exporter(address, scrape(admin, min(timeout_s, WITHIN_S))) as server:
        host, port = server.server_address[:2]
        print(f"scachectl exporter is listening on http://{host!s}:{port}/metrics", file=sys.stderr, flush=True)
        server.serve_forever()
    return DONE


def print_once(admin: str, timeout_s: float, output: Path | None) -> int:
    """Print metrics, or replace a file by them; a server that does not answer is told in both and by the status."""
    scraped = scrape(admin, timeout_s)
    text = scraped.text()
    if output is None:
        sys.stdout.write(text.decode())
    else:
        replace(output, text)
    return DONE if scraped.error is None else complain(scraped.error)


def replace(path: Path, content: bytes) -> None:
    """Put content in the place of a file, whole or not at all; its mode follows the umask. Raises OSError."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
            file.write(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
