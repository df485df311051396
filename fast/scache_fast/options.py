"""The command line: which options there are, what they take, and what they say about themselves.

Decides how a time is spelled and what each option may be. Refuses to know what is done with them.

There is one option for each field of `Limits`, named like it. Times take Postfix's suffixes, because the people who
type them know those.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scache_fast import __version__
from scache_spec.vocabulary import Limits

_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIME: Final = re.compile(r"([0-9]{1,10})([smhdw]?)")
_TIME_S_MAX: Final = 2_147_483_647
"""Postfix keeps times in an int."""

_IPC_TIMEOUT_S: Final = 60
"""Twelve times what Postfix's smtp(8) itself gives a step (connection_cache_protocol_timeout, 5 s). The hour that
Postfix gives its servers made sense where a slow client was waited for; here it would only keep dead ones."""

_EPILOG: Final = """\
Times are whole numbers with s, m, h, d or w (seconds, minutes, hours, days, weeks); without one they are seconds.

Signals: TERM and INT print statistics, remove the socket and end; USR1 prints statistics.
Exit status: 0 ended as told or for being idle, 1 could not start (the line on standard error says why), 2 wrong usage.

example:
  scached --listen /run/scached/scached.sock --mode 0660 --ttl-limit 10m
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    listen: tuple[str, ...]
    mode: int
    limits: Limits
    verbose: bool


def parse(arguments: Sequence[str]) -> Options:
    """Read a command line; prints and raises SystemExit for --help, --version and wrong usage."""
    given = _parser().parse_args(arguments)
    limits = Limits(
        ttl_limit_s=given.ttl_limit,
        max_idle_s=given.max_idle,
        status_update_time_s=given.status_update_time,
        ipc_timeout_s=given.ipc_timeout,
        attribute_list_bytes_max=given.attribute_list_bytes_max,
        output_bytes_max=given.output_bytes_max,
        sessions_max=given.sessions_max,
        sessions_per_endpoint_max=given.sessions_per_endpoint_max,
        bindings_max=given.bindings_max,
        clients_max=given.clients_max,
    )
    return Options(tuple(given.listen), given.mode, limits, given.verbose)


def parse_time_s(text: str) -> int:
    """Return the seconds that a time spells, at least 1; raises argparse.ArgumentTypeError."""
    match = _TIME.fullmatch(text)
    time_s = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < time_s <= _TIME_S_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time: write a whole number of at least 1 and s, m, h, d or w, like 2s or 10m"
        )
    return time_s


def _idle_time_s(text: str) -> int | None:
    return None if text == "never" else parse_time_s(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a count: write a whole number of at least 1")
    return int(text)


def _mode(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a file mode: write three octal digits, like 0660")
    return int(text, 8)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scached",
        description="Keep open connections for other processes: a shared connection cache that speaks the protocol of "
        "Postfix's scache(8).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log each request, with its labels")
    parser.add_argument("--version", action="version", version=f"scached {__version__}")
    place = parser.add_argument_group("where")
    place.add_argument(
        "--listen",
        metavar="PATH",
        action="append",
        required=True,
        help="UNIX-domain socket to listen on; may be given several times. One that nobody listens on any more is "
        "replaced",
    )
    place.add_argument(
        "--mode",
        type=_mode,
        default=0o666,
        help="who may connect, as the file mode of the sockets (default: 0666, so the folder's mode decides)",
    )
    _add_times(parser)
    _add_counts(parser)
    return parser


def _add_times(parser: argparse.ArgumentParser) -> None:
    normal = Limits()
    times = parser.add_argument_group("times")
    times.add_argument(
        "--ttl-limit",
        metavar="TIME",
        type=parse_time_s,
        default=normal.ttl_limit_s,
        help="no connection is kept longer than this, whatever its ttl says (default: 2s)",
    )
    times.add_argument(
        "--max-idle",
        metavar="TIME",
        type=_idle_time_s,
        default=normal.max_idle_s,
        help="end after this time without a client, once no connection is kept (default: never)",
    )
    times.add_argument(
        "--status-update-time",
        metavar="TIME",
        type=parse_time_s,
        default=normal.status_update_time_s,
        help="how often statistics are printed (default: 10m)",
    )
    times.add_argument(
        "--ipc-timeout",
        metavar="TIME",
        type=parse_time_s,
        default=_IPC_TIMEOUT_S,
        help="how long a client may leave one step unfinished; between requests it may wait for ever (default: 60s)",
    )


def _add_counts(parser: argparse.ArgumentParser) -> None:
    normal = Limits()
    limits = parser.add_argument_group("limits", "What goes beyond one is refused or closed, counted and logged.")
    for name, text in (
        ("attribute_list_bytes_max", "longest request"),
        ("output_bytes_max", "a client with more replies waiting is not served until it has read some"),
        ("sessions_max", "most connections kept"),
        ("sessions_per_endpoint_max", "most connections kept under one endpoint label"),
        ("bindings_max", "most bindings from a destination to an endpoint"),
        ("clients_max", "most clients connected"),
    ):
        default = getattr(normal, name)
        limits.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="BYTES" if "bytes" in name else "N",
            type=_count,
            default=default,
            help=f"{text} (default: {default})",
        )
