"""The benchmark's own arithmetic, and its load generator against the floor server."""

import socket
from pathlib import Path

import pytest

from scache_bench import programs, report
from scache_bench.goals import Verdict, verdicts
from scache_bench.latency import Histogram, merge
from scache_bench.load import Load, LoadError, Run
from scache_bench.results import Churn, Mailed, Memory, Paced, Results, Sample
from scache_bench.scenarios import IDLE, PACED, Scenario
from scache_bench.servers import SERVERS, Server
from scache_bench.spread import Spread
from scache_client import Client


def run(operations: int = 1_000, cpu_ns: int = 1_000_000, latency_ns: int = 100, *, blocked: bool = False) -> Run:
    latency = Histogram(((latency_ns, latency_ns + 1, operations),)) if operations else Histogram(())
    return Run(operations, 1.0, cpu_ns, 0, 0, blocked, latency)


# Histograms.


def test_percentile_is_the_bucket_of_the_operation_of_that_rank() -> None:
    histogram = Histogram(((10, 11, 98), (20, 21, 1), (30, 31, 1)))
    assert [histogram.percentile_ns(percent) for percent in (0.1, 50, 98, 98.1, 99, 99.1, 100)] == [
        10,
        10,
        10,
        20,
        20,
        30,
        30,
    ]


def test_percentile_is_the_middle_of_a_wide_bucket() -> None:
    assert Histogram(((128, 130, 1),)).percentile_ns(50) == 128.5


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram(()).percentile_ns(50)


def test_merged_histograms_add_up_in_order() -> None:
    merged = merge([Histogram(((20, 21, 1),)), Histogram(((10, 11, 2), (20, 21, 3)))])
    assert merged == Histogram(((10, 11, 2), (20, 21, 4)))
    assert merged.count == 6


def test_share_above_falls_to_nothing() -> None:
    assert Histogram(((10, 11, 3), (20, 21, 1))).share_above() == [(11.0, 0.25), (21.0, 0.0)]


# Medians, ratios and verdicts.


def test_spread_holds_median_and_extremes() -> None:
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3)
    assert Spread.of([1, 2]) == Spread(1.5, 1, 2)


def test_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no round"):
        Spread.of([])


def test_ratios_are_taken_round_by_round() -> None:
    # The second round was disturbed on both sides: the ratio does not notice.
    assert Spread.of_ratios([8, 2, 8], [4, 1, 4]) == Spread(2, 2, 2)


@pytest.mark.parametrize(("measured", "is_met"), [(0.99, False), (1.0, True), (1.01, True)])
def test_lower_bound_is_met_at_the_bound(measured: float, is_met: bool) -> None:
    assert Verdict("", 1.0, False, {"fast": Spread.of([measured])}).is_met("fast") is is_met


@pytest.mark.parametrize(("measured", "is_met"), [(0.99, True), (1.0, True), (1.01, False)])
def test_upper_bound_is_met_at_the_bound(measured: float, is_met: bool) -> None:
    assert Verdict("", 1.0, True, {"fast": Spread.of([measured])}).is_met("fast") is is_met


def some_results() -> Results:
    results = Results(rounds=2, seconds=1.0, servers=["fast", "scache", "floor"], machine={"Kernel": "Linux"})
    for number in range(2):
        for clients in (8, 64):
            scenario = Scenario("endp", clients)
            results.samples.append(Sample("fast", scenario, number, run(8_000, 8_000_000, 10)))
            results.samples.append(Sample("scache", scenario, number, run(1_000, 5_000_000, 200)))
        results.samples.append(Sample("floor", Scenario("endp", 8), number, run(5_000, 5_000_000, 20)))
        for server, operations in (("fast", 2_000), ("scache", 1_000), ("floor", 5_000)):
            results.samples.append(Sample(server, Scenario("endp", 1), number, run(operations, 5_000_000, 20)))
        results.samples.append(Sample("scache", Scenario("endp", 8, stalled=10), number, run(0, blocked=True)))
    results.memory = [Memory("fast", 0, 1_000_000, None), Memory("fast", 18_000, 1_000_000, 601.0)]
    results.churn = [Churn("fast", 1_000, 1_000_000, 1_020_000)]
    results.system_calls = {"fast": {"recvfrom": 2.0, "close": 0.5}}
    results.missing = {"reference": "it does not start"}
    results.paces = [Paced("fast", IDLE, 0, 0.001), Paced("fast", PACED, 800, 0.08), Paced("scache", PACED, 800, 0.04)]
    return results


def test_verdicts_tell_met_from_not_met_from_not_measured() -> None:
    met = {(verdict.goal, verdict.bound): verdict.is_met("fast") for verdict in verdicts(some_results())}
    assert met["throughput / floor's, endp, 8 clients, 0 parked", 0.55] is True
    assert met["throughput / floor's, endp, 8 clients, 0 parked", 0.8] is None
    assert met["throughput / floor's, endp, 64 clients, 0 parked", 0.65] is None
    assert met["throughput / scache's, endp, 1 client, 0 parked", 2.5] is False
    assert met["memory after a churn / before", 1.01] is False


def test_verdicts_tell_what_the_floor_reaches() -> None:
    floors = {verdict.goal: verdict.measured.get("floor") for verdict in verdicts(some_results())}
    assert floors["throughput / scache's, endp, 1 client, 0 parked"] == Spread.of([5.0, 5.0])
    assert floors["throughput / scache's, dest, 1 client, 0 parked"] is None
    assert floors["throughput / floor's, endp, 8 clients, 0 parked"] is None


