"""The results as pictures.

The servers are told apart by colour, marker and line, so that one of the three is enough. Needs matplotlib (the extra
`bench`).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from scache_bench.load import Run
from scache_bench.results import Results
from scache_bench.scenarios import MIXES, Scenario

# Okabe and Ito's palette: told apart with any of the usual colour vision deficiencies, and in print.
STYLES: Final = {
    "fast": ("#0072B2", "o", "-"),
    "reference": ("#E69F00", "s", "--"),
    "scache": ("#D55E00", "^", "-."),
    "compiled": ("#CC79A7", "v", "-."),
    "threaded": ("#56B4E9", "P", "--"),
    "floor": ("#666666", "D", ":"),
}
TITLES: Final = {"endp": "save_endp + find_endp", "dest": "save_dest + save_endp + find_dest"}

mpl.rcParams.update(
    {
        "font.size": 11,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "scached",  # equal figures give equal files
        "svg.fonttype": "none",
        "font.family": "sans-serif",
    }
)


def draw(results: Results, folder: Path, suffix: str) -> None:
    """Draw every picture into a folder; the suffix (.svg or .png) chooses the format."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"overview": overview, "throughput": throughput, "cpu": cpu, "latency": latency, "parked": parked}
    for name, picture in pictures.items():
        metadata = {"Date": None} if suffix == ".svg" else None
        picture(results).savefig(folder / f"{name}{suffix}", dpi=110, metadata=metadata)


def _frame(title: str, columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.6 * columns, 4.8), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def _line(
    axes: Axes, server: str, results: Results, scenarios: Iterable[tuple[int, Scenario]], figure: Callable[[Run], float]
) -> None:
    points = [
        (x, spread) for x, scenario in scenarios if (spread := results.spread(server, scenario, figure)) is not None
    ]
    if not points:
        return
    colour, marker, line = STYLES[server]
    middle = [spread.median for _, spread in points]
    below = [spread.median - spread.low for _, spread in points]
    above = [spread.high - spread.median for _, spread in points]
    places = [x for x, _ in points]
    axes.errorbar(places, middle, yerr=[below, above], label=server, color=colour, marker=marker, ls=line, capsize=3)


def _against_clients(
    results: Results, title: str, unit: str, figure: Callable[[Run], float], *, logarithmic: bool
) -> Figure:
    picture, panels = _frame(title, len(MIXES))
    for axes, mix in zip(panels, MIXES, strict=True):
        scenarios = [(s.clients, s) for s in results.scenarios() if s == Scenario(mix, s.clients)]
        for server in results.servers:
            _line(axes, server, results, scenarios, figure)
        axes.set_xscale("log", base=2)
        axes.set_xticks([clients for clients, _ in scenarios], [str(clients) for clients, _ in scenarios])
        axes.minorticks_off()
        axes.set(title=TITLES[mix], xlabel="clients", ylabel=unit)
        if logarithmic:
            axes.set_yscale("log")
            _number_plainly(axes.yaxis)
        else:
            axes.set_ylim(bottom=0)
    _share_scale(panels)
    _legend(picture, panels[0])
    return picture


