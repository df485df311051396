"""`python -m tests.ctl.prometheus`: a real Prometheus scrapes a real run, and evaluates every expression of ours.

Those of deploy/grafana have to have a value. Those of deploy/prometheus have to be evaluated, and each of their series
has to be there: an alert has no value while all is well.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT
from tests.support.commands import status_of
from tests.support.processes import TRY_AGAIN_MS, await_listener, ended, environment, module, running

from scache_client import Client
from scache_fast.admin.client import AdminClient

ALERTS: Final = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD: Final = ROOT / "deploy/grafana/scached.json"
CONFIGURATION: Final = ROOT / "deploy/prometheus/prometheus.yml"

_SERIES: Final = re.compile(r"scache(?:d|ctl)_[a-z_]+(?:\{[^}]*\})?")
_TRIES: Final = 500


def main() -> int:
    """Try every expression; return 0 if all of them are right."""
    if shutil.which("prometheus") is None:
        print("Prometheus is not installed: apt-get install prometheus")
        return 2
    with tempfile.TemporaryDirectory() as name, _prometheus(Path(name)) as (process, address):
        wrong = 0
        for expression in panels():
            wrong += _report(expression, _values(process, address, expression))
        for expression in alerts():
            _query(address, expression)  # an error of the expression is an error of HTTP
            for series in _SERIES.findall(expression):
                wrong += _report(f"{series}  (of: {expression})", _values(process, address, series))
    print(f"{len(panels())} expressions of panels and {len(alerts())} of alerts, {wrong} without a value")
    return 1 if wrong else 0


def panels() -> list[str]:
    """Return the expressions of the dashboard, for every server instead of one that is chosen."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [each.replace('instance="$instance"', 'instance!=""') for each in expressions]


def alerts() -> list[str]:
    """Return the expressions of the alerts."""
    return re.findall(r"^ +expr: (.*)$", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)


def _report(expression: str, values: int) -> int:
    print(f"{'ok     ' if values else 'NOTHING'} {values:3} {expression}")
    return int(not values)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _prometheus(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int]]]:
    """Run a server that is used, its exporter, and a Prometheus."""
    exporter, own = _free_port(), _free_port()
    text = CONFIGURATION.read_text(encoding="utf-8").replace("127.0.0.1:9783", f"127.0.0.1:{exporter}")
    (folder / "prometheus.yml").write_text(text.replace("15s", "1s"))
    shutil.copy(ALERTS, folder)
    address = ("127.0.0.1", own)
    commands = (
        [*module("scache_ctl"), "--admin", str(folder / "a"), "exporter", "--listen", f"127.0.0.1:{exporter}"],
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"],
    )  # fmt: skip
    limits = ("--ttl-limit", "10m", "--sessions-max", "50", "--clients-max", "50", "--bindings-max", "50")
    with running("--listen", folder / "s", "--admin", folder / "a", *limits, "--cached-bytes-max", "1000000"):
        processes = [subprocess.Popen(command, env=environment()) for command in commands]
        stop = threading.Event()
        user = threading.Thread(target=_use, args=(folder / "s", folder / "a", stop))
        user.start()
        try:
            await_listener(processes[0], ("127.0.0.1", exporter))
            await_listener(processes[1], address)
            yield processes[1], address
        finally:
            stop.set()
            user.join()
            for process in processes:
                process.terminate()
                process.wait()


def _use(path: Path, admin: Path, stop: threading.Event) -> None:
    with AdminClient(str(admin)) as operator:
        operator.ask("reload")
    with Client(str(path)) as cache, socket.socket() as mine:
        while not stop.wait(0.01):
            cache.save_endp(b"used", b"", 60, mine.dup())
            cache.save_dest(b"bound", b"", b"used", 60)
            for found in (cache.find_dest(b"bound"), cache.find_endp(b"used")):
                if found is not None:
                    found.close()


def _query(address: tuple[str, int], expression: str) -> int:
    words = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/api/v1/query?{words}") as answer:
        result = json.load(answer)["data"]["result"]
    # A division of nothing by nothing is no value.
    return sum(each["value"][1] != "NaN" for each in result)


def _values(process: subprocess.Popen[bytes], address: tuple[str, int], expression: str) -> int:
    """Return how many values an expression has, waiting for the first ones."""
    for _ in range(_TRIES):
        if (found := _query(address, expression)) > 0:
            return found
        assert not ended(process.pid, TRY_AGAIN_MS), "Prometheus ended"
    return 0


if __name__ == "__main__":
    sys.exit(status_of(main))
