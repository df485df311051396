"""Mail over TLS: what smtp(8) parks is its plain connection to tlsproxy(8), which keeps the encrypted one open."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.postfix.private_postfix import PrivatePostfix, free_address, read_deliveries
from tests.support.checkout import ROOT
from tests.support.client import PATIENCE_S
from tests.support.processes import await_listener, standing

SERVICES = """\
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
"""

REUSE = "smtp_tls_connection_reuse = yes"
"""What the page about TLS says to set."""

SETTINGS = f"""\
transport_maps = inline:{{{{sink.example=smtp:[{{host}}]:{{port}}}}}}
smtp_tls_security_level = encrypt
smtp_tls_loglevel = 1
smtp_connection_cache_time_limit = 1000s
{REUSE}
"""
"""By default smtp(8) parks for 2 s, which is less than a busy machine may take between two messages."""

MESSAGES = 3


@contextmanager
def encrypted_sink(folder: Path, host: str, port: int) -> Iterator[None]:
    """Run a server that takes mail only after STARTTLS."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=sink.example"],
        check=True, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"{host}:{port}", "-c", "aiosmtpd.handlers.Sink"]
    with subprocess.Popen([*command, "--tlscert", certificate, "--tlskey", key], stderr=subprocess.DEVNULL) as server:
        try:
            await_listener(server, (host, port))
            yield
        finally:
            server.terminate()


@pytest.mark.needs("postfix", "root")
def test_mail_shares_one_tls_session_that_the_proxy_holds(tmp_path: Path) -> None:
    host, port = free_address()
    with (
        encrypted_sink(tmp_path, host, port),
        PrivatePostfix(None, settings=SETTINGS.format(host=host, port=port), services=SERVICES) as postfix,
        standing("scache_fast", postfix.socket_path, "--ttl-limit", "1h"),
    ):
        for count in range(MESSAGES):
            postfix.deliver(1)
            postfix.await_removed(count + 1)
        log = postfix.log()
    assert read_deliveries(log).reused == MESSAGES - 1
    assert len(re.findall(r"/smtp\[[0-9]+\]: .*TLS connection established", log)) == 1


def test_page_names_the_setting() -> None:
    assert f"`{REUSE}`" in (ROOT / "docs/how-to/tls.md").read_text(encoding="utf-8")
