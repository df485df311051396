"""Where settings come from: the command line, a file, the environment, and their defaults.

Which source wins is here. Names, spellings and defaults are in table.py; how a file is written is in toml_file.py.

Precedence: the first source that has a setting gives its value, also the whole of a list:

    1. the command line      --ttl-limit 10m
    2. the file of --config  ttl_limit = "10m"
    3. the environment       SCACHED_TTL_LIMIT=10m     (a list's items on lines of their own)
    4. the default

A mistake in any source is an error, even if another source overrules it. A variable that only looks like a setting is
ignored: Kubernetes sets SCACHED_PORT and the like for every container near a service of that name.
"""

import argparse
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Final, NoReturn

from scache_fast import __version__
from scache_fast.settings import journal
from scache_fast.settings.table import SETTINGS, Setting, Settings, settings_from
from scache_fast.settings.toml_file import CHARACTERS_MAX, DEFAULT, FLAGS, ConfigurationError, Texts, read_file, show

__all__ = ["ConfigurationError", "Texts", "complain", "merge", "read", "read_again", "takeover_in"]

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

_PROGRAM: Final = "scached"

_ERROR: Final = "<3>"
"""The priority of an error where journald reads it: `journalctl -p warning` has to show why a service did not start."""

_COMMAND_LINE: Final = "command line"
_ENVIRONMENT: Final = "environment"

_DEFAULTS: Final[Texts] = {setting.name: [setting.default] for setting in SETTINGS if setting.default is not None}


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings of a process; prints and raises SystemExit for wrong ones, --help and the like."""
    given = vars(_parser().parse_args(arguments))
    given.pop("takeover", None)
    if given.pop("version", False):
        from scache_fast.settings.form import describe

        _end(f"{_PROGRAM} {__version__}\n{describe() if 'verbose' in given else ''}")
    path: str | None = given.pop("config", None)
    check, shown = given.pop("check_config", False), given.pop("print_config", False)
    try:
        layers = _layers(given, path, environment)
        settings = merge(layers)
    except ConfigurationError as error:
        complain(str(error))
        sys.exit(2)
    if shown:
        _end(show({DEFAULT: _DEFAULTS, **layers}))
    if check:
        _end(f"{_PROGRAM}: the configuration is fine{f': {path}' if path else ''}\n")
    return settings


def takeover_in(arguments: Sequence[str]) -> str | None:
    """Return the admin socket of the server to take over from; None: there is none. For arguments that `read` took.

    It is no setting: a file with it would make every start a takeover.
    """
    path: str | None = vars(_parser().parse_args(arguments)).get("takeover")
    return path


def read_again(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that the same sources amount to now; raises ConfigurationError.

    The file has to be a regular one: a pipe was read at the start, and would be waited for now.
    """
    given = vars(_parser().parse_args(arguments))
    given.pop("takeover", None)
    path: str | None = given.pop("config", None)
    if path is not None:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise ConfigurationError(f"cannot read {path!r}: {error.strerror}") from None
        if not stat.S_ISREG(mode):
            raise ConfigurationError(
                f"{path!r} is not a regular file and can be read at the start only: restart the server"
            )
    return merge(_layers(given, path, environment))


def _layers(given: Mapping[str, object], path: str | None, environment: Mapping[str, str]) -> dict[str, Texts]:
    layers: dict[str, Texts] = {_ENVIRONMENT: _from_environment(environment)}
    if path is not None:
        layers[path] = read_file(path)
    layers[_COMMAND_LINE] = {name: _as_texts(value) for name, value in given.items()}
    return layers


def merge(layers: Mapping[str, Texts]) -> Settings:
    """Return what texts from several origins amount to, the later winning; raises ConfigurationError."""
    values: dict[str, object] = dict.fromkeys(setting.name for setting in SETTINGS)
    for origin, texts in {DEFAULT: _DEFAULTS, **layers}.items():
        for setting in SETTINGS:
            if setting.name in texts:
                values[setting.name] = _value(setting, texts[setting.name], origin)
    return settings_from(SimpleNamespace(**values))


def _value(setting: Setting, texts: Sequence[str], origin: str) -> object:
    """Return what the texts of one setting mean; raises ConfigurationError, which names where they are from."""
    if setting.parse is None:
        return bool(texts)
    try:
        values = [setting.parse(_plain(text)) for text in texts]
    except ValueError as error:
        name = {_COMMAND_LINE: setting.option, _ENVIRONMENT: setting.variable}.get(origin, setting.name)
        raise ConfigurationError(f"{origin}: {name}: {error}") from None
    return values if setting.many else values[-1]


def _plain(text: str) -> str:
    """Return a text that can be a path, a name or a number; raises ValueError."""
    if len(text) > CHARACTERS_MAX:
        raise ValueError(f"it has {len(text)} characters, and {CHARACTERS_MAX} at most are read")
    if "\0" in text:
        raise ValueError(f"{text!r} has a NUL character, which no path and no name can have: remove it")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError(f"{os.fsencode(text)!r} is not UTF-8: write it in UTF-8")
    return text


def _from_environment(environment: Mapping[str, str]) -> Texts:
    texts: dict[str, Sequence[str]] = {}
    for setting in SETTINGS:
        value = environment.get(setting.variable)
        if value is None:
            continue
        if setting.parse is not None:
            texts[setting.name] = [line for line in value.split("\n") if line] if setting.many else [value]
        elif value in FLAGS:
            texts[setting.name] = FLAGS[value]
        else:
            raise ConfigurationError(
                f"{_ENVIRONMENT}: {setting.variable}: {value[:CHARACTERS_MAX]!r} is neither true nor false: write one "
                "of them"
            )
    return texts


def _as_texts(value: object) -> Sequence[str]:
    return value if isinstance(value, list) else FLAGS["true"] if value is True else [str(value)]


def complain(text: str) -> None:
    """Say on standard error why the command cannot be carried out."""
    _say(2, f"{_PROGRAM}: error: {text}\n")


def _end(text: str) -> NoReturn:
    """Print what was asked for, and end; without its output the command has failed."""
    sys.exit(0 if _say(1, text) else 1)


def _say(fd: int, text: str) -> bool:
    """Write to a standard descriptor at once; False: it is closed, or its disk is full.

    Neither print nor sys.stderr: they are None when the descriptor was closed at the start, and keep what they could
    not write for another try, with a traceback, when the interpreter ends.
    """
    try:
        if fd == 2 and journal.reads_stderr():
            text = "".join(f"{_ERROR}{line}\n" for line in text.splitlines())
        data = text.encode(errors="backslashreplace")
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        if fd != 2:
            complain(f"cannot write to standard output: {error.strerror}")
        return False
    return True


class _Parser(argparse.ArgumentParser):
    """An argument parser that survives a standard output or error that nothing can be written to."""

    def _print_message(self, message: str, file: object = None) -> None:
        if not _say(1 if file is sys.stdout else 2, message):
            sys.exit(1 if file is sys.stdout else 2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
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
