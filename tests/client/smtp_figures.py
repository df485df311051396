"""Mails a second and handshakes, with the cache and without, at aiosmtpd and at Debian's Postfix.

    python -m tests.client.smtp_figures [MAILS]

The mails are sent by examples/prefork_smtp.py, from four prefork workers. Postfix takes root, and is left out without.
"""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.postfix.private_postfix import PrivatePostfix
from tests.support.checkout import ROOT
from tests.support.commands import status_of
from tests.support.needs import is_met
from tests.support.processes import await_listener, environment, running

MAILS: Final = 400
"""How many are sent each time. Postfix gets no more: nothing reads its log meanwhile, and it stops at a full pipe."""


def main() -> None:
    """Print the figures."""
    mails = int(sys.argv[1]) if len(sys.argv) > 1 else MAILS
    with (
        tempfile.TemporaryDirectory() as folder,
        running("--listen", Path(folder) / "s", "--ttl-limit", "1m"),
    ):
        with aiosmtpd() as address:
            print("aiosmtpd", *figures(f"{folder}/s", *address, mails), sep="\n  ")
        if is_met("postfix") and is_met("root"):
            with PrivatePostfix() as postfix:
                print("Postfix", *figures(f"{folder}/s", *postfix.smtpd_address, min(mails, MAILS)), sep="\n  ")


def figures(cache: str, host: str, port: int, mails: int) -> list[str]:
    """Return the lines that the example prints."""
    example = [sys.executable, str(ROOT / "examples" / "prefork_smtp.py"), cache, host, str(port)]
    result = subprocess.run(
        [*example, "--mails", str(mails)], capture_output=True, text=True, check=False, timeout=600, env=environment()
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@contextmanager
def aiosmtpd() -> Iterator[tuple[str, int]]:
    """Run aiosmtpd, which takes mail and discards it; return its address."""
    with socket.create_server(("127.0.0.1", 0)) as trial:
        port: int = trial.getsockname()[1]
    command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}", "-c", "aiosmtpd.handlers.Sink"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            await_listener(server, ("127.0.0.1", port))
            yield "127.0.0.1", port
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(status_of(main))
