"""The options that say which server is held against the specification, and what is declared of it."""

import argparse
import math
import os
import shutil
from pathlib import Path
from typing import Final

from scache_conformance.servers.postfix import scache_program, version_of
from scache_conformance.servers.target import CLOCK_WORD, LIMIT_NAMES, Declared, Target
from scache_conformance.servers.target_command import CommandServer
from scache_conformance.servers.target_postfix import PostfixServer
from scache_conformance.servers.target_running import RunningServer
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.wire.peer import DEADLINE_S

INSTALLED: Final = Path()
"""What --postfix without a program stands for."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for plugging a server in."""
    plug = parser.add_argument_group("which server (one of these)")
    which = plug.add_mutually_exclusive_group(required=True)
    which.add_argument("--socket", metavar="PATH", type=Path, help="a running server that listens on this UNIX socket")
    which.add_argument(
        "--exec",
        metavar="COMMAND",
        help="command that starts a server in the foreground; SIGTERM must end it. {socket} stands for the path to "
        "listen on. With {clock}, {ttl_limit_s} and other limits in the command, more cases are possible: see "
        "PLACEHOLDERS of scache-conformance --help. The suite runs several servers at the same time",
    )
    which.add_argument(
        "--postfix",
        metavar="PROGRAM",
        nargs="?",
        const=INSTALLED,
        type=Path,
        help="the installed Postfix's scache(8), that of another Postfix, or a program that takes its place, started "
        "by a private master(8). If a C compiler is installed, a scache(8) gets a virtual clock",
    )
    declared = parser.add_argument_group("properties of the server")
    declared.add_argument("--name", metavar="NAME", help="name of the server in reports")
    declared.add_argument(
        "--ttl-limit", metavar="S", type=int, default=2, help="ttl limit of the server in seconds (default: 2)"
    )
    declared.add_argument(
        "--limit",
        metavar="NAME=N",
        action="append",
        default=[],
        help="another limit of the server, such as clients_max=100; repeatable",
    )
    declared.add_argument(
        "--clock-file",
        metavar="PATH",
        type=Path,
        help="clock file of the server, which the suite changes in place: eight bytes, a signed 64-bit number of whole "
        "seconds in native byte order",
    )
    declared.add_argument(
        "--pid", metavar="N", type=int, help="process id of the server, to count its descriptors; for --socket"
    )
    declared.add_argument("--real-time", action="store_true", help="use the machine's clock for --postfix")
    declared.add_argument(
        "--deadline",
        metavar="S",
        type=float,
        default=DEADLINE_S,
        help=f"longest time for a reply, in seconds (default: {DEADLINE_S})",
    )


def target_from(options: argparse.Namespace) -> Target:
    """Return the server that the options describe, not started. Raises ValueError, with what to change."""
    declared = Declared(
        ttl_limit_s=_at_least_one("--ttl-limit", options.ttl_limit),
        limits=dict(_limit(text) for text in options.limit),
        clock_path=options.clock_file,
        pid=options.pid,
        deadline_s=_seconds("--deadline", options.deadline),
    )
    clock: Path | None = options.clock_file
    if clock is not None and clock.exists() and clock.stat().st_size != CLOCK_WORD.size:
        raise ValueError(
            f"--clock-file {clock}: this file does not have the {CLOCK_WORD.size} bytes of a clock: name another"
        )
    if options.socket is not None:
        target: Target = RunningServer(options.socket, declared)
    elif options.exec is not None:
        target = CommandServer(options.exec, declared)
    else:
        program = None if options.postfix == INSTALLED else options.postfix.resolve()
        if program is not None and not os.access(program, os.X_OK):
            raise ValueError(
                f"--postfix {options.postfix}: this is not an executable program: check the path and its mode"
            )
        # Only time(2) is replaced: what a scache(8) looks at, and not what any other program need look at.
        virtual = postfix_version(options) is not None and not options.real_time and _has_compiler()
        target = PostfixServer(program, declared, virtual_clock=virtual)
    if options.name:
        target.name = options.name
    return target


def postfix_version(options: argparse.Namespace) -> str | None:
    """Return which Postfix the server is of, such as `Postfix 3.7.11`, None if it is not Postfix's own."""
    if options.postfix is None:
        return None
    try:
        version = version_of(scache_program() if options.postfix == INSTALLED else options.postfix)
    except (OSError, Unavailable):
        return None  # starting it says why
    return f"Postfix {version}" if version is not None else None


def describe(options: argparse.Namespace) -> str:
    """Return the option that plugged the server in, as it was given."""
    if options.socket is not None:
        return f"--socket {options.socket}"
    if options.exec is not None:
        return f"--exec '{options.exec}'"
    program = f" {options.postfix}" if options.postfix != INSTALLED else ""
    version = postfix_version(options)
    return f"--postfix{program} ({version})" if version is not None else f"--postfix{program}"


def _limit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if name not in LIMIT_NAMES or not value.isdecimal():
        raise ValueError(f"--limit {text}: write NAME=N with a NAME of {', '.join(sorted(LIMIT_NAMES))}")
    return name, int(value)


def _seconds(option: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{option} {value}: write a number of seconds above 0")
    return value


def _at_least_one(option: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{option} {value}: write a number of at least 1")
    return value


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))
