"""The results as Markdown: what bench/RESULTS.md says, and what a terminal shows.

Decides which tables there are and how a figure is written. Refuses to know how anything was measured.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scache_bench.goals import FLOOR, JUDGED, Verdict, verdicts
from scache_bench.load import Run
from scache_bench.results import Results
from scache_bench.scenarios import ACCEPT, STALL, Scenario
from scache_bench.servers import DESCRIPTIONS, PARKED_MAX
from scache_bench.spread import Spread

NOTHING: Final = "-"
SATURATED: Final = " †"
"""Marks a figure that the load generator limited."""


def number(value: float) -> str:
    """Write a number with three significant digits or all before the point, and thin groups of thousands."""
    size = abs(value)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{decimals}f}".replace(",", " ")


def spread(value: Spread | None) -> str:
    """Write a median and its extremes."""
    if value is None:
        return NOTHING
    if value.low == value.high:
        return number(value.median)
    return f"{number(value.median)} ({number(value.low)} … {number(value.high)})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table whose columns also line up in a terminal: names left, figures right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "".join(
        "| "
        + " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |\n"
        for line in lines
    )


def goals_table(results: Results) -> str:
    """Lay out every goal with what came out."""
    return table(["goal", "bound", *JUDGED, "the floor's"], [_goal_row(v) for v in verdicts(results)])


def _goal_row(verdict: Verdict) -> list[str]:
    words = {True: "met: ", False: "NOT met: ", None: ""}
    judged = [words[verdict.is_met(name)] + spread(verdict.measured.get(name)) for name in JUDGED]
    sign = "≤" if verdict.is_upper_bound else "≥"
    return [verdict.goal, f"{sign} {number(verdict.bound)}", *judged, spread(verdict.measured.get(FLOOR))]


def _by_server(results: Results, scenarios: Sequence[Scenario], figure: Callable[[Run], float]) -> str:
    def cell(server: str, scenario: Scenario) -> str:
        said = spread(results.spread(server, scenario, figure))
        return said + (SATURATED if results.is_generator_limit(server, scenario) else "")

    rows = [[str(scenario), *(cell(server, scenario) for server in results.servers)] for scenario in scenarios]
    return table(["scenario", *results.servers], rows)


def throughput_table(results: Results) -> str:
    """Lay out operations a second."""
    return _by_server(results, _dances(results), lambda run: run.operations_per_s)


def cpu_table(results: Results) -> str:
    """Lay out the server's processor time for one operation, in microseconds."""
    return _by_server(results, _dances(results), lambda run: run.server_cpu_us)


def latency_table(results: Results) -> str:
    """Lay out percentiles of all rounds together, in microseconds."""

    def cell(server: str, scenario: Scenario) -> str:
        latency = results.latency(server, scenario)
        if latency is None:
            return NOTHING
        return " / ".join(number(latency.percentile_ns(percent) / 1_000) for percent in (50, 99, 99.9))

    rows = [[str(s), *(cell(server, s) for server in results.servers)] for s in _dances(results)]
    return table(["scenario", *results.servers], rows)


def _dances(results: Results) -> list[Scenario]:
    return [scenario for scenario in results.scenarios() if scenario not in (STALL, ACCEPT)]


def stall_table(results: Results) -> str:
    """Lay out what others notice while clients stand still in the middle of a dance."""

    def row(server: str) -> list[str]:
        calm, latency = results.latency(server, Scenario("endp", STALL.clients)), results.latency(server, STALL)
        if results.is_blocked(server, STALL):
            return [server, "none for 3 s", NOTHING, NOTHING]
        if calm is None or latency is None:
            return [server, NOTHING, NOTHING, NOTHING]
        rate = spread(results.spread(server, STALL, lambda run: run.operations_per_s))
        calm_p99, stalled_p99 = (number(h.percentile_ns(99) / 1_000) for h in (calm, latency))
        return [server, rate, stalled_p99, calm_p99]

    head = ["server", "operations/s", "p99 µs", "p99 µs without them"]
    return table(head, [row(server) for server in results.servers])


def accept_table(results: Results) -> str:
    """Lay out connections a second."""

    def rate(run: Run) -> float:
        return run.operations_per_s

    return table(
        ["server", "connections/s", "CPU µs each"],
        [
            [
                server,
                spread(results.spread(server, ACCEPT, rate)),
                spread(results.spread(server, ACCEPT, lambda run: run.server_cpu_us)),
            ]
            for server in results.servers
        ],
    )


def memory_table(results: Results) -> str:
    """Lay out memory by server, in bytes."""
    rows = []
    for memory in results.memory:
        each = NOTHING if memory.session_bytes is None else number(memory.session_bytes)
        rows.append([f"{memory.server}, {memory.parked} parked", number(memory.empty_bytes / 1e6), each])
    return table(["server", "resident, empty, MB", "bytes a session beyond its label and properties"], rows)