def test_real_mail_is_judged_beside_scache() -> None:
    results = some_results()
    results.mail = [Mailed("compiled", 100, 95, 0.3, 15_000_000), Mailed("scache", 100, 90, 0.2, 7_500_000)]
    met = {verdict.goal: verdict.is_met("compiled") for verdict in verdicts(results)}
    assert met["processor time / scache's, real mail"] is False
    assert met["resident memory / scache's, real mail"] is True
    assert "| compiled | 100 | 95% | 0.300 | 15.0 |" in " ".join(report.mail_table(results).split())


def test_each_form_of_the_server_has_a_verdict_of_its_own() -> None:
    results, scenario = some_results(), Scenario("endp", 1)
    results.servers.append("compiled")
    results.samples += [Sample("compiled", scenario, number, run(7_000, 8_000_000, 10)) for number in range(2)]
    verdict = next(v for v in verdicts(results) if v.goal == "throughput / scache's, endp, 1 client, 0 parked")
    assert (verdict.is_met("fast"), verdict.is_met("compiled")) == (False, True)
    assert "| met: 7.00 | NOT met: 2.00 | 5.00 |" in " ".join(report.goals_table(results).split())


def test_server_that_answers_nobody_is_said_so_and_counts_nowhere() -> None:
    results, stall = some_results(), Scenario("endp", 8, stalled=10)
    assert results.is_blocked("scache", stall)
    assert results.runs("scache", stall) == []
    assert "| scache" in report.stall_table(results)
    assert "none for 3 s" in report.stall_table(results)


def test_report_names_every_server_that_is_missing_and_why() -> None:
    text = report.markdown(some_results(), ".svg")
    assert "* **reference**: it does not start" in text
    assert "plots/throughput.svg" in text
    assert "plots/overview.svg" in text
    assert "NOT met" in text


def test_first_lines_say_what_a_visitor_asks() -> None:
    lines = report.in_short(some_results())
    assert "8 000 requests a second, 8.0 times as many as Postfix's scache(8) and 160% of what" in lines[0]
    assert "One client alone is served 2.0 times as often" in lines[1]
    assert "100 µs of processor time a request; Postfix's scache(8) takes 50.0 µs" in lines[2]
    assert len(lines) == 3  # the rest was not measured


def test_paces_are_laid_out_by_server() -> None:
    shown = " ".join(report.paces_table(some_results()).split())
    assert "| server | idle | 800 operations/s |" in shown
    assert "| fast | 0.1 % | 8.0 %, 100 µs |" in shown
    assert "| scache | - | 4.0 %, 50.0 µs |" in shown


def test_results_survive_being_written_and_read(tmp_path: Path) -> None:
    results = some_results()
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results


def test_numbers_keep_three_digits() -> None:
    assert [report.number(value) for value in (0, 0.0123, 1.234, 12.34, 123.4, 12_345.6)] == [
        "0.000",
        "0.012",
        "1.23",
        "12.3",
        "123",
        "12 346",
    ]


# The load generator against the floor server.


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return Load(programs.build("load", tmp_path_factory.mktemp("load")), seconds=0.2, warmup_s=0.0)


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("mix", ["endp", "dest", "accept"])
def test_floor_answers_every_mix_rightly(mix: str, load: Load, tmp_path: Path) -> None:
    with SERVERS["floor"](tmp_path) as floor:
        found = load.run(floor.socket, Scenario(mix, 3), floor.pid)
    assert found.operations == found.latency.count > 0
    assert found.server_cpu_ns > 0
    assert not found.blocked


@pytest.mark.needs("compiler")
def test_paced_clients_do_as_much_as_they_are_told(load: Load, tmp_path: Path) -> None:
    with SERVERS["threaded"](tmp_path) as server:
        paced = load.run(server.socket, Scenario("endp", 4, rate=400), server.pid, seconds=0.5)
        idle = load.run(server.socket, Scenario("idle", 4), server.pid)
    assert 0 < paced.operations <= 0.5 * 400 + 2 * 4
    assert (idle.operations, idle.blocked) == (0, False)


@pytest.mark.needs("compiler")
def test_floor_serves_others_while_clients_stall(load: Load, tmp_path: Path) -> None:
    with SERVERS["floor"](tmp_path) as floor:
        assert load.park(floor.socket, 50).sessions == 50
        found = load.run(floor.socket, Scenario("endp", 2, parked=50, stalled=3), floor.pid)
    assert (found.stalled, found.blocked) == (3, False)
    assert found.operations > 0


@pytest.mark.needs("compiler")
@pytest.mark.parametrize(
    ("properties", "complaint"),
    [
        pytest.param(b"other", "and received .*property.x00other", id="other properties"),
        pytest.param(
            b"tls_level=0\nreuse_count=2\nendpoint_features=34695\nexpire_time=1795345680\n\n",
            "found another session than the one it had saved",
            id="same properties",
        ),
    ],
)
def test_wrong_answer_ends_the_load(properties: bytes, complaint: str, load: Load, tmp_path: Path) -> None:
    with SERVERS["floor"](tmp_path) as floor:
        park_before_the_load_does(floor, properties)
        with pytest.raises(LoadError, match=complaint):
            load.run(floor.socket, Scenario("endp", 1), floor.pid)


def park_before_the_load_does(server: Server, properties: bytes) -> None:
    """Park a session under the label of the load generator's first client: it will be found first."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Client(server.socket) as client:
        client.save_endp(b"smtp\n127.0.0.1\n10000\n0\n", properties, 60, theirs)