def _legend(figure: Figure, axes: Axes) -> None:
    """Name the servers once, below everything, where no line can run through the names."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(STYLES), frameon=False)


def _number_plainly(axis: Axis, steps: Sequence[float] = (1, 2, 5)) -> None:
    """Write numbers along a logarithmic axis instead of powers of ten."""
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: (f"{value:,.0f}" if value >= 1 else f"{value:g}").replace(",", " "))
    )
    axis.set_minor_locator(NullLocator())


def _share_scale(panels: list[Axes]) -> None:
    """Give all panels the same vertical range: they are compared with each other."""
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)


def overview(results: Results) -> Figure:
    """Draw what each server does, for a visitor: bars, the longest on top."""
    picture, panels = _frame("Requests a second (more is better)", 2)
    for axes, clients in zip(panels, (1, 8), strict=True):
        rates = [
            (spread.median / 1_000, server)
            for server in results.servers
            if (spread := results.spread(server, Scenario("endp", clients), lambda run: run.operations_per_s))
            is not None
        ]
        rates.sort()
        bars = axes.barh(
            [OVERVIEW.get(server, server) for _, server in rates],
            [rate for rate, _ in rates],
            color=[STYLES[server][0] for _, server in rates],
        )
        axes.bar_label(bars, [f"{rate:.0f}" for rate, _ in rates], padding=3)
        axes.margins(x=0.15)
        axes.grid(visible=False, axis="y")
        axes.set(title="1 client" if clients == 1 else f"{clients} clients", xlabel="thousand requests/s")
    return picture


OVERVIEW: Final = {
    "compiled": "scached",
    "fast": "scached, plain Python",
    "reference": "reference",
    "scache": "Postfix's scache(8)",
    "threaded": "C, threads: an afternoon",
    "floor": "system calls alone",
}


def throughput(results: Results) -> Figure:
    """Draw throughput against clients."""

    def thousands(run: Run) -> float:
        return run.operations_per_s / 1_000

    return _against_clients(
        results, "Throughput (more is better)", "thousand operations/s", thousands, logarithmic=False
    )


def cpu(results: Results) -> Figure:
    """Draw processor time for one operation against clients."""
    title = "Processor time of the server for one operation (less is better)"
    return _against_clients(results, title, "µs an operation", lambda run: run.server_cpu_us, logarithmic=True)


def latency(results: Results) -> Figure:
    """Draw how many operations take longer than what, for two numbers of clients."""
    picture, panels = _frame("Latency: share of operations that take longer (further left is better)", 2)
    for axes, clients in zip(panels, (8, 64), strict=True):
        for server in results.servers:
            histogram = results.latency(server, Scenario("endp", clients))
            if histogram is None:
                continue
            points = [(ns / 1e6, share) for ns, share in histogram.share_above() if share > 0]
            colour, _, line = STYLES[server]
            axes.plot([x for x, _ in points], [y for _, y in points], label=server, color=colour, ls=line, lw=1.8)
        for share, name in ((0.5, "p50"), (0.01, "p99"), (0.001, "p99.9")):
            axes.axhline(share, color="#999999", lw=0.8)
            axes.text(1.0, share, name, transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=9)
        axes.set(xscale="log", yscale="log", title=f"{TITLES['endp']}, {clients} clients", xlabel="ms")
        axes.set_ylim(1e-4, 1.1)
        _number_plainly(axes.xaxis, (1,))
        axes.set_yticks([1, 0.1, 0.01, 0.001, 0.0001], ["100 %", "10 %", "1 %", "0.1 %", "0.01 %"])
        axes.minorticks_off()
    panels[0].set_ylabel("slower operations")
    _legend(picture, panels[0])
    return picture


def parked(results: Results) -> Figure:
    """Draw cost against what is parked, and the table alone against its size."""
    picture, panels = _frame("Cost against what is parked (flat is better)", 2)
    scenarios = [(s.parked, s) for s in results.scenarios() if s == Scenario("endp", 8, s.parked)]
    left, right = panels
    for server in results.servers:
        _line(left, server, results, scenarios, lambda run: run.server_cpu_us)
    left.set(
        title="whole server, endp, 8 clients",
        xlabel="parked sessions",
        ylabel="µs of server processor time an operation",
    )
    left.set_xscale("symlog", linthresh=500)
    left.set_xticks([x for x, _ in scenarios], [f"{x:,}".replace(",", " ") for x, _ in scenarios])
    left.minorticks_off()
    left.set_yscale("log")
    _number_plainly(left.yaxis)
    _legend(picture, left)
    sizes = [grown.entries for grown in results.growth]
    right.plot(sizes, [grown.save_us for grown in results.growth], color="#0072B2", marker="o", label="save_endp")
    right.plot(
        sizes, [grown.find_us for grown in results.growth], color="#009E73", marker="s", ls="--", label="find_endp"
    )
    right.set(title="fast: the table alone, no sockets", xlabel="entries", ylabel="µs an operation")
    if sizes:
        right.set_xscale("log")
        _number_plainly(right.xaxis, (1,))
        right.legend(loc="best", frameon=False)
    right.set_ylim(bottom=0)
    return picture
