"""The command line by argparse: --help, and every command line that is not plainly right (sources.py)."""

import argparse
import os
import sys
from typing import Final

from scache_fast.settings.output import PROGRAM, say
from scache_fast.settings.table import SETTINGS, Setting

_EPILOG: Final = """\
A TIME is a whole number with s, m, h, d or w (seconds, minutes, hours, days, weeks), or without a unit, in seconds.

Each option --some-name is also a key some_name of the --config file (TOML) and a variable SCACHED_SOME_NAME of the
environment. The command line overrides the file, the file overrides the environment, and the environment overrides
the default.

signals:
  TERM, INT  log statistics, close everything, remove the sockets, and end
  HUP        read the settings again
  USR1       log statistics

exit status:
  0  ended by a signal, by a takeover, by 'scachectl drain', or because it was idle (--max-idle)
  1  could not start; a line on standard error says why
  2  the command line or another setting is wrong

Under systemd, the server listens on the sockets that it is passed, and reports readiness, status and watchdog. Under
Postfix's master(8), it accepts the options and parameters of Postfix's daemons instead. See scached(8).

example:
  scached --listen /run/scached/scached.sock --mode 0660 --ttl-limit 10m
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that survives a standard output or error that nothing can be written to."""

    def _print_message(self, message: str, file: object = None) -> None:
        if not say(1 if file is sys.stdout else 2, message):
            sys.exit(1 if file is sys.stdout else 2)


def parser_of_all() -> argparse.ArgumentParser:
    """Return the parser of the command line; what it finds, it yields as texts."""
    parser = _Parser(
        prog=PROGRAM,
        usage="%(prog)s [--listen PATH ...] [--config FILE] [option ...]",
        description="A shared connection cache: it keeps open connections for other processes. It speaks the protocol "
        "of Postfix's scache(8).",
        epilog=_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=_columns() - 2),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--version", action="store_true", help="print the version and end; with -v, also the form of the engine"
    )
    parser.add_argument(
        "--takeover", metavar="ADMIN_SOCKET", help="replace the server that has this admin socket: take its sockets, "
        "clients and parked connections. That server then ends. --listen and --admin may name only paths that it has"
    )  # fmt: skip
    source = parser.add_argument_group("configuration")
    source.add_argument("--config", metavar="FILE", help="read settings from this TOML file")
    source.add_argument("--check-config", action="store_true", help="check the configuration, and end")
    source.add_argument(
        "--print-config",
        action="store_true",
        help="print each setting that is in force and where it comes from, and end",
    )
    groups = {name: parser.add_argument_group(name) for name in dict.fromkeys(setting.group for setting in SETTINGS)}
    for setting in SETTINGS:
        _add(groups[setting.group], setting)
    return parser


def _columns() -> int:
    """Return how wide a line of help may be; argparse would import shutil, and all it imports, to find out."""
    try:
        return max(40, os.get_terminal_size(1).columns)
    except OSError:
        return 100  # It is no terminal.


def _add(group: argparse._ActionsContainer, setting: Setting) -> None:
    """Add the option of a setting; it yields texts."""
    names = ["-v", setting.option] if setting.name == "verbose" else [setting.option]
    if setting.parse is None:
        group.add_argument(*names, dest=setting.name, action="store_true", help=setting.help)
        return
    text = setting.help + (f" (default: {setting.default})" if setting.default else "")
    group.add_argument(
        *names,
        dest=setting.name,
        metavar=setting.metavar,
        action="append" if setting.many else "store",
        help=text.replace("%", "%%"),  # argparse has it filled in
    )
