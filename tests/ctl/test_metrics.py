"""Metrics: odd answers, a server that is gone, hangs or comes back, the exporter's own edges, and promtool."""

import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest
from tests.ctl.prometheus import ALERTS, CONFIGURATION, alerts, panels
from tests.support.processes import running

from scache_client import Client
from scache_ctl.__main__ import main
from scache_ctl.exporter import Exporter
from scache_ctl.metrics import WITHIN_S, Scrape, scrape
from scache_fast.admin.client import AdminClient, AdminUnavailableError


@contextmanager
def exporting(admin: Path) -> Iterator[int]:
    """Run an exporter in this process; yield its port."""
    with Exporter(("127.0.0.1", 0), scrape(str(admin), WITHIN_S)) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: bytes = answer.read()
    return text.decode()


def value(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """An answer of a real server."""
    folder = tmp_path_factory.mktemp("stats")
    with running("--listen", folder / "s", "--admin", folder / "a"), AdminClient(str(folder / "a")) as admin:
        return admin.ask("stats")


def text_of(answer: Mapping[str, object]) -> str:
    return Scrape(lambda: answer).text().decode()


def troubles(text: str) -> dict[str, float | None]:
    return {
        kind: value(text, f'scachectl_unreadable_fields_total{{kind="{kind}"}}')
        for kind in ("missing", "retyped", "unknown")
    }


def test_everything_that_the_server_tells_is_known(answer: dict[str, object]) -> None:
    assert troubles(text_of(answer)) == {"missing": 0, "retyped": 0, "unknown": 0}


def test_unknown_field_costs_nothing_and_is_counted(answer: dict[str, object]) -> None:
    usual, odd = text_of(answer), text_of({**answer, "of a later version": {"a": 1}})
    assert troubles(odd) == {"missing": 0, "retyped": 0, "unknown": 1}
    assert len(odd.splitlines()) == len(usual.splitlines())


def test_names_that_no_text_can_hold_are_told_escaped(answer: dict[str, object]) -> None:
    odd = {"\ud800\x1b[2J": 1}
    text = text_of({**answer, "limits": odd, "sessions": odd, "requests": {"\ud800": odd}})
    assert text.count("ud800") == 4
    assert text.isascii()


def test_each_missing_field_costs_only_itself(answer: dict[str, object]) -> None:
    for key in answer.keys() - {"id", "v", "ok", "pid"}:
        text = text_of({name: each for name, each in answer.items() if name != key})
        assert value(text, "scached_up") == 1
        assert (troubles(text)["missing"] or 0) > 0, key
    assert value(text_of({}), "scached_up") == 1


@pytest.mark.parametrize(
    "odd",
    [None, "text", [], [1], {"buckets": [["a"]], "sum": "x"}, {"": {}}, True, -1, 1e999, 10**400],
    ids=lambda odd: str(odd)[:20],
)
def test_each_retyped_field_costs_only_itself(answer: dict[str, object], odd: object) -> None:
    for key in answer.keys() - {"id", "v", "ok", "pid"}:
        text = text_of({**answer, key: odd})
        assert value(text, "scached_up") == 1
        assert sum(count or 0 for count in troubles(text).values()) > 0, key


def test_counters_say_what_happened_and_no_label_of_a_peer_is_among_them(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", "--admin", tmp_path / "a"), exporting(tmp_path / "a") as port:
        before = get(port)
        with Client(str(tmp_path / "s")) as cache, socket.socket() as mine:
            for number in range(300):
                cache.save_endp(b"label %d" % number, b"", 60, mine.dup())
            found = cache.find_endp(b"label 7")
            assert found is not None
            found.close()
            assert cache.find_endp(b"label 7") is None
        after = get(port)
        assert value(after, "scached_sessions") == 299
        assert value(after, 'scached_requests_total{request="find_endp",status="0"}') == 1
        assert value(after, 'scached_requests_total{request="find_endp",status="2"}') == 1
        assert value(after, 'scached_session_events_total{event="saved"}') == 300
        assert value(after, "scached_reuse_age_seconds_count") == 1
        assert len(after.splitlines()) == len(before.splitlines()), "series follow what peers sent"
        assert "_created" not in after


def counters(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """Return every series of a counter or of a histogram, as `scachectl metrics` prints it."""
    assert main(["--admin", str(folder / "a"), "metrics"]) == 0
    text = capsys.readouterr().out
    found = {}
    for name in re.findall(r"^# TYPE (\S+) (?:counter|histogram)$", text, re.MULTILINE):
        for series, count in re.findall(rf"^({name}(?:_bucket|_sum|_count)?(?:{{.*}})?) (\S+)$", text, re.MULTILINE):
            found[series] = float(count)
    return found


def test_no_counter_falls_at_usr1_reload_and_takeover(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def use() -> None:
        with Client(str(tmp_path / "s")) as cache, socket.socket() as mine:
            for label in (b"a", b"a", b"b"):
                cache.save_endp(label, b"", 60, mine.dup())
            cache.save_dest(b"d", b"", b"b", 60)
            for found in (cache.find_endp(b"a"), cache.find_dest(b"d")):
                assert found is not None
                found.close()
            assert cache.find_endp(b"none") is None

    config = tmp_path / "config"
    config.write_text("sessions_max = 300\n")
    options = ("--config", config)
    with ExitStack() as stack:
        server = stack.enter_context(running("--listen", tmp_path / "s", "--admin", tmp_path / "a", *options))
        use()
        before = counters(tmp_path, capsys)
        for event in ("SIGUSR1", "reload", "a reload that fails", "takeover", "SIGUSR1", "takeover"):
            match event:
                case "SIGUSR1":
                    os.kill(server.pid, signal.SIGUSR1)
                    server.line("statistics: ")
                case "takeover":
                    old, server = server, stack.enter_context(running("--takeover", tmp_path / "a", *options))
                    old.wait()
                case _:
                    config.write_text("sessions_max = 3000\n" if event == "reload" else "no setting\n")
                    assert (main(["--admin", str(tmp_path / "a"), "reload"]) == 0) is (event == "reload")
                    capsys.readouterr()
                    config.write_text("sessions_max = 3000\n")
            after = counters(tmp_path, capsys)
            assert after.keys() == before.keys()
            assert [name for name in before if after[name] < before[name]] == [], event
            use()
            before = counters(tmp_path, capsys)
            assert before['scached_session_events_total{event="saved"}'] == (
                after['scached_session_events_total{event="saved"}'] + 3
            ), event
        server.end()


def test_up_follows_the_server_and_nothing_old_is_told(tmp_path: Path) -> None:
    with exporting(tmp_path / "a") as port:
        for _ in range(2):
            absent = get(port)
            assert (value(absent, "scached_up"), "scached_sessions" in absent) == (0, False)
            with running("--listen", tmp_path / "s", "--admin", tmp_path / "a") as server:
                assert value(get(port), "scached_up") == 1
                os.kill(server.pid, signal.SIGSTOP)
                hung = get(port)
                assert (value(hung, "scached_up"), "scached_sessions" in hung) == (0, False)
                os.kill(server.pid, signal.SIGCONT)
                assert value(get(port), "scached_up") == 1
                server.end()


def test_scrapers_that_leave_or_ask_for_half_are_no_news(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with exporting(tmp_path / "a") as port:
        for request in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as scraper:
                scraper.sendall(request)
        assert value(get(port), "scached_up") == 0
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/other")
    assert "Traceback" not in capfd.readouterr().err


def test_file_is_replaced_as_a_whole_with_the_mode_of_the_umask(tmp_path: Path) -> None:
    target = tmp_path / "scached.prom"
    target.write_text("old")
    before = os.umask(0o027)
    try:
        assert main(["--admin", str(tmp_path / "a"), "metrics", "--output", str(target)]) == 4
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640
    assert value(target.read_text(), "scached_up") == 0
    assert list(tmp_path.iterdir()) == [target]


def test_error_that_is_no_absent_server_is_not_hidden() -> None:
    def ask() -> Mapping[str, object]:
        raise AdminUnavailableError("gone")

    scraped = Scrape(ask)
    assert value(scraped.text().decode(), "scached_up") == 0
    assert str(scraped.error) == "gone"


@pytest.mark.needs("promtool")
def test_promtool_accepts_metrics_alerts_and_configuration(answer: dict[str, object]) -> None:
    checks = (["metrics"], ["rules", str(ALERTS)], ["config", str(CONFIGURATION)])
    for words, text in zip(checks, (text_of(answer), "", ""), strict=True):
        done = subprocess.run(["promtool", "check", *words], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_expressions_name_metrics_that_there_are(answer: dict[str, object]) -> None:
    told = set(re.findall(r"^(scache\w+)", text_of({**answer, "reload": {"ok": True, "last_s": 1}}), re.MULTILINE))
    for expression in (*panels(), *alerts()):
        assert set(re.findall(r"scache(?:d|ctl)_\w+", expression)) <= told, expression
