"""The verbs of the admin socket, as docs/admin.md has them: what is asked, and how the answer is printed."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Final

from scache_ctl import exits
from scache_ctl.peers import peers
from scache_ctl.shown import line_of_json, pairs, table
from scache_fast.admin.client import AdminClient

COLUMNS: Final = {
    "clients": ("client", "uid", "pid", "state", "unfinished_s", "unread_bytes", "held"),
    "limits": ("limit", "value", "used", "hits"),
}
_PARKED: Final = ("age_s", "ttl_s", "uid", "pid", "domain")

_OF_THE_LINE: Final = frozenset({"id", "v", "ok", "rows"})
"""Keys of a last line that are no news for a person."""


def run(options: argparse.Namespace) -> int:
    """Carry out one verb; raises AdminError and AdminUnavailableError."""
    verb: str = options.command
    with AdminClient(options.admin, options.timeout) as admin:
        if verb not in {"list", *COLUMNS}:
            _print_answer(admin.ask(verb, **_parameters(options)), is_json=options.json)
            return exits.DONE
        # All of it is taken before anything is printed: a server cuts off who leaves its answer unread.
        rows = list(admin.rows(verb, **_parameters(options)))
    if verb == "list":
        _add_peers(rows)
    if options.json:
        for row in rows:
            print(line_of_json(row))
    elif verb == "list":
        _print_lists(rows, with_properties=options.properties)
    else:
        _print(table(rows, COLUMNS[verb]))
    return exits.DONE


def _parameters(options: argparse.Namespace) -> dict[str, object]:
    match options.command:
        case "list" | "flush":
            chosen: dict[str, object] = {"what": options.what}
            if options.label is not None:
                chosen["label"] = options.label.decode("latin-1")
            if options.glob is not None:
                chosen["glob"] = options.glob.decode("latin-1")
            if options.command == "list":
                chosen["properties"] = options.properties
            return chosen
        case "loglevel":
            return {"level": options.level}
        case _:
            return {}


def _add_peers(rows: list[dict[str, object]]) -> None:
    if any(row.get("inode") is not None for row in rows):
        known = peers()
        for row in rows:
            inode = row.get("inode")
            if isinstance(inode, int):
                row["connection"] = known.get(inode)


def _print_answer(answer: Mapping[str, object], *, is_json: bool) -> None:
    if is_json:
        print(line_of_json(answer))
        return
    news = {key: value for key, value in answer.items() if key not in _OF_THE_LINE}
    for name in ("reuse_age_s", "turn_s"):
        ages = news.get(name)
        if isinstance(ages, dict):
            ages.pop("buckets", None)  # For Prometheus, and --json.
    _print(pairs(news))


def _print_lists(rows: list[dict[str, object]], *, with_properties: bool) -> None:
    more = ("properties",) if with_properties else ()
    parked = [row for row in rows if "endpoint" in row]
    bound = [row for row in rows if "destination" in row]
    if parked or not bound:
        _print(table(parked, ("endpoint", *_PARKED, "connection", *more)))
    if bound:
        if parked:
            print()
        _print(table(bound, ("destination", "to", "age_s", "ttl_s", *more)))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
