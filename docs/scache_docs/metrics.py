"""The page about metrics: each one with its type, labels, meaning and place in `stats`, from the code of scachectl."""

from typing import Final

from scache_ctl.metrics import COUNTERS, GAUGES, HISTOGRAMS, LABELLED, STATES, Scrape

_HEAD: Final = """\
# Metrics

This page has every metric of `scachectl exporter` and `scachectl metrics`. The last column is the field of the answer
to `stats` ([the admin socket](../admin.md)) from which the metric is made. Counters begin at 0 when the server starts,
and never decrease while it runs. No label has a value that a client chose. [Prometheus](../how-to/prometheus.md) says
how to set it up.

| metric | type | labels | meaning | field of `stats` |
|---|---|---|---|---|
"""

_FIELDS: Final = {
    **{name: path for path, (name, _) in (GAUGES | COUNTERS | HISTOGRAMS).items()},
    **{name: path for path, (name, *_) in LABELLED.items()},
    "scached_requests": "requests",
    "scached_state": "state",
    "scached_reload_ok": "reload.ok",
    "scached_reload_time_seconds": "reload.last_s",
    "scached_reloads": "reload",
}
"""Where the value of a metric comes from; those that are not here are of scachectl itself."""


def page() -> str:
    """Return the page."""
    return _HEAD + "".join(f"{line}\n" for line in _rows())


def _rows() -> list[str]:
    rows = []
    for family in Scrape(_answer).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        field = f"`{_FIELDS[family.name]}`" if family.name in _FIELDS else ""
        shown = ", ".join(f"`{label}`" for label in sorted(labels))
        rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} | {field} |")
    return rows


def _answer() -> dict[str, object]:
    """Return an answer of `stats` that has every field."""
    answer: dict[str, object] = {
        **{path: {"name": 0} for path in LABELLED},
        **{path: {"buckets": [[1, 0]], "sum": 0, "count": 0} for path in HISTOGRAMS},
        "requests": {"find_endp": {"0": 0}},
        "state": STATES[0],
        "reload": {"ok": True, "last_s": 0, "succeeded": 0, "failed": 0},
    }
    for path in GAUGES | COUNTERS:
        *outer, key = path.split(".")
        place = answer
        for each in outer:
            inner = place.setdefault(each, {})
            assert isinstance(inner, dict)
            place = inner
        place[key] = 0
    return answer
