"""The answer of `stats` as metrics of Prometheus. Needs the extra `metrics`.

A server of another version may have fields that this module does not know, lack some, or have others in their place.
What can be read is told; `scachectl_unreadable_fields_total` counts the rest. No label of a metric comes from a peer.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from scache_ctl.shown import harmless
from scache_fast.admin.client import AdminClient, AdminError, AdminUnavailableError

WITHIN_S: Final = 0.3
"""How long an exporter waits at each step, connecting, asking and reading: together less than a second."""

GAUGES: Final = {
    "uptime_s": ("scached_uptime_seconds", "How long the server has been running."),
    "now.sessions": ("scached_sessions", "Parked connections."),
    "now.endpoints": ("scached_endpoints", "Endpoint labels with a parked connection."),
    "now.bindings": ("scached_bindings", "Bindings of destinations to endpoints."),
    "now.destinations": ("scached_destinations", "Destination labels with a binding."),
    "now.bytes": ("scached_cached_bytes", "Bytes of labels and properties."),
    "now.clients": ("scached_clients", "Connected clients."),
    "now.held": ("scached_held_sessions", "Connections that were found and are not handed over yet."),
    "descriptors.used": ("scached_descriptors", "Descriptors in use (approximate)."),
    "descriptors.max": ("scached_descriptors_max", "Descriptors that the server may have."),
    "closing.stuck": ("scached_stuck_closes", "Closes of parked files that do not end."),
    "closing.refused_users": ("scached_refused_users", "Users whose saves are refused because of stuck closes."),
}
COUNTERS: Final = {
    "too_many_in_flight": ("scached_too_many_in_flight", "Hand-overs refused by the kernel: too many in flight."),
    "faults": ("scached_faults", "Unexpected errors that were contained."),
    "log.suppressed": ("scached_log_suppressed", "Warnings that were not logged because there were many of a kind."),
}
LABELLED: Final = {
    "limits": ("scached_limit", "Each limit by its setting.", "limit", GaugeMetricFamily),
    "limit_hits": ("scached_limit_hits", "How often each limit was reached.", "limit", CounterMetricFamily),
    "sessions": ("scached_session_events", "Connections by what happened to them.", "event", CounterMetricFamily),
    "clients": ("scached_client_events", "Clients that were welcomed and refused.", "event", CounterMetricFamily),
}
HISTOGRAMS: Final = {
    "reuse_age_s": ("scached_reuse_age_seconds", "Age of connections when they were handed over."),
    "turn_s": ("scached_turn_seconds", "How long turns of the loop took."),
}
STATES: Final = ("serving", "paused", "draining")

_KNOWN: Final = {
    "id", "v", "ok", "pid", "requests", "state", "reload", "now", "descriptors", "closing", "log",
    *LABELLED, *HISTOGRAMS, *(path for path in (*GAUGES, *COUNTERS) if "." not in path),
}  # fmt: skip

MISSING: Final = "missing"
RETYPED: Final = "retyped"
UNKNOWN: Final = "unknown"


class Stats:
    """One answer; `troubles` counts what could not be read, by kind, from one answer to the next."""

    def __init__(self, answer: Mapping[str, object], troubles: Counter[str]) -> None:
        self._answer = answer
        self._troubles = troubles

    def families(self) -> Iterator[Metric]:
        """Yield what can be read."""
        self._troubles[UNKNOWN] += len(self._answer.keys() - _KNOWN)
        for path, (name, text) in GAUGES.items():
            if (value := self._number(path)) is not None:
                yield GaugeMetricFamily(name, text, value=value)
        for path, (name, text) in COUNTERS.items():
            if (value := self._number(path)) is not None:
                yield CounterMetricFamily(name, text, value=value)
        for path, (name, text, label, kind) in LABELLED.items():
            family = kind(name, text, labels=[label])
            for key, value in self._numbers(self._object(path)):
                family.add_metric([key], value)
            yield family
        yield self._requests()
        for path, (name, text) in HISTOGRAMS.items():
            yield from self._histogram(path, name, text)
        yield from self._state()
        yield from self._reload()

    def _find(self, path: str) -> object:
        found: object = self._answer
        for key in path.split("."):
            if not isinstance(found, dict) or key not in found:
                self._troubles[MISSING] += 1
                return None
            found = found[key]
        if found is None:
            self._troubles[RETYPED] += 1
        return found

    def _number(self, path: str) -> float | None:
        found = self._find(path)
        return None if found is None else self._as_number(found)

    def _as_number(self, found: object) -> float | None:
        if isinstance(found, int | float) and not isinstance(found, bool):
            try:
                value = float(found)
            except OverflowError:
                value = math.inf
            if math.isfinite(value) and value >= 0:
                return value
        self._troubles[RETYPED] += 1
        return None

    def _object(self, path: str) -> dict[str, object]:
        found = self._find(path)
        if isinstance(found, dict):
            return found
        if found is not None:
            self._troubles[RETYPED] += 1
        return {}

    def _numbers(self, found: object) -> Iterator[tuple[str, float]]:
        if not isinstance(found, dict) or not found:
            self._troubles[RETYPED] += 1
            return
        for key, each in found.items():
            # A limit that is null is none.
            if each is not None and (value := self._as_number(each)) is not None:
                yield harmless(str(key)), value

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "scached_requests", "Requests by name and status of the reply.", labels=["request", "status"]
        )
        for request, statuses in self._object("requests").items():
            for status, value in self._numbers(statuses):
                family.add_metric([harmless(request), status], value)
        return family

    def _histogram(self, path: str, name: str, text: str) -> Iterator[Metric]:
        match self._find(path):
            case {"buckets": list() as buckets, "sum": int() | float() as total, "count": int() as count}:
                pairs = [pair for pair in buckets if isinstance(pair, list) and len(pair) == 2]
                found = [(self._as_number(bound), self._as_number(below)) for bound, below in pairs]
                if all(bound is not None and below is not None for bound, below in found) and pairs == buckets:
                    ready = [(str(bound), below) for bound, below in found]
                    yield HistogramMetricFamily(name, text, buckets=[*ready, ("+Inf", count)], sum_value=total)
                    return
                self._troubles[RETYPED] += 1
            case None:
                return
            case _:
                self._troubles[RETYPED] += 1

    def _state(self) -> Iterator[Metric]:
        state = self._find("state")
        if state in STATES:
            family = GaugeMetricFamily("scached_state", "1 for the state the server is in.", labels=["state"])
            for each in STATES:
                family.add_metric([each], float(each == state))
            yield family
        elif state is not None:
            self._troubles[RETYPED] += 1

    def _reload(self) -> Iterator[Metric]:
        reload = self._object("reload")
        if not reload:
            return
        is_ok = reload.get("ok")
        if isinstance(is_ok, bool):
            yield GaugeMetricFamily("scached_reload_ok", "1 if the last reload succeeded.", value=float(is_ok))
        else:
            self._troubles[RETYPED] += 1
        if reload.get("last_s") is not None and (last_s := self._as_number(reload["last_s"])) is not None:
            yield GaugeMetricFamily("scached_reload_time_seconds", "When it was reloaded, since 1970.", value=last_s)
        family = CounterMetricFamily("scached_reloads", "Reloads by outcome.", labels=["outcome"])
        for outcome in ("succeeded", "failed"):
            if (value := self._number(f"reload.{outcome}")) is not None:
                family.add_metric([outcome], value)
        yield family


class Scrape:
    """Asks a server each time that Prometheus asks. Nothing is kept of it from one time to the next."""

    def __init__(self, ask: Callable[[], Mapping[str, object]]) -> None:
        self._ask = ask
        self._troubles: Counter[str] = Counter(dict.fromkeys((MISSING, RETYPED, UNKNOWN), 0))
        self.error: Exception | None = None
        """Why the last one failed."""

    def collect(self) -> Iterator[Metric]:
        """Yield every family; without a server, only that it is not up."""
        self.error = None
        families: list[Metric] = []
        try:
            families = list(Stats(self._ask(), self._troubles).families())
        except (AdminError, AdminUnavailableError) as error:
            self.error = error
        yield GaugeMetricFamily("scached_up", "1 if the server answered.", value=float(self.error is None))
        yield from families
        unreadable = CounterMetricFamily(
            "scachectl_unreadable_fields", "Fields of answers that were not as expected.", labels=["kind"]
        )
        for kind, count in self._troubles.items():
            unreadable.add_metric([kind], count)
        yield unreadable
        yield GaugeMetricFamily("scachectl_read_time_seconds", "When this was read, since 1970.", value=time.time())

    def text(self) -> bytes:
        """Ask, and return the metrics in the text format of Prometheus."""
        registry = CollectorRegistry()
        registry.register(self)
        text: bytes = generate_latest(registry)
        return text


def scrape(path: str, timeout_s: float) -> Scrape:
    """Return a scrape of the server with this admin socket."""

    def ask() -> Mapping[str, object]:
        with AdminClient(path, timeout_s) as admin:
            return admin.ask("stats")

    return Scrape(ask)
