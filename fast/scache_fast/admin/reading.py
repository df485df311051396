"""The verbs that only read: version, stats, list, clients, limits. docs/admin.md has every key."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from fnmatch import translate
from typing import Final

from scache_fast import __version__
from scache_fast.admin.protocol import VERSION, Request, RequestError, bytes_of, flag_in, only, shown, text_in, text_of
from scache_fast.engine.client import AT_REST, Client
from scache_fast.engine.counters import REUSE_AGE_BOUNDS_NS, TURN_BOUNDS_NS
from scache_fast.engine.server import Server
from scache_fast.engine.table import Binding, Session
from scache_fast.settings import form
from scache_spec import vocabulary as words
from scache_spec.vocabulary import NS_PER_S, Limits

Line = dict[str, object]

KINDS: Final = ("endpoints", "destinations", "all")
"""What `list` and `flush` may be about: parked sessions, bindings, or both."""

STEPS_PER_LINE: Final = 64
"""How many items are passed over before the answer lets others have their turn, with no line for them. Arbitrary."""

GLOB_BYTES_MAX: Final = 1024
"""Longest glob. Arbitrary: one of 1024 bytes is translated within 30 ms, one of 400 000 in more than a minute."""

_FAMILIES: Final = {int(each): each.name.removeprefix("AF_").lower() for each in socket.AddressFamily}


class Chosen:
    """Which items a request is about: `what`, and `label` (exactly that one) or `glob` (shell wildcards on bytes).

    `more` are the other keys that the verb has.
    """

    def __init__(self, request: Request, *more: str) -> None:
        only(request, "what", "label", "glob", *more)
        what = text_in(request, "what")
        if what is None:
            what = "all"
        if what not in KINDS:
            raise RequestError(f"what is {shown(what)!r}: there are {', '.join(KINDS)}")
        self.sessions = what != "destinations"
        self.bindings = what != "endpoints"
        label, glob = text_in(request, "label"), text_in(request, "glob")
        if label is not None and glob is not None:
            raise RequestError("label and glob are both given: give one of them")
        if glob is not None and len(glob) > GLOB_BYTES_MAX:
            raise RequestError(f"glob has {len(glob)} bytes, and {GLOB_BYTES_MAX} at most: give label for an exact one")
        self._label = None if label is None else bytes_of(label)
        # As text of one code point a byte, because translate knows no bytes; it never takes exponential time.
        self._glob = None if glob is None else re.compile(translate(text_of(bytes_of(glob))).encode("latin-1"))

    def has(self, item: Session | Binding) -> bool:
        """Say whether an item is meant."""
        if isinstance(item, Session):
            return self.sessions and self._matches(item.endpoint)
        return self.bindings and self._matches(item.destination)

    def _matches(self, label: bytes) -> bool:
        if self._label is not None:
            return label == self._label
        return self._glob is None or self._glob.fullmatch(label) is not None


class Reading:
    """Answers from a server."""

    def __init__(self, server: Server, more: Callable[[], Mapping[str, object]], clock: Callable[[], int]) -> None:
        self._server = server
        self._more = more
        """What the process around the loop has to say in `stats`."""
        self._clock = clock
        self._start_ns = clock()
        self._start_s = time.time()

    def version(self, request: Request) -> Iterator[Line]:
        """Say which server this is."""
        yield {"v": VERSION, "ok": True, "version": __version__, "protocol": VERSION, "engine": form.engine(),
               "accelerator": form.accelerator(),
               "interpreter": form.python(), "pid": os.getpid(), "started_s": round(self._start_s, 3)}  # fmt: skip

    def stats(self, request: Request) -> Iterator[Line]:
        """Tell every gauge and every counter."""
        server = self._server
        counters, table = server.counters, server.table
        dest_hits, dest_misses, endp_hits, endp_misses = server.statistics.lookups
        sizes = table.sizes
        slow, turns = counters.slow_turns, counters.turns_before + server.turns
        yield {
            "v": VERSION,
            "ok": True,
            "pid": os.getpid(),
            "uptime_s": round((self._clock() - self._start_ns) / NS_PER_S, 3),
            "now": {
                **sizes._asdict(),
                "bytes": table.bytes,
                "clients": server.clients,
                "held": len(server.steering.held),
            },
            "limits": limits_of(server.limits),
            "requests": {
                "save_endp": {"0": counters.sessions_saved, "1": counters.malformed[words.SAVE_ENDP],
                              "2": counters.endp_refused},
                "find_endp": {"0": endp_hits, "1": counters.malformed[words.FIND_ENDP], "2": endp_misses},
                "save_dest": {"0": counters.bindings_saved, "1": counters.malformed[words.SAVE_DEST],
                              "2": counters.dest_refused},
                "find_dest": {"0": dest_hits, "1": counters.malformed[words.FIND_DEST], "2": dest_misses},
                "unknown": {"1": counters.unknown},
            },
            "sessions": {
                "saved": counters.sessions_saved,
                "refused": counters.endp_refused,
                "found": counters.found,
                "put_back": counters.put_back,
                "expired": counters.expired,
                "flushed": counters.flushed,
                "dead": counters.dead,
            },
            "clients": {"welcomed": counters.clients_welcomed, "refused": counters.clients_refused},
            "limit_hits": {limit.value: hits for limit, hits in server.statistics.limit_hits.items()},
            "too_many_in_flight": server.statistics.too_many_in_flight,
            "reuse_age_s": _histogram(REUSE_AGE_BOUNDS_NS, counters.reuse_ages, counters.reuse_age_ns),
            "turn_s": _histogram(TURN_BOUNDS_NS, [max(0, turns - sum(slow)), *slow[1:]], counters.turn_ns),
            "faults": server.faults.contained,
            **self._more(),
        }  # fmt: skip

    def list(self, request: Request) -> Iterator[Line]:
        """Tell what is parked. What is parked from the first line to the last is told exactly once."""
        chosen, with_properties = Chosen(request, "properties"), flag_in(request, "properties")
        table = self._server.table
        rows = 0
        for step, item in enumerate(table.items()):
            if step % STEPS_PER_LINE == 0:
                yield {}
            # Those that have gone meanwhile are left out; those that have come since are not among the items.
            if table.holds(item) and chosen.has(item):
                rows += 1
                yield {"row": self._row(item, with_properties=with_properties)}
        yield {"v": VERSION, "ok": True, "rows": rows}

    def _row(self, item: Session | Binding, *, with_properties: bool) -> Line:
        now_ns = self._clock()
        row: Line = {
            "age_s": round((now_ns - item.saved_ns) / NS_PER_S, 3),
            "ttl_s": round(max(0, item.expiry_ns - now_ns) / NS_PER_S, 3),
        }
        if isinstance(item, Session):
            row = {"endpoint": text_of(item.endpoint), **row, "uid": item.user, "pid": item.pid,
                   "domain": None if item.domain < 0 else _FAMILIES.get(item.domain, str(item.domain)),
                   # The kernel knows it of a socket. A FUSE server would be asked, and may not answer.
                   "inode": None if item.domain < 0 else _inode(item.descriptor)}  # fmt: skip
        else:
            row = {"destination": text_of(item.destination), "to": text_of(item.endpoint.label), **row}
        if with_properties:
            row["properties"] = text_of(item.properties)
        return row

    def clients(self, request: Request) -> Iterator[Line]:
        """Tell who is connected."""
        now_ns = self._clock()
        everybody = self._server.steering.everybody
        for client in everybody:
            yield {"row": _client_row(client, now_ns)}
        yield {"v": VERSION, "ok": True, "rows": len(everybody)}

    def limits(self, request: Request) -> Iterator[Line]:
        """Tell each limit, and how much of it is used where that is counted."""
        server, table = self._server, self._server.table
        used = {
            "sessions_max": table.sessions,
            "bindings_max": table.bindings,
            "cached_bytes_max": table.bytes,
            "clients_max": server.clients,
        }
        hits = {limit.value: count for limit, count in server.statistics.limit_hits.items()}
        for name, value in limits_of(server.limits).items():
            yield {"row": {"limit": name, "value": value, "used": used.get(name), "hits": hits.get(name)}}
        yield {"v": VERSION, "ok": True, "rows": len(limits_of(server.limits))}


def limits_of(limits: Limits) -> dict[str, int | None]:
    """Return limits by name."""
    return limits._asdict()


def _client_row(client: Client, now_ns: int) -> Line:
    held = client.session
    return {
        "client": client.fd,
        "uid": client.user,
        "pid": client.pid,
        "state": client.state.name.lower(),
        "unfinished_s": None
        if client.step_since_ns == AT_REST
        else round((now_ns - client.step_since_ns) / NS_PER_S, 3),
        "unread_bytes": len(client.output),
        "held": None if held is None else text_of(held.endpoint),
    }


def _inode(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None


def _histogram(bounds_ns: tuple[int, ...], counts: list[int], sum_ns: int) -> Line:
    """Return a histogram as Prometheus has them: for each bound in seconds, how many were not above it."""
    buckets: list[list[object]] = []
    below = 0
    for bound_ns, count in zip(bounds_ns, counts, strict=False):
        below += count
        buckets.append([bound_ns / NS_PER_S, below])
    return {"buckets": buckets, "sum": round(sum_ns / NS_PER_S, 6), "count": below + counts[-1]}
