"""Where settings come from: the command line, a file, the environment, and what they are without being asked.

Decides which source wins and what a mistake in one of them says. Refuses to know what a setting means: names,
spellings and defaults are one table (settings.py).

Precedence, the first that has a setting gives it, lists included:

    1. the command line      --ttl-limit 10m
    2. the file of --config  ttl_limit = "10m"
    3. the environment       SCACHED_TTL_LIMIT=10m     (a list's items on lines of their own)
    4. the default
"""

import argparse
import difflib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from scache_fast import __version__
from scache_fast.settings import SETTINGS, Setting, Settings, settings_from

_EPILOG: Final = """\
Times are whole numbers with s, m, h, d or w (seconds, minutes, hours, days, weeks); without one they are seconds.

Every option --some-name is also a key some_name of the --config file (TOML) and a variable SCACHED_SOME_NAME of the
environment. The command line wins over the file, the file over the environment, the environment over the default.

Signals: TERM and INT print statistics, remove the sockets and end; USR1 prints statistics.
Exit status: 0 ended as told or for being idle, 1 could not start (the line on standard error says why), 2 wrong usage.

Started by Postfix's master(8), scached takes that program's options and parameters instead; started by systemd, it
listens on the sockets it is passed and notifies about readiness, status and the watchdog. See scached(8).

example:
  scached --listen /run/scached/scached.sock --mode 0660 --ttl-limit 10m
"""

_PROGRAM: Final = "scached"

Texts = Mapping[str, Sequence[str]]
"""Settings by name, each with the texts that were given for it."""

_DEFAULTS: Final[Texts] = {setting.name: [setting.default] for setting in SETTINGS if setting.default is not None}

_FLAGS: Final[dict[str, Sequence[str]]] = {"1": ("yes",), "true": ("yes",), "0": (), "false": ()}
"""How a flag is spelled, and the texts that stand for it: some or none."""


