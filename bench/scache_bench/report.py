"""The results as Markdown: what bench/RESULTS.md says, and what a terminal shows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scache_bench.goals import FLOOR, JUDGED, Verdict, verdicts
from scache_bench.load import Run
from scache_bench.results import Results
from scache_bench.scenarios import ACCEPT, PACED, PACES, STALL, Scenario
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
        [number(g.entries), number(g.save_us), number(g.find_us), number(g.expire_us), number(g.bytes_per_entry)]
        for g in results.growth
    ]
    return table(["entries", "save µs", "find µs", "expiry µs", "bytes each beyond label and properties"], rows)


def starts_table(results: Results) -> str:
    """Lay out how long starts take."""
    rows = [
        [server, number(len(starts)), spread(Spread.of([each * 1000 for each in starts]))]
        for server, starts in results.starts.items()
    ]
    return table(["server", "starts", "ms"], rows)


def turns_table(results: Results) -> str:
    """Lay out the longest turn of the loop beside each limit that is full."""
    rows = [[turn.what, number(turn.turns), number(turn.longest_ms)] for turn in results.turns]
    return table(["full", "turns", "longest, ms"], rows)


def paces_table(results: Results) -> str:
    """Lay out what each pace costs, with busy polling and without."""
    servers = list(dict.fromkeys(each.server for each in results.paces))
    paces = list(dict.fromkeys(each.scenario for each in results.paces))
    costs = {(each.server, each.scenario): each for each in results.paces}

    def cell(server: str, scenario: Scenario) -> str:
        paced = costs.get((server, scenario))
        if paced is None:
            return NOTHING
        share = f"{paced.cpu_share * 100:.1f} %"
        return share if paced.cpu_us is None else f"{share}, {number(paced.cpu_us)} µs"

    rows = [[server, *(cell(server, scenario) for scenario in paces)] for server in servers]
    return table(["server", *(PACE_NAMES.get(scenario, str(scenario)) for scenario in paces)], rows)


def mail_table(results: Results) -> str:
    """Lay out what each cache costs while a Postfix delivers real mail through it."""
    rows = [
        [each.server, number(each.messages), f"{each.reused / each.messages:.0%}", number(each.cpu_s),
         number(each.resident_bytes / 1e6)]
        for each in results.mail
    ]  # fmt: skip
    return table(["cache", "messages", "over a used connection", "CPU s", "resident, MB"], rows)


PACE_NAMES: Final = dict(zip(PACES, ("idle", "100 operations/s", "800 operations/s", "flat out"), strict=True))


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
        ("Paces", PACES_FIGURES, paces_table(results)),
        ("Real mail", MAIL_FIGURES, mail_table(results)),
        ("Accepting", "Connect, greeting, close, eight at a time.", accept_table(results)),
        ("Start", "From the command to the first client's greeting.", starts_table(results)),
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


PACES_FIGURES: Final = (
    "Share of one processor, and processor time an operation, kernel included. Idle, 100 and 800 operations a second: "
    "20 clients, endp; flat out: 8 clients. Busy polling is on by default because it doubles what one client can do; "
    "this is what it costs."
)

MAIL_FIGURES: Final = (
    "A Postfix of its own delivers messages by smtp(8) to an smtp-sink, 20 at a time. Its master(8) starts the cache. "
    "Processor time is of the cache alone, for all messages."
)

GOALS: Final = (
    "Ratios are taken round by round. The last column is the same ratio for the floor, which does nothing but these "
    "system calls, and sleeps whenever it waits. With 8 and 64 clients, when there is always something to do, a bound "
    "that lies beyond it can be met by no server on this machine."
)

NAMES: Final = {"compiled": "scached", "fast": "scached in plain Python", "scache": "Postfix's scache(8)"}
"""What a visitor calls the servers."""


def in_short(results: Results) -> list[str]:
    """Say in a few lines what a visitor wants to know; leave out what was not measured."""
    ours = next((name for name in JUDGED if name in results.servers), "")
    many, one = Scenario("endp", 8), Scenario("endp", 1)
    full = Scenario("endp", 8, max((scenario.parked for scenario in results.scenarios()), default=0))

    def rate(name: str, scenario: Scenario) -> float | None:
        found = results.spread(name, scenario, lambda run: run.operations_per_s)
        return found.median if found is not None else None

    def times(scenario: Scenario, other: str) -> str:
        own, others = rate(ours, scenario), rate(other, scenario)
        return f"{own / others:.1f} times" if own is not None and others else ""

    lines = []
    own_rate, floors = rate(ours, many), rate(FLOOR, many)
    if own_rate is not None:
        line = f"With 8 clients {NAMES.get(ours, ours)} serves {number(round(own_rate, -3))} requests a second"
        line += f", {times(many, 'scache')} as many as Postfix's scache(8)" if times(many, "scache") else ""
        line += (
            f" and {own_rate / floors:.0%} of what the kernel allows (a C loop that does nothing else)"
            if floors
            else ""
        )
        lines.append(line + ".")
    if times(one, "scache"):
        lines.append(f"One client alone is served {times(one, 'scache')} as often as by Postfix's scache(8).")
    if full.parked and times(full, "scache"):
        lines.append(
            f"With {number(full.parked)} parked connections it is {times(full, 'scache')}: a request costs the same, "
            "however much is parked."
        )
    cpu = {each.server: each.cpu_us for each in results.paces if each.scenario == PACED}
    own_cpu, real_cpu = cpu.get(ours), cpu.get("scache")
    if own_cpu and real_cpu:
        lines.append(
            f"A busy mail system ({PACED.rate} requests a second, {PACED.clients} clients) costs {number(own_cpu)} µs "
            f"of processor time a request; Postfix's scache(8) takes {number(real_cpu)} µs."
        )
    if times(many, "threaded"):
        lines.append(
            "A server as one would write it in an afternoon (C, a thread for each client) does "
            f"{number(round(rate('threaded', many) or 0, -3))} requests a second: scached does "
            f"{times(many, 'threaded')} that."
        )
    return lines


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
    text = "# Benchmark\n\n"
    if plot_suffix is not None:
        text += f"![Operations a second](plots/overview{plot_suffix})\n\n"
    text += "".join(f"* {line}\n" for line in in_short(results))
    text += f"\n## How it was measured\n\nGenerated by `make bench`; not to be edited.\n\n{machine}\n{servers}\n{how}\n"
    if plot_suffix is not None:
        text += "".join(f"\n![{title}](plots/{name}{plot_suffix})\n" for name, title in PLOTS.items())
    for heading, figures, body in sections(results):
        text += f"\n## {heading}\n\n" + (f"{figures}\n\n" if figures else "") + body
    return text
