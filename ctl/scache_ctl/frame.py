"""What `scachectl top` shows: the lines of one picture, from two answers of the server and the time between them.

Nothing here knows the terminal but its size. Every line is printable ASCII.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from scache_ctl.shown import cell, flat, harmless

_LIST_MIN: Final = 3
"""Below so many free lines a list says nothing."""


@dataclass(slots=True)
class Seen:
    """What a server told at one instant; empty if there is none."""

    at_s: float = 0.0
    version: Mapping[str, object] = field(default_factory=dict)
    stats: Mapping[str, object] = field(default_factory=dict)
    parked: Sequence[Mapping[str, object]] = ()
    clients: Sequence[Mapping[str, object]] = ()
    trouble: str = ""
    """Why there is nothing to tell."""


def frame(now: Seen, before: Seen, columns: int, lines: int) -> list[str]:
    """Return at most `lines` lines of at most `columns` characters."""
    shown = _head(now, before) if now.stats else ["scached does not answer", "", now.trouble, "", "trying again"]
    if now.stats:
        expiring = sorted((row for row in now.parked if _number(row, "ttl_s") is not None), key=_ttl_s)
        labels = Counter(str(row["endpoint"]) for row in now.parked if "endpoint" in row)
        lists = {
            "EXPIRING NEXT": [f"{_ttl_s(row):>9.1f} s  {_label(row)}" for row in expiring],
            "BUSIEST LABELS": [f"{count:>9}    {cell('endpoint', label)}" for label, count in labels.most_common()],
            "CLIENTS": [_client(row) for row in now.clients],
        }
        for number, (title, rows) in enumerate(lists.items()):
            free = (lines - len(shown)) // (len(lists) - number)
            if free >= _LIST_MIN:
                shown += ["", f"{title} ({len(rows)})", *rows[: free - 2]]
    return [harmless(line)[:columns] for line in shown[:lines]]


def _head(now: Seen, before: Seen) -> list[str]:
    numbers = _numbers(now)
    # Another process has other counters.
    is_same = before.stats.get("pid") == now.stats.get("pid") and now.at_s > before.at_s
    old = _numbers(before) if is_same else numbers
    seconds = now.at_s - before.at_s if is_same else 1.0

    def rate(path: str) -> float:
        return max(0.0, numbers.get(path, 0) - old.get(path, 0)) / seconds

    def of_limit(name: str, path: str, limit: str) -> str:
        most = numbers.get(limit)
        used = numbers.get(path, 0)
        return f"{name} {used:.0f}" + (f"/{most:.0f} ({100 * used / most:.0f} %)" if most else "")

    requests = sum(rate(path) for path in numbers if path.startswith("requests."))
    version, pid, state = (cell("", each) for each in (
        now.version.get("version"), now.stats.get("pid"), now.stats.get("state")))  # fmt: skip
    return [
        f"scached {version}  pid {pid}  up {_duration(numbers.get('uptime_s', 0))}  {state}  {time.strftime('%T')}",
        f"requests {requests:.1f}/s  hits: find_endp {_hits(rate, 'find_endp')}  find_dest {_hits(rate, 'find_dest')}",
        "  ".join(f"{event} {rate(f'sessions.{event}'):.1f}/s" for event in ("saved", "found", "expired", "dead")),
        "  ".join((
            of_limit("parked", "now.sessions", "limits.sessions_max"),
            of_limit("clients", "now.clients", "limits.clients_max"),
            of_limit("descriptors", "descriptors.used", "descriptors.max"),
        )),
        "  ".join((
            of_limit("bindings", "now.bindings", "limits.bindings_max"),
            of_limit("bytes", "now.bytes", "limits.cached_bytes_max"),
            f"limits met {sum(rate(path) for path in numbers if path.startswith('limit_hits.')):.1f}/s",
        )),
    ]  # fmt: skip


def _numbers(seen: Seen) -> dict[str, float]:
    return {
        path: float(value)
        for path, value in flat(seen.stats)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _hits(rate: Callable[[str], float], request: str) -> str:
    hits, misses = rate(f"requests.{request}.0"), rate(f"requests.{request}.2")
    return f"{100 * hits / (hits + misses):.0f} %" if hits + misses else "-"


def _number(row: Mapping[str, object], key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else None


def _ttl_s(row: Mapping[str, object]) -> float:
    return _number(row, "ttl_s") or 0.0


def _label(row: Mapping[str, object]) -> str:
    if "endpoint" in row:
        return cell("endpoint", row["endpoint"])
    return f"{cell('destination', row.get('destination'))} -> {cell('to', row.get('to'))}"


def _client(row: Mapping[str, object]) -> str:
    names = ("client", "uid", "pid", "state", "unfinished_s", "held")
    client, uid, pid, state, unfinished_s, held = (cell(name, row.get(name)) for name in names)
    return f"{client:>9}    uid {uid}  pid {pid}  {state}  unfinished {unfinished_s} s  held {held}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