class ConfigurationError(Exception):
    """A setting or a file cannot be used; the text says why and what to do."""


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings of a process; prints and raises SystemExit for wrong ones, --help and the like."""
    given = vars(_parser().parse_args(arguments))
    path: str | None = given.pop("config", None)
    check, shown = given.pop("check_config", False), given.pop("print_config", False)
    try:
        layers: dict[str, Texts] = {"environment": _from_environment(environment)}
        if path is not None:
            layers[path] = read_file(path)
        layers["command line"] = {name: _as_texts(value) for name, value in given.items()}
        settings = merge(layers)
    except ConfigurationError as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        sys.exit(2)
    if shown:
        sys.stdout.write(show(layers))
        sys.exit(0)
    if check:
        print(f"{_PROGRAM}: the configuration is fine" + (f": {path}" if path else ""))
        sys.exit(0)
    return settings


def merge(layers: Mapping[str, Texts]) -> Settings:
    """Return what texts from several origins amount to, the later winning; raises ConfigurationError."""
    values: dict[str, object] = dict.fromkeys(setting.name for setting in SETTINGS)
    for origin, texts in {"default": _DEFAULTS, **layers}.items():
        values |= _values(texts, origin)
    return settings_from(argparse.Namespace(**values))


def read_file(path: str) -> Texts:
    """Return the texts of a TOML file; raises ConfigurationError."""
    try:
        with open(path, "rb") as file:
            content: dict[str, object] = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path!r} is not TOML: {error}") from None
    known = {setting.name: setting for setting in SETTINGS}
    texts: dict[str, Sequence[str]] = {}
    for name, value in content.items():
        setting = known.get(name)
        if setting is None:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigurationError(f"{path!r}: unknown key {name!r}: {hint}")
        texts[name] = _texts(path, setting, value)
    return texts


def show(layers: Mapping[str, Texts]) -> str:
    """Return what is in force as a TOML file, each setting with where it comes from."""
    layers = {"default": _DEFAULTS, **layers}
    lines = []
    for setting in SETTINGS:
        origin = next((name for name in reversed(list(layers)) if setting.name in layers[name]), "default")
        given = layers[origin].get(setting.name, ())
        quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in given]
        if setting.parse is None:
            value = "true" if given else "false"
        elif not given:
            lines.append(f"# {setting.name} is not set")
            continue
        else:
            value = f"[{', '.join(quoted)}]" if setting.many else quoted[-1]
        lines.append(f"{setting.name} = {value}  # {origin}")
    return "\n".join(lines) + "\n"


def _from_environment(environment: Mapping[str, str]) -> Texts:
    texts: dict[str, Sequence[str]] = {}
    for setting in SETTINGS:
        value = environment.get(setting.variable)
        if value is None:
            continue
        if setting.parse is not None:
            texts[setting.name] = [line for line in value.split("\n") if line] if setting.many else [value]
        elif value in _FLAGS:
            texts[setting.name] = _FLAGS[value]
        else:
            raise ConfigurationError(f"environment: {setting.variable}={value!r} is neither true nor false")
    return texts


def _texts(path: str, setting: Setting, value: object) -> Sequence[str]:
    """Return the texts of a TOML value; raises ConfigurationError."""
    match value:
        case bool() if setting.parse is None:
            return _FLAGS["true" if value else "false"]
        case bool():
            raise ConfigurationError(f"{path!r}: {setting.name} = {value} is neither a string nor a number")
        case str() | int() if setting.parse is not None:
            return [str(value)]
        case list() if setting.many:
            return [str(item) for item in value]
        case _:
            wanted = (
                "true or false" if setting.parse is None else "a string, a number" if not setting.many else "a list"
            )
            raise ConfigurationError(f"{path!r}: {setting.name} = {value!r}: write {wanted}")


def _as_texts(value: object) -> Sequence[str]:
    return value if isinstance(value, list) else _FLAGS["true"] if value is True else [str(value)]


def _values(texts: Texts, origin: str) -> dict[str, object]:
    """Return the values of texts; raises ConfigurationError, which names where they are from."""
    parser = _Parser(prog=origin, argument_default=argparse.SUPPRESS, add_help=False)
    arguments = []
    for setting in SETTINGS:
        _add(parser, setting, reads_values=True)
        if setting.parse is None:
            arguments += [setting.option for _ in texts.get(setting.name, ())]
        else:
            arguments += [f"{setting.option}={text}" for text in texts.get(setting.name, ())]
    return vars(parser.parse_args(arguments))


class _Parser(argparse.ArgumentParser):
    """An argument parser for what need not have come from a command line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{self.prog}: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage="%(prog)s [--listen PATH ...] [--config FILE] [option ...]",
        description="Keep open connections for other processes: a shared connection cache that speaks the protocol of "
        "Postfix's scache(8).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    source = parser.add_argument_group("configuration")
    source.add_argument("--config", metavar="FILE", help="read settings from this TOML file")
    source.add_argument("--check-config", action="store_true", help="say whether the configuration is fine, and end")
    source.add_argument("--print-config", action="store_true", help="print what is in force and why, and end")
    groups = {name: parser.add_argument_group(name) for name in dict.fromkeys(setting.group for setting in SETTINGS)}
    for setting in SETTINGS:
        _add(groups[setting.group], setting, reads_values=False)
    return parser


def _add(group: argparse._ActionsContainer, setting: Setting, *, reads_values: bool) -> None:
    """Add the option of a setting; without reading values it yields texts."""
    names = ["-v", setting.option] if setting.name == "verbose" else [setting.option]
    if setting.parse is None:
        group.add_argument(*names, dest=setting.name, action="store_true", help=setting.help)
        return
    group.add_argument(
        *names,
        dest=setting.name,
        metavar=setting.metavar,
        type=setting.parse if reads_values else str,
        action="append" if setting.many else "store",
        help=setting.help + (f" (default: {setting.default})" if setting.default else ""),
    )