def churn_table(results: Results) -> str:
    """Lay out memory before and after a churn."""
    rows = [
        [c.server, number(c.operations), number(c.before_bytes / 1e6), number(c.after_bytes / 1e6)]
        for c in results.churn
    ]
    return table(["server", "operations", "MB before", "MB after"], rows)


def system_calls_table(results: Results) -> str:
    """Lay out system calls for one operation."""
    rows = []
    for server, calls in results.system_calls.items():
        often = sorted(((count, name) for name, count in calls.items() if count >= 0.01), reverse=True)
        rows.append(
            [server, number(sum(calls.values())), ", ".join(f"{name} {number(count)}" for count, name in often)]
        )
    return table(["server", "calls", "which"], rows)


def growth_table(results: Results) -> str:
    """Lay out the table alone at growing sizes."""
    rows = [
        [number(g.entries), number(g.save_us), number(g.find_us), number(g.bytes_per_entry)] for g in results.growth
    ]
    return table(["entries", "save µs", "find µs", "bytes each beyond label and properties"], rows)


def turns_table(results: Results) -> str:
    """Lay out the longest turn of the loop beside each limit that is full."""
    rows = [[turn.what, number(turn.turns), number(turn.longest_ms)] for turn in results.turns]
    return table(["full", "turns", "longest, ms"], rows)


def missing_list(results: Results) -> str:
    """List what could not be measured, and why."""
    return "".join(f"* **{name}**: {reason}\n" for name, reason in results.missing.items())


def sections(results: Results) -> list[tuple[str, str, str]]:
    """Return every part of the report: heading, what its figures are, and its table."""
    unit = "Medians of the rounds, with smallest and largest in brackets. † The load generator was busy all the time."
    parts = [
        ("Goals", GOALS, goals_table(results)),
        ("Throughput", f"Operations a second. {unit}", throughput_table(results)),
        ("Processor time", "Of the server, µs an operation, kernel included.", cpu_table(results)),
        ("Latency", "p50 / p99 / p99.9 in µs, all rounds together.", latency_table(results)),
        ("While 10 clients stand still", "In the middle of their save_endp; 8 others go on.", stall_table(results)),
        ("Accepting", "Connect, greeting, close, eight at a time.", accept_table(results)),
        ("Memory", "Resident memory, from the kernel.", memory_table(results)),
        ("Churn", "Memory while sessions come and go and none stays.", churn_table(results)),
        ("System calls", "For one operation, endp with 8 clients, counted by strace.", system_calls_table(results)),
        ("The table alone", "Of the production server, in one process, without sockets.", growth_table(results)),
        (
            "The longest turn",
            "Of the production server, default limits full, in ms of the processor.",
            turns_table(results),
        ),
    ]
    if results.missing:
        parts.append(("Not measured", "", missing_list(results)))
    return parts


GOALS: Final = (
    "Ratios are taken round by round. The last column is the same ratio for the floor, which does nothing but these "
    "system calls, and sleeps whenever it waits. With 8 and 64 clients, when there is always something to do, a bound "
    "that lies beyond it can be met by no server on this machine."
)

PLOTS: Final = {
    "throughput": "Throughput against clients",
    "cpu": "Processor time against clients",
    "latency": "Latency distribution",
    "parked": "Cost against parked sessions",
}
"""Names of the picture files, and what they show."""


def markdown(results: Results, plot_suffix: str | None) -> str:
    """Write the whole report; `plot_suffix` None leaves the pictures out."""
    machine = "".join(f"* {name}: {value}\n" for name, value in results.machine.items())
    servers = "".join(f"* **{name}**: {DESCRIPTIONS[name]}\n" for name in results.servers)
    how = (
        f"{results.rounds} rounds of {number(results.seconds)} s for each figure, all servers interleaved. An "
        "operation is one request with its whole dance. endp: save_endp and find_endp in turn; dest: save_dest, "
        "save_endp and find_dest in turn; labels and properties as Postfix writes them. One load generator in C, "
        "closed loop, every reply and every descriptor verified. The reference is not measured with more than "
        f"{PARKED_MAX['reference']} sessions parked: it copies what it knows with every change."
    )
    text = "# Benchmark\n\nGenerated by `make bench`; not to be edited.\n\n"
    text += f"{machine}\n{servers}\n{how}\n"
    if plot_suffix is not None:
        text += "".join(f"\n![{title}](plots/{name}{plot_suffix})\n" for name, title in PLOTS.items())
    for heading, figures, body in sections(results):
        text += f"\n## {heading}\n\n" + (f"{figures}\n\n" if figures else "") + body
    return text
